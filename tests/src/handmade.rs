//! Frames made by hand: as a node would send them, and then changed at will.

use rdb_net_types::{Lane, MessageType, Payload};
use rdb_net_wire::{
    CHECKSUM_BYTES, Codec, Encode, Flags, FrameBuffer, FrameHead, HEAD_BYTES, HEADER_BYTES, Prepared, Raw,
};

const FRAME_BYTES_MAX: u32 = 1 << 20;

/// A frame of the protocol's own with a checksum, as a node would send it.
///
/// # Panics
///
/// When the message is too large for a stranger.
pub fn frame(message: &impl Encode) -> Vec<u8> {
    written(message, Flags::ONE_WAY, 0, Lane::System)
}

/// A message of plain bytes with a checksum: a request where it has a correlation id, one-way where that is 0.
///
/// # Panics
///
/// When the message is too large for a stranger.
pub fn message(message_type: MessageType, correlation: u64, body: impl Into<Payload>) -> Vec<u8> {
    let flags = if correlation == 0 { Flags::ONE_WAY } else { Flags::default() };
    written(&Raw { message_type, payload: body.into() }, flags, correlation, Lane::Interactive)
}

fn written(message: &impl Encode, flags: Flags, correlation: u64, lane: Lane) -> Vec<u8> {
    let head =
        FrameHead { message_type: message.message_type(), flags: flags.with(Flags::CHECKSUM), lane, correlation };
    let mut buffer = FrameBuffer::new();
    let mark = buffer.push(head, message, FRAME_BYTES_MAX).expect("the message is small");
    buffer.seal(&mark, 0);
    buffer.to_vec()
}

/// The frame, which has no extensions, as the part of a message of so many bytes that begins at this offset.
///
/// # Panics
///
/// When it cannot have extensions.
pub fn part(frame: Vec<u8>, has_more: bool, total_bytes: u32, offset: u32) -> Vec<u8> {
    let frame = if has_more { flagged(frame, Flags::MORE) } else { frame };
    let place = [total_bytes, offset].map(u32::to_be_bytes).concat();
    extended(frame, &[[3, 3, 0, 0].as_slice(), &place].concat())
}

/// The request as one for a stream of replies, of which so many bytes may come before more are asked for.
///
/// # Panics
///
/// When it cannot have extensions.
pub fn streamed(frame: Vec<u8>, window_bytes: u32) -> Vec<u8> {
    let window = window_bytes.to_be_bytes();
    extended(flagged(frame, Flags::STREAM), &[[7, 2, 0, 0], window].concat())
}

/// A request whose body is compressed as a node would do it; `None` where that saves too little, or this build cannot.
///
/// # Panics
///
/// When the message does not fit a frame.
pub fn compressed(codec: Codec, message_type: MessageType, correlation: u64, raw: Vec<u8>) -> Option<Vec<u8>> {
    let mut prepared = Prepared::new(&Raw { message_type, payload: raw.into() }).expect("the message is small");
    let (before, after) = prepared.compress(codec, FRAME_BYTES_MAX);
    let head = FrameHead { message_type, flags: Flags::CHECKSUM, lane: Lane::Interactive, correlation };
    let mut buffer = FrameBuffer::new();
    let mark = buffer.push_part(head, &mut prepared, FRAME_BYTES_MAX);
    assert!(prepared.is_done(), "one block is one frame");
    buffer.seal(&mark, 0);
    (after < before).then(|| buffer.to_vec())
}

/// The frame with these flags beside those that it has.
///
/// # Panics
///
/// When it is no whole frame.
pub fn flagged(frame: Vec<u8>, flags: Flags) -> Vec<u8> {
    let had = Flags(u16::from_be_bytes([frame[12], frame[13]]));
    patched(frame, 12, &had.with(flags).0.to_be_bytes())
}

/// The frame with these bytes at this offset, and the checksum that fits.
///
/// # Panics
///
/// When the frame ends before.
pub fn patched(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    sealed(frame)
}

/// The frame with these extensions between envelope and body, which are whole words.
///
/// # Panics
///
/// When they are no whole words, or too many.
pub fn extended(mut frame: Vec<u8>, extensions: &[u8]) -> Vec<u8> {
    assert_eq!(extensions.len() % 4, 0, "extensions are whole words");
    frame[15] += u8::try_from(extensions.len() / 4).expect("few words");
    frame.splice(HEAD_BYTES..HEAD_BYTES, extensions.iter().copied());
    let size = u32::try_from(frame.len() - HEADER_BYTES).expect("a small frame");
    patched(frame, 8, &size.to_be_bytes())
}

/// The frame with the checksum that fits.
///
/// # Panics
///
/// When it has no room for one.
pub fn sealed(mut frame: Vec<u8>) -> Vec<u8> {
    let (covered, sum) = frame.split_last_chunk_mut::<CHECKSUM_BYTES>().expect("a frame has more bytes");
    *sum = crc_fast::crc32_iscsi(covered).to_be_bytes();
    frame
}
