//! The frame of the floors: a 12-byte header and the payload.
//!
//! Length u32, kind u32, id u32, all big-endian. As small as a header with correlation can honestly be; no checksum.

use bytes::{Buf, BufMut};

use crate::peers::PeerError;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 12;

/// Longest payload that a reader accepts.
pub const PAYLOAD_BYTES_MAX: usize = 2 << 20;

/// What the receiver does with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Answer it with the same frame.
    Echo,
    /// Count it.
    OneWay,
    /// Answer with the count of one-way frames as eight big-endian bytes.
    Barrier,
}

/// The header of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the payload, at most [`PAYLOAD_BYTES_MAX`].
    pub payload_bytes: usize,
    /// What to do with it.
    pub kind: Kind,
    /// The correlation id, which the answer carries back.
    pub id: u32,
}

/// Appends one frame.
#[inline]
pub fn encode(kind: Kind, id: u32, payload: &[u8], out: &mut Vec<u8>) {
    let mut header = [0; HEADER_BYTES];
    let mut writer = &mut header[..];
    writer.put_u32(u32::try_from(payload.len()).expect("invariant: payloads are at most PAYLOAD_BYTES_MAX"));
    writer.put_u32(match kind {
        Kind::Echo => 0,
        Kind::OneWay => 1,
        Kind::Barrier => 2,
    });
    writer.put_u32(id);
    out.reserve(HEADER_BYTES + payload.len());
    out.extend_from_slice(&header);
    out.extend_from_slice(payload);
}

/// Reads the header at the start of `bytes`; `None` while there are fewer than [`HEADER_BYTES`].
///
/// # Errors
///
/// [`PeerError::Protocol`] on an unknown kind or a length above the limit.
#[inline]
pub fn decode(bytes: &[u8]) -> Result<Option<Header>, PeerError> {
    let Some(mut reader) = bytes.get(..HEADER_BYTES) else { return Ok(None) };
    let payload_bytes = reader.get_u32() as usize;
    let kind = match reader.get_u32() {
        0 => Kind::Echo,
        1 => Kind::OneWay,
        2 => Kind::Barrier,
        _ => return Err(PeerError::Protocol("unknown kind of frame")),
    };
    if payload_bytes > PAYLOAD_BYTES_MAX {
        return Err(PeerError::Protocol("payload above the limit"));
    }
    Ok(Some(Header { payload_bytes, kind, id: reader.get_u32() }))
}

/// Reads the whole frame at the start of `bytes`; `None` while it is incomplete.
///
/// # Errors
///
/// As [`decode`].
#[inline]
pub fn split(bytes: &[u8]) -> Result<Option<(Header, &[u8])>, PeerError> {
    let Some(header) = decode(bytes)? else { return Ok(None) };
    Ok(bytes.get(HEADER_BYTES..HEADER_BYTES + header.payload_bytes).map(|payload| (header, payload)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_frame_reads_back_and_no_prefix_of_it_does(
            id: u32,
            kind in prop_oneof![Just(Kind::Echo), Just(Kind::OneWay), Just(Kind::Barrier)],
            payload: Vec<u8>,
        ) {
            let mut bytes = Vec::new();
            encode(kind, id, &payload, &mut bytes);
            let header = Header { payload_bytes: payload.len(), kind, id };
            prop_assert_eq!(split(&bytes).unwrap(), Some((header, &payload[..])));
            for length in 0..bytes.len() {
                prop_assert_eq!(split(&bytes[..length]).unwrap(), None);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _either = split(&bytes);
        }
    }

    #[test]
    fn an_oversized_length_is_refused_before_the_payload_is_there() {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(matches!(decode(&bytes), Err(PeerError::Protocol(_))));
    }
}
