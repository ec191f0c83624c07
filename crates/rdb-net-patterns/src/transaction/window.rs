//! Which transactions are over, so that a late copy of a prepare does not begin one anew.
//!
//! A prepare may be sent twice, and its second copy may be read when the transaction is long over: carried out, it would do the work
//! again and wait for a decision that was already given. Remembering every transaction would need memory without end. A coordinator
//! numbers its transactions, so for each coordinator a window of the last [`WINDOW`] numbers is enough: what lies below
//! is taken to be over. A newer life of a coordinator ends all older ones: what they had not decided is aborted.
//!
//! Refusing too much only aborts a transaction, which is always safe; it happens to one whose first prepare reaches a participant
//! after [`WINDOW`] later ones have ended there.
//!
//! Coordinators come and go, and each takes a window. Beyond a number of them the window that was not used for longest is closed: only its
//! highest number is kept, and everything up to it is taken to be over. So whoever comes is served, and whoever comes back loses at
//! most what was under way. Closed windows are bounded as well; who is forgotten altogether is counted, and taken for new.
//!
//! So a transaction is over in one of two ways: it is *marked*, as this participant has ended it itself, or it is over by *presumption*: of an
//! older life, below the window, or up to where a window was closed. Of those nothing is kept that could tell what was done from what a disk has
//! lost.

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
    /// Up to this number all is over by presumption: the window had been closed there.
    presumed: u32,
    /// When its coordinator was heard of last, by the count of all uses.
    used: u64,
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
        Self { epoch, highest: 0, over: Box::new([0; WORDS]), read_only: Box::new([0; WORDS]), presumed: 0, used: 0 }
    }

    /// One that was closed. Of what had not come by then nothing is carried out any more.
    fn reopened(Closed { epoch, highest, .. }: Closed) -> Self {
        Self { highest, presumed: highest, over: Box::new([u64::MAX; WORDS]), ..Self::new(epoch) }
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

/// What is left of a window when others need its place: everything up to this number is over.
#[derive(Debug, Clone, Copy)]
struct Closed {
    epoch: u32,
    highest: u32,
    used: u64,
}

/// So many closed windows are remembered for each open one: they take a fiftieth of its memory.
const CLOSED_FOR_EACH: usize = 16;

/// What is over, by coordinator.
#[derive(Debug, Clone)]
pub(super) struct Windows {
    by_node: BTreeMap<u64, Window>,
    /// Whose window is closed. Nobody is in both.
    closed: BTreeMap<u64, Closed>,
    /// Coordinators with an open window by when they were heard of last, and those with a closed one by when that was.
    by_use: BTreeMap<u64, u64>,
    by_closing: BTreeMap<u64, u64>,
    uses: u64,
    coordinators_max: usize,
    /// How many windows were closed, and how many of those were forgotten.
    pub(super) closed_count: u64,
    pub(super) forgotten_count: u64,
}

impl Windows {
    pub(super) fn new(coordinators_max: usize) -> Self {
        Self {
            by_node: BTreeMap::new(),
            closed: BTreeMap::new(),
            by_use: BTreeMap::new(),
            by_closing: BTreeMap::new(),
            uses: 0,
            coordinators_max: coordinators_max.max(1),
            closed_count: 0,
            forgotten_count: 0,
        }
    }

    /// What a late prepare of a transaction is answered; `None` where it is not over.
    pub(super) fn late_vote(&self, txn: TransactionId) -> Option<Vote> {
        let (life, sequence) = (Life::of(txn), sequence_of(txn));
        let Some(window) = self.by_node.get(&life.node_sum) else {
            let closed = self.closed.get(&life.node_sum)?;
            return ((life.epoch, sequence) <= (closed.epoch, closed.highest)).then_some(Vote::Abort);
        };
        if life.epoch != window.epoch {
            return (life.epoch < window.epoch).then_some(Vote::Abort);
        }
        if window.highest.saturating_sub(sequence) >= WINDOW {
            return Some(Vote::Abort);
        }
        let is_over = sequence <= window.highest && has(&window.over, sequence);
        is_over.then(|| if has(&window.read_only, sequence) { Vote::ReadOnly } else { Vote::Abort })
    }

    /// Whether this participant has ended the transaction itself, as far as is kept. What is over and not marked is so by presumption.
    pub(super) fn is_marked(&self, txn: TransactionId) -> bool {
        let (life, sequence) = (Life::of(txn), sequence_of(txn));
        self.by_node.get(&life.node_sum).is_some_and(|window| {
            let is_in_it = life.epoch == window.epoch
                && sequence > window.presumed
                && sequence <= window.highest
                && window.highest - sequence < WINDOW;
            is_in_it && has(&window.over, sequence)
        })
    }

    /// Sees to it that the coordinator of a transaction has an open window. Where there are too many, the one of the coordinator that
    /// was not heard of for longest is closed.
    pub(super) fn admit(&mut self, txn: TransactionId) {
        let life = Life::of(txn);
        self.uses += 1;
        let used = self.uses;
        if !self.by_node.contains_key(&life.node_sum) {
            if self.by_node.len() >= self.coordinators_max {
                self.close_oldest();
            }
            let closed = self.closed.remove(&life.node_sum);
            let window = closed.map_or_else(|| Window::new(life.epoch), Window::reopened);
            if let Some(closed) = closed {
                self.by_closing.remove(&closed.used);
            }
            self.by_node.insert(life.node_sum, window);
        }
        let window = self.by_node.get_mut(&life.node_sum).expect("it is there or was put there");
        if window.epoch < life.epoch {
            *window = Window { used: window.used, ..Window::new(life.epoch) };
        }
        self.by_use.remove(&window.used);
        window.used = used;
        self.by_use.insert(used, life.node_sum);
    }

    fn close_oldest(&mut self) {
        let Some((_, node_sum)) = self.by_use.pop_first() else { return };
        let Some(Window { epoch, highest, .. }) = self.by_node.remove(&node_sum) else { return };
        self.closed_count += 1;
        self.remember(node_sum, epoch, highest);
    }

    fn remember(&mut self, node_sum: u64, epoch: u32, highest: u32) {
        self.uses += 1;
        self.by_closing.insert(self.uses, node_sum);
        self.closed.insert(node_sum, Closed { epoch, highest, used: self.uses });
        if self.closed.len() > self.coordinators_max.saturating_mul(CLOSED_FOR_EACH)
            && let Some((_, oldest)) = self.by_closing.pop_first()
        {
            self.closed.remove(&oldest);
            self.forgotten_count += 1;
        }
    }

    /// From here on the transaction is over, and had changed nothing, perhaps.
    pub(super) fn mark(&mut self, txn: TransactionId, read_only: bool) {
        self.admit(txn);
        let life = Life::of(txn);
        let window = self.by_node.get_mut(&life.node_sum).filter(|window| window.epoch == life.epoch);
        if let Some(window) = window {
            window.mark(sequence_of(txn), read_only);
        }
    }

    /// The records that say the same, but for what had changed nothing: it is over as well. Those heard of last come last.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> {
        let record =
            |node_sum: u64, epoch, highest, bits| Record::Over { life: Life { node_sum, epoch }, highest, bits };
        let closed = self.by_closing.values().filter_map(move |node_sum| {
            let closed = self.closed.get(node_sum)?;
            Some(record(*node_sum, closed.epoch, closed.highest, Vec::new()))
        });
        let open = self.by_use.values().filter_map(move |node_sum| {
            let window = self.by_node.get(node_sum)?;
            let marks = record(*node_sum, window.epoch, window.highest, window.over.to_vec());
            // Behind its marks: up to where they are none.
            let presumed = (window.presumed > 0).then(|| record(*node_sum, window.epoch, window.presumed, Vec::new()));
            Some(std::iter::once(marks).chain(presumed))
        });
        closed.chain(open.flatten())
    }

    /// Takes back what a record says; one without bits is of a closed window, or says up to where one that is open had been closed.
    pub(super) fn restore(&mut self, life: Life, highest: u32, bits: &[u64]) {
        if self.by_node.get(&life.node_sum).is_some_and(|known| known.epoch > life.epoch) {
            return;
        }
        let open = self.by_node.get_mut(&life.node_sum).filter(|window| window.epoch == life.epoch);
        if bits.is_empty()
            && let Some(window) = open
        {
            window.presumed = highest.min(window.highest);
        } else if bits.is_empty()
            && !self.by_node.contains_key(&life.node_sum)
            && !self.closed.contains_key(&life.node_sum)
        {
            self.remember(life.node_sum, life.epoch, highest);
        } else if let Ok(bits) = <[u64; WORDS]>::try_from(bits) {
            self.admit(life.transaction(highest));
            if let Some(window) = self.by_node.get_mut(&life.node_sum) {
                *window = Window { highest, over: Box::new(bits), used: window.used, ..Window::new(life.epoch) };
            }
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
        windows.admit(txn(3, 1));
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

    fn of(node_sum: u64, sequence: u32) -> TransactionId {
        Life { node_sum, epoch: 1 }.transaction(sequence)
    }

    #[test]
    fn one_coordinator_more_than_the_limit_closes_the_window_that_was_not_used_for_longest() {
        let mut windows = Windows::new(2);
        windows.mark(of(5, 3), true);
        windows.mark(of(6, 7), false);
        windows.mark(of(5, 4), false);
        windows.mark(of(7, 1), false);
        assert_eq!(windows.by_node.keys().collect::<Vec<_>>(), [&5, &7]);
        let votes = [of(6, 7), of(6, 2), of(6, 8)].map(|txn| windows.late_vote(txn));
        assert_eq!(votes, [Some(Vote::Abort), Some(Vote::Abort), None], "up to its highest number all is over");
        windows.mark(of(6, 9), true);
        let votes = [of(6, 2), of(6, 8), of(6, 9)].map(|txn| windows.late_vote(txn));
        assert_eq!(votes, [Some(Vote::Abort), None, Some(Vote::ReadOnly)], "it goes on where it was closed");
        assert_eq!((windows.closed_count, windows.closed.len(), windows.by_closing.len()), (2, 1, 1));
    }

    #[test]
    fn closed_windows_are_bounded_and_those_forgotten_are_counted() {
        let mut windows = Windows::new(1);
        (1..=CLOSED_FOR_EACH as u64 + 4).for_each(|node_sum| windows.mark(of(node_sum, 1), false));
        assert_eq!((windows.by_node.len(), windows.by_use.len()), (1, 1));
        assert_eq!((windows.closed.len(), windows.by_closing.len()), (CLOSED_FOR_EACH, CLOSED_FOR_EACH));
        assert_eq!((windows.closed_count, windows.forgotten_count), (CLOSED_FOR_EACH as u64 + 3, 3));
        assert!(!windows.is_over(of(3, 1)) && windows.is_over(of(4, 1)));
    }

    #[test]
    fn a_closed_window_is_closed_in_the_next_life_too() {
        let mut windows = Windows::new(2);
        (1..=5).for_each(|node_sum| windows.mark(of(node_sum, 3), false));
        let mut again = Windows::new(2);
        for record in windows.records() {
            match record {
                Record::Over { life, highest, bits } => again.restore(life, highest, &bits),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((again.closed.len(), again.by_node.len(), again.closed_count), (3, 2, 0));
        assert!((1..=5).all(|node_sum| again.is_over(of(node_sum, 3)) && !again.is_over(of(node_sum, 4))));
        assert!(again.is_over(of(1, 2)) && !again.is_over(of(5, 2)));
    }

    #[test]
    fn a_window_that_was_closed_at_the_last_number_presumes_all_and_is_asked_of_any() {
        let mut windows = Windows::new(1);
        for last in [u32::MAX - 1, u32::MAX] {
            windows.mark(of(5, last), false);
            windows.mark(of(6, 1), false);
            windows.admit(of(5, 1));
            for sequence in [1, u32::MAX - WINDOW, u32::MAX - 1, u32::MAX] {
                assert!(!windows.is_marked(of(5, sequence)), "{sequence} of {last}");
            }
        }
        assert!(windows.is_over(of(5, 1)) && windows.is_over(of(5, u32::MAX)));
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
