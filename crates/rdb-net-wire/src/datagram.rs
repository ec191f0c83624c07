//! A message in a packet of its own, beside the streams of a connection: its type, and its body up to the packet's end.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use rdb_net_types::MessageType;

use crate::{BodyWriter, Encode, FrameBuffer};

/// What a datagram has before its body.
pub const DATAGRAM_HEAD_BYTES: usize = 2;

/// The packet of this message.
pub fn write_datagram(message_type: MessageType, body: &[u8]) -> Bytes {
    let mut packet = BytesMut::with_capacity(DATAGRAM_HEAD_BYTES + body.len());
    packet.put_u16_le(message_type.0);
    packet.extend_from_slice(body);
    packet.freeze()
}

/// The packet of a message that has a layout.
pub fn encode_datagram(message: &impl Encode) -> Bytes {
    let mut body = FrameBuffer::new();
    message.encode(&mut BodyWriter { buffer: &mut body });
    write_datagram(message.message_type(), &body.to_vec())
}

/// The message in this packet; `None` of one that is too short to be any.
pub fn read_datagram(mut packet: Bytes) -> Option<(MessageType, Bytes)> {
    let message_type = MessageType(packet.try_get_u16_le().ok()?);
    Some((message_type, packet))
}
