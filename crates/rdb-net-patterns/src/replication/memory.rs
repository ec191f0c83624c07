//! A log in memory.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use rdb_net_types::LogEntry;

use super::log::{LogError, LogStorage, Position, Promise};

/// From how many bytes on entries that come together are kept where they are. Slices keep all of the memory they are part of: what a
/// leader puts together they fill, and a large message fills the buffers it was read into, but for the first and the last of them.
const KEPT_BYTES: usize = 128 * 1024;

/// A log in memory: for tests, and for what may be lost with the process. It keeps its entries until it is compacted.
#[derive(Debug, Clone, Default)]
pub struct MemoryLog {
    promise: Promise,
    /// The place before the first entry.
    base: Position,
    entries: VecDeque<Kept>,
    data_bytes: usize,
}

/// An entry's data, and what the log says up to it.
type Kept = (Bytes, Position);

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes of memory its entries take.
    pub fn memory_bytes(&self) -> u64 {
        (self.data_bytes + self.entries.len() * size_of::<Kept>()) as u64
    }

    /// How many bytes these entries would take.
    pub(super) fn cost_bytes(entries: &[LogEntry]) -> u64 {
        entries.iter().map(|entry| (entry.data.len() + size_of::<Kept>()) as u64).sum()
    }

    /// Gives back memory that is mostly empty.
    fn give_back(&mut self) {
        if self.entries.capacity() / 4 > self.entries.len().max(64) {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    /// The number of entries up to this index, of those that are there.
    fn count_to(&self, index: u64) -> usize {
        usize::try_from(index.saturating_sub(self.base.index)).unwrap_or(usize::MAX).min(self.entries.len())
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

    fn base(&self) -> Position {
        self.base
    }

    fn last(&self) -> Position {
        self.entries.back().map_or(self.base, |(_, position)| *position)
    }

    fn position(&self, index: u64) -> Option<Position> {
        match usize::try_from(index.checked_sub(self.base.index)?).ok()?.checked_sub(1) {
            None => Some(self.base),
            Some(place) => self.entries.get(place).map(|(_, position)| *position),
        }
    }

    fn append(&mut self, entries: &[LogEntry]) -> Result<(), LogError> {
        let bytes: usize = entries.iter().map(|entry| entry.data.len()).sum();
        self.data_bytes += bytes;
        // A few small ones are copied together.
        let mut copied = BytesMut::with_capacity(if bytes < KEPT_BYTES { bytes } else { 0 });
        if bytes < KEPT_BYTES {
            entries.iter().for_each(|entry| copied.extend_from_slice(&entry.data));
        }
        let (mut copied, mut last) = (copied.freeze(), self.last());
        for entry in entries {
            last = last.next(entry.epoch, &entry.data);
            debug_assert_eq!(last.index, entry.index, "entries follow the last one");
            let data = if bytes < KEPT_BYTES { copied.split_to(entry.data.len()) } else { entry.data.clone() };
            self.entries.push_back((data, last));
        }
        Ok(())
    }

    fn cut(&mut self, keep: u64) -> Result<(), LogError> {
        let gone = self.entries.drain(self.count_to(keep)..);
        self.data_bytes -= gone.map(|(data, _)| data.len()).sum::<usize>();
        self.give_back();
        Ok(())
    }

    fn compact(&mut self, up_to: u64) -> Result<(), LogError> {
        for (data, position) in self.entries.drain(..self.count_to(up_to)) {
            self.data_bytes -= data.len();
            self.base = position;
        }
        self.give_back();
        Ok(())
    }

    fn restore(&mut self, base: Position) -> Result<(), LogError> {
        self.entries.clear();
        self.give_back();
        (self.base, self.data_bytes) = (base, 0);
        Ok(())
    }

    fn read(&self, from: u64, bytes_max: usize, entries_max: usize) -> Result<Vec<LogEntry>, LogError> {
        let (mut bytes, mut taken) = (0usize, Vec::new());
        for (data, at) in self.entries.range(self.count_to(from.saturating_sub(1))..).take(entries_max.max(1)) {
            bytes = bytes.saturating_add(data.len());
            if bytes > bytes_max && !taken.is_empty() {
                break;
            }
            taken.push(LogEntry { index: at.index, epoch: at.epoch, data: data.clone() });
        }
        Ok(taken)
    }

    fn sync(&mut self) -> Result<(), LogError> {
        Ok(())
    }

    fn syncs_at_once(&self) -> bool {
        true
    }
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

    #[test]
    fn a_log_that_is_compacted_goes_on_from_there_and_holds_no_more_than_it_says() {
        let (mut log, mut whole) = (MemoryLog::new(), MemoryLog::new());
        for index in 1..=10_000u64 {
            let entry = [LogEntry { index, epoch: 1, data: vec![index as u8; 1024].into() }];
            log.append(&entry).unwrap();
            whole.append(&entry).unwrap();
            log.compact(index.saturating_sub(100)).unwrap();
        }
        assert_eq!((Some(log.base()), Some(log.last())), (whole.position(9900), whole.position(10_000)));
        assert_eq!(
            (log.position(9899), log.position(9900), log.position(9901)),
            (None, whole.position(9900), whole.position(9901))
        );
        assert_eq!(log.read(9901, 1 << 20, 500).unwrap(), whole.read(9901, 1 << 20, 500).unwrap());
        assert_eq!(
            log.read(1, 1, 1).unwrap(),
            log.read(9901, 1, 1).unwrap(),
            "what is not there any more begins with what is"
        );
        assert!(log.entries.len() == 100 && log.entries.capacity() <= 256);
        log.compact(20_000).unwrap();
        assert_eq!((log.base(), log.last(), log.read(1, 1, 1).unwrap()), (whole.last(), whole.last(), Vec::new()));
        log.append(&[LogEntry { index: 10_001, epoch: 1, data: "on".into() }]).unwrap();
        log.cut(0).unwrap();
        assert_eq!(log.last(), whole.last(), "what was compacted is not cut");
        let elsewhere = Position { index: 7, epoch: 3, digest: 9 };
        log.restore(elsewhere).unwrap();
        assert_eq!((log.base(), log.last(), log.position(7)), (elsewhere, elsewhere, Some(elsewhere)));
        assert!(whole.entries.capacity() >= 10_000);
        whole.compact(9_900).unwrap();
        assert!(whole.entries.capacity() <= 256, "memory is given back");
    }
}
