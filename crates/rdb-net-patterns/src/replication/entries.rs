//! Entries that travel together: put together once, and shared by the log and by all followers that they go to.
//!
//! They are one list of plain numbers and few pieces of data. Thousands of entries with a handle each would cost more than what they say.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rdb_net_types::{LogEntry, Payload};

use super::log::Position;
use super::pieces::{Reader, checksum};

/// What an entry takes beside its data, and all of them together.
pub(super) const ENTRY_BYTES: usize = size_of::<Head>();
// The configuration documents it.
const _: () = assert!(ENTRY_BYTES == 32);
pub(super) const BATCH_BYTES: usize = size_of::<Entries>() + 2 * size_of::<usize>() + size_of::<Inner>();

/// From which size on an entry's data stay where they are. Smaller ones are copied into one piece, which is then sent to everybody as it
/// is, and keeps none of the memory alive that they were part of.
pub(super) const PIECE_BYTES_MIN: usize = 16 * 1024;

/// What an entry is beside its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its place in the log.
    pub index: u64,
    /// The epoch of the leader that wrote it.
    pub epoch: u64,
    /// Of its data, as this node has read them.
    checksum: u64,
    /// Where its data end.
    end: u64,
}

/// Entries that follow each other. A clone shares them.
#[derive(Clone, Default)]
pub struct Entries(Arc<Inner>);

#[derive(Default)]
struct Inner {
    heads: Vec<Head>,
    /// The data of all of them, one after the other, in few pieces.
    data: Payload,
    /// Whether the data are all that the memory holds that they are in.
    is_own: bool,
}

impl Entries {
    /// Entries whose data are in these pieces, one after the other: index, epoch and length of each. Each is read once, for its checksum.
    pub(super) fn of(heads: impl IntoIterator<Item = (u64, u64, usize)>, data: Payload) -> Self {
        let (mut reader, mut end) = (Reader::new(&data, 0), 0);
        let heads = heads.into_iter().map(|(index, epoch, length)| {
            end += length as u64;
            Head { index, epoch, checksum: reader.checksum(length), end }
        });
        let heads: Vec<Head> = heads.collect();
        debug_assert_eq!(end, data.len() as u64, "the data are those of the entries");
        Self(Arc::new(Inner { heads, data, is_own: false }))
    }

    /// Puts them together to be sent: the data of entries from this index on.
    pub(super) fn packed<'a>(first: u64, epoch: u64, data: impl Iterator<Item = &'a Bytes> + Clone) -> Self {
        let mut packing = Packing::of(data.clone().map(Bytes::len));
        packing.heads.reserve_exact(data.clone().count());
        for (data, index) in data.zip(first..) {
            packing.push(data);
            // While it is at hand: a batch is larger than the nearest cache.
            packing.heads.push(Head { index, epoch, checksum: checksum(data), end: packing.end });
        }
        packing.finish()
    }

    /// Puts several together. Large pieces of their data stay where they are.
    pub(super) fn joined<'a>(parts: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let mut packing = Packing::of(parts.clone().flat_map(|part| part.data().pieces()).map(Bytes::len));
        packing.heads.reserve_exact(parts.clone().map(Self::len).sum());
        for part in parts {
            let start = packing.end;
            part.data().pieces().iter().for_each(|piece| packing.push(piece));
            packing.heads.extend(part.heads().iter().map(|head| Head { end: start + head.end, ..*head }));
        }
        packing.finish()
    }

    /// The same entries in memory of their own, which is no larger than they are.
    pub(super) fn detached(&self) -> Self {
        let mut heads = Vec::with_capacity(self.len());
        heads.extend_from_slice(self.heads());
        Self(Arc::new(Inner { heads, data: self.data().detach(), is_own: true }))
    }

    /// Some of them, which share their data.
    pub(super) fn part(&self, range: Range<usize>) -> Self {
        if range == (0..self.len()) {
            return self.clone();
        }
        let (start, end) = (self.start(range.start), self.start(range.end));
        let mut data = Payload::new();
        Reader::new(self.data(), start).read((end - start) as usize, |piece, range| data.push(piece.slice(range)));
        let heads = self.heads()[range].iter().map(|head| Head { end: head.end - start, ..*head }).collect();
        Self(Arc::new(Inner { heads, data, is_own: false }))
    }

    /// Whether they keep no memory but what their data fill.
    pub(super) fn own_their_memory(&self) -> bool {
        self.0.is_own
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.0.heads.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.heads.is_empty()
    }

    /// What they are beside their data.
    pub fn heads(&self) -> &[Head] {
        &self.0.heads
    }

    /// The data of all of them, one after the other.
    pub fn data(&self) -> &Payload {
        &self.0.data
    }

    /// How many bytes of data they have.
    pub fn data_bytes(&self) -> usize {
        self.start(self.len()) as usize
    }

    /// How many bytes of data each has.
    pub fn lengths(&self) -> impl ExactSizeIterator<Item = usize> + Clone {
        let mut start = 0;
        self.heads().iter().map(move |head| (head.end - std::mem::replace(&mut start, head.end)) as usize)
    }

    /// They one by one. An entry's data are a slice of all data, and copied where they lie on both sides of a piece's end.
    pub fn iter(&self) -> impl Iterator<Item = LogEntry> {
        self.iter_from(0)
    }

    pub(super) fn iter_from(&self, place: usize) -> impl Iterator<Item = LogEntry> {
        let mut start = self.start(place);
        let mut reader = Reader::new(self.data(), start);
        self.heads()[place..].iter().map(move |head| {
            let mut data = Payload::new();
            reader.read((head.end - start) as usize, |piece, range| data.push(piece.slice(range)));
            start = head.end;
            LogEntry { index: head.index, epoch: head.epoch, data: data.into_bytes() }
        })
    }

    /// Their places in a log that ends here.
    pub fn positions(&self, last: Position) -> impl Iterator<Item = Position> {
        self.heads().iter().zip(self.lengths()).scan(last, |last, (head, length)| {
            *last = last.next_with(head.epoch, length, head.checksum);
            Some(*last)
        })
    }

    /// Where the data of the entry at this place begin.
    fn start(&self, place: usize) -> u64 {
        place.checked_sub(1).map_or(0, |before| self.heads()[before].end)
    }

    /// What they take in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        BATCH_BYTES + self.len() * ENTRY_BYTES + self.data_bytes()
    }
}

impl From<Vec<LogEntry>> for Entries {
    fn from(entries: Vec<LogEntry>) -> Self {
        let data = entries.iter().map(|entry| entry.data.clone()).collect();
        Self::of(entries.iter().map(|entry| (entry.index, entry.epoch, entry.data.len())), data)
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        self.heads() == other.heads() && self.data() == other.data()
    }
}

impl Eq for Entries {}

impl std::fmt::Debug for Entries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Puts pieces of data together, the small ones copied.
struct Packing {
    heads: Vec<Head>,
    data: Payload,
    copied: BytesMut,
    is_own: bool,
    end: u64,
}

impl Packing {
    /// For pieces of these lengths.
    fn of(lengths: impl Iterator<Item = usize>) -> Self {
        let small = lengths.filter(|length| *length < PIECE_BYTES_MIN).sum();
        Self { heads: Vec::new(), data: Payload::new(), copied: BytesMut::with_capacity(small), is_own: true, end: 0 }
    }

    fn push(&mut self, piece: &Bytes) {
        self.end += piece.len() as u64;
        if piece.len() < PIECE_BYTES_MIN {
            self.copied.extend_from_slice(piece);
        } else {
            self.data.push(self.copied.split().freeze());
            self.data.push(piece.clone());
            self.is_own = false;
        }
    }

    fn finish(mut self) -> Entries {
        self.data.push(self.copied.freeze());
        // What it takes is counted by what it holds.
        self.heads.shrink_to_fit();
        Entries(Arc::new(Inner { heads: self.heads, data: self.data, is_own: self.is_own }))
    }
}

/// How many entries with so many bytes of data each fit into so many bytes and into this count: at least one, where there is one.
pub(super) fn count_that_fits(lengths: impl Iterator<Item = usize>, bytes_max: usize, entries_max: usize) -> usize {
    let (mut bytes, mut count) = (0usize, 0);
    for length in lengths.take(entries_max.max(1)) {
        bytes = bytes.saturating_add(length);
        if bytes > bytes_max && count > 0 {
            break;
        }
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(sizes: &[usize]) -> Vec<Bytes> {
        sizes.iter().zip(1..).map(|(size, byte)| Bytes::from(vec![byte; *size])).collect()
    }

    fn plain(data: &[Bytes]) -> Entries {
        let entries = data.iter().zip(1..).map(|(data, index)| LogEntry { index, epoch: 1, data: data.clone() });
        entries.collect::<Vec<_>>().into()
    }

    #[test]
    fn small_entries_are_put_into_one_piece_and_large_ones_stay_where_they_are() {
        let large = PIECE_BYTES_MIN;
        for (sizes, pieces) in [
            (&[][..], &[][..]),
            (&[5], &[5]),
            (&[1, 2, 3], &[6]),
            (&[1, 2, large, 3], &[3, large, 3]),
            (&[large, large, 0, 1, 2], &[large, large, 3]),
        ] {
            let data = data(sizes);
            let packed = Entries::packed(1, 1, data.iter());
            assert_eq!(packed.data().pieces().iter().map(Bytes::len).collect::<Vec<_>>(), pieces);
            assert_eq!(packed, plain(&data));
            for (packed, plain) in packed.iter().zip(&data).filter(|(_, plain)| !plain.is_empty()) {
                let is_same = packed.data.as_ptr() == plain.as_ptr();
                assert_eq!(is_same, plain.len() >= large, "{} bytes", plain.len());
            }
        }
    }

    #[test]
    fn however_data_are_cut_into_pieces_the_entries_are_the_same() {
        let data = data(&[3, 0, 5, 1, 7, 0]);
        let (whole, packed) = (plain(&data), Entries::packed(1, 1, data.iter()));
        let bytes = packed.data().clone().into_bytes();
        let heads = || (1..).zip(&data).map(|(index, data)| (index, 1, data.len()));
        for length in 1..=bytes.len() {
            let cut = Entries::of(heads(), bytes.chunks(length).map(Bytes::copy_from_slice).collect());
            assert_eq!(cut, whole);
            assert!(cut.iter().eq(whole.iter()), "pieces of {length} bytes");
            assert!(cut.positions(Position::START).eq(whole.positions(Position::START)));
            for end in 0..=data.len() {
                for start in 0..=end {
                    let part = cut.part(start..end);
                    assert!(part.iter().eq(whole.iter().skip(start).take(end - start)), "{start} to {end}");
                    assert_eq!(part.data_bytes(), part.iter().map(|entry| entry.data.len()).sum::<usize>());
                    assert_eq!((part.detached(), part.heads().len()), (part.clone(), end - start));
                    assert_eq!(Entries::joined([&cut.part(0..start), &part, &cut.part(end..6)].into_iter()), whole);
                }
            }
        }
    }

    #[test]
    fn they_take_no_more_than_is_counted() {
        let (data, large) = (vec![Bytes::from_static(b"abc"); 5000], data(&[PIECE_BYTES_MIN; 3]));
        let packed = Entries::packed(1, 1, data.iter());
        let parts = [packed.part(0..7), packed.part(7..5000)];
        let joined = Entries::joined(parts.iter());
        for entries in [&packed, &joined, &parts[1], &parts[1].detached(), &plain(&data), &plain(&large)] {
            assert_eq!(entries.0.heads.capacity(), entries.len());
        }
    }

    #[test]
    fn places_are_those_that_follow_one_by_one() {
        let data = data(&[3, 0, 5]);
        let one_by_one = data.iter().scan(Position::START, |last, data| {
            *last = last.next(1, data);
            Some(*last)
        });
        assert!(plain(&data).positions(Position::START).eq(one_by_one));
    }

    #[test]
    fn as_many_are_counted_as_fit_and_at_least_one() {
        let count = |bytes, entries_max| count_that_fits([5, 5, 5].into_iter(), bytes, entries_max);
        assert_eq!([count(15, 9), count(14, 9), count(1, 9), count(15, 2), count(15, 0)], [3, 2, 1, 2, 1]);
        assert_eq!(count_that_fits([].into_iter(), 1, 1), 0);
    }

    #[test]
    fn many_small_entries_take_what_is_counted() {
        let packed = Entries::packed(1, 1, data(&[1; 100]).iter());
        assert_eq!((packed.0.heads.capacity(), packed.len()), (100, 100));
        let joined = Entries::joined([packed.clone(), packed].iter());
        assert_eq!((joined.0.heads.capacity(), joined.len()), (200, 200));
    }
}
