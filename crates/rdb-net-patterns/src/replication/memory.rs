//! A log in memory.

use std::collections::VecDeque;
use std::io;

use super::entries::{BATCH_BYTES, Entries, count_that_fits};
use super::log::{LogError, LogStorage, Position, Promise};

/// From how many bytes on entries that come together are kept where they are. Slices keep all of the memory they are part of: what a
/// leader puts together they fill, and a large message fills the buffers it was read into, but for the first and the last of them.
const KEPT_BYTES: usize = 128 * 1024;

/// Up to which size a few entries are put together with those before them.
const JOINED_BYTES: usize = 4 * 1024;

/// A log in memory: for tests, and for what may be lost with the process. It keeps its entries until it is compacted, those that came
/// together until none of them is needed.
#[derive(Debug, Clone, Default)]
pub struct MemoryLog {
    promise: Promise,
    /// The place before the first entry.
    base: Position,
    /// Of each entry behind the base.
    positions: VecDeque<Position>,
    /// The entries, as they came together. Some of the first may have been dropped.
    batches: VecDeque<Entries>,
    batch_bytes: usize,
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes of memory its entries take.
    pub fn memory_bytes(&self) -> u64 {
        (self.batch_bytes + self.positions.len() * size_of::<Position>()) as u64
    }

    /// How many it would take with these.
    pub(super) fn memory_bytes_with(&self, entries: &Entries) -> u64 {
        let more = entries.memory_bytes() + entries.len() * size_of::<Position>();
        self.memory_bytes() + more as u64 - if self.joins(entries) { BATCH_BYTES as u64 } else { 0 }
    }

    /// Whether entries are put together with those before them.
    fn joins(&self, entries: &Entries) -> bool {
        let is_small = |batch: &Entries| batch.memory_bytes() <= JOINED_BYTES;
        is_small(entries) && self.batches.back().is_some_and(is_small)
    }

    fn push(&mut self, batch: Entries) {
        self.batch_bytes += batch.memory_bytes();
        self.batches.push_back(batch);
    }

    fn pop_back(&mut self) -> Option<Entries> {
        let batch = self.batches.pop_back()?;
        self.batch_bytes -= batch.memory_bytes();
        Some(batch)
    }

    /// Gives back what the first entries took that were dropped of those that came together.
    pub(super) fn shorten(&mut self) {
        let Some(batch) = self.batches.front() else { return };
        let dropped = batch.heads().partition_point(|head| head.index <= self.base.index);
        if dropped > 0 {
            let kept = batch.part(dropped..batch.len()).detached();
            self.batch_bytes = self.batch_bytes - batch.memory_bytes() + kept.memory_bytes();
            self.batches[0] = kept;
        }
    }

    /// Gives back memory that is mostly empty.
    fn give_back(&mut self) {
        if self.positions.capacity() / 4 > self.positions.len().max(64) {
            self.positions.shrink_to(2 * self.positions.len());
        }
        if self.batches.capacity() / 4 > self.batches.len().max(64) {
            self.batches.shrink_to(2 * self.batches.len());
        }
    }

    /// The number of entries up to this index, of those that are there.
    fn count_to(&self, index: u64) -> usize {
        usize::try_from(index.saturating_sub(self.base.index)).unwrap_or(usize::MAX).min(self.positions.len())
    }
}

/// The index of a batch's last entry.
fn last_index(batch: &Entries) -> u64 {
    batch.heads().last().map_or(0, |head| head.index)
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
        self.positions.back().copied().unwrap_or(self.base)
    }

    fn position(&self, index: u64) -> Option<Position> {
        match usize::try_from(index.checked_sub(self.base.index)?).ok()?.checked_sub(1) {
            None => Some(self.base),
            Some(place) => self.positions.get(place).copied(),
        }
    }

    fn append(&mut self, entries: &Entries) -> Result<(), LogError> {
        if entries.is_empty() {
            return Ok(());
        }
        let (last, first) = (self.last(), entries.heads()[0].index);
        if first != last.index + 1 {
            let text = format!("entry {first} does not follow entry {}", last.index);
            return Err(LogError {
                operation: "take an entry",
                source: io::Error::new(io::ErrorKind::InvalidInput, text),
            });
        }
        self.positions.extend(entries.positions(last));
        if self.joins(entries) {
            let before = self.pop_back();
            self.push(Entries::joined(before.iter().chain([entries])));
        } else {
            let stay = entries.own_their_memory() || entries.data_bytes() >= KEPT_BYTES;
            self.push(if stay { entries.clone() } else { entries.detached() });
        }
        Ok(())
    }

    fn cut(&mut self, keep: u64) -> Result<(), LogError> {
        self.positions.truncate(self.count_to(keep));
        let end = self.last().index;
        while self.batches.back().is_some_and(|batch| last_index(batch) > end) {
            let Some(batch) = self.pop_back() else { break };
            let kept = batch.heads().partition_point(|head| head.index <= end);
            if end > self.base.index && kept > 0 {
                self.push(batch.part(0..kept).detached());
            }
        }
        self.give_back();
        Ok(())
    }

    fn compact(&mut self, up_to: u64) -> Result<(), LogError> {
        let count = self.count_to(up_to);
        self.base = self.positions.drain(..count).next_back().unwrap_or(self.base);
        while self.batches.front().is_some_and(|batch| last_index(batch) <= self.base.index)
            && let Some(batch) = self.batches.pop_front()
        {
            self.batch_bytes -= batch.memory_bytes();
        }
        self.give_back();
        Ok(())
    }

    fn restore(&mut self, base: Position) -> Result<(), LogError> {
        self.positions.clear();
        self.batches.clear();
        self.give_back();
        (self.base, self.batch_bytes) = (base, 0);
        Ok(())
    }

    fn read(&self, from: u64, bytes_max: usize, entries_max: usize) -> Result<Entries, LogError> {
        let from = from.max(self.base.index + 1);
        let first = self.batches.partition_point(|batch| last_index(batch) < from);
        let batches = self.batches.range(first..);
        let before = |batch: &Entries| batch.heads().partition_point(|head| head.index < from);
        let lengths = batches.clone().flat_map(|batch| batch.lengths().skip(before(batch)));
        let (mut left, mut parts) = (count_that_fits(lengths, bytes_max, entries_max), Vec::new());
        for batch in batches {
            let start = before(batch);
            let count = left.min(batch.len() - start);
            if count == 0 {
                break;
            }
            parts.push(batch.part(start..start + count));
            left -= count;
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Entries::joined(parts.iter()) })
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
    use rdb_net_types::LogEntry;

    use super::*;

    fn entries(epoch: u64, indexes: std::ops::RangeInclusive<u64>) -> Vec<LogEntry> {
        indexes.map(|index| LogEntry { index, epoch, data: index.to_string().into() }).collect()
    }

    #[test]
    fn the_digest_tells_whether_two_logs_are_equal_up_to_an_index() {
        let (mut one, mut other) = (MemoryLog::new(), MemoryLog::new());
        one.append(&entries(1, 1..=9).into()).unwrap();
        entries(1, 1..=5).iter().for_each(|entry| other.append(&vec![entry.clone()].into()).unwrap());
        assert_eq!(one.position(5), other.position(5));
        other.append(&vec![LogEntry { index: 6, epoch: 1, data: "six".into() }].into()).unwrap();
        other.append(&entries(1, 7..=9).into()).unwrap();
        assert_ne!(one.position(6), other.position(6));
        assert_ne!(one.position(9), other.position(9), "a difference stays in it");
        other.cut(5).unwrap();
        other.append(&entries(1, 6..=9).into()).unwrap();
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
                .collect::<Vec<_>>()
                .into(),
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
    fn entries_that_do_not_follow_are_refused() {
        let mut log = MemoryLog::new();
        log.append(&entries(1, 1..=2).into()).unwrap();
        for first in [1, 2, 4] {
            let refused = log.append(&entries(1, first..=first).into()).unwrap_err();
            assert_eq!(refused.source.to_string(), format!("entry {first} does not follow entry 2"));
        }
        assert_eq!(log.last().index, 2);
    }

    #[test]
    fn entries_that_were_dropped_of_those_that_came_together_are_given_back_when_room_is_wanted() {
        let (mut log, mut short) = (MemoryLog::new(), MemoryLog::new());
        let entries: Vec<LogEntry> =
            (1..=1000).map(|index| LogEntry { index, epoch: 1, data: vec![7; 1024].into() }).collect();
        log.append(&entries.clone().into()).unwrap();
        let whole = log.memory_bytes();
        log.compact(900).unwrap();
        assert!(log.memory_bytes() > whole - 900 * 100, "they came together");
        log.shorten();
        short.restore(log.base()).unwrap();
        short.append(&entries[900..].to_vec().into()).unwrap();
        assert_eq!((log.memory_bytes(), log.last()), (short.memory_bytes(), short.last()));
        assert_eq!(log.read(1, 1 << 20, 500).unwrap(), entries[900..].to_vec().into());
        log.cut(950).unwrap();
        assert_eq!(log.read(1, 1 << 20, 500).unwrap(), entries[900..950].to_vec().into());
    }

    #[test]
    fn a_log_that_is_compacted_goes_on_from_there_and_holds_no_more_than_it_says() {
        let (mut log, mut whole) = (MemoryLog::new(), MemoryLog::new());
        for index in 1..=10_000u64 {
            let entry = vec![LogEntry { index, epoch: 1, data: vec![index as u8; 1024].into() }].into();
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
        assert!(log.positions.len() == 100 && log.positions.capacity() <= 256 && log.batches.capacity() <= 256);
        let together = JOINED_BYTES as u64;
        assert!(log.memory_bytes() <= 100 * (1024 + 56 + BATCH_BYTES as u64) + together, "{}", log.memory_bytes());
        log.compact(20_000).unwrap();
        assert_eq!(
            (log.base(), log.last(), log.read(1, 1, 1).unwrap()),
            (whole.last(), whole.last(), Entries::default())
        );
        log.append(&vec![LogEntry { index: 10_001, epoch: 1, data: "on".into() }].into()).unwrap();
        log.cut(0).unwrap();
        assert_eq!(log.last(), whole.last(), "what was compacted is not cut");
        let elsewhere = Position { index: 7, epoch: 3, digest: 9 };
        log.restore(elsewhere).unwrap();
        assert_eq!((log.base(), log.last(), log.position(7)), (elsewhere, elsewhere, Some(elsewhere)));
        assert!(whole.positions.capacity() >= 10_000);
        whole.compact(9_900).unwrap();
        assert!(whole.positions.capacity() <= 256 && whole.batches.capacity() <= 256, "memory is given back");
    }
}
