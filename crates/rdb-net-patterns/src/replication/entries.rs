//! Entries that travel together: put together once, and shared by all followers that they go to.

use std::ops::Deref;
use std::sync::Arc;

use bytes::BytesMut;
use rdb_net_types::{LogEntry, Payload};

/// What an entry takes beside its data, and all of them together.
pub(super) const ENTRY_BYTES: usize = size_of::<LogEntry>();
// The configuration documents it.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(ENTRY_BYTES == 48);
const BATCH_BYTES: usize = size_of::<Entries>() + 2 * size_of::<usize>() + size_of::<Inner>();

/// From which size on an entry's data stay where they are. Smaller ones are copied into one piece, which is then sent to everybody as it
/// is, and keeps none of the memory alive that they were part of.
const PIECE_BYTES_MIN: usize = 16 * 1024;

/// Entries that follow each other. A clone shares them.
#[derive(Clone, Default)]
pub struct Entries(Arc<Inner>);

#[derive(Default)]
struct Inner {
    entries: Vec<LogEntry>,
    /// The data of all of them, one after the other, in few pieces. They are slices of it.
    data: Payload,
}

impl Entries {
    /// Puts them together to be sent.
    pub(super) fn packed(mut entries: Vec<LogEntry>) -> Self {
        let (mut data, mut start) = (Payload::default(), 0);
        while start < entries.len() {
            let small = entries[start..].iter().take_while(|entry| entry.data.len() < PIECE_BYTES_MIN).count();
            if small == 0 {
                data.push(entries[start].data.clone());
                start += 1;
                continue;
            }
            let run = &mut entries[start..start + small];
            let mut copied = BytesMut::with_capacity(run.iter().map(|entry| entry.data.len()).sum());
            run.iter().for_each(|entry| copied.extend_from_slice(&entry.data));
            let piece = copied.freeze();
            data.push(piece.clone());
            let mut rest = piece;
            run.iter_mut().for_each(|entry| entry.data = rest.split_to(entry.data.len()));
            start += small;
        }
        // What it takes is counted by what it holds.
        entries.shrink_to_fit();
        Self(Arc::new(Inner { entries, data }))
    }

    /// The data of all of them, one after the other.
    pub fn data(&self) -> Payload {
        if self.0.data.is_empty() { self.iter().map(|entry| entry.data.clone()).collect() } else { self.0.data.clone() }
    }

    /// How many bytes of data they have.
    pub fn data_bytes(&self) -> usize {
        self.iter().map(|entry| entry.data.len()).sum()
    }

    /// What they take in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        BATCH_BYTES + self.len() * ENTRY_BYTES + self.data_bytes()
    }
}

#[cfg(test)]
impl Entries {
    pub(super) fn capacity(&self) -> usize {
        self.0.entries.capacity()
    }
}

/// As they came, not put together.
impl From<Vec<LogEntry>> for Entries {
    fn from(entries: Vec<LogEntry>) -> Self {
        Self(Arc::new(Inner { entries, data: Payload::default() }))
    }
}

impl Deref for Entries {
    type Target = [LogEntry];

    fn deref(&self) -> &[LogEntry] {
        &self.0.entries
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Entries {}

impl std::fmt::Debug for Entries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// How many of these entries fit into so many bytes of data and into this count: at least one, where there is one.
pub(super) fn count_that_fits<'a>(
    entries: impl Iterator<Item = &'a LogEntry>,
    bytes_max: usize,
    entries_max: usize,
) -> usize {
    let (mut bytes, mut count) = (0usize, 0);
    for entry in entries.take(entries_max.max(1)) {
        bytes = bytes.saturating_add(entry.data.len());
        if bytes > bytes_max && count > 0 {
            break;
        }
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn entries(sizes: &[usize]) -> Vec<LogEntry> {
        let data = sizes.iter().zip(0..).map(|(size, byte)| Bytes::from(vec![byte; *size]));
        data.zip(1..).map(|(data, index)| LogEntry { index, epoch: 1, data }).collect()
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
            let plain = entries(sizes);
            let packed = Entries::packed(plain.clone());
            assert_eq!(*packed, *plain);
            let data = packed.data();
            assert_eq!(data.pieces().iter().map(Bytes::len).collect::<Vec<_>>(), pieces);
            assert_eq!(data, Entries::from(plain.clone()).data());
            for (packed, plain) in packed.iter().zip(&plain).filter(|(_, plain)| !plain.data.is_empty()) {
                let is_same = packed.data.as_ptr() == plain.data.as_ptr();
                assert_eq!(is_same, plain.data.len() >= large, "{} bytes", plain.data.len());
            }
        }
    }

    #[test]
    fn as_many_are_counted_as_fit_and_at_least_one() {
        let entries = entries(&[5, 5, 5]);
        let count = |bytes, entries_max| count_that_fits(entries.iter(), bytes, entries_max);
        assert_eq!([count(15, 9), count(14, 9), count(1, 9), count(15, 2), count(15, 0)], [3, 2, 1, 2, 1]);
        assert_eq!(count_that_fits([].iter(), 1, 1), 0);
    }
}
