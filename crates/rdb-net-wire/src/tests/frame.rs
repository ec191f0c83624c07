//! Header and envelope: what is refused, from which byte on, and what is let pass.

use proptest::collection::vec;
use proptest::prelude::{any, proptest};
use rdb_net_types::{Lane, MessageType};

use super::{FRAME_BYTES_MAX, application, mend, read_first, request_head, sealed, small_frame};
use crate::{
    Flags, FrameError, FrameHead, HEAD_BYTES, HEADER_BYTES, MAGIC, PayloadHeader, VERSION, decode_frame, frame_length,
};

#[test]
fn the_head_comes_back() {
    for lane in Lane::ALL {
        let head = FrameHead { lane, correlation: u64::MAX - 1, ..request_head(MessageType(0x8001)) };
        let bytes = sealed(head, &application("abc"), 0);
        let frame = decode_frame(&bytes, false).expect("our own");
        assert_eq!(frame.head, head);
        assert_eq!((frame.raw_bytes, frame.structure(), frame.attachment()), (3, 32..35, 35..35));
    }
}

#[test]
fn no_time_a_little_and_the_most_come_back() {
    for deadline_us in [0, 1, u32::MAX] {
        let bytes = sealed(request_head(MessageType::FIRST_APPLICATION), &application("abc"), deadline_us);
        assert_eq!(decode_frame(&bytes, false).expect("our own").deadline_us, deadline_us);
    }
}

#[test]
fn half_a_header_is_no_header_yet() {
    let frame = small_frame(Flags::default());
    for length in 0..HEADER_BYTES {
        assert_eq!(PayloadHeader::read(&frame[..length], FRAME_BYTES_MAX), Ok(None), "{length}");
    }
    let header = PayloadHeader { message_type: MessageType::FIRST_APPLICATION, size: 23 };
    assert_eq!(PayloadHeader::read(&frame[..HEADER_BYTES], FRAME_BYTES_MAX), Ok(Some(header)));
    assert_eq!(frame_length(&frame[..HEADER_BYTES], FRAME_BYTES_MAX), Ok(Some(frame.len())));
}

#[test]
fn a_wrong_magic_is_told_from_its_first_wrong_byte() {
    for wrong in 0..MAGIC.len() {
        let mut bytes = MAGIC;
        bytes[wrong] ^= 0x20;
        for length in 0..=MAGIC.len() {
            let read = frame_length(&bytes[..length], FRAME_BYTES_MAX);
            if length <= wrong {
                assert_eq!(read, Ok(None));
            } else {
                let mut found = [0; 4];
                found[..length].copy_from_slice(&bytes[..length]);
                assert_eq!(read, Err(FrameError::Magic { found }));
            }
        }
    }
}

#[test]
fn another_version_is_refused() {
    let mut frame = small_frame(Flags::default());
    for found in [0, VERSION + 1, 0x0100, u16::MAX] {
        frame[4..6].copy_from_slice(&found.to_be_bytes());
        assert_eq!(frame_length(&frame, FRAME_BYTES_MAX), Err(FrameError::Version { found }));
    }
}

#[track_caller]
fn length_of(size: u32, limit: u32) -> Result<Option<usize>, FrameError> {
    let mut header = small_frame(Flags::default());
    header[8..12].copy_from_slice(&size.to_be_bytes());
    frame_length(&header[..HEADER_BYTES], limit)
}

#[test]
fn a_size_is_refused_below_the_envelope_and_above_the_limit() {
    for size in [0, 1, 19] {
        assert_eq!(length_of(size, 4096), Err(FrameError::TooSmall { size }));
    }
    assert_eq!(length_of(20, 4096), Ok(Some(HEAD_BYTES)));
    assert_eq!(length_of(4084, 4096), Ok(Some(4096)));
    for size in [4085, 4096, u32::MAX] {
        assert_eq!(length_of(size, 4096), Err(FrameError::TooLarge { size, limit: 4096 }));
    }
    // Header and size together exceed what a u32 counts: no limit lets that through.
    assert_eq!(length_of(u32::MAX, u32::MAX), Err(FrameError::TooLarge { size: u32::MAX, limit: u32::MAX }));
    assert_eq!(length_of(20, 0), Err(FrameError::TooLarge { size: 20, limit: 0 }));
}

#[test]
fn a_lying_size_never_yields_a_frame() {
    for flags in [Flags::default(), Flags::CHECKSUM] {
        let frame = small_frame(flags);
        let honest = (frame.len() - HEADER_BYTES) as u32;
        let mut stream = frame.repeat(3);
        for size in (0..2 * honest).filter(|size| *size != honest) {
            stream[8..12].copy_from_slice(&size.to_be_bytes());
            let read = read_first(&stream, false);
            assert!(read.is_err(), "{size} instead of {honest}: {read:?}");
        }
        let more_than_came = (stream.len() as u32).to_be_bytes();
        stream[8..12].copy_from_slice(&more_than_came);
        assert_eq!(read_first(&stream, false), Ok(None), "more is waited for");
    }
}

#[test]
fn a_lane_beyond_the_fourth_is_refused() {
    let mut frame = small_frame(Flags::default());
    for found in 4..=u8::MAX {
        frame[14] = found;
        assert_eq!(decode_frame(&frame, false), Err(FrameError::Lane { found }));
    }
}

#[test]
fn an_envelope_shorter_than_its_fixed_part_or_longer_than_the_frame_is_refused() {
    let frame = small_frame(Flags::default());
    let size = (frame.len() - HEADER_BYTES) as u32;
    for words in (0..5).chain(6..=u8::MAX) {
        let mut frame = frame.clone();
        frame[15] = words;
        assert_eq!(decode_frame(&frame, false), Err(FrameError::TooSmall { size }), "{words} words");
    }
}

#[test]
fn a_checksum_that_leaves_no_room_for_the_envelope_is_refused() {
    let mut frame = small_frame(Flags::CHECKSUM);
    frame.truncate(HEAD_BYTES);
    mend(&mut frame);
    assert_eq!(decode_frame(&frame, true), Err(FrameError::TooSmall { size: 20 }));
    for length in 0..HEAD_BYTES {
        let size = length.saturating_sub(HEADER_BYTES) as u32;
        assert_eq!(decode_frame(&frame[..length], false), Err(FrameError::TooSmall { size }));
    }
}

#[test]
fn flags_without_a_meaning_are_ignored() {
    for flags in [Flags(0x0200), Flags(0x8000), Flags(0xfe00)] {
        let read = read_first(&small_frame(flags), false).expect("let pass").expect("whole");
        assert_eq!(read.0.head.flags, flags);
        assert_eq!(read.0.structure(), HEAD_BYTES..HEAD_BYTES + 3);
    }
}

#[test]
fn fragments_codecs_and_streams_were_not_agreed() {
    for flags in [Flags::MORE, Flags(0x0010), Flags(0x0020), Flags::CODEC, Flags::STREAM] {
        assert_eq!(read_first(&small_frame(flags), false), Err(FrameError::NotAgreed));
        assert_eq!(read_first(&small_frame(flags.with(Flags::CHECKSUM)), true), Err(FrameError::NotAgreed));
    }
}

#[test]
fn a_body_that_is_not_as_long_as_it_says_was_not_agreed() {
    let mut frame = small_frame(Flags::CHECKSUM);
    for raw_bytes in [0u32, 2, 4, 7, u32::MAX] {
        frame[28..32].copy_from_slice(&raw_bytes.to_be_bytes());
        mend(&mut frame);
        assert_eq!(decode_frame(&frame, true), Err(FrameError::NotAgreed), "{raw_bytes}");
    }
}

#[test]
fn every_error_has_a_short_name_of_its_own() {
    let errors = [
        FrameError::Magic { found: MAGIC },
        FrameError::Version { found: 2 },
        FrameError::TooLarge { size: 1, limit: 0 },
        FrameError::TooSmall { size: 1 },
        FrameError::Extension,
        FrameError::Lane { found: 4 },
        FrameError::Checksum,
        FrameError::NotAgreed,
        FrameError::Compression,
        FrameError::Fragment,
        FrameError::MessageTooLarge { total: 2, limit: 1 },
    ];
    let names: std::collections::BTreeSet<_> = errors.iter().map(FrameError::name).collect();
    assert_eq!(names.len(), errors.len());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200), limit: u32, required: bool) {
        let _ = frame_length(&bytes, limit);
        let _ = decode_frame(&bytes, required);
    }

    /// A sound header and a sound length get the reader as far as it goes.
    #[test]
    fn any_envelope_and_body_are_read_or_refused(
        envelope in vec(any::<u8>(), 20),
        words in 0u8..12,
        lane in 0u8..5,
        behind in vec(any::<u8>(), 0..100),
    ) {
        let mut frame = small_frame(Flags::default());
        frame.truncate(HEADER_BYTES);
        frame.extend_from_slice(&envelope);
        frame.extend_from_slice(&behind);
        (frame[12], frame[13], frame[14], frame[15]) = (0, envelope[1] & 0x47, lane, words);
        let end = frame.len() - if envelope[1] & 0x40 == 0 { 0 } else { 4 };
        let raw_bytes = (end as u32).saturating_sub(12 + u32::from(words) * 4);
        frame[28..32].copy_from_slice(&raw_bytes.to_be_bytes());
        if frame.len() >= HEAD_BYTES + 4 {
            mend(&mut frame);
        }
        if let Ok(read) = decode_frame(&frame, false) {
            assert_eq!((read.structure().end, read.attachment().end), (read.attachment().start, end));
            assert!(HEAD_BYTES <= read.structure().start && read.structure().start <= read.structure().end);
        }
    }
}
