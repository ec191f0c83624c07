//! Bodies as their codecs write them.

use rdb_net_types::{Lane, MessageType};
use rdb_net_wire::{BodyWriter, CHECKSUM_BYTES, Codec, Encode, Flags, FrameBuffer, FrameHead, HEAD_BYTES};

use crate::messages::FRAME_BYTES_MAX;

/// Bytes of which each is copied into the frame, since only those can be compressed there.
pub(crate) struct Copied<'a>(pub(crate) &'a [u8]);

impl Encode for Copied<'_> {
    fn message_type(&self) -> MessageType {
        MessageType::FIRST_APPLICATION
    }

    fn encode(&self, body: &mut BodyWriter<'_>) {
        body.bytes(self.0);
    }
}

/// A frame of these bytes with a checksum, compressed where that saves something.
pub(crate) fn frame(codec: Codec, raw: &[u8]) -> Vec<u8> {
    let head = FrameHead {
        message_type: MessageType::FIRST_APPLICATION,
        flags: Flags::CHECKSUM,
        lane: Lane::Interactive,
        correlation: 1,
    };
    let mut buffer = FrameBuffer::new();
    let plain = buffer.push(head, &Copied(raw), FRAME_BYTES_MAX).expect("small enough");
    let saved = buffer.compress_last(&plain, codec);
    let mark = saved.map_or(plain, |(_, mark)| mark);
    if let Some((saved_bytes, mark)) = saved {
        assert_eq!(saved_bytes, plain.wire_bytes - mark.wire_bytes, "what was saved is told");
    }
    buffer.seal(&mark, 0);
    let bytes = buffer.to_vec();
    assert_eq!(bytes.len(), mark.wire_bytes as usize);
    bytes
}

/// The compressed bytes; `None` where they would save too little.
pub(crate) fn compress(codec: Codec, raw: &[u8]) -> Option<Vec<u8>> {
    let frame = frame(codec, raw);
    let flags = Flags(u16::from_be_bytes([frame[12], frame[13]]));
    flags.has(Flags::CODEC).then(|| frame[HEAD_BYTES..frame.len() - CHECKSUM_BYTES].to_vec())
}
