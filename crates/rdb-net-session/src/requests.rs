//! The table of requests in flight: generational slots, so that a late reply finds no one.

use std::time::Duration;

use rdb_net_types::{Effect, Lane, Reason, RequestError};

use crate::event::Outcome;

/// A request in flight. The generation tells it from earlier ones in the same slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId {
    /// The slot: small numbers, reused.
    pub slot: u32,
    pub(crate) generation: u32,
}

impl RequestId {
    /// The correlation id on the wire; never 0.
    pub fn correlation(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    pub(crate) fn from_correlation(correlation: u64) -> Self {
        Self { slot: correlation as u32, generation: (correlation >> 32) as u32 }
    }
}

/// Deadlines are looked at no more often than this, so that a table of requests with many different ones costs little.
const SCAN_INTERVAL: Duration = Duration::from_millis(1);

#[derive(Debug)]
struct Slot {
    generation: u32,
    state: State,
    lane: Lane,
    /// Which message of its lane it was when handed to the socket, from 1; 0 while it waits for the socket.
    ordinal: u64,
    started: Duration,
    deadline: Duration,
}

#[derive(Debug)]
enum State {
    Free,
    Waiting,
    Done(Outcome),
}

/// All requests of one session.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    slots: Vec<Slot>,
    free: Vec<u32>,
    waiting: usize,
    /// No waiting request's deadline is before this.
    next_deadline: Option<Duration>,
    completed: Vec<RequestId>,
}

impl Requests {
    pub(crate) fn in_flight(&self) -> usize {
        self.waiting
    }

    /// Slots that are not free, ended requests included whose outcome nobody took yet.
    pub(crate) fn occupied(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn insert(&mut self, now: Duration, lane: Lane, deadline: Option<Duration>) -> RequestId {
        let deadline = deadline.unwrap_or(Duration::MAX);
        let slot = self.free.pop().unwrap_or_else(|| {
            let generation = 1;
            self.slots.push(Slot { generation, state: State::Free, lane, ordinal: 0, started: now, deadline });
            (self.slots.len() - 1) as u32
        });
        let taken = &mut self.slots[slot as usize];
        taken.state = State::Waiting;
        taken.lane = lane;
        taken.ordinal = 0;
        taken.started = now;
        taken.deadline = deadline;
        let generation = taken.generation;
        self.waiting += 1;
        if deadline != Duration::MAX {
            self.next_deadline = Some(self.next_deadline.map_or(deadline, |next| next.min(deadline)));
        }
        RequestId { slot, generation }
    }

    fn get(&mut self, id: RequestId) -> Option<&mut Slot> {
        self.slots.get_mut(id.slot as usize).filter(|slot| slot.generation == id.generation)
    }

    /// Notes that the request's frame goes to the socket as this message of its lane. `false` when nobody waits for it any
    /// more, so that the frame must not be sent.
    pub(crate) fn hand_over(&mut self, id: RequestId, ordinal: u64) -> bool {
        match self.get(id) {
            Some(slot) if matches!(slot.state, State::Waiting) => {
                slot.ordinal = ordinal;
                true
            }
            _ => false,
        }
    }

    /// Ends a waiting request. Returns when it was started; `None` when it does not wait.
    pub(crate) fn complete(&mut self, id: RequestId, outcome: impl FnOnce(Duration) -> Outcome) -> Option<Duration> {
        let slot = self.get(id).filter(|slot| matches!(slot.state, State::Waiting))?;
        let started = slot.started;
        slot.state = State::Done(outcome(started));
        self.waiting -= 1;
        self.completed.push(id);
        Some(started)
    }

    /// The outcome of an ended request; its slot becomes free.
    pub(crate) fn take(&mut self, id: RequestId) -> Option<Outcome> {
        let slot = self.get(id)?;
        match std::mem::replace(&mut slot.state, State::Free) {
            State::Done(outcome) => {
                self.release(id);
                Some(outcome)
            }
            other => {
                slot.state = other;
                None
            }
        }
    }

    /// Frees the slot of a request that its caller gave up. `Some(was handed to the socket)` where it was still waiting.
    pub(crate) fn cancel(&mut self, id: RequestId) -> Option<bool> {
        let slot = self.get(id)?;
        let handed = slot.ordinal != 0;
        match std::mem::replace(&mut slot.state, State::Free) {
            State::Free => None,
            State::Waiting => {
                self.waiting -= 1;
                self.release(id);
                Some(handed)
            }
            State::Done(_) => {
                self.release(id);
                None
            }
        }
    }

    fn release(&mut self, id: RequestId) {
        let slot = &mut self.slots[id.slot as usize];
        // Generation 0 would make a correlation id of 0, which is a one-way message's.
        slot.generation = slot.generation.checked_add(1).unwrap_or(1);
        self.free.push(id.slot);
    }

    /// When [`expire`](Self::expire) has to be called.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.next_deadline
    }

    /// Ends every request whose deadline has passed. Looks at the whole table, which is bounded, and only when some deadline
    /// is due.
    pub(crate) fn expire(&mut self, now: Duration) -> usize {
        if self.next_deadline.is_none_or(|next| now < next) {
            return 0;
        }
        let expired = self.end_where(Reason::Expired, |slot| slot.deadline <= now);
        let waiting = self.slots.iter().filter(|slot| matches!(slot.state, State::Waiting));
        let next = waiting.map(|slot| slot.deadline).filter(|deadline| *deadline != Duration::MAX).min();
        self.next_deadline = next.map(|next| next.max(now + SCAN_INTERVAL));
        expired
    }

    /// Ends everything that waits, because the connection is gone.
    pub(crate) fn end_all(&mut self, reason: Reason) -> usize {
        self.next_deadline = None;
        self.end_where(reason, |_| true)
    }

    /// Ends what the other side says it has not taken: everything beyond this message of the lane.
    pub(crate) fn end_beyond(&mut self, lane: Lane, accepted: u64, reason: Reason) -> usize {
        let beyond = |slot: &Slot| slot.lane == lane && (slot.ordinal == 0 || slot.ordinal > accepted);
        let effect = |slot: &Slot| if slot.ordinal == 0 { Effect::NotSent } else { Effect::NotStarted };
        self.end_with(reason, beyond, effect)
    }

    fn end_where(&mut self, reason: Reason, filter: impl Fn(&Slot) -> bool) -> usize {
        self.end_with(reason, filter, |slot| if slot.ordinal == 0 { Effect::NotSent } else { Effect::Unknown })
    }

    fn end_with(&mut self, reason: Reason, filter: impl Fn(&Slot) -> bool, effect: impl Fn(&Slot) -> Effect) -> usize {
        let mut ended = 0;
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if matches!(slot.state, State::Waiting) && filter(slot) {
                slot.state = State::Done(Err(RequestError::new(effect(slot), reason)));
                self.completed.push(RequestId { slot: index as u32, generation: slot.generation });
                ended += 1;
            }
        }
        self.waiting -= ended;
        ended
    }

    /// Moves the requests that ended since the last call into `into`.
    pub(crate) fn drain_completed(&mut self, into: &mut Vec<RequestId>) {
        into.append(&mut self.completed);
    }

    pub(crate) fn has_completed(&self) -> bool {
        !self.completed.is_empty()
    }
}
