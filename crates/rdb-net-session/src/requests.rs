//! The table of requests in flight: generational slots, so that a late reply finds no one.

use std::time::Duration;

use rdb_net_types::{Effect, Lane, Reason, RequestError};

use crate::event::{Outcome, Reply};
use crate::streams::StreamIn;

/// A request in flight: its slot, and a generation that tells it from earlier ones in the same slot. One word, as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(u64);

impl RequestId {
    pub(crate) fn new(slot: u32, generation: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(slot))
    }

    /// The slot: small numbers, reused.
    pub fn slot(self) -> usize {
        self.0 as u32 as usize
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The correlation id on the wire; never 0.
    pub fn correlation(self) -> u64 {
        self.0
    }

    /// The request of this correlation id.
    pub fn from_correlation(correlation: u64) -> Self {
        Self(correlation)
    }
}

/// A time as a number that is cheap to compare; the largest one for all that are too far away to matter.
#[inline]
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(time.subsec_nanos()))
}

/// Deadlines are looked at no more often than this, so that a table of requests with many different ones costs little.
const SCAN_INTERVAL: Duration = Duration::from_millis(1);

#[derive(Debug)]
struct Slot {
    generation: u32,
    state: State,
    /// Of an ended request, until its caller takes it.
    outcome: Option<Box<Outcome>>,
    /// Of a request for a stream of replies.
    stream: Option<Box<StreamIn>>,
    lane: Lane,
    /// Which message of its lane it was when handed to the socket, from 1; 0 while it waits for the socket.
    ordinal: u64,
    /// [`FRESH`] until the session is told the time.
    started_ns: u64,
    /// The largest number for none; of a fresh request, how long it may take.
    deadline_ns: u64,
    /// It is in the list of fresh slots, though its request may be gone.
    listed: bool,
    /// An outbox has given it out: it is free here as soon as its request has ended.
    of_outbox: bool,
}

/// The start of a request that was accepted since the session was last told the time.
const FRESH: u64 = u64::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Waiting,
    Done,
}

impl Slot {
    fn new() -> Self {
        Self {
            generation: 1,
            state: State::Free,
            outcome: None,
            stream: None,
            lane: Lane::System,
            ordinal: 0,
            started_ns: FRESH,
            deadline_ns: u64::MAX,
            listed: false,
            of_outbox: false,
        }
    }

    #[inline]
    fn is_waiting(&self) -> bool {
        self.state == State::Waiting
    }
}

/// All requests of one session.
#[derive(Debug)]
pub(crate) struct Requests {
    slots: Vec<Slot>,
    /// Slots that this table gives out are those whose number is a multiple of this; the others belong to outboxes.
    pub(crate) stride: u32,
    /// How many slots this table has given out so far.
    own: u32,
    /// Those of them that are free.
    free: Vec<u32>,
    waiting: usize,
    /// Slots whose requests count from the next time that the session is told.
    fresh: Vec<u32>,
    /// No waiting request's deadline is before this; the largest number where none has one.
    next_deadline_ns: u64,
    /// Requests of its own that have ended, or of whose stream something came.
    completed: Vec<RequestId>,
    /// Those of outboxes that have ended.
    ended: Vec<(RequestId, Outcome)>,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            stride: 1,
            own: 0,
            free: Vec::new(),
            waiting: 0,
            fresh: Vec::new(),
            next_deadline_ns: u64::MAX,
            completed: Vec::new(),
            ended: Vec::new(),
        }
    }
}

impl Requests {
    pub(crate) fn in_flight(&self) -> usize {
        self.waiting
    }

    /// Slots of its own that are not free, ended requests included whose outcome nobody took yet.
    pub(crate) fn occupied(&self) -> usize {
        self.own as usize - self.free.len()
    }

    fn grow(&mut self, slot: u32) {
        if self.slots.len() <= slot as usize {
            self.slots.resize_with(slot as usize + 1, Slot::new);
        }
    }

    /// Takes in a request that an outbox has given this id.
    #[inline]
    pub(crate) fn register(&mut self, id: RequestId, lane: Lane, timeout_ns: u64, now_ns: u64) {
        self.grow(id.slot() as u32);
        let slot = &mut self.slots[id.slot()];
        debug_assert!(slot.state == State::Free, "an outbox gives out an id again only when its request has ended");
        slot.of_outbox = true;
        slot.generation = id.generation();
        slot.state = State::Waiting;
        slot.lane = lane;
        slot.ordinal = 0;
        slot.started_ns = now_ns;
        slot.deadline_ns = timeout_ns.saturating_add(now_ns);
        self.next_deadline_ns = self.next_deadline_ns.min(slot.deadline_ns);
        self.waiting += 1;
    }

    /// A slot for a request that may take so long, from the next [`stamp`](Self::stamp) on.
    #[inline]
    pub(crate) fn insert(&mut self, lane: Lane, timeout: Option<Duration>) -> RequestId {
        let deadline_ns = timeout.map_or(u64::MAX, nanoseconds);
        self.waiting += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = self.own * self.stride;
            self.own += 1;
            self.grow(slot);
            slot
        });
        let taken = &mut self.slots[slot as usize];
        taken.state = State::Waiting;
        taken.lane = lane;
        taken.ordinal = 0;
        taken.started_ns = FRESH;
        taken.deadline_ns = deadline_ns;
        if !std::mem::replace(&mut taken.listed, true) {
            self.fresh.push(slot);
        }
        RequestId::new(slot, taken.generation)
    }

    /// Lets the requests accepted since the last call count from now.
    #[inline]
    pub(crate) fn stamp(&mut self, now: Duration) {
        if self.fresh.is_empty() {
            return;
        }
        let now_ns = nanoseconds(now);
        for slot in self.fresh.drain(..) {
            let slot = &mut self.slots[slot as usize];
            slot.listed = false;
            if slot.is_waiting() && slot.started_ns == FRESH {
                slot.started_ns = now_ns;
                slot.deadline_ns = slot.deadline_ns.saturating_add(now_ns);
                self.next_deadline_ns = self.next_deadline_ns.min(slot.deadline_ns);
            }
        }
    }

    #[inline]
    fn get(&mut self, id: RequestId) -> Option<&mut Slot> {
        self.slots.get_mut(id.slot()).filter(|slot| slot.generation == id.generation())
    }

    /// Notes that the request's frame goes to the socket as this message of its lane, and returns its deadline; `None` when
    /// nobody waits for it any more, so that the frame must not be sent.
    #[inline]
    pub(crate) fn hand_over(&mut self, id: RequestId, ordinal: u64) -> Option<u64> {
        let slot = self.get(id).filter(|slot| slot.is_waiting())?;
        slot.ordinal = ordinal;
        Some(slot.deadline_ns)
    }

    /// Ends a waiting request with an outcome that is told when it began, and returns whether there was one.
    #[inline(always)]
    pub(crate) fn complete(&mut self, id: RequestId, outcome: impl FnOnce(u64) -> Outcome) -> bool {
        let Self { slots, waiting, completed, ended, .. } = self;
        let Some(slot) = slots.get_mut(id.slot()) else { return false };
        if slot.generation != id.generation() || !slot.is_waiting() {
            return false;
        }
        *waiting -= 1;
        if slot.of_outbox {
            slot.state = State::Free;
            ended.push((id, outcome(slot.started_ns)));
        } else {
            slot.state = State::Done;
            slot.outcome = Some(Box::new(outcome(slot.started_ns)));
            completed.push(id);
        }
        true
    }

    /// Makes a request one for a stream of replies.
    pub(crate) fn set_stream(&mut self, id: RequestId, stream: StreamIn) {
        if let Some(slot) = self.get(id) {
            slot.stream = Some(Box::new(stream));
        }
    }

    /// Whether a request is one for a stream of replies, and was not given up.
    pub(crate) fn is_stream(&self, id: RequestId) -> bool {
        let slot = self.slots.get(id.slot()).filter(|slot| slot.generation == id.generation());
        slot.is_some_and(|slot| slot.stream.is_some())
    }

    /// Takes a reply of a stream in. `None` where nobody waits for it, `Some(false)` where there were no credits for it.
    pub(crate) fn push_item(&mut self, id: RequestId, reply: impl FnOnce(u64) -> Reply) -> Option<bool> {
        let slot = self.get(id).filter(|slot| slot.is_waiting())?;
        let started_ns = slot.started_ns;
        let had_credits = slot.stream.as_mut()?.push(reply(started_ns));
        self.completed.push(id);
        Some(had_credits)
    }

    /// The next reply of a stream, and whether its limit waits to be told since.
    pub(crate) fn pop_item(&mut self, id: RequestId) -> Option<(Reply, bool)> {
        self.get(id)?.stream.as_mut()?.pop()
    }

    /// The limit of a stream that is to be told, while its replies still come.
    pub(crate) fn take_stream_limit(&mut self, id: RequestId) -> Option<u64> {
        self.get(id).filter(|slot| slot.is_waiting())?.stream.as_mut()?.take_limit()
    }

    /// The outcome of an ended request; its slot becomes free.
    #[inline]
    pub(crate) fn take(&mut self, id: RequestId) -> Option<Outcome> {
        let outcome = self.get(id)?.outcome.take()?;
        self.release(id);
        Some(*outcome)
    }

    pub(crate) fn is_waiting(&self, id: RequestId) -> bool {
        let slot = self.slots.get(id.slot());
        slot.is_some_and(|slot| slot.generation == id.generation() && slot.is_waiting())
    }

    pub(crate) fn holds(&self, id: RequestId) -> bool {
        let slot = self.slots.get(id.slot());
        slot.is_some_and(|slot| slot.generation == id.generation() && slot.state != State::Free)
    }

    /// Whether the other side may have acted on a request, as far as is known here.
    pub(crate) fn effect(&self, id: RequestId) -> Effect {
        let slot = self.slots.get(id.slot()).filter(|slot| slot.generation == id.generation());
        match slot.map(|slot| (slot.state, slot.outcome.as_deref())) {
            Some((State::Waiting, _)) if slot.is_some_and(|slot| slot.ordinal == 0) => Effect::NotSent,
            Some((_, Some(Err(error)))) => error.effect,
            _ => Effect::Unknown,
        }
    }

    /// The lane of a request that is known.
    pub(crate) fn lane_of(&self, id: RequestId) -> Lane {
        self.slots.get(id.slot()).map_or(Lane::System, |slot| slot.lane)
    }

    /// Frees the slot of a request that its caller gave up. `Some(was handed to the socket)` where it was still waiting.
    pub(crate) fn cancel(&mut self, id: RequestId) -> Option<bool> {
        let slot = self.get(id)?;
        let (state, handed) = (slot.state, slot.ordinal != 0);
        (slot.outcome, slot.stream) = (None, None);
        match state {
            State::Free => return None,
            State::Waiting => self.waiting -= 1,
            State::Done => {}
        }
        self.release(id);
        (state == State::Waiting).then_some(handed)
    }

    #[inline]
    fn release(&mut self, id: RequestId) {
        let slot = &mut self.slots[id.slot()];
        slot.state = State::Free;
        slot.stream = None;
        if !slot.of_outbox {
            // Generation 0 would make a correlation id of 0, which is a one-way message's.
            slot.generation = slot.generation.checked_add(1).unwrap_or(1);
            self.free.push(id.slot() as u32);
        }
    }

    /// When [`expire`](Self::expire) has to be called.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        (self.next_deadline_ns != u64::MAX).then(|| Duration::from_nanos(self.next_deadline_ns))
    }

    /// Ends every request whose deadline has passed. Looks at the whole table, which is bounded, and only when some deadline
    /// is due.
    pub(crate) fn expire(&mut self, now: Duration) -> usize {
        let now_ns = nanoseconds(now);
        if now_ns < self.next_deadline_ns {
            return 0;
        }
        let expired = self.end_where(Reason::Expired, |slot| slot.deadline_ns <= now_ns);
        let waiting = self.slots.iter().filter(|slot| slot.is_waiting());
        let next_ns = waiting.map(|slot| slot.deadline_ns).min().unwrap_or(u64::MAX);
        self.next_deadline_ns = next_ns.max(nanoseconds(now + SCAN_INTERVAL));
        expired
    }

    /// Ends a request that was never sent.
    pub(crate) fn end_unsent(&mut self, id: RequestId, reason: Reason) {
        self.complete(id, |_| Err(RequestError::new(Effect::NotSent, reason)));
    }

    /// Ends everything that waits, because the connection is gone.
    pub(crate) fn end_all(&mut self, reason: Reason) -> usize {
        self.next_deadline_ns = u64::MAX;
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
        let ends = |(index, slot): (usize, &Slot)| {
            let ends = slot.is_waiting() && filter(slot);
            ends.then(|| (RequestId::new(index as u32, slot.generation), RequestError::new(effect(slot), reason)))
        };
        let ended: Vec<_> = self.slots.iter().enumerate().filter_map(ends).collect();
        let count = ended.len();
        ended.into_iter().for_each(|(id, error)| {
            self.complete(id, |_| Err(error));
        });
        count
    }

    /// Moves the requests that ended since the last call into `into`.
    pub(crate) fn drain_completed(&mut self, into: &mut Vec<RequestId>) {
        into.append(&mut self.completed);
    }

    /// Moves the requests of outboxes that ended since the last call into `into`, with their outcomes.
    pub(crate) fn drain_ended(&mut self, into: &mut Vec<(RequestId, Outcome)>) {
        if into.is_empty() {
            std::mem::swap(into, &mut self.ended);
        } else {
            into.append(&mut self.ended);
        }
    }

    pub(crate) fn has_completed(&self) -> bool {
        !self.completed.is_empty() || !self.ended.is_empty()
    }
}
