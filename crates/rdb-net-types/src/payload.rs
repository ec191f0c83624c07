//! Bytes of a message, as a rope of shared pieces, so that nothing is copied to put them together.

use bytes::{Bytes, BytesMut};

/// A message's bytes: any number of shared pieces that read as one. Cloning shares them.
#[derive(Clone, Default)]
pub struct Payload {
    pieces: Pieces,
}

#[derive(Clone, Default)]
enum Pieces {
    #[default]
    None,
    One(Bytes),
    Many(Vec<Bytes>),
}

impl Payload {
    /// Nothing.
    pub const fn new() -> Self {
        Self { pieces: Pieces::None }
    }

    /// Adds a piece at the end; an empty one changes nothing.
    pub fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        self.pieces = match std::mem::take(&mut self.pieces) {
            Pieces::None => Pieces::One(piece),
            Pieces::One(first) => Pieces::Many(vec![first, piece]),
            Pieces::Many(mut pieces) => {
                pieces.push(piece);
                Pieces::Many(pieces)
            }
        };
    }

    /// The pieces in order, none of them empty.
    pub fn pieces(&self) -> &[Bytes] {
        match &self.pieces {
            Pieces::None => &[],
            Pieces::One(piece) => std::slice::from_ref(piece),
            Pieces::Many(pieces) => pieces,
        }
    }

    /// How many bytes there are in all.
    pub fn len(&self) -> usize {
        self.pieces().iter().map(Bytes::len).sum()
    }

    /// Whether there is no byte at all.
    pub fn is_empty(&self) -> bool {
        self.pieces().is_empty()
    }

    /// All bytes in one piece: shared where there is one, copied where there are several.
    pub fn into_bytes(self) -> Bytes {
        match self.pieces {
            Pieces::None => Bytes::new(),
            Pieces::One(piece) => piece,
            Pieces::Many(pieces) => {
                let mut whole = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
                pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
                whole.freeze()
            }
        }
    }

    /// A copy that shares memory with nothing: for keeping a few bytes of a message without keeping the whole read buffer
    /// that it arrived in.
    #[must_use]
    pub fn detach(&self) -> Self {
        let mut whole = Vec::with_capacity(self.len());
        self.pieces().iter().for_each(|piece| whole.extend_from_slice(piece));
        Self::from(whole)
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self { pieces: if bytes.is_empty() { Pieces::None } else { Pieces::One(bytes) } }
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(Bytes::from(bytes))
    }
}

impl From<&'static [u8]> for Payload {
    fn from(bytes: &'static [u8]) -> Self {
        Self::from(Bytes::from_static(bytes))
    }
}

impl From<&'static str> for Payload {
    fn from(text: &'static str) -> Self {
        Self::from(text.as_bytes())
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        Self::from(text.into_bytes())
    }
}

impl FromIterator<Bytes> for Payload {
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Self {
        let mut payload = Self::new();
        pieces.into_iter().for_each(|piece| payload.push(piece));
        payload
    }
}

impl PartialEq for Payload {
    /// Equal bytes, however they are cut into pieces.
    fn eq(&self, other: &Self) -> bool {
        let bytes = |payload: &Self| payload.pieces().to_vec().into_iter().flatten();
        self.len() == other.len() && bytes(self).eq(bytes(other))
    }
}

impl Eq for Payload {}

impl std::fmt::Debug for Payload {
    /// The length alone: payloads may be large, and their content is the application's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_read_as_one() {
        let mut payload = Payload::from("ab");
        payload.push(Bytes::new());
        payload.push(Bytes::from_static(b"cde"));
        payload.push(Bytes::from_static(b"f"));
        assert_eq!((payload.len(), payload.pieces().len()), (6, 3));
        assert_eq!(payload, Payload::from("abcdef"));
        assert_ne!(payload, Payload::from("abcdeg"));
        assert_eq!(payload.detach().pieces().len(), 1);
        assert_eq!(payload.into_bytes(), "abcdef");
        assert!(Payload::from(Vec::new()).is_empty());
    }
}
