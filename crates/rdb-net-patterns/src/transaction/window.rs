//! Which transactions are over, so that a late copy of a prepare does not begin one anew.
//!
//! A prepare may be sent twice, and its second copy may be read when the transaction is long over: carried out, it would do the work
//! again and wait for a decision that was already given. Remembering every transaction would need memory without end. A coordinator
//! numbers its transactions, so for each coordinator a window of the last [`WINDOW`] numbers is enough: what lies below
//! is taken to be over. A newer life of a coordinator ends all older ones: what they had not decided is aborted.
//!
//! Refusing too much only aborts a transaction, which is always safe; it happens to one whose first prepare reaches a participant
//! after [`WINDOW`] later ones have ended there.

use std::collections::BTreeMap;

use rdb_net_types::{TransactionId, Vote};

use super::Life;
use super::id::sequence_of;
use super::record::Record;

/// How many of a coordinator's transactions are told apart.
pub(super) const WINDOW: u32 = WORDS as u32 * 64;
const WORDS: usize = 64;

#[derive(Debug, Clone)]
struct Window {
    epoch: u32,
    /// The highest number that is over; 0, which no transaction has, where none is.
    highest: u32,
    /// A bit for each number that is over: where `number % WINDOW` is its place.
    over: Box<[u64; WORDS]>,
    /// The same for those among them that had changed nothing.
    read_only: Box<[u64; WORDS]>,
}

fn has(bits: &[u64; WORDS], sequence: u32) -> bool {
    let place = sequence % WINDOW;
    bits[(place / 64) as usize] >> (place % 64) & 1 == 1
}

fn set(bits: &mut [u64; WORDS], sequence: u32, value: bool) {
    let place = sequence % WINDOW;
    let (word, bit) = (&mut bits[(place / 64) as usize], 1 << (place % 64));
    if value { *word |= bit } else { *word &= !bit }
}

impl Window {
    fn new(epoch: u32) -> Self {
        Self { epoch, highest: 0, over: Box::new([0; WORDS]), read_only: Box::new([0; WORDS]) }
    }

    fn mark(&mut self, sequence: u32, read_only: bool) {
        if sequence > self.highest {
            let first = (self.highest + 1).max(sequence.saturating_sub(WINDOW - 1));
            (first..sequence).for_each(|passed| set(&mut self.over, passed, false));
            self.highest = sequence;
        } else if self.highest - sequence >= WINDOW {
            return;
        }
        set(&mut self.over, sequence, true);
        set(&mut self.read_only, sequence, read_only);
    }
}

/// What is over, by coordinator.
#[derive(Debug, Clone)]
pub(super) struct Windows {
    by_node: BTreeMap<u64, Window>,
    coordinators_max: usize,
}

impl Windows {
    pub(super) const fn new(coordinators_max: usize) -> Self {
        Self { by_node: BTreeMap::new(), coordinators_max }
    }

    /// What a late prepare of a transaction is answered; `None` where it is not over.
    pub(super) fn late_vote(&self, txn: TransactionId) -> Option<Vote> {
        let (life, sequence) = (Life::of(txn), sequence_of(txn));
        let window = self.by_node.get(&life.node_sum)?;
        if life.epoch != window.epoch {
            return (life.epoch < window.epoch).then_some(Vote::Abort);
        }
        if window.highest.saturating_sub(sequence) >= WINDOW {
            return Some(Vote::Abort);
        }
        let is_over = sequence <= window.highest && has(&window.over, sequence);
        is_over.then(|| if has(&window.read_only, sequence) { Vote::ReadOnly } else { Vote::Abort })
    }

    /// Makes room for a coordinator; `false` where there are too many.
    pub(super) fn admit(&mut self, txn: TransactionId) -> bool {
        let life = Life::of(txn);
        if self.by_node.len() >= self.coordinators_max && !self.by_node.contains_key(&life.node_sum) {
            return false;
        }
        let window = self.by_node.entry(life.node_sum).or_insert_with(|| Window::new(life.epoch));
        if window.epoch < life.epoch {
            *window = Window::new(life.epoch);
        }
        true
    }

    /// From here on the transaction is over, and had changed nothing, perhaps. Without room for its coordinator this is forgotten.
    pub(super) fn mark(&mut self, txn: TransactionId, read_only: bool) {
        if self.admit(txn) {
            let life = Life::of(txn);
            let window = self.by_node.get_mut(&life.node_sum).filter(|window| window.epoch == life.epoch);
            if let Some(window) = window {
                window.mark(sequence_of(txn), read_only);
            }
        }
    }

    /// The records that say the same, but for what had changed nothing: it is over as well.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> {
        self.by_node.iter().map(|(node_sum, window)| Record::Over {
            life: Life { node_sum: *node_sum, epoch: window.epoch },
            highest: window.highest,
            bits: window.over.to_vec(),
        })
    }

    /// Takes back what a record says.
    pub(super) fn restore(&mut self, life: Life, highest: u32, bits: &[u64]) {
        if let Ok(bits) = <[u64; WORDS]>::try_from(bits)
            && self.admit(life.transaction(highest))
            && self.by_node.get(&life.node_sum).is_none_or(|known| known.epoch <= life.epoch)
        {
            let window = Window { highest, over: Box::new(bits), ..Window::new(life.epoch) };
            self.by_node.insert(life.node_sum, window);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Windows {
        fn is_over(&self, txn: TransactionId) -> bool {
            self.late_vote(txn).is_some()
        }
    }

    fn txn(epoch: u32, sequence: u32) -> TransactionId {
        Life { node_sum: 5, epoch }.transaction(sequence)
    }

    #[test]
    fn what_was_marked_is_over_and_what_lies_far_below() {
        let mut windows = Windows::new(1);
        for sequence in [3, 1, 2 * WINDOW, 2 * WINDOW - 5] {
            windows.mark(txn(1, sequence), false);
        }
        let over: Vec<u32> = (0..2 * WINDOW + 9).filter(|sequence| windows.is_over(txn(1, *sequence))).collect();
        let expected: Vec<u32> = (0..=WINDOW).chain([2 * WINDOW - 5, 2 * WINDOW]).collect();
        assert_eq!(over, expected);
    }

    #[test]
    fn a_newer_life_ends_the_older_ones() {
        let mut windows = Windows::new(1);
        windows.mark(txn(2, 7), false);
        assert!(windows.is_over(txn(1, 100)) && !windows.is_over(txn(2, 8)) && !windows.is_over(txn(3, 7)));
        assert!(windows.admit(txn(3, 1)));
        assert!(windows.is_over(txn(2, 8)));
        windows.mark(txn(2, 9), true);
        assert!(!windows.is_over(txn(3, 9)), "a late word of an older life says nothing of the newer");
    }

    #[test]
    fn who_had_changed_nothing_says_so_again() {
        let mut windows = Windows::new(1);
        windows.mark(txn(1, 5), true);
        windows.mark(txn(1, 6), false);
        let votes = [5, 6, 7].map(|sequence| windows.late_vote(txn(1, sequence)));
        assert_eq!(votes, [Some(Vote::ReadOnly), Some(Vote::Abort), None]);
    }

    #[test]
    fn coordinators_are_bounded() {
        let mut windows = Windows::new(1);
        windows.mark(txn(1, 1), true);
        let other = Life { node_sum: 6, epoch: 1 }.transaction(1);
        assert!(!windows.admit(other));
        windows.mark(other, false);
        assert!(!windows.is_over(other));
    }

    #[test]
    fn the_records_say_the_same() {
        let mut windows = Windows::new(4);
        (0..900).filter(|sequence| sequence % 7 < 3).for_each(|sequence| windows.mark(txn(4, sequence), false));
        let mut again = Windows::new(4);
        for record in windows.records() {
            match record {
                Record::Over { life, highest, bits } => again.restore(life, highest, &bits),
                other => panic!("{other:?}"),
            }
        }
        assert!((0..1000).all(|sequence| windows.is_over(txn(4, sequence)) == again.is_over(txn(4, sequence))));
    }
}
