//! A body: a growing struct and, behind it, an attachment of plain bytes.

use bytes::Bytes;
use rdb_net_types::{MessageType, Payload};
use serde::Serialize;

use crate::{DecodeError, Frame, FrameBuffer, codec};

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
    #[inline]
    pub fn share(&mut self, payload: &Payload) {
        self.buffer.share(payload);
    }

    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        self.buffer.bytes_mut()
    }
}

/// A body as it arrived: a slice of the read buffer, the attachment at its end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Body {
    bytes: Bytes,
    attachment_bytes: u32,
}

impl Body {
    /// The body of a frame that was read from these bytes: shared, not copied.
    #[inline]
    pub fn of(frame: &Frame, bytes: &Bytes) -> Self {
        Self::within(frame, bytes, 0)
    }

    /// The body of a frame that was read from these bytes, `start` bytes behind their first: shared, not copied.
    #[inline]
    pub fn within(frame: &Frame, bytes: &Bytes, start: usize) -> Self {
        let whole = start + frame.structure.start..start + frame.attachment.end;
        let bytes = if whole.is_empty() { Bytes::new() } else { bytes.slice(whole) };
        Self { bytes, attachment_bytes: frame.attachment.len() as u32 }
    }

    /// A body of a struct and the bytes behind it. Copies where both are there; for bodies that did not arrive in a frame.
    pub fn new(structure: Bytes, attachment: &[u8]) -> Self {
        if attachment.is_empty() {
            return Self { bytes: structure, attachment_bytes: 0 };
        }
        let bytes = [&structure, attachment].concat().into();
        Self { bytes, attachment_bytes: attachment.len() as u32 }
    }

    /// The struct, or the whole of an opaque body.
    pub fn structure(&self) -> &[u8] {
        &self.bytes[..self.bytes.len() - self.attachment_bytes as usize]
    }

    /// The bytes behind the struct, shared.
    pub fn attachment(&self) -> Bytes {
        self.bytes.slice(self.bytes.len() - self.attachment_bytes as usize..)
    }

    /// How many bytes there are in all.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no byte at all.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The whole body, for types that are opaque bytes.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The whole body as a payload, for types that are opaque bytes.
    pub fn into_payload(self) -> Payload {
        Payload::from(self.bytes)
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
