//! What a leader is asked to append.

use bytes::Bytes;

use super::entries::{Entries, PIECE_BYTES_MIN};

/// Data of entries that lie in one piece, one after the other, as who writes its entries into one buffer has them. What is sent of a piece of
/// 16 KiB or more is not copied; a log in memory copies what comes by less than 128 KiB at a time. A piece is kept, whole, as long as one of its
/// entries is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    data: Bytes,
    lengths: Vec<usize>,
}

impl Piece {
    /// A piece of entries of these lengths; `None` where they are not all of it.
    pub fn new(data: Bytes, lengths: Vec<usize>) -> Option<Self> {
        let total = lengths.iter().try_fold(0usize, |total, length| total.checked_add(*length))?;
        (total == data.len()).then_some(Self { data, lengths })
    }
}

/// Data of entries.
#[derive(Debug)]
pub(super) enum Proposed {
    /// One by one.
    Each(Vec<Bytes>),
    /// Together, and large enough to stay so.
    Piece(Piece),
}

impl From<Vec<Bytes>> for Proposed {
    fn from(entries: Vec<Bytes>) -> Self {
        Self::Each(entries)
    }
}

impl From<Piece> for Proposed {
    fn from(piece: Piece) -> Self {
        let is_small = piece.data.len() < PIECE_BYTES_MIN;
        if is_small { Self::Each(Self::Piece(piece).into_each()) } else { Self::Piece(piece) }
    }
}

impl Default for Proposed {
    fn default() -> Self {
        Self::Each(Vec::new())
    }
}

impl Proposed {
    /// How many entries they are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Each(entries) => entries.len(),
            Self::Piece(piece) => piece.lengths.len(),
        }
    }

    /// How many bytes of data they have.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Each(entries) => entries.iter().map(Bytes::len).sum(),
            Self::Piece(piece) => piece.data.len(),
        }
    }

    /// The largest entry's size.
    pub(super) fn largest(&self) -> usize {
        let largest = match self {
            Self::Each(entries) => entries.iter().map(Bytes::len).max(),
            Self::Piece(piece) => piece.lengths.iter().copied().max(),
        };
        largest.unwrap_or_default()
    }

    fn into_each(self) -> Vec<Bytes> {
        match self {
            Self::Each(entries) => entries,
            Self::Piece(Piece { mut data, lengths }) => {
                lengths.into_iter().map(|length| data.split_to(length)).collect()
            }
        }
    }

    /// Puts them together as they may travel, as many at once as this says of the lengths that are left; the first has this index.
    pub(super) fn packed(
        &self,
        mut first: u64,
        epoch: u64,
        fits: impl Fn(&mut dyn Iterator<Item = usize>) -> usize,
    ) -> Vec<Entries> {
        let mut batches = Vec::new();
        match self {
            Self::Each(entries) => {
                let mut rest = entries.as_slice();
                while !rest.is_empty() {
                    let (batch, behind) = rest.split_at(fits(&mut rest.iter().map(Bytes::len)));
                    batches.push(Entries::packed(first, epoch, batch.iter()));
                    (rest, first) = (behind, first + batch.len() as u64);
                }
            }
            Self::Piece(Piece { data, lengths }) => {
                let (mut rest, mut data) = (lengths.as_slice(), data.clone());
                while !rest.is_empty() {
                    let (batch, behind) = rest.split_at(fits(&mut rest.iter().copied()));
                    let heads = (first..).zip(batch).map(|(index, length)| (index, epoch, *length));
                    batches.push(Entries::of(heads, data.split_to(batch.iter().sum()).into()));
                    (rest, first) = (behind, first + batch.len() as u64);
                }
            }
        }
        batches
    }
}

/// For the driver, which puts together what waits.
#[cfg(feature = "manager")]
impl Proposed {
    /// These and others behind them.
    pub(super) fn and(self, behind: Self) -> Self {
        let mut entries = self.into_each();
        entries.extend(behind.into_each());
        Self::Each(entries)
    }

    /// Whether others are put together with these before they are proposed.
    pub(super) fn is_alone(&self) -> bool {
        matches!(self, Self::Piece(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_all_of_its_entries() {
        let data = || Bytes::from_static(b"abcdef");
        for (lengths, is_all) in [
            (&[6][..], true),
            (&[1, 0, 5], true),
            (&[1, 4], false),
            (&[7], false),
            (&[], false),
            (&[usize::MAX, 7], false),
        ] {
            assert_eq!(Piece::new(data(), lengths.to_vec()).is_some(), is_all, "{lengths:?}");
        }
    }

    #[test]
    fn entries_in_one_piece_are_the_same_as_one_by_one_and_stay_where_they_are() {
        for total in [PIECE_BYTES_MIN - 1, PIECE_BYTES_MIN, 3 * PIECE_BYTES_MIN] {
            let data: Bytes = (0..total).map(|byte| byte as u8).collect();
            let mut lengths = vec![1000; total / 1000];
            lengths.extend([0, total % 1000]);
            let mut rest = data.clone();
            let each: Vec<Bytes> = lengths.iter().map(|length| rest.split_to(*length)).collect();
            let piece = Proposed::from(Piece::new(data.clone(), lengths.clone()).expect("they are all of it"));
            let each = Proposed::from(each);
            assert_eq!((piece.len(), piece.bytes(), piece.largest()), (each.len(), each.bytes(), each.largest()));
            let fits = |lengths: &mut dyn Iterator<Item = usize>| lengths.take(7).count();
            let packed = piece.packed(5, 2, fits);
            assert_eq!(packed, each.packed(5, 2, fits));
            let is_same = packed[0].data().pieces()[0].as_ptr() == data.as_ptr();
            assert_eq!(is_same, total >= PIECE_BYTES_MIN, "{total} bytes");
        }
    }
}
