//! The forms in which a key is written down.

use zeroize::Zeroizing;

use super::{KEY_BYTES, KeyBytes, KeyFault};

/// A key in any form.
///
/// 32 printable characters are no raw key: somebody wrote down a shorter one as text, or a password. (A random key looks like
/// that once in 2⁴⁵ times.)
pub(super) fn parse(content: &[u8]) -> Result<KeyBytes, KeyFault> {
    match <&[u8; KEY_BYTES]>::try_from(content) {
        Ok(raw) if !raw.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) => {
            Ok(KeyBytes::take(&mut Zeroizing::new(*raw)))
        }
        _ => parse_text(content),
    }
}

/// A key in hexadecimal or base64.
pub(super) fn parse_text(content: &[u8]) -> Result<KeyBytes, KeyFault> {
    let text = content.trim_ascii();
    let malformed = KeyFault::Malformed { bytes: text.len() };
    // What is hexadecimal throughout is meant so, whatever its length.
    if !text.is_empty() && text.iter().all(u8::is_ascii_hexdigit) {
        return from_digits(text.iter().map(|byte| hex_value(*byte)), text.len(), 4).ok_or(malformed)?;
    }
    let unpadded = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let is_padded = unpadded.len() < text.len();
    if unpadded.is_empty() || (is_padded && !text.len().is_multiple_of(4)) {
        return Err(malformed);
    }
    from_digits(unpadded.iter().map(|byte| base64_value(*byte)), unpadded.len(), 6).ok_or(malformed)?
}

/// Puts digits of so many bits together. `None` where one is no digit, or where bits are left over that are not zero; an error
/// where they make another number of bytes than a key has.
fn from_digits(
    digits: impl Iterator<Item = Option<u8>>,
    count: usize,
    bits: usize,
) -> Option<Result<KeyBytes, KeyFault>> {
    let (bytes, left_over) = (count * bits / 8, count * bits % 8);
    if left_over >= bits {
        return None;
    }
    let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
    let (mut pending, mut pending_bits, mut index) = (Zeroizing::new(0_u32), 0, 0);
    for digit in digits {
        *pending = (*pending << bits) | u32::from(digit?);
        pending_bits += bits;
        if pending_bits >= 8 {
            pending_bits -= 8;
            if let Some(place) = key.get_mut(index) {
                *place = (*pending >> pending_bits) as u8;
            }
            *pending &= (1 << pending_bits) - 1;
            index += 1;
        }
    }
    if *pending != 0 {
        return None;
    }
    Some(if bytes == KEY_BYTES { Ok(KeyBytes::take(&mut key)) } else { Err(KeyFault::WrongLength { bytes }) })
}

fn hex_value(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|value| value as u8)
}

/// RFC 4648, sections 4 and 5.
fn base64_value(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}
