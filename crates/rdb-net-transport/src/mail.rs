//! Where outcomes wait for their callers: one box a request slot, beside the session and not in it, so that callers who take
//! their outcomes on several threads stand neither in each other's way nor in that of those who send.
//!
//! A slot is free for the next request as soon as its outcome is in the mail, so a box may hold those of several requests of
//! its slot for a moment: as many as callers have not looked yet.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rdb_net_session::{Outcome, RequestId};

/// Boxes of the first row; each further row has as many as all before it together.
const FIRST_ROW: usize = 32;
/// Enough rows for every slot that there can be: their numbers have 32 bits.
const ROWS: usize = 28;

/// What has come for a request.
#[derive(Debug)]
enum Letter {
    Outcome(Outcome),
    /// Its caller has left: what comes is thrown away.
    Refused,
}

#[derive(Debug, Default)]
struct Letters {
    first: Option<(RequestId, Letter)>,
    /// Almost always empty.
    others: Vec<(RequestId, Letter)>,
}

impl Letters {
    #[inline]
    fn take(&mut self, id: RequestId) -> Option<Letter> {
        if let Some((_, letter)) = self.first.take_if(|(of, _)| *of == id) {
            return Some(letter);
        }
        let index = self.others.iter().position(|(of, _)| *of == id)?;
        Some(self.others.swap_remove(index).1)
    }

    #[inline]
    fn put(&mut self, id: RequestId, letter: Letter) {
        match &mut self.first {
            first @ None => *first = Some((id, letter)),
            Some(_) => self.others.push((id, letter)),
        }
    }
}

/// A box on cache lines of its own: its neighbours belong to other callers.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Mailbox(Mutex<Letters>);

/// Boxes, made when their slots are first used.
type Rows = [OnceLock<Box<[Mailbox]>>; ROWS];

/// The boxes of one connection.
#[derive(Debug)]
pub(crate) struct Mail {
    /// By who gave out the slots: the session itself, and each outbox.
    owners: Box<[Rows]>,
}

impl Mail {
    /// Boxes for the slots of a session and so many outboxes.
    pub(crate) fn new(outboxes: usize) -> Self {
        Self { owners: (0..=outboxes).map(|_| Rows::default()).collect() }
    }

    /// Puts an outcome into its box.
    pub(crate) fn deliver(&self, id: RequestId, outcome: Outcome) {
        let mut letters = self.open(id);
        if letters.take(id).is_none() {
            letters.put(id, Letter::Outcome(outcome));
        }
    }

    /// Takes the outcome of this request out of its box.
    #[inline]
    pub(crate) fn take(&self, id: RequestId) -> Option<Outcome> {
        match self.open(id).take(id)? {
            Letter::Outcome(outcome) => Some(outcome),
            Letter::Refused => None,
        }
    }

    /// Throws the outcome of this request away, which has come or is on its way.
    pub(crate) fn refuse(&self, id: RequestId) {
        let mut letters = self.open(id);
        if letters.take(id).is_none() {
            letters.put(id, Letter::Refused);
        }
    }

    /// Whether there is no letter in any box.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        let boxes = self.owners.iter().flatten().filter_map(OnceLock::get).flat_map(|row| row.iter());
        boxes.map(|mailbox| mailbox.0.lock().expect("no panic")).all(|it| it.first.is_none() && it.others.is_empty())
    }

    #[inline]
    fn open(&self, id: RequestId) -> MutexGuard<'_, Letters> {
        let (owner, number) = (id.slot() % self.owners.len(), id.slot() / self.owners.len());
        let (row, place) = position(number);
        let boxes = self.owners[owner][row].get_or_init(|| {
            let length = if row == 0 { FIRST_ROW } else { FIRST_ROW << (row - 1) };
            (0..length).map(|_| Mailbox::default()).collect()
        });
        // Nothing that runs under this lock panics.
        boxes[place].0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The row of a slot's box, and its place there.
#[inline]
fn position(slot: usize) -> (usize, usize) {
    if slot < FIRST_ROW {
        return (0, slot);
    }
    let doublings = (slot / FIRST_ROW).ilog2() as usize;
    (doublings + 1, slot - (FIRST_ROW << doublings))
}

#[cfg(test)]
mod tests {
    use rdb_net_types::{Effect, Reason, RequestError};

    use super::*;

    fn outcome(reason: Reason) -> Outcome {
        Err(RequestError::new(Effect::Unknown, reason))
    }

    fn id(slot: u64, generation: u64) -> RequestId {
        RequestId::from_correlation(generation << 32 | slot)
    }

    #[test]
    fn every_slot_has_a_box_of_its_own() {
        let mut next = [0; ROWS];
        for slot in 0..100_000 {
            let (row, place) = position(slot);
            assert_eq!(place, next[row], "slot {slot}");
            next[row] += 1;
        }
        assert_eq!(next[..4], [32, 32, 64, 128]);
        assert_eq!(position(u32::MAX as usize).0, ROWS - 1);
    }

    #[test]
    fn requests_of_one_slot_each_get_their_own_outcome() {
        let mail = Mail::new(2);
        let reasons = [Reason::Expired, Reason::Draining, Reason::Cancelled];
        for (generation, reason) in (1..).zip(reasons) {
            mail.deliver(id(40, generation), outcome(reason));
        }
        for generation in [2, 1, 3] {
            let expected = outcome(reasons[generation as usize - 1]);
            assert_eq!(mail.take(id(40, generation)), Some(expected));
            assert_eq!(mail.take(id(40, generation)), None, "an outcome is taken once");
        }
    }

    #[test]
    fn what_nobody_wants_is_kept_by_nobody_whichever_comes_first() {
        let mail = Mail::new(2);
        mail.deliver(id(1, 1), outcome(Reason::Expired));
        mail.refuse(id(1, 1));
        mail.refuse(id(1, 2));
        mail.deliver(id(1, 2), outcome(Reason::Expired));
        let letters = mail.open(id(1, 3));
        assert!(letters.first.is_none() && letters.others.is_empty());
    }
}
