//! A log in memory.

use std::collections::VecDeque;

use bytes::BytesMut;
use rdb_net_types::LogEntry;

use super::log::{LogError, LogStorage, Position, Promise};

/// How much memory is asked for at once by a log that has some already; the first slabs are smaller.
const SLAB_BYTES: usize = 1024 * 1024;
const FIRST_SLAB_BYTES: usize = 4 * 1024;

/// A log in memory: for tests, and for what may be lost with the process. It keeps its entries until it is compacted, copied from where
/// they came, and uses the memory again of those that it kept.
#[derive(Debug, Clone, Default)]
pub struct MemoryLog {
    promise: Promise,
    /// The place before the first entry.
    base: Position,
    entries: VecDeque<Kept>,
    slabs: Slabs,
}

/// Where an entry is, and what the log says up to it.
#[derive(Debug, Clone, Copy)]
struct Kept {
    at: Position,
    place: Place,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    /// Counted from the first that ever was.
    slab: u64,
    start: u32,
    bytes: u32,
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes of memory its entries take, those included that were dropped and share a piece with some that were not.
    pub fn memory_bytes(&self) -> u64 {
        (self.slabs.bytes() + self.entries.len() * size_of::<Kept>()) as u64
    }

    /// How many bytes these entries would take.
    pub(super) fn cost_bytes(entries: &[LogEntry]) -> u64 {
        entries.iter().map(|entry| (entry.data.len() + size_of::<Kept>()) as u64).sum()
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
        self.entries.back().map_or(self.base, |kept| kept.at)
    }

    fn position(&self, index: u64) -> Option<Position> {
        match usize::try_from(index.checked_sub(self.base.index)?).ok()?.checked_sub(1) {
            None => Some(self.base),
            Some(place) => self.entries.get(place).map(|kept| kept.at),
        }
    }

    fn append(&mut self, entries: &[LogEntry]) -> Result<(), LogError> {
        let mut last = self.last();
        for entry in entries {
            last = last.next(entry.epoch, &entry.data);
            debug_assert_eq!(last.index, entry.index, "entries follow the last one");
            let place = self.slabs.add(&entry.data);
            self.entries.push_back(Kept { at: last, place });
        }
        Ok(())
    }

    fn cut(&mut self, keep: u64) -> Result<(), LogError> {
        let count = self.count_to(keep);
        if let Some(first) = self.entries.get(count) {
            self.slabs.cut(first.place);
            self.entries.truncate(count);
        }
        Ok(())
    }

    fn compact(&mut self, up_to: u64) -> Result<(), LogError> {
        let count = self.count_to(up_to);
        if let Some(last) = self.entries.drain(..count).next_back() {
            self.base = last.at;
        }
        self.slabs.forget(self.entries.front().map(|first| first.place));
        Ok(())
    }

    fn restore(&mut self, base: Position) -> Result<(), LogError> {
        self.entries.clear();
        self.slabs.forget(None);
        self.base = base;
        Ok(())
    }

    fn read(&self, from: u64, bytes_max: usize, entries_max: usize) -> Result<Vec<LogEntry>, LogError> {
        let (mut bytes, mut count) = (0usize, 0);
        let entries = self.entries.range(self.count_to(from.saturating_sub(1))..);
        for kept in entries.clone().take(entries_max.max(1)) {
            let more = bytes.saturating_add(kept.place.bytes as usize);
            if more > bytes_max && count > 0 {
                break;
            }
            (bytes, count) = (more, count + 1);
        }
        let mut data = BytesMut::with_capacity(bytes);
        entries.clone().take(count).for_each(|kept| data.extend_from_slice(self.slabs.get(kept.place)));
        let mut data = data.freeze();
        let taken = entries.take(count).map(|Kept { at, place }| LogEntry {
            index: at.index,
            epoch: at.epoch,
            data: data.split_to(place.bytes as usize),
        });
        Ok(taken.collect())
    }

    fn sync(&mut self) -> Result<(), LogError> {
        Ok(())
    }

    fn syncs_at_once(&self) -> bool {
        true
    }
}

/// Memory that is added to at its end, and forgotten from both.
#[derive(Debug, Default)]
struct Slabs {
    slabs: VecDeque<Vec<u8>>,
    /// How many were forgotten.
    forgotten: u64,
    /// One that is used again: fresh memory costs more to get than to fill.
    spare: Option<Vec<u8>>,
}

impl Slabs {
    /// Copies it in.
    fn add(&mut self, data: &[u8]) -> Place {
        if self.slabs.back().is_none_or(|slab| slab.capacity() - slab.len() < data.len()) {
            let grown = self.slabs.back().map_or(FIRST_SLAB_BYTES, |slab| slab.capacity() * 2);
            let bytes = grown.min(SLAB_BYTES).max(data.len());
            let spare = self.spare.take_if(|spare| spare.capacity() >= data.len());
            self.slabs.push_back(spare.unwrap_or_else(|| Vec::with_capacity(bytes)));
        }
        let slab = self.forgotten + self.slabs.len() as u64 - 1;
        let start = self.slabs.back_mut().map_or(0, |slab| {
            slab.extend_from_slice(data);
            slab.len() - data.len()
        });
        // Both are far below 2^32: entries have a largest size, and so have slabs.
        Place { slab, start: start as u32, bytes: data.len() as u32 }
    }

    fn bytes(&self) -> usize {
        self.slabs.iter().map(Vec::len).sum()
    }

    fn get(&self, place: Place) -> &[u8] {
        let start = place.start as usize;
        &self.slabs[(place.slab - self.forgotten) as usize][start..start + place.bytes as usize]
    }

    /// Forgets what was added at this place and behind it.
    fn cut(&mut self, place: Place) {
        self.slabs.truncate((place.slab - self.forgotten) as usize + 1);
        if let Some(slab) = self.slabs.back_mut() {
            slab.truncate(place.start as usize);
        }
    }

    /// Forgets what was added before this place; all of it where there is none.
    fn forget(&mut self, before: Option<Place>) {
        let keep = before.map_or(self.forgotten + self.slabs.len() as u64, |place| place.slab);
        while self.forgotten < keep
            && let Some(mut slab) = self.slabs.pop_front()
        {
            self.forgotten += 1;
            if slab.capacity() == SLAB_BYTES {
                slab.clear();
                self.spare = Some(slab);
            }
        }
    }
}

/// A copy has as much room as it holds.
impl Clone for Slabs {
    fn clone(&self) -> Self {
        Self { slabs: self.slabs.clone(), forgotten: self.forgotten, spare: None }
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
    fn entries_come_back_whatever_their_size_also_where_a_log_was_cut_and_grew_again() {
        let sizes = [0, 1, 5000, FIRST_SLAB_BYTES, 3, SLAB_BYTES + 1, 0, SLAB_BYTES, 7];
        let entries = |indexes: std::ops::Range<usize>, byte: u8| -> Vec<LogEntry> {
            let data = |place: usize| vec![byte ^ place as u8; sizes[place]].into();
            indexes.map(|place| LogEntry { index: place as u64 + 1, epoch: 1, data: data(place) }).collect()
        };
        let mut log = MemoryLog::new();
        log.append(&entries(0..9, 0)).unwrap();
        assert_eq!(log.read(1, usize::MAX, 9).unwrap(), entries(0..9, 0));
        let copy = log.clone();
        log.cut(4).unwrap();
        log.append(&entries(4..9, 0x80)).unwrap();
        assert_eq!(log.read(1, usize::MAX, 4).unwrap(), entries(0..4, 0));
        assert_eq!(log.read(5, usize::MAX, 9).unwrap(), entries(4..9, 0x80));
        assert_eq!(copy.read(1, usize::MAX, 9).unwrap(), entries(0..9, 0), "a copy is a log of its own");
        log.cut(0).unwrap();
        assert_eq!((log.last(), log.read(1, 1, 1).unwrap()), (Position::START, Vec::new()));
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
        assert!(log.slabs.slabs.len() <= 2 && log.entries.capacity() <= 256);
        log.compact(20_000).unwrap();
        assert_eq!((log.base(), log.last(), log.read(1, 1, 1).unwrap()), (whole.last(), whole.last(), Vec::new()));
        log.append(&[LogEntry { index: 10_001, epoch: 1, data: "on".into() }]).unwrap();
        log.cut(0).unwrap();
        assert_eq!(log.last(), whole.last(), "what was compacted is not cut");
        let elsewhere = Position { index: 7, epoch: 3, digest: 9 };
        log.restore(elsewhere).unwrap();
        assert_eq!((log.base(), log.last(), log.position(7)), (elsewhere, elsewhere, Some(elsewhere)));
    }
}
