//! Taking a frame out of a run: the others stay what they are and can still be sealed.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert_eq, proptest};
use proptest::sample::Index;
use rdb_net_types::{ClusterMessage, Payload};

use super::arbitrary::cluster_message;
use super::{FRAME_BYTES_MAX, application, checked, request_head, sealed};
use crate::{FrameBuffer, FrameHead, FrameMark, INLINE_BYTES_MAX};

struct Run {
    buffer: FrameBuffer,
    frames: Vec<(FrameMark, FrameHead, ClusterMessage)>,
}

impl Run {
    fn of(messages: Vec<ClusterMessage>, with_checksum: bool) -> Self {
        let mut buffer = FrameBuffer::new();
        let push = |message: ClusterMessage| {
            let head = request_head(message.message_type());
            let head = if with_checksum { checked(head) } else { head };
            (buffer.push(head, &message, FRAME_BYTES_MAX).expect("fits"), head, message)
        };
        let frames = messages.into_iter().map(push).collect();
        Self { buffer, frames }
    }

    fn remove(&mut self, index: usize) {
        let (removed, ..) = self.frames.remove(index);
        let mut later: Vec<FrameMark> = self.frames[index..].iter().map(|(mark, ..)| *mark).collect();
        self.buffer.remove(&removed, &mut later);
        self.frames[index..].iter_mut().zip(later).for_each(|(frame, mark)| frame.0 = mark);
    }

    /// The run once it is sealed, and what it has to be: each frame as if it had been alone.
    fn sealed(mut self) -> (Vec<u8>, Vec<u8>) {
        self.frames.iter().for_each(|(mark, ..)| self.buffer.seal(mark, 77));
        let alone = self.frames.iter().map(|(_, head, message)| sealed(*head, message, 77));
        let expected: Vec<u8> = alone.flatten().collect();
        assert_eq!(self.buffer.len(), expected.len());
        (self.buffer.to_vec(), expected)
    }
}

/// Without shared pieces, with one, and with several side by side.
fn three_kinds() -> Vec<ClusterMessage> {
    let large = |byte: u8| Bytes::from(vec![byte; INLINE_BYTES_MAX + 1]);
    let two: Payload = [large(1), large(2), Bytes::from_static(b"tail")].into_iter().collect();
    vec![application("small").into(), application(large(3)).into(), application(two).into()]
}

#[test]
fn whatever_frame_is_taken_out_of_whatever_neighbours() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for taken in 0..3 {
            let kinds = three_kinds();
            let mut run = Run::of(order.iter().map(|kind| kinds[*kind].clone()).collect(), true);
            run.remove(taken);
            let (found, expected) = run.sealed();
            assert_eq!(found, expected, "frame {taken} of {order:?}");
        }
    }
}

#[test]
fn a_run_without_its_frames_is_empty_and_takes_new_ones() {
    let mut run = Run::of(three_kinds(), true);
    (0..3).for_each(|_| run.remove(0));
    assert!(run.buffer.is_empty());
    let head = checked(request_head(application("").message_type));
    let mark = run.buffer.push(head, &application("again"), FRAME_BYTES_MAX).expect("fits");
    run.buffer.seal(&mark, 1);
    assert_eq!(run.buffer.to_vec(), sealed(head, &application("again"), 1));
}

proptest! {
    #[test]
    fn any_frames_taken_out_in_any_order_leave_the_others_intact(
        messages in vec(cluster_message(), 1..7),
        taken in vec(any::<Index>(), 0..5),
        with_checksum: bool,
    ) {
        let mut run = Run::of(messages, with_checksum);
        for index in taken {
            if !run.frames.is_empty() {
                run.remove(index.index(run.frames.len()));
            }
        }
        let (found, expected) = run.sealed();
        prop_assert_eq!(found, expected);
    }
}
