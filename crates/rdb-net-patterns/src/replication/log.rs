//! The log of a replica: entries in order, each with a digest of everything up to it, behind a small trait.
//!
//! A digest that rolls makes two logs comparable by one number: equal digests at an index mean equal logs up to it. It finds
//! accidents (a bug, a bad disk, two leaders of one epoch), not forgeries: peers are proved by their certificates.

use std::io;

use bytes::Bytes;
use rdb_net_types::{LogEntry, NodeId};

/// A place in a log, and what the log says up to there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// The index of the entry; entries count from 1, and 0 is the place before them all.
    pub index: u64,
    /// The epoch of the leader that wrote it.
    pub epoch: u64,
    /// The digest of all entries up to it.
    pub digest: u64,
}

impl Position {
    /// The place before the first entry.
    pub const START: Self = Self { index: 0, epoch: 0, digest: 0 };

    /// The place of the entry behind this one.
    #[must_use]
    pub fn next(self, epoch: u64, data: &[u8]) -> Self {
        let index = self.index + 1;
        let content = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, data);
        let words = [index, epoch, data.len() as u64, content];
        Self { index, epoch, digest: words.into_iter().fold(self.digest, mixed) }
    }

    /// Whether a log that ends here knows everything that one ending there may have acknowledged: the comparison of Raft, section
    /// 5.4.1, by the epoch of the last entry and then by length.
    #[must_use]
    pub fn is_as_current_as(&self, other: &Self) -> bool {
        (self.epoch, self.index) >= (other.epoch, other.index)
    }
}

/// One step of the digest: the finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), which no bit passes unmixed.
fn mixed(digest: u64, word: u64) -> u64 {
    let mut z = digest.rotate_left(23).wrapping_add(word).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What a replica has bound itself to: it takes entries of this leader alone, and of no older epoch ever again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Promise {
    /// The newest epoch that it knows.
    pub epoch: u64,
    /// Who leads in it; `None` before the first one.
    pub leader: Option<NodeId>,
}

/// The storage of a log failed. The replica stops for good: after a failed sync nobody knows what is on the disk.
#[derive(Debug, thiserror::Error)]
#[error("the log's storage cannot {operation}: {source}")]
pub struct LogError {
    /// What was tried.
    pub operation: &'static str,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

/// Where a replica keeps its log and its promise.
///
/// What is written may be lost in a crash until the next [`sync`](Self::sync) has returned, but only from its end: what is found
/// after a restart is what was written up to some moment.
pub trait LogStorage: Send {
    /// The promise that was kept last.
    fn promise(&self) -> Promise;

    /// Writes a promise.
    ///
    /// # Errors
    ///
    /// [`LogError`]; the replica stops.
    fn keep_promise(&mut self, promise: &Promise) -> Result<(), LogError>;

    /// The place of the last entry.
    fn last(&self) -> Position;

    /// The place of an entry; `None` behind the last one.
    fn position(&self, index: u64) -> Option<Position>;

    /// Writes entries behind the last one. Their indexes follow it.
    ///
    /// # Errors
    ///
    /// [`LogError`]; the replica stops.
    fn append(&mut self, entries: &[LogEntry]) -> Result<(), LogError>;

    /// Removes every entry behind this index.
    ///
    /// # Errors
    ///
    /// [`LogError`]; the replica stops.
    fn cut(&mut self, keep: u64) -> Result<(), LogError>;

    /// Entries from this index on: as many as fit into so many bytes of data and into this count, and at least one where there
    /// is one.
    ///
    /// # Errors
    ///
    /// [`LogError`]; the replica stops.
    fn read(&self, from: u64, bytes_max: usize, entries_max: usize) -> Result<Vec<LogEntry>, LogError>;

    /// Makes everything durable that has been written.
    ///
    /// # Errors
    ///
    /// [`LogError`]; the replica stops.
    fn sync(&mut self) -> Result<(), LogError>;

    /// Whether a sync waits for nothing. One that waits is given a thread of its own.
    fn syncs_at_once(&self) -> bool {
        false
    }
}

/// From how many bytes on entries that come together are kept as they are. A message fills the buffers that it was read into, but for
/// the first and the last of them.
const KEPT_BYTES: usize = 128 * 1024;

/// A log in memory: for tests, and for what may be lost with the process.
#[derive(Debug, Clone, Default)]
pub struct MemoryLog {
    promise: Promise,
    entries: Vec<(Bytes, Position)>,
    data_bytes: u64,
}

impl MemoryLog {
    /// An empty log.
    pub const fn new() -> Self {
        Self { promise: Promise { epoch: 0, leader: None }, entries: Vec::new(), data_bytes: 0 }
    }

    /// How many bytes its entries take.
    pub fn memory_bytes(&self) -> u64 {
        self.data_bytes + (self.entries.len() * size_of::<(Bytes, Position)>()) as u64
    }

    /// How many bytes these entries would take.
    pub(super) fn cost_bytes(entries: &[LogEntry]) -> u64 {
        entries.iter().map(|entry| (entry.data.len() + size_of::<(Bytes, Position)>()) as u64).sum()
    }
}

impl LogStorage for MemoryLog {
    fn promise(&self) -> Promise {
        self.promise.clone()
    }

    fn keep_promise(&mut self, promise: &Promise) -> Result<(), LogError> {
        self.promise = promise.clone();
        Ok(())
    }

    fn last(&self) -> Position {
        self.entries.last().map_or(Position::START, |(_, position)| *position)
    }

    fn position(&self, index: u64) -> Option<Position> {
        match usize::try_from(index).ok()?.checked_sub(1) {
            None => Some(Position::START),
            Some(place) => self.entries.get(place).map(|(_, position)| *position),
        }
    }

    fn append(&mut self, entries: &[LogEntry]) -> Result<(), LogError> {
        let bytes: usize = entries.iter().map(|entry| entry.data.len()).sum();
        // Slices of read buffers keep those whole. Where they fill them that is cheaper than a copy; where they do not, all of them
        // are copied together.
        let mut copied = Vec::with_capacity(if bytes < KEPT_BYTES { bytes } else { 0 });
        if bytes < KEPT_BYTES {
            entries.iter().for_each(|entry| copied.extend_from_slice(&entry.data));
        }
        self.data_bytes += bytes as u64;
        let (mut copied, mut last) = (Bytes::from(copied), self.last());
        for entry in entries {
            last = last.next(entry.epoch, &entry.data);
            debug_assert_eq!(last.index, entry.index, "entries follow the last one");
            let data = if bytes < KEPT_BYTES { copied.split_to(entry.data.len()) } else { entry.data.clone() };
            self.entries.push((data, last));
        }
        Ok(())
    }

    fn cut(&mut self, keep: u64) -> Result<(), LogError> {
        let keep = usize::try_from(keep).unwrap_or(usize::MAX).min(self.entries.len());
        let cut: usize = self.entries.drain(keep..).map(|(data, _)| data.len()).sum();
        self.data_bytes -= cut as u64;
        Ok(())
    }

    fn read(&self, from: u64, bytes_max: usize, entries_max: usize) -> Result<Vec<LogEntry>, LogError> {
        let from = usize::try_from(from.saturating_sub(1)).unwrap_or(usize::MAX);
        let entries = self.entries.get(from..).unwrap_or_default().iter();
        let entries = entries.map(|(data, at)| LogEntry { index: at.index, epoch: at.epoch, data: data.clone() });
        Ok(first_that_fit(entries, bytes_max, entries_max))
    }

    fn sync(&mut self) -> Result<(), LogError> {
        Ok(())
    }

    fn syncs_at_once(&self) -> bool {
        true
    }
}

/// The first of these entries: as many as fit, and at least one.
pub(crate) fn first_that_fit(
    entries: impl Iterator<Item = LogEntry>,
    bytes_max: usize,
    entries_max: usize,
) -> Vec<LogEntry> {
    let (mut bytes, mut taken) = (0usize, Vec::new());
    for entry in entries.take(entries_max.max(1)) {
        bytes = bytes.saturating_add(entry.data.len());
        if bytes > bytes_max && !taken.is_empty() {
            break;
        }
        taken.push(entry);
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(epoch: u64, indexes: std::ops::RangeInclusive<u64>) -> Vec<LogEntry> {
        indexes.map(|index| LogEntry { index, epoch, data: index.to_string().into() }).collect()
    }

    #[test]
    fn the_digest_tells_whether_two_logs_are_equal_up_to_an_index() {
        let (mut one, mut other) = (MemoryLog::new(), MemoryLog::new());
        one.append(&entries(1, 1..=9)).unwrap();
        entries(1, 1..=5).iter().for_each(|entry| other.append(std::slice::from_ref(entry)).unwrap());
        assert_eq!(one.position(5), other.position(5));
        other.append(&[LogEntry { index: 6, epoch: 1, data: "six".into() }]).unwrap();
        other.append(&entries(1, 7..=9)).unwrap();
        assert_ne!(one.position(6), other.position(6));
        assert_ne!(one.position(9), other.position(9), "a difference stays in it");
        other.cut(5).unwrap();
        other.append(&entries(1, 6..=9)).unwrap();
        assert_eq!(one.last(), other.last());
    }

    #[test]
    fn where_an_entry_ends_is_part_of_the_digest() {
        let digest =
            |parts: &[&str]| parts.iter().fold(Position::START, |last, part| last.next(1, part.as_bytes())).digest;
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_ne!(digest(&["", ""]), digest(&[""]));
        assert_ne!(Position::START.next(1, b"a").digest, Position::START.next(2, b"a").digest);
    }

    #[test]
    fn a_read_gives_what_fits_and_at_least_one_entry() {
        let mut log = MemoryLog::new();
        log.append(
            &entries(1, 10_001..=10_009)
                .into_iter()
                .zip(1..)
                .map(|(entry, index)| LogEntry { index, ..entry })
                .collect::<Vec<_>>(),
        )
        .unwrap();
        let indexes = |from, bytes, count| -> Vec<u64> {
            log.read(from, bytes, count).unwrap().iter().map(|entry| entry.index).collect()
        };
        assert_eq!(indexes(3, 15, 100), [3, 4, 5]);
        assert_eq!(indexes(3, 1, 100), [3]);
        assert_eq!(indexes(3, 1000, 2), [3, 4]);
        assert_eq!(indexes(10, 1000, 2), [0; 0]);
    }
}
