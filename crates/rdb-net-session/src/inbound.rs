//! What the other side has sent and handlers have not ended yet, lane by lane: the receiving end of the credits.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use rdb_net_types::Lane;

use crate::budget::{Budget, Reservation};
use crate::event::{Inbound, InboundId};

#[derive(Debug, Default)]
struct LaneIntake {
    queue: VecDeque<Inbound>,
    /// How much the other side may send before anything of it has ended.
    window: u64,
    window_max: u64,
    /// What the window was widened by.
    widened: Vec<Reservation>,
    /// There was no memory to widen it, since something has ended last.
    is_refused: bool,
    /// Charge of everything received.
    received: u64,
    /// Charge of everything that handlers have ended.
    ended: u64,
    /// What the other side was told that it may send in all.
    granted: u64,
    messages: u64,
}

impl LaneIntake {
    /// Whether enough has ended to be worth telling: half a window, or as much as the other side has left. The rest of the
    /// window may be held for long.
    #[inline]
    fn is_credit_due(&self) -> bool {
        let raise = self.ended + self.window - self.granted;
        let left = self.granted.saturating_sub(self.received);
        raise >= (self.window / 2).min(left).max(1) || (left <= self.window / 4 && self.may_widen())
    }

    #[inline]
    fn may_widen(&self) -> bool {
        self.window < self.window_max && !self.is_refused
    }
}

/// The receiving end of all lanes.
#[derive(Debug)]
pub(crate) struct Intake {
    lanes: [LaneIntake; Lane::ALL.len()],
    /// How far credits may be overdrawn before the frame that is the last one for which there may be none.
    overdraft: u64,
    open: u32,
    open_requests: u32,
    /// The lanes whose limits are worth telling, one bit each.
    credits_due: u8,
    /// The lanes that may have messages for handlers, one bit each.
    queued: u8,
    /// Requests that were given up while they may still have waited for their handlers.
    withdrawn: BTreeSet<u64>,
}

impl Intake {
    pub(crate) fn new(first: [u64; Lane::ALL.len()], max: [u64; Lane::ALL.len()], overdraft: u64) -> Self {
        let lane = |(window, window_max)| LaneIntake { window, window_max, granted: window, ..LaneIntake::default() };
        let mut windows = first.into_iter().zip(max).map(lane);
        let lanes = std::array::from_fn(|_| windows.next().unwrap_or_default());
        Self { lanes, overdraft, open: 0, open_requests: 0, credits_due: 0, queued: 0, withdrawn: BTreeSet::new() }
    }

    /// Counts what has arrived. `false` when the other side had no credits left for it. While it has any, one frame may overdraw
    /// them, since its size was not known when they were looked at; and so may the last fragment of a large message, behind
    /// which come messages that were accepted before it was cut.
    #[inline]
    pub(crate) fn admit(&mut self, lane: Lane, charge: u64) -> bool {
        let bit = 1 << lane as u8;
        let lane = &mut self.lanes[lane as usize];
        let had_credits = lane.received < lane.granted + self.overdraft;
        lane.received += charge;
        if lane.is_credit_due() {
            self.credits_due |= bit;
        }
        had_credits
    }

    /// Counts a message of which everything has arrived.
    #[inline]
    pub(crate) fn count(&mut self, lane: Lane) {
        self.lanes[lane as usize].messages += 1;
    }

    /// Keeps an admitted message for its handler.
    #[inline]
    pub(crate) fn push(&mut self, message: Inbound) {
        self.open += 1;
        self.open_requests += u32::from(message.id.wants_reply());
        self.queued |= 1 << message.id.lane as u8;
        self.lanes[message.id.lane as usize].queue.push_back(message);
    }

    /// Gives the credits of an admitted message back that no handler will see.
    pub(crate) fn turn_away(&mut self, lane: Lane, charge: u64) {
        self.give_back(lane, charge);
    }

    pub(crate) fn pop(&mut self, lane: Lane) -> Option<Inbound> {
        loop {
            let message = self.lanes[lane as usize].queue.pop_front()?;
            if !self.take_withdrawn(&message.id) {
                return Some(message);
            }
            self.end(&message.id);
        }
    }

    /// The caller of this request has left. If its handler has not begun, it never will.
    pub(crate) fn withdraw(&mut self, correlation: u64, requests_max: u32) {
        if self.queued != 0 && correlation != 0 && self.withdrawn.len() < requests_max as usize {
            self.withdrawn.insert(correlation);
        }
    }

    fn take_withdrawn(&mut self, id: &InboundId) -> bool {
        !self.withdrawn.is_empty() && self.withdrawn.remove(&id.correlation())
    }

    /// Whether there are no messages for handlers.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.queued == 0
    }

    pub(crate) fn take(&mut self, lane: Lane, into: &mut VecDeque<Inbound>) {
        self.queued &= !(1 << lane as u8);
        if !self.withdrawn.is_empty() {
            self.end_withdrawn(lane);
        }
        let queue = &mut self.lanes[lane as usize].queue;
        if into.is_empty() {
            std::mem::swap(queue, into);
        } else {
            into.append(queue);
        }
    }

    #[cold]
    fn end_withdrawn(&mut self, lane: Lane) {
        let mut queue = std::mem::take(&mut self.lanes[lane as usize].queue);
        queue.retain(|message| {
            let withdrawn = self.take_withdrawn(&message.id);
            if withdrawn {
                self.end(&message.id);
            }
            !withdrawn
        });
        self.lanes[lane as usize].queue = queue;
        if self.queued == 0 {
            // Whoever else was given up had begun, or ended.
            self.withdrawn.clear();
        }
    }

    pub(crate) fn put_back(&mut self, message: Inbound) {
        self.queued |= 1 << message.id.lane as u8;
        self.lanes[message.id.lane as usize].queue.push_front(message);
    }

    /// A handler has ended a message: its credits go back to the other side.
    #[inline]
    pub(crate) fn end(&mut self, id: &InboundId) {
        self.end_many(id.lane, id.charge, 1, u32::from(id.wants_reply()));
    }

    /// Handlers have ended messages of one lane, some of which somebody waits for.
    #[inline]
    pub(crate) fn end_many(&mut self, lane: Lane, charge: u64, messages: u32, requests: u32) {
        self.give_back(lane, charge);
        self.open -= messages;
        self.open_requests -= requests;
    }

    /// Messages that were kept for handlers and not ended.
    pub(crate) fn open(&self) -> u32 {
        self.open
    }

    /// Those of them that somebody waits for.
    pub(crate) fn open_requests(&self) -> u32 {
        self.open_requests
    }

    #[inline]
    fn give_back(&mut self, lane: Lane, charge: u64) {
        let state = &mut self.lanes[lane as usize];
        state.ended += charge;
        state.is_refused = false;
        if state.is_credit_due() {
            self.credits_due |= 1 << lane as u8;
        }
    }

    /// The lane's new limit, where enough has been ended to be worth telling: half a window. Of one whose sender has used most
    /// of what it had, the window doubles, where the budget has room.
    pub(crate) fn credit_due(&mut self, lane: Lane, budget: &Arc<Budget>) -> Option<u64> {
        if self.credits_due & (1 << lane as u8) == 0 {
            return None;
        }
        self.credits_due &= !(1 << lane as u8);
        let lane = &mut self.lanes[lane as usize];
        let by = lane.window.min(lane.window_max - lane.window);
        let unused = lane.granted.saturating_sub(lane.received);
        if lane.may_widen() && unused <= lane.window / 4 {
            match budget.reserve_spare(by) {
                Some(reservation) => {
                    lane.window += by;
                    lane.widened.push(reservation);
                }
                None => lane.is_refused = true,
            }
        }
        let former = std::mem::replace(&mut lane.granted, lane.ended + lane.window);
        (lane.granted > former).then_some(lane.granted)
    }

    /// How much of the lane is taken in and not ended, in bytes as they are charged.
    pub(crate) fn held_bytes(&self, lane: Lane) -> u64 {
        let lane = &self.lanes[lane as usize];
        lane.received - lane.ended
    }

    /// Whether [`credit_due`](Self::credit_due) would tell something of any lane.
    pub(crate) fn any_credit_due(&self) -> bool {
        self.credits_due != 0
    }

    /// How many messages were taken in, by lane number.
    pub(crate) fn accepted(&self) -> Vec<u64> {
        self.lanes.iter().map(|lane| lane.messages).collect()
    }

    /// Forgets messages that no handler has seen yet, because the connection is gone.
    pub(crate) fn abandon(&mut self, forgotten: impl Fn(&Inbound) -> bool) {
        let Self { lanes, open, open_requests, .. } = self;
        for lane in lanes {
            lane.queue.retain(|message| {
                let kept = !forgotten(message);
                *open -= u32::from(!kept);
                *open_requests -= u32::from(!kept && message.id.wants_reply());
                kept
            });
        }
    }
}
