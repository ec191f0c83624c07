//! What the other side has sent and handlers have not ended yet, lane by lane: the receiving end of the credits.

use std::collections::VecDeque;

use rdb_net_types::Lane;

use crate::event::{Inbound, InboundId};

#[derive(Debug, Default)]
struct LaneIntake {
    queue: VecDeque<Inbound>,
    window: u64,
    /// Charge of everything received.
    received: u64,
    /// Charge of everything that handlers have ended.
    ended: u64,
    /// What the other side was told that it may send in all.
    granted: u64,
    messages: u64,
}

/// The receiving end of all lanes.
#[derive(Debug)]
pub(crate) struct Intake {
    lanes: [LaneIntake; Lane::ALL.len()],
    /// How far one message may overdraw: its size was not known when the credits were looked at.
    overdraft: u64,
    open: u32,
    open_requests: u32,
    /// The lanes whose limits are worth telling, one bit each.
    credits_due: u8,
    /// The lanes that may have messages for handlers, one bit each.
    queued: u8,
}

impl Intake {
    pub(crate) fn new(windows: [u64; Lane::ALL.len()], overdraft: u64) -> Self {
        let lanes = windows.map(|window| LaneIntake { window, granted: window, ..LaneIntake::default() });
        Self { lanes, overdraft, open: 0, open_requests: 0, credits_due: 0, queued: 0 }
    }

    /// Counts a message that has arrived. `false` when the other side had no credits for it.
    #[inline]
    pub(crate) fn admit(&mut self, lane: Lane, charge: u64) -> bool {
        let lane = &mut self.lanes[lane as usize];
        lane.received += charge;
        lane.messages += 1;
        lane.received <= lane.granted + self.overdraft
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
        self.lanes[lane as usize].queue.pop_front()
    }

    /// Whether there are no messages for handlers.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.queued == 0
    }

    pub(crate) fn take(&mut self, lane: Lane, into: &mut VecDeque<Inbound>) {
        self.queued &= !(1 << lane as u8);
        let queue = &mut self.lanes[lane as usize].queue;
        if into.is_empty() {
            std::mem::swap(queue, into);
        } else {
            into.append(queue);
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
        if state.ended + state.window - state.granted >= (state.window / 2).max(1) {
            self.credits_due |= 1 << lane as u8;
        }
    }

    /// The lane's new limit, where enough has been ended to be worth telling: half a window.
    pub(crate) fn credit_due(&mut self, lane: Lane) -> Option<u64> {
        if self.credits_due & (1 << lane as u8) == 0 {
            return None;
        }
        self.credits_due &= !(1 << lane as u8);
        let lane = &mut self.lanes[lane as usize];
        lane.granted = lane.ended + lane.window;
        Some(lane.granted)
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
