//! Tests of the whole crate: what goes in comes out, golden files pin the bytes, and what no honest peer sends is refused.

mod allocation;
mod arbitrary;
mod buffer;
mod checksum;
mod control;
mod datagram;
mod evolution;
mod extension;
mod frame;
mod golden;
mod message;
mod prepared;
mod remove;
mod vectors;

use bytes::Bytes;
use rdb_net_types::{Application, Lane, MessageType, Payload};

use crate::{
    Body, CHECKSUM_BYTES, Encode, Flags, Frame, FrameBuffer, FrameError, FrameHead, HEADER_BYTES, decode_frame,
    frame_length,
};

/// Larger than every frame in these tests.
const FRAME_BYTES_MAX: u32 = 1 << 20;

/// A request on the interactive lane, without a checksum.
fn request_head(message_type: MessageType) -> FrameHead {
    let correlation = 0x0000_0003_0000_0007;
    FrameHead { message_type, flags: Flags::default(), lane: Lane::Interactive, correlation }
}

fn checked(head: FrameHead) -> FrameHead {
    FrameHead { flags: head.flags.with(Flags::CHECKSUM), ..head }
}

/// A message of the application whose body is these bytes.
fn application(bytes: impl Into<Payload>) -> Application {
    Application { message_type: MessageType::FIRST_APPLICATION, payload: bytes.into() }
}

/// One sealed frame.
fn sealed(head: FrameHead, message: &dyn Encode, deadline_us: u32) -> Vec<u8> {
    let mut buffer = FrameBuffer::new();
    let mark = buffer.push(head, message, FRAME_BYTES_MAX).expect("fits");
    buffer.seal(&mark, deadline_us);
    assert_eq!(mark.wire_bytes as usize, buffer.len());
    buffer.to_vec()
}

/// A sealed request with these bytes as its body.
fn small_frame(flags: Flags) -> Vec<u8> {
    let message = application("abc");
    sealed(FrameHead { flags, ..request_head(message.message_type) }, &message, 5)
}

/// Makes a frame whose bytes were changed by hand consistent again: its size, and its checksum where it has one.
fn mend(frame: &mut [u8]) {
    let size = (frame.len() - HEADER_BYTES) as u32;
    frame[8..12].copy_from_slice(&size.to_be_bytes());
    if Flags(u16::from_be_bytes([frame[12], frame[13]])).has(Flags::CHECKSUM) {
        let covered_end = frame.len() - CHECKSUM_BYTES;
        let sum = crc_fast::crc32_iscsi(&frame[..covered_end]);
        frame[covered_end..].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Puts extensions in front of those that the frame has.
fn with_extensions(frame: &[u8], extensions: &[u8]) -> Vec<u8> {
    let mut longer = [&frame[..crate::HEAD_BYTES], extensions, &frame[crate::HEAD_BYTES..]].concat();
    longer[15] += (extensions.len() / 4) as u8;
    mend(&mut longer);
    longer
}

/// Reads the first frame of a stream as a connection does; `None` while it is not whole.
fn read_first(stream: &[u8], checksum_required: bool) -> Result<Option<(Frame, usize)>, FrameError> {
    let Some(length) = frame_length(stream, FRAME_BYTES_MAX)? else { return Ok(None) };
    let Some(whole) = stream.get(..length) else { return Ok(None) };
    Ok(Some((decode_frame(whole, checksum_required)?, length)))
}

/// The body that a message has on the wire.
fn body(message: &dyn Encode) -> Body {
    let bytes = Bytes::from(sealed(request_head(message.message_type()), message, 0));
    Body::of(&decode_frame(&bytes, false).expect("our own frame"), &bytes)
}
