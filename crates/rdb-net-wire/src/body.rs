//! A body: a growing struct and, behind it, an attachment of plain bytes.

use std::sync::OnceLock;

use bytes::{Bytes, BytesMut};
use rdb_net_types::{MessageType, Payload};
use serde::Serialize;

use crate::{DecodeError, Frame, FrameBuffer, FrameError, codec};

/// Something that can be the body of a frame.
pub trait Encode {
    /// The type that the frame will carry.
    fn message_type(&self) -> MessageType;

    /// How many bytes of the body, at its end, are the attachment.
    fn attachment_bytes(&self) -> usize {
        0
    }

    /// How many bytes the body has at least: those that are cheap to count. A message that is large by it is encoded before
    /// any lock is taken.
    fn bytes_at_least(&self) -> usize {
        self.attachment_bytes()
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

    /// Appends one field of a struct that is a sequence of numbers, as a vector of them is written.
    pub fn numbers(&mut self, numbers: impl ExactSizeIterator<Item = u64>) {
        codec::put_numbers(self.buffer.bytes_mut(), numbers);
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

/// A body as it arrived: a slice of the read buffer, the attachment at its end. One that came in fragments is the slices of
/// several read buffers, put together without copying them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Body {
    /// The struct and what follows it in the same piece.
    first: Bytes,
    rest: Option<Box<Rest>>,
    attachment_bytes: u32,
}

/// The pieces behind the first one, none of them empty.
#[derive(Debug, Clone, Default)]
struct Rest {
    pieces: Vec<Bytes>,
    bytes: usize,
    /// The struct, put together when it is asked for.
    structure: OnceLock<Bytes>,
}

impl PartialEq for Rest {
    fn eq(&self, other: &Self) -> bool {
        self.pieces == other.pieces
    }
}

impl Eq for Rest {}

impl Body {
    /// The body of a frame that was read from these bytes: shared, not copied.
    #[inline]
    pub fn of(frame: &Frame, bytes: &Bytes) -> Self {
        Self::within(frame, bytes, 0)
    }

    /// A body that is all struct, or opaque.
    #[inline]
    pub fn plain(bytes: Bytes) -> Self {
        Self { first: bytes, rest: None, attachment_bytes: 0 }
    }

    /// The body of a frame that was read from these bytes, `start` bytes behind their first: shared, not copied.
    #[inline]
    pub fn within(frame: &Frame, bytes: &Bytes, start: usize) -> Self {
        let whole = start + frame.body.start..start + frame.body.end;
        let first = if whole.is_empty() { Bytes::new() } else { bytes.slice(whole) };
        Self { first, rest: None, attachment_bytes: frame.attachment_bytes }
    }

    /// The body of a frame that may be compressed: then it is read into memory of its own, as much as the frame declared and its
    /// rules allowed.
    ///
    /// # Errors
    ///
    /// [`FrameError::Compression`]; the connection must end.
    #[inline]
    pub fn unpacked(frame: &Frame, bytes: &Bytes, start: usize) -> Result<Self, FrameError> {
        let Some(codec) = frame.codec else { return Ok(Self::within(frame, bytes, start)) };
        let compressed = &bytes[start + frame.body.start..start + frame.body.end];
        let first = codec.decompress(compressed, frame.raw_bytes as usize)?.into();
        Ok(Self { first, rest: None, attachment_bytes: frame.attachment_bytes })
    }

    /// A body of a struct and the bytes behind it. Copies where both are there; for bodies that did not arrive in a frame.
    pub fn new(structure: Bytes, attachment: &[u8]) -> Self {
        if attachment.is_empty() {
            return Self { first: structure, rest: None, attachment_bytes: 0 };
        }
        let first = [&structure, attachment].concat().into();
        Self { first, rest: None, attachment_bytes: attachment.len() as u32 }
    }

    /// A body of pieces, of which so many bytes at the end are the attachment. Nothing is copied; only a struct that does not
    /// lie in the first piece is, when it is asked for.
    pub fn of_pieces(pieces: Vec<Bytes>, attachment_bytes: u32) -> Self {
        let mut pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
        let first = pieces.next().unwrap_or_default();
        let pieces: Vec<Bytes> = pieces.collect();
        let bytes = pieces.iter().map(Bytes::len).sum();
        let rest = (!pieces.is_empty()).then(|| Box::new(Rest { pieces, bytes, ..Rest::default() }));
        Self { first, rest, attachment_bytes }
    }

    /// The struct, or the whole of an opaque body.
    pub fn structure(&self) -> &[u8] {
        let bytes = self.structure_bytes();
        match &self.rest {
            Some(rest) if bytes > self.first.len() => rest.structure.get_or_init(|| self.copy_front(bytes)),
            _ => &self.first[..bytes],
        }
    }

    #[cold]
    fn copy_front(&self, bytes: usize) -> Bytes {
        let mut front = BytesMut::with_capacity(bytes);
        for piece in self.pieces() {
            front.extend_from_slice(&piece[..piece.len().min(bytes - front.len())]);
        }
        front.freeze()
    }

    fn structure_bytes(&self) -> usize {
        self.len().saturating_sub(self.attachment_bytes as usize)
    }

    /// The bytes behind the struct, shared.
    pub fn attachment(&self) -> Payload {
        let mut skipped = self.structure_bytes();
        let pieces = self.pieces().map(|piece| {
            let skip = skipped.min(piece.len());
            skipped -= skip;
            piece.slice(skip..)
        });
        pieces.collect()
    }

    fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.first).chain(self.rest.iter().flat_map(|rest| &rest.pieces))
    }

    /// How many bytes of the whole message, at its end, are the attachment.
    pub fn attachment_bytes(&self) -> u32 {
        self.attachment_bytes
    }

    /// How many bytes there are in all.
    #[inline]
    pub fn len(&self) -> usize {
        self.first.len() + self.rest.as_ref().map_or(0, |rest| rest.bytes)
    }

    /// Whether there is no byte at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The whole body in one piece, for types that are opaque bytes; copied where it came in fragments.
    pub fn into_bytes(self) -> Bytes {
        if self.rest.is_none() { self.first } else { self.into_payload().into_bytes() }
    }

    /// The whole body as a payload, for types that are opaque bytes.
    #[inline]
    pub fn into_payload(self) -> Payload {
        let mut payload = Payload::from(self.first);
        if let Some(rest) = self.rest {
            rest.pieces.into_iter().for_each(|piece| payload.push(piece));
        }
        payload
    }

    /// The same body in memory of its own: what it was a slice of is free.
    #[must_use]
    pub fn detach(&self) -> Self {
        let mut whole = Vec::with_capacity(self.len());
        self.pieces().for_each(|piece| whole.extend_from_slice(piece));
        Self { first: whole.into(), rest: None, attachment_bytes: self.attachment_bytes }
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

    fn bytes_at_least(&self) -> usize {
        self.payload.len()
    }

    #[inline]
    fn encode(&self, body: &mut BodyWriter<'_>) {
        body.share(&self.payload);
    }
}
