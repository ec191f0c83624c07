//! The newest entries of a leader, in memory for all of its followers.

use std::collections::VecDeque;

use rdb_net_types::LogEntry;

use super::log::first_that_fit;

/// What an entry takes in memory beside its data.
pub(super) const ENTRY_BYTES: usize = size_of::<LogEntry>();

/// The newest entries, within a number of bytes.
#[derive(Debug, Default)]
pub(super) struct Tail {
    entries: VecDeque<LogEntry>,
    bytes: usize,
}

impl Tail {
    /// Adds the entries behind those that are there, and forgets the oldest beyond this size.
    pub(super) fn extend(&mut self, entries: Vec<LogEntry>, bytes_max: usize) {
        for entry in entries {
            self.bytes += entry.data.len() + ENTRY_BYTES;
            self.entries.push_back(entry);
        }
        while self.bytes > bytes_max
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes -= oldest.data.len() + ENTRY_BYTES;
        }
    }

    /// Entries from this index on; `None` where it is older than what is held.
    pub(super) fn read(&self, from: u64, bytes_max: usize, entries_max: usize) -> Option<Vec<LogEntry>> {
        let first = self.entries.front()?.index;
        let place = usize::try_from(from.checked_sub(first)?).ok()?;
        Some(first_that_fit(self.entries.range(place.min(self.entries.len())..).cloned(), bytes_max, entries_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64) -> LogEntry {
        LogEntry { index, epoch: 1, data: vec![0; 100].into() }
    }

    #[test]
    fn the_documented_cost_of_an_entry_is_the_true_one() {
        assert!(usize::BITS < 64 || ENTRY_BYTES == 48);
    }

    #[test]
    fn the_oldest_entries_are_forgotten_beyond_the_limit() {
        let mut tail = Tail::default();
        assert_eq!(tail.read(1, 1000, 10), None);
        tail.extend((1..=100).map(entry).collect(), 10 * (100 + ENTRY_BYTES));
        assert_eq!(tail.read(90, 1000, 10), None, "ten are held");
        let read = tail.read(91, 1000, 3).expect("it is held");
        assert_eq!(read.iter().map(|entry| entry.index).collect::<Vec<_>>(), [91, 92, 93]);
        assert_eq!(tail.read(101, 1000, 3), Some(Vec::new()), "nothing is missing");
        tail.extend(vec![entry(101)], 1);
        assert_eq!((tail.bytes, tail.read(101, 1, 1)), (0, None));
    }
}
