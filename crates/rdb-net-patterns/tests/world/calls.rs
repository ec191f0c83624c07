//! Requests under way, and what their senders are told of them.

use std::collections::BTreeMap;
use std::time::Duration;

use rdb_net_types::{Effect, NodeId, OverloadScope, Reason, RequestError};

use super::{Ahead, Host, Input, World};

/// A request under way.
pub(super) struct Call<H: Host> {
    from: usize,
    from_life: u32,
    to: usize,
    tag: u64,
    request: H::Request,
    /// Whether its sender waits for an outcome.
    is_open: bool,
    /// Whether its receiver may have it.
    may_be_there: bool,
}

/// All requests of a run.
pub(super) struct Calls<H: Host> {
    calls: BTreeMap<u64, Call<H>>,
    /// By sender, its life, and its tag.
    by_tag: BTreeMap<(usize, u32, u64), u64>,
    next: u64,
}

impl<H: Host> Default for Calls<H> {
    fn default() -> Self {
        Self { calls: BTreeMap::new(), by_tag: BTreeMap::new(), next: 0 }
    }
}

const fn error(effect: Effect, reason: Reason) -> RequestError {
    RequestError::new(effect, reason)
}

impl<H: Host> World<H> {
    fn delay(&mut self) -> Duration {
        self.random.duration(self.faults.delay_min, self.faults.delay_max)
    }

    pub(super) fn send(&mut self, from: usize, tag: u64, to: &NodeId, request: H::Request, timeout: Duration) {
        let to = self.place_of(to);
        self.calls.next += 1;
        self.counts.requests += 1;
        let call = self.calls.next;
        let from_life = self.places[from].life;
        let mut entry = Call { from, from_life, to, tag, request, is_open: true, may_be_there: false };
        let outcome = |world: &mut Self, after: Duration, error: RequestError| {
            world.after(after.min(timeout), Ahead::Replied { call, result: Err(error) });
        };
        // At its deadline it ends in any case.
        outcome(self, timeout, error(Effect::Unknown, Reason::Expired));
        let is_away = self.places[to].host.is_none() || self.is_cut(from, to);
        if is_away && self.random.chance(0.6) {
            let delay = self.random.duration(Duration::from_micros(50), Duration::from_millis(400));
            outcome(self, delay, error(Effect::NotSent, Reason::Unreachable));
        } else if !self.is_healed && self.random.chance(self.faults.overload) {
            let delay = self.delay();
            outcome(self, delay, error(Effect::NotStarted, Reason::Overloaded(OverloadScope::Handler)));
        } else if is_away || self.is_lost() {
            // Nobody has noticed yet that the other is away.
            if self.random.chance(0.5) {
                let delay = self.random.duration(Duration::from_millis(1), Duration::from_millis(800));
                outcome(self, delay, error(Effect::Unknown, Reason::ConnectionLost));
            }
        } else {
            entry.may_be_there = true;
            let (delay, life) = (self.delay(), self.places[to].life);
            self.after(delay, Ahead::Arrives { call, life: Some(life) });
            if !self.is_healed && self.random.chance(self.faults.copy) {
                self.counts.copies += 1;
                let later = self.random.duration(Duration::ZERO, Duration::from_millis(1500));
                // A copy in a queue of the receiver, or one that the sender's side sends anew.
                let life = self.random.chance(0.5).then_some(life);
                self.after(delay + later, Ahead::Arrives { call, life });
            }
        }
        self.calls.by_tag.insert((from, from_life, tag), call);
        self.calls.calls.insert(call, entry);
    }

    pub(super) fn give_up(&mut self, node: usize, tag: u64) {
        let call = self.calls.by_tag.get(&(node, self.places[node].life, tag));
        if let Some(call) = call.and_then(|call| self.calls.calls.get_mut(call)) {
            call.is_open = false;
        }
    }

    /// A request arrives: at this life of its receiver, or at any as long as its sender waits.
    pub(super) fn arrives(&mut self, call: u64, life: Option<u32>) {
        let Some(entry) = self.calls.calls.get(&call) else { return };
        let receiver = &self.places[entry.to];
        let is_meant = match life {
            Some(life) => receiver.life == life,
            None => entry.is_open && self.places[entry.from].life == entry.from_life,
        };
        let is_alive = receiver.host.is_some();
        let (to, from, request) = (entry.to, entry.from, entry.request.clone());
        // Of what was on its way when the two were cut apart, some was in the receiver's own queue already.
        if is_meant && is_alive && (!self.is_cut(from, to) || self.random.chance(0.3)) {
            let from = self.ids[from].clone();
            self.give(to, Input::Request { call, from, request });
        }
    }

    pub(super) fn answer(&mut self, node: usize, call: u64, result: Result<H::Reply, Effect>) {
        let Some(entry) = self.calls.calls.get(&call) else { return };
        if self.is_cut(entry.from, node) || self.is_lost() {
            return;
        }
        let result = result.map_err(|effect| error(effect, Reason::HandlerFailed));
        let delay = self.delay();
        self.after(delay, Ahead::Replied { call, result });
    }

    /// The outcome of a request reaches its sender; the first one counts.
    pub(super) fn replied(&mut self, call: u64, result: Result<H::Reply, RequestError>) {
        let Some(entry) = self.calls.calls.get_mut(&call) else { return };
        if !std::mem::replace(&mut entry.is_open, false) {
            return;
        }
        let (node, life, tag) = (entry.from, entry.from_life, entry.tag);
        if self.places[node].life != life {
            return;
        }
        match result.as_ref().map_err(|error| error.effect) {
            Err(Effect::NotSent) => self.counts.not_sent += 1,
            Err(Effect::NotStarted) => self.counts.not_started += 1,
            Err(Effect::Unknown) => self.counts.unknown += 1,
            Ok(_) => {}
        }
        self.give(node, Input::Outcome { tag, result });
    }

    /// Who waits for this node hears that its connection is lost, at once or at the deadline.
    pub(super) fn lose_calls_of(&mut self, node: usize) {
        self.lose(|call| call.to == node);
    }

    pub(super) fn lose_calls_between(&mut self, a: usize, b: usize) {
        self.lose(|call| (call.from.min(call.to), call.from.max(call.to)) == (a, b));
    }

    fn lose(&mut self, is_lost: impl Fn(&Call<H>) -> bool) {
        let lost = self.calls.calls.iter().filter(|(_, call)| call.is_open && call.may_be_there && is_lost(call));
        let lost: Vec<u64> = lost.map(|(call, _)| *call).collect();
        for call in lost {
            if self.random.chance(0.7) {
                let delay = self.random.duration(Duration::from_micros(100), Duration::from_millis(300));
                let result = Err(error(Effect::Unknown, Reason::ConnectionLost));
                self.after(delay, Ahead::Replied { call, result });
            }
        }
    }
}
