//! The envelope: a frame as any bytes, or written by hand with at most one fault.

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use rdb_net_types::MessageType;
use rdb_net_wire::{
    Body, BodyWriter, Encode, Flags, FrameBuffer, HEAD_BYTES, HEADER_BYTES, decode_frame, frame_length,
};

use crate::frames::{self, Fault};
use crate::{memory, messages, sides};

/// The first byte decides whether the rest is a frame or tells how to write one.
pub(crate) fn run(bytes: &[u8]) {
    match bytes.split_first() {
        Some((kind, raw)) if kind % 2 == 0 => read(raw),
        Some((_, told)) => drop(written(&mut Unstructured::new(told))),
        None => {}
    }
}

/// A sound frame is read as what was written; one with a fault may be refused.
fn written(input: &mut Unstructured<'_>) -> Result<()> {
    let written = frames::frame(input, &sides::hello("dialer"))?;
    let bytes = written.bytes();
    read(&bytes);
    if written.fault == Fault::None
        && let Ok(frame) = decode_frame(&bytes, false)
    {
        assert_eq!((frame.head.message_type, frame.head.flags), (written.message_type, written.flags));
        assert_eq!((frame.head.lane as u8, frame.head.correlation), (written.lane, written.correlation));
        assert_eq!((frame.deadline_us, frame.raw_bytes as usize), (written.deadline_us, written.body.len()));
        assert_eq!(bytes[frame.structure().start..frame.attachment().end], written.body);
    }
    Ok(())
}

fn read(bytes: &[u8]) {
    // A reader gives whole frames on, of which it has looked at the header.
    if frame_length(bytes, u32::MAX) != Ok(Some(bytes.len())) {
        return;
    }
    let [lenient, strict] =
        [false, true].map(|required| memory::within(0, "an envelope", || decode_frame(bytes, required)));
    if strict.is_ok() {
        assert_eq!(strict, lenient, "what is required changes nothing where it is there");
    }
    let Ok(frame) = lenient else { return };
    let sum_bytes = if frame.head.flags.has(Flags::CHECKSUM) { 4 } else { 0 };
    assert!(frame.structure().start >= HEAD_BYTES && frame.structure().end == frame.attachment().start);
    assert_eq!(frame.attachment().end + sum_bytes, bytes.len());
    assert_eq!(frame.raw_bytes as usize, frame.structure().len() + frame.attachment().len());
    again(bytes, &frame);
}

/// Written anew, the frame is read as the same.
fn again(bytes: &[u8], frame: &rdb_net_wire::Frame) {
    let body = Body::of(frame, &Bytes::copy_from_slice(bytes));
    let mut buffer = FrameBuffer::new();
    let message = Opaque { message_type: frame.head.message_type, body: &body };
    let mark = buffer.push(frame.head, &message, messages::FRAME_BYTES_MAX).expect("it is as small as it was");
    buffer.seal(&mark, frame.deadline_us);
    let copy = Bytes::from(buffer.to_vec());
    let read = decode_frame(&copy, false).expect("our own frame");
    assert_eq!((read.head, read.deadline_us, read.raw_bytes), (frame.head, frame.deadline_us, frame.raw_bytes));
    assert_eq!(Body::of(&read, &copy), body);
    assert!(copy.len() >= HEADER_BYTES);
}

/// A body with its attachment, as it was read.
struct Opaque<'a> {
    message_type: MessageType,
    body: &'a Body,
}

impl Encode for Opaque<'_> {
    fn message_type(&self) -> MessageType {
        self.message_type
    }

    fn attachment_bytes(&self) -> usize {
        self.body.attachment().len()
    }

    fn encode(&self, writer: &mut BodyWriter<'_>) {
        writer.bytes(self.body.structure());
        writer.share(&self.body.attachment());
    }
}
