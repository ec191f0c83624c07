//! The newest entries of a leader, in memory for all of its followers.

use std::collections::VecDeque;

use super::entries::{Entries, count_that_fits};
use super::proposed::Proposed;

/// The newest entries, within a number of bytes, as they travel: what has gone to one follower together goes to the others together.
#[derive(Debug)]
pub(super) struct Tail {
    batches: VecDeque<Entries>,
    memory_bytes: usize,
    memory_bytes_max: usize,
    /// How many bytes of data travel together, and how many entries.
    batch_bytes_max: usize,
    batch_entries_max: usize,
}

impl Tail {
    pub(super) fn new(memory_bytes_max: usize, batch_bytes_max: usize, batch_entries_max: usize) -> Self {
        Self { batches: VecDeque::new(), memory_bytes: 0, memory_bytes_max, batch_bytes_max, batch_entries_max }
    }

    /// Puts entries together as they may travel, the first of them with this index.
    pub(super) fn packed(&self, first: u64, epoch: u64, entries: &Proposed) -> Vec<Entries> {
        entries.packed(first, epoch, |lengths| self.fits(lengths))
    }

    /// Adds the entries behind those that are there, and forgets the oldest beyond its size.
    pub(super) fn push(&mut self, batch: Entries) {
        self.memory_bytes += batch.memory_bytes();
        self.batches.push_back(batch);
        while self.memory_bytes > self.memory_bytes_max
            && let Some(oldest) = self.batches.pop_front()
        {
            self.memory_bytes -= oldest.memory_bytes();
        }
    }

    /// Entries from this index on that travel together; `None` where it is older than what is held.
    pub(super) fn read(&mut self, from: u64) -> Option<Entries> {
        if from < self.batches.front()?.heads().first()?.index {
            return None;
        }
        let place = self.batches.partition_point(|batch| batch.heads().last().is_some_and(|head| head.index < from));
        let Some(batch) = self.batches.get(place) else { return Some(Entries::default()) };
        let known = batch.heads().partition_point(|head| head.index < from);
        if known > 0 {
            // Whoever is between two of them catches up with the others by a part of one.
            return Some(batch.part(known..batch.len()));
        }
        self.join(place);
        self.batches.get(place).cloned()
    }

    /// Puts a batch and those behind it together, as far as they may travel together.
    fn join(&mut self, place: usize) {
        let (mut bytes, mut entries) = (0, 0);
        let whole = self.batches.range(place..).take_while(|batch| {
            (bytes, entries) = (bytes + batch.data_bytes(), entries + batch.len());
            bytes <= self.batch_bytes_max && entries <= self.batch_entries_max
        });
        let whole = whole.count();
        if whole > 1 {
            let parts: Vec<Entries> = self.batches.drain(place + 1..place + whole).collect();
            let parts = self.batches.get(place).into_iter().chain(&parts);
            self.memory_bytes -= parts.clone().map(Entries::memory_bytes).sum::<usize>();
            let joined = Entries::joined(parts);
            self.memory_bytes += joined.memory_bytes();
            self.batches[place] = joined;
        }
    }

    fn fits(&self, lengths: impl Iterator<Item = usize>) -> usize {
        count_that_fits(lengths, self.batch_bytes_max, self.batch_entries_max)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// The entries of these indexes.
    fn extend(tail: &mut Tail, indexes: std::ops::RangeInclusive<u64>) {
        let data = vec![Bytes::from(vec![0; 100]); indexes.clone().count()];
        tail.packed(*indexes.start(), 1, &data.into()).into_iter().for_each(|batch| tail.push(batch));
    }

    fn indexes(entries: Option<Entries>) -> Option<Vec<u64>> {
        entries.map(|entries| entries.iter().map(|entry| entry.index).collect())
    }

    #[test]
    fn the_oldest_entries_are_forgotten_beyond_the_limit() {
        let mut tail =
            Tail::new(10 * Entries::packed(1, 1, [Bytes::from(vec![0; 100])].iter()).memory_bytes(), 1000, 3);
        assert_eq!(tail.read(1), None);
        (1..=100).for_each(|index| extend(&mut tail, index..=index));
        assert_eq!(tail.read(90), None, "ten are held");
        assert_eq!(indexes(tail.read(91)), Some(vec![91, 92, 93]));
        assert_eq!(indexes(tail.read(101)), Some(Vec::new()), "nothing is missing");
        extend(&mut tail, 101..=300);
        assert_eq!(tail.read(200), None);
        assert!(tail.memory_bytes <= tail.memory_bytes_max);
        let mut none = Tail::new(1, 1000, 3);
        extend(&mut none, 1..=1);
        assert_eq!((none.memory_bytes, none.read(1)), (0, None));
    }

    #[test]
    fn what_was_proposed_in_pieces_travels_together_and_once_together_stays_so() {
        let mut tail = Tail::new(1 << 20, 350, 100);
        (1..=8).for_each(|index| extend(&mut tail, index..=index));
        let first = tail.read(1).expect("it is held");
        assert_eq!(indexes(Some(first.clone())), Some(vec![1, 2, 3]), "350 bytes at most");
        let again = tail.read(1).expect("it is held");
        assert_eq!(first.data().pieces()[0].as_ptr(), again.data().pieces()[0].as_ptr(), "it is the same memory");
        assert_eq!(indexes(tail.read(2)), Some(vec![2, 3]), "a part of it");
        assert_eq!(indexes(tail.read(4)), Some(vec![4, 5, 6]));
        assert_eq!(indexes(tail.read(8)), Some(vec![8]));
        extend(&mut tail, 9..=12);
        assert_eq!(indexes(tail.read(8)), Some(vec![8]), "with three behind it that do not fit");
        assert_eq!(indexes(tail.read(9)), Some(vec![9, 10, 11]));
        assert_eq!(indexes(tail.read(12)), Some(vec![12]));
        let held: usize = tail.batches.iter().map(Entries::memory_bytes).sum();
        assert_eq!(tail.memory_bytes, held);
    }
}
