//! A body: a growing struct and, behind it, an attachment of plain bytes.

use bytes::Bytes;
use rdb_net_types::{MessageType, Payload};
use serde::Serialize;

use crate::{DecodeError, FrameBuffer, codec};

/// Something that can be the body of a frame.
pub trait Encode {
    /// The type that the frame will carry.
    fn message_type(&self) -> MessageType;

    /// How many bytes of the body, at its end, are the attachment.
    fn attachment_bytes(&self) -> usize {
        0
    }

    /// Writes the struct, then exactly [`attachment_bytes`](Self::attachment_bytes) bytes.
    fn encode(&self, body: &mut BodyWriter<'_>);
}

/// A message whose type is known when the program is compiled.
pub trait Message: Encode + Sized {
    /// Its type.
    const TYPE: MessageType;

    /// Reads it back.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when the two sides disagree on the type's layout.
    fn decode(body: &Body) -> Result<Self, DecodeError>;
}

/// Writes a body into a buffer of frames.
#[derive(Debug)]
pub struct BodyWriter<'a> {
    pub(crate) buffer: &'a mut FrameBuffer,
}

impl BodyWriter<'_> {
    /// Appends one field of a struct, in postcard.
    pub fn field<T: Serialize + ?Sized>(&mut self, field: &T) {
        codec::put(self.buffer.bytes_mut(), field);
    }

    /// Appends plain bytes, copied.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.buffer.bytes_mut().extend_from_slice(bytes);
    }

    /// Appends plain bytes, shared where they are many.
    pub fn share(&mut self, payload: &Payload) {
        self.buffer.share(payload);
    }

    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        self.buffer.bytes_mut()
    }
}

/// A body as it arrived: slices of the read buffer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Body {
    /// The struct, or the whole of an opaque body.
    pub structure: Bytes,
    /// The bytes behind it.
    pub attachment: Bytes,
}

impl Body {
    /// The whole body as one payload, for types that are opaque bytes.
    pub fn into_payload(self) -> Payload {
        [self.structure, self.attachment].into_iter().collect()
    }
}

/// Opaque bytes of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// The type.
    pub message_type: MessageType,
    /// The bytes.
    pub payload: Payload,
}

impl Encode for Raw {
    fn message_type(&self) -> MessageType {
        self.message_type
    }

    fn encode(&self, body: &mut BodyWriter<'_>) {
        body.share(&self.payload);
    }
}
