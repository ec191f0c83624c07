//! The header: any bytes, read as they come in one by one.

use rdb_net_wire::{FrameError, HEADER_BYTES, PayloadHeader, frame_length, split_frame};

use crate::memory;

/// The first four bytes are the largest frame; the rest is the stream.
pub(crate) fn run(bytes: &[u8]) {
    let Some((limit, stream)) = bytes.split_first_chunk() else { return };
    let limit = u32::from_be_bytes(*limit);
    memory::within(0, "a header", || read(stream, limit));
}

fn read(stream: &[u8], limit: u32) {
    let mut told: Option<FrameError> = None;
    for length in 0..=stream.len().min(2 * HEADER_BYTES) {
        let header = PayloadHeader::read(&stream[..length], limit);
        match (told, &header) {
            // What was wrong stays wrong; only the bytes of the magic that are told may grow in number.
            (Some(FrameError::Magic { .. }), header) => assert!(matches!(header, Err(FrameError::Magic { .. }))),
            (Some(before), header) => assert_eq!(*header, Err(before)),
            (None, Ok(None)) => assert!(length < HEADER_BYTES),
            (None, Ok(Some(header))) => {
                assert!(length >= HEADER_BYTES && u64::from(header.size) + 12 <= u64::from(limit));
                assert!(header.size >= 20);
            }
            (None, Err(_)) => {}
        }
        told = told.or(header.err());
        let whole = frame_length(&stream[..length], limit);
        assert_eq!(whole, header.map(|header| header.map(|header| header.size as usize + HEADER_BYTES)));
    }
    if let Ok(Some(whole)) = frame_length(stream, limit) {
        let split = split_frame(stream);
        assert_eq!(split.map(|(frame, _)| frame.len()), (whole <= stream.len()).then_some(whole));
    }
}
