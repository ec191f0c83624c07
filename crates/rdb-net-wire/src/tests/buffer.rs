//! A run of frames: what is copied, what is shared, and how it reaches a socket that takes as much as it likes.

use std::io::IoSlice;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
use proptest::sample::Index;
use rdb_net_types::{MessageType, Payload};

use super::arbitrary::{cluster_message, payload};
use super::{FRAME_BYTES_MAX, application, checked, read_first, request_head, sealed};
use crate::{EncodeError, FrameBuffer, INLINE_BYTES_MAX};

/// The pieces of the buffer as they are given to a vectored write.
fn pieces(buffer: &FrameBuffer, written: usize, slices_max: usize) -> Vec<Vec<u8>> {
    let mut slices = vec![IoSlice::new(&[]); slices_max];
    let filled = buffer.io_slices(written, &mut slices);
    slices[..filled].iter().map(|slice| slice.to_vec()).collect()
}

#[test]
fn small_pieces_are_copied_and_large_ones_are_shared() {
    let small = Bytes::from(vec![1; INLINE_BYTES_MAX]);
    let large = Bytes::from(vec![2; INLINE_BYTES_MAX + 1]);
    let payload: Payload = [small.clone(), large.clone(), small.clone()].into_iter().collect();
    let mut buffer = FrameBuffer::new();
    let head = request_head(MessageType::FIRST_APPLICATION);
    buffer.push(head, &application(payload), FRAME_BYTES_MAX).expect("fits");

    let mut slices = [IoSlice::new(&[]); 8];
    let filled = buffer.io_slices(0, &mut slices);
    let lengths: Vec<usize> = slices[..filled].iter().map(|slice| slice.len()).collect();
    assert_eq!(lengths, [32 + small.len(), large.len(), small.len()]);
    assert_eq!(slices[1].as_ptr(), large.as_ptr(), "the same memory, not a copy");
}

#[test]
fn no_slice_is_empty_and_no_more_are_filled_than_there_are() {
    let large = Bytes::from(vec![2; INLINE_BYTES_MAX + 1]);
    let payload: Payload = [large.clone(), large].into_iter().collect();
    let mut buffer = FrameBuffer::new();
    let head = request_head(MessageType::FIRST_APPLICATION);
    for _ in 0..3 {
        buffer.push(head, &application(payload.clone()), FRAME_BYTES_MAX).expect("fits");
    }
    for slices_max in 0..12 {
        let pieces = pieces(&buffer, 0, slices_max);
        assert_eq!(pieces.len(), slices_max.min(9));
        assert!(pieces.iter().all(|piece| !piece.is_empty()));
    }
    assert!(pieces(&buffer, buffer.len(), 4).is_empty());
    assert!(pieces(&buffer, buffer.len() + 1, 4).is_empty());
    assert!(pieces(&FrameBuffer::new(), 0, 4).is_empty());
}

#[test]
fn a_cleared_buffer_is_empty_and_keeps_its_memory() {
    let mut buffer = FrameBuffer::new();
    let head = request_head(MessageType::FIRST_APPLICATION);
    buffer.push(head, &application(vec![1; INLINE_BYTES_MAX + 1]), FRAME_BYTES_MAX).expect("fits");
    let capacity = buffer.capacity();
    buffer.clear();
    assert!(buffer.is_empty() && buffer.to_vec().is_empty());
    assert_eq!((buffer.capacity(), buffer.len()), (capacity, 0));

    let mark = buffer.push(checked(head), &application("abc"), FRAME_BYTES_MAX).expect("fits");
    buffer.seal(&mark, 1);
    assert_eq!(buffer.to_vec(), sealed(checked(head), &application("abc"), 1));
}

#[test]
fn a_frame_of_just_the_largest_size_fits() {
    let head = checked(request_head(MessageType::FIRST_APPLICATION));
    for body_bytes in [3, INLINE_BYTES_MAX + 1] {
        let message = application(vec![1; body_bytes]);
        let size = 32 + body_bytes + 4;
        assert!(FrameBuffer::new().push(head, &message, size as u32).is_ok());
        let too_large = EncodeError::TooLarge { message_type: MessageType::FIRST_APPLICATION, size, limit: size - 1 };
        assert_eq!(FrameBuffer::new().push(head, &message, size as u32 - 1), Err(too_large));
    }
}

#[test]
fn a_seal_can_be_renewed() {
    let head = checked(request_head(MessageType::FIRST_APPLICATION));
    let mut buffer = FrameBuffer::new();
    let mark = buffer.push(head, &application("abc"), FRAME_BYTES_MAX).expect("fits");
    for deadline_us in [u32::MAX, 1, 0] {
        buffer.seal(&mark, deadline_us);
        assert_eq!(buffer.to_vec(), sealed(head, &application("abc"), deadline_us));
    }
}

proptest! {
    #[test]
    fn from_every_offset_the_slices_are_the_bytes(
        messages in vec(cluster_message(), 1..5),
        offset: Index,
        slices_max in 1usize..5,
    ) {
        let mut buffer = FrameBuffer::new();
        for message in &messages {
            buffer.push(request_head(message.message_type()), message, FRAME_BYTES_MAX).expect("fits");
        }
        let whole = buffer.to_vec();
        prop_assert_eq!(whole.len(), buffer.len());
        // Around every border of a piece, and anywhere.
        let mut borders = vec![offset.index(whole.len() + 1)];
        let mut border = 0;
        for piece in pieces(&buffer, 0, 64) {
            border += piece.len();
            borders.extend([border - 1, border, border + 1]);
        }
        for written in borders {
            let rest = whole.get(written..).unwrap_or_default();
            prop_assert_eq!(pieces(&buffer, written, 64).concat(), rest);
            let some = pieces(&buffer, written, slices_max).concat();
            prop_assert!(rest.starts_with(&some) && (rest.is_empty() || !some.is_empty()));
        }
    }

    #[test]
    fn a_message_that_is_too_large_leaves_the_buffer_as_it_was(
        before in vec(cluster_message(), 0..3),
        pieces in payload(),
        short_by: Index,
        after in cluster_message(),
    ) {
        let mut buffer = FrameBuffer::new();
        let mut expected = Vec::new();
        let push = |buffer: &mut FrameBuffer, expected: &mut Vec<u8>, message: &rdb_net_types::ClusterMessage| {
            let head = checked(request_head(message.message_type()));
            let mark = buffer.push(head, message, FRAME_BYTES_MAX).expect("fits");
            expected.extend(sealed(head, message, 1));
            mark
        };
        let mut marks: Vec<_> = before.iter().map(|message| push(&mut buffer, &mut expected, message)).collect();
        let (length, bytes) = (buffer.len(), buffer.to_vec());

        let message = application(pieces);
        let head = checked(request_head(message.message_type));
        let limit = short_by.index(36 + message.payload.len()) as u32;
        prop_assert!(buffer.push(head, &message, limit).is_err());
        prop_assert_eq!(buffer.len(), length);
        prop_assert_eq!(buffer.to_vec(), bytes);

        marks.push(push(&mut buffer, &mut expected, &after));
        marks.iter().for_each(|mark| buffer.seal(mark, 1));
        prop_assert_eq!(buffer.to_vec(), expected);
    }

    #[test]
    fn frames_of_a_run_are_read_one_after_the_other(messages in vec(cluster_message(), 1..6)) {
        let mut buffer = FrameBuffer::new();
        let mut marks = Vec::new();
        for message in &messages {
            let head = checked(request_head(message.message_type()));
            marks.push(buffer.push(head, message, FRAME_BYTES_MAX).expect("fits"));
        }
        marks.iter().zip(1..).for_each(|(mark, deadline_us)| buffer.seal(mark, deadline_us));
        let stream = buffer.to_vec();
        let mut rest = &stream[..];
        for (mark, deadline_us) in marks.iter().zip(1..) {
            let (frame, length) = read_first(rest, true).expect("sound").expect("whole");
            prop_assert_eq!((frame.deadline_us, length), (deadline_us, mark.wire_bytes as usize));
            rest = &rest[length..];
        }
        prop_assert!(rest.is_empty());
    }
}
