//! The bytes of a frame, both ways.
//!
//! A frame is the 12-byte header of the specification (magic, version, message type, size, all big-endian), then the payload:
//! a fixed envelope, skippable extensions, the body, and a CRC32C. `docs/wire-format.md` tells every byte; the golden vectors
//! in `golden/` pin them.
//!
//! ```text
//!  0      4        6       8       12     14    15     16           24         28        32
//!  | RDBN | version | type | size  | flags | lane | words | correlation | deadline | raw len | extensions | body | CRC32C |
//! ```
//!
//! A message whose frame would be too large is sent as several (fragments), and a body may be compressed; both only where the
//! hello agreed on it ([`FrameRules`]).
//!
//! A body is one struct, never an enum: a type that one side does not know harms nothing else. It begins with its field count
//! and grows at its end only, so that an older and a newer side read each other's messages. Large byte fields are attachments
//! behind the struct: they are never copied into it and never decoded.
//!
//! Nothing here allocates by a length that has not been checked against what has arrived.

mod body;
mod buffer;
mod codec;
mod compress;
mod control;
mod datagram;
mod error;
mod extension;
mod frame;
mod message;
mod prepared;

pub use body::{Body, BodyWriter, Encode, Message, Raw};
pub use buffer::{FrameBuffer, FrameMark, INLINE_BYTES_MAX};
pub use compress::{COMPRESSION_RATIO_MAX, Codec, Codecs};
pub use control::{
    Close, CloseCode, Credit, ErrorReply, Fence, GoAway, Hello, Ping, Pong, Reject, StreamCredit, TypeCost,
    control_type, feature,
};
pub use datagram::{DATAGRAM_HEAD_BYTES, encode_datagram, read_datagram, write_datagram};
pub use error::{DecodeError, EncodeError, FrameError};
pub use extension::{FRAGMENT_BYTES_MIN, Fragment};
pub use frame::{
    CHECKSUM_BYTES, CheckedFrame, Flags, Frame, FrameHead, FrameRules, HEAD_BYTES, HEADER_BYTES, MAGIC, PayloadHeader,
    VERSION, decode_frame, frame_length, split_frame,
};
pub use message::{EntryHead, EntryHeads, PackedReplicationLog, decode_cluster_message};
pub use prepared::Prepared;

#[cfg(test)]
mod tests;
