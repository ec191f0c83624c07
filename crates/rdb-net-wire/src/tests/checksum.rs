//! The checksum: the standard one, over everything before it, and no damaged frame passes as another one.

use bytes::Bytes;
use proptest::prelude::{prop_assert, proptest};
use proptest::sample::Index;
use rdb_net_types::{MessageType, Payload, QueryRequest, Tuple};

use super::{checked, read_first, request_head, sealed, small_frame};
use crate::{Flags, FrameError, INLINE_BYTES_MAX, decode_frame};

/// CRC-32C, bit by bit (RFC 3720, appendix B.4; Castagnoli's polynomial 0x1EDC6F41, reflected).
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !crc
}

#[test]
fn the_check_value_is_that_of_crc_32c() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn the_last_four_bytes_are_the_crc_32c_of_all_before_them() {
    let large = Bytes::from(vec![7; INLINE_BYTES_MAX + 1]);
    let spliced = rdb_net_types::QueryResponse {
        result: vec![Tuple(Bytes::from_static(b"small")), Tuple(large.clone()), Tuple(large)],
        ..Default::default()
    };
    let spliced = sealed(checked(request_head(MessageType::QUERY_RESPONSE)), &spliced, 9);
    for frame in [small_frame(Flags::CHECKSUM), spliced] {
        let (covered, sum) = frame.split_last_chunk::<4>().expect("long enough");
        assert_eq!(crc32c(covered), u32::from_be_bytes(*sum));
    }
}

#[test]
fn a_frame_without_the_checksum_that_was_agreed_is_refused() {
    assert_eq!(decode_frame(&small_frame(Flags::default()), true), Err(FrameError::Checksum));
    assert!(decode_frame(&small_frame(Flags::default()), false).is_ok());
    // A checksum that nobody asked for is looked at all the same.
    let mut frame = small_frame(Flags::CHECKSUM);
    assert!(decode_frame(&frame, false).is_ok());
    *frame.last_mut().expect("not empty") ^= 1;
    assert_eq!(decode_frame(&frame, false), Err(FrameError::Checksum));
}

/// A frame with an extension, a struct and an attachment, and another frame behind it, so that a size that grew finds bytes.
fn stream() -> (Vec<u8>, usize) {
    let parameters = Payload::from("xy");
    let query = QueryRequest { query_id: 300, fragment: 1, query: "q".to_owned(), parameters };
    let first = sealed(checked(request_head(MessageType::QUERY_REQUEST)), &query, 1000);
    let length = first.len();
    ([first.clone(), first].concat(), length)
}

fn flip(bytes: &mut [u8], bit: usize) {
    bytes[bit / 8] ^= 1 << (bit % 8);
}

#[test]
fn no_single_flipped_bit_passes_even_where_a_checksum_is_optional() {
    let (mut stream, length) = stream();
    for bit in 0..length * 8 {
        flip(&mut stream, bit);
        for required in [false, true] {
            let read = read_first(&stream, required);
            assert!(!matches!(read, Ok(Some(_))), "bit {bit}: {read:?}");
        }
        flip(&mut stream, bit);
    }
    assert!(matches!(read_first(&stream, true), Ok(Some(_))), "the frame itself is sound");
}

#[test]
fn no_two_flipped_bits_pass_where_a_checksum_is_required() {
    let (mut stream, length) = stream();
    for first in 0..length * 8 {
        flip(&mut stream, first);
        for second in first + 1..length * 8 {
            flip(&mut stream, second);
            let read = read_first(&stream, true);
            assert!(!matches!(read, Ok(Some(_))), "bits {first} and {second}: {read:?}");
            flip(&mut stream, second);
        }
        flip(&mut stream, first);
    }
}

proptest! {
    /// A burst of up to 32 bits is what a CRC of 32 bits always finds.
    #[test]
    fn no_burst_of_32_bits_passes(body_bytes in 0usize..6000, start: Index, pattern in 1u32..) {
        let payload = Payload::from(vec![0x5a; body_bytes]);
        let query = QueryRequest { parameters: payload, ..QueryRequest::default() };
        let mut frame = sealed(checked(request_head(MessageType::QUERY_REQUEST)), &query, 1);
        // Behind the size and the flags: those say where the checksum is, so a burst there can move it.
        let first = 14 * 8;
        let start = first + start.index(frame.len() * 8 - first - 32);
        (0..32).filter(|bit| pattern >> bit & 1 == 1).for_each(|bit| flip(&mut frame, start + bit));
        prop_assert!(decode_frame(&frame, true) == Err(FrameError::Checksum));
    }

    #[test]
    fn no_byte_changed_anywhere_passes(at: Index, change in 1u8..) {
        let (mut stream, length) = stream();
        stream[at.index(length)] ^= change;
        let read = read_first(&stream, true);
        prop_assert!(!matches!(read, Ok(Some(_))), "{read:?}");
    }
}
