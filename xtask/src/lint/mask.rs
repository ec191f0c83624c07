//! Source text without what is not code: comments and literals become blanks, items under `#[cfg(test)]` are located.
//!
//! A search for `tokio::spawn` must not stumble over a comment that explains why it is absent. This reads tokens, not
//! syntax (Rust reference, "Lexical structure": comments, string, byte, raw and character literals, lifetimes).

use std::ops::Range;

/// The text with comments and literals replaced by blanks. Line breaks stay, so that line numbers do.
pub(super) fn without_literals(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut masked = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'\'' => character_end(bytes, at),
            b'r' | b'b' | b'c' if at == 0 || !is_word(bytes[at - 1]) => prefixed_end(bytes, at),
            _ => at,
        };
        for byte in masked[at..end].iter_mut().filter(|byte| **byte != b'\n') {
            *byte = b' ';
        }
        at = end.max(at + 1);
    }
    // Only whole characters were replaced, by ASCII.
    String::from_utf8_lossy(&masked).into_owned()
}

/// Where the items under `#[cfg(test)]` and `#[cfg(all(test, ..))]` stand in a masked text; all of it for `#![cfg(test)]`.
pub(super) fn test_regions(masked: &str) -> Vec<Range<usize>> {
    if masked.contains("#![cfg(test)]") {
        return std::iter::once(0..masked.len()).collect();
    }
    let mut regions: Vec<Range<usize>> = Vec::new();
    let mut from = 0;
    while let Some(start) = ["#[cfg(test)]", "#[cfg(all(test,"]
        .iter()
        .filter_map(|attribute| masked[from..].find(attribute))
        .min()
        .map(|offset| from + offset)
    {
        let end = item_end(masked.as_bytes(), start);
        regions.push(start..end);
        from = end;
    }
    regions
}

/// The text with test items replaced by blanks.
pub(super) fn without_tests(masked: &str) -> String {
    let mut bytes = masked.as_bytes().to_vec();
    for region in test_regions(masked) {
        for byte in bytes[region].iter_mut().filter(|byte| **byte != b'\n') {
            *byte = b' ';
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether a byte can be part of an identifier.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |offset| at + offset)
}

/// Block comments nest.
fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'/', Some(b'*')) => {
                depth += 1;
                at += 2;
            }
            (b'*', Some(b'/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The end of a string whose opening quote is at `quote`.
fn string_end(bytes: &[u8], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The end of a character literal, or `quote` itself where the quote opens a lifetime.
fn character_end(bytes: &[u8], quote: usize) -> usize {
    let closing = |from: usize, within: usize| {
        let window = bytes.get(from..bytes.len().min(from + within))?;
        window.iter().position(|byte| *byte == b'\'').map(|offset| from + offset + 1)
    };
    match bytes.get(quote + 1) {
        // The longest escape is `\u{10FFFF}`, with up to five underscores.
        Some(b'\\') => closing(quote + 3, 16).unwrap_or(quote),
        // One character of up to four bytes; an ASCII one is followed by the closing quote at once.
        Some(byte) if byte.is_ascii() => {
            if bytes.get(quote + 2) == Some(&b'\'') {
                quote + 3
            } else {
                quote
            }
        }
        Some(_) => closing(quote + 2, 4).unwrap_or(quote),
        None => quote,
    }
}

/// The end of a literal with a prefix (`r""`, `b""`, `br#""#`, `c""`, `b''`), or `start` where an identifier begins.
fn prefixed_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    let mut raw = false;
    while let Some(b'r' | b'b' | b'c') = bytes.get(at).filter(|_| at < start + 2) {
        raw |= bytes[at] == b'r';
        at += 1;
    }
    match bytes.get(at) {
        Some(b'"') if !raw => return string_end(bytes, at),
        Some(b'\'') if !raw => {
            let end = character_end(bytes, at);
            return if end > at { end } else { start };
        }
        Some(b'"' | b'#') if raw => {}
        _ => return start,
    }
    let hashes = bytes[at..].iter().take_while(|byte| **byte == b'#').count();
    if bytes.get(at + hashes) != Some(&b'"') {
        return start;
    }
    let closing: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = at + hashes + 1;
    let found = bytes[body..].windows(closing.len()).position(|window| window == closing);
    found.map_or(bytes.len(), |offset| body + offset + closing.len())
}

/// The end of the item whose attribute stands at `start`: its closing brace, or a semicolon outside of all brackets.
fn item_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in bytes.iter().enumerate().skip(start) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            // A closing bracket that the item did not open ends what it stands in.
            b')' | b']' | b'}' if depth == 0 => return at,
            b')' | b']' => depth -= 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    bytes.len()
}
