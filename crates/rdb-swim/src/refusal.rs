//! "Connection refused": the fast way to a verdict, with a way out for the innocent.
//!
//! An address that refuses connections has no process behind it, and says so within a round trip. One observer may be wrong
//! about the address; two distinct ones start a clock, during which every member that counted them pings the subject itself.
//! Any sign of that life stops the clock.

use std::collections::BTreeMap;
use std::time::Duration;

use rdb_net_types::{Incarnation, NodeId};

use crate::gossip::Topic;
use crate::merge::is_plausible;
use crate::packet::{Accusation, Sender};
use crate::schedule::Timer;
use crate::swim::Swim;
use crate::table::{SELF, Slot};

/// How many observers are remembered of one subject.
const OBSERVERS_MAX: usize = 8;

/// How many times the subject is pinged within the window: the loss of one packet must not convict it.
const PINGS: u32 = 3;

/// After a sign of life, refusals are not counted for this many windows: copies of the old ones are still told around.
const QUIET_WINDOWS: u32 = 3;

/// Refusals by subject.
pub(crate) type Refusals = BTreeMap<Slot, Refusal>;

/// Who was refused by one member.
#[derive(Debug, Default)]
pub(crate) struct Refusal {
    /// The incarnation of the member that refused.
    pub(crate) incarnation: Incarnation,
    pub(crate) observers: Vec<NodeId>,
    pings: u32,
    quiet_until: Duration,
}

impl Swim {
    /// This node was refused by the member's address.
    pub(crate) fn observe_refusal(&mut self, now: Duration, slot: Slot) {
        let Some(entry) = self.table.get(slot).filter(|entry| entry.state.is_routable()) else { return };
        let (id, incarnation) = (entry.id.clone(), entry.incarnation);
        // Where there are too few others to confirm it, a refusal is only a reason to ask.
        if self.table.alive_count() <= self.config.refusal_observers {
            return self.probe_soon(now, slot);
        }
        let from = self.table.local().id.clone();
        self.apply_refusal(now, Accusation { id, incarnation, from });
    }

    pub(crate) fn apply_refusal(&mut self, now: Duration, accusation: Accusation) {
        let Accusation { id, incarnation, from } = accusation;
        let Some(slot) = self.table.slot_of(&id) else {
            self.stats.updates_unknown += 1;
            return;
        };
        if slot == SELF {
            return self.deny_refusal(now, incarnation);
        }
        if !self.counts(now, slot, incarnation, &from) {
            return;
        }
        if self.refusals.get(&slot).is_some_and(|refusal| incarnation > refusal.incarnation) {
            // Of a later life: what was told of the former one is void.
            self.drop_refusals(slot);
            self.refusals.remove(&slot);
        }
        let refusal = self.refusals.entry(slot).or_insert_with(|| Refusal { incarnation, ..Refusal::default() });
        refusal.observers.push(from.clone());
        self.stats.updates_taken += 1;
        // Also where fewer are needed than when the first ones were counted.
        let is_enough = refusal.observers.len() >= self.config.refusal_observers;
        if is_enough && !self.schedule.is_set(Timer::Refusal(slot)) {
            refusal.pings = 0;
            let pause = self.config.refusal_window / PINGS;
            self.schedule.set(Timer::Refusal(slot), now + pause);
        }
        self.tell_refusal(now, slot, from);
        self.probe_soon(now, slot);
    }

    /// Whether the refusal is of the life that is held, new, and told by a member.
    fn counts(&mut self, now: Duration, slot: Slot, incarnation: Incarnation, observer: &NodeId) -> bool {
        let Some(entry) = self.table.get(slot) else { return false };
        if !is_plausible(incarnation, entry.incarnation) {
            self.stats.updates_implausible += 1;
            return false;
        }
        let is_observer_there = self.table.find(observer).is_some_and(|entry| entry.state.is_routable());
        if !is_observer_there || observer == entry.id {
            self.stats.updates_unknown += 1;
            return false;
        }
        let refusal = self.refusals.get(&slot);
        let is_known = refusal.is_some_and(|refusal| {
            incarnation < refusal.incarnation
                || incarnation == refusal.incarnation
                    && (now < refusal.quiet_until || refusal.observers.contains(observer))
        });
        if is_known || !entry.state.is_routable() || incarnation < entry.incarnation {
            self.stats.updates_stale += 1;
            return false;
        }
        let is_full = refusal
            .is_some_and(|refusal| incarnation == refusal.incarnation && refusal.observers.len() >= OBSERVERS_MAX);
        self.stats.limit_observers += u64::from(is_full);
        !is_full
    }

    /// Others say that this node's address refuses: whatever the reason, the process is here.
    fn deny_refusal(&mut self, now: Duration, incarnation: Incarnation) {
        let own = self.table.local();
        if own.state.is_routable() && incarnation >= own.incarnation && is_plausible(incarnation, own.incarnation) {
            self.rise_to(now, incarnation.next());
        }
    }

    pub(crate) fn refusal_step(&mut self, now: Duration, slot: Slot) {
        let Some(refusal) = self.refusals.get_mut(&slot) else { return };
        refusal.pings += 1;
        if refusal.pings < PINGS {
            self.schedule.set(Timer::Refusal(slot), now + self.config.refusal_window / PINGS);
            return self.ping(slot, 0);
        }
        let incarnation = refusal.incarnation;
        self.stats.failures_by_refusal += 1;
        self.declare_failed(now, slot, incarnation);
    }

    /// A packet came from this life of a member: it is there, whatever was refused.
    pub(crate) fn note_life(&mut self, now: Duration, sender: &Sender) {
        match self.table.slot_of(&sender.id) {
            None => self.stats.unknown_senders += 1,
            Some(slot) => {
                if self.table.get(slot).is_some_and(|entry| entry.boot == sender.boot) {
                    self.datagram_came();
                    self.stop_refusal(now, slot);
                }
            }
        }
    }

    pub(crate) fn stop_refusal(&mut self, now: Duration, slot: Slot) {
        if self.drop_refusals(slot) {
            self.stats.refusals_stopped += 1;
            let quiet_until = now + self.config.refusal_window * QUIET_WINDOWS;
            self.refusals.entry(slot).or_default().quiet_until = quiet_until;
        }
    }

    /// A suspicion is no sign of life: refusals of the suspected incarnation go on counting. Those of an older one are void,
    /// since the member has spoken in between.
    pub(crate) fn drop_older_refusals(&mut self, slot: Slot, suspected: Incarnation) {
        if self.refusals.get(&slot).is_some_and(|refusal| refusal.incarnation < suspected) {
            self.drop_refusals(slot);
        }
    }

    /// Forgets who was refused, and stops the clock. Gives whether there was anybody.
    pub(crate) fn drop_refusals(&mut self, slot: Slot) -> bool {
        let Some(refusal) = self.refusals.get_mut(&slot) else { return false };
        let observers = std::mem::take(&mut refusal.observers);
        self.schedule.cancel(Timer::Refusal(slot));
        for observer in &observers {
            self.queue.remove(&Topic::Refusal(slot, observer.clone()));
        }
        !observers.is_empty()
    }
}
