//! Members that this node knows from another's view alone, while they are asked whether they are there.
//!
//! What gossip tells of a new member is fresh, and who joins has nothing but the first view that it is given. A member that finds an
//! unknown one in another's view may have found a ghost: one that all others have forgotten (hashicorp/memberlist #312). So it is
//! pinged before it is taken in, directly and then by others as well, and is neither a member nor told of until it answers, or
//! gossip tells of it.

use std::collections::BTreeMap;
use std::time::Duration;

use rdb_net_types::{BootId, NodeId, NodeState};

use crate::apply::Spread;
use crate::packet::{Alive, Body};
use crate::schedule::Timer;
use crate::swim::Swim;

/// How many may be asked at a time. Who is beyond it is found by the next exchange of views. Whoever forges a view can have
/// so many addresses pinged, and no more.
pub(crate) const UNVERIFIED_MAX: usize = 64;

/// How often each is asked within [`Config::probe_interval`](crate::Config::probe_interval).
const PINGS: u32 = 4;

/// By the number of their pings, so that an answer finds them.
pub(crate) type Unverified = BTreeMap<u32, Candidate>;

/// One that is asked.
#[derive(Debug)]
pub(crate) struct Candidate {
    alive: Alive,
    asked: u32,
}

impl Swim {
    /// Asks a member that another one's view holds, and this one's does not.
    pub(crate) fn ask_unverified(&mut self, now: Duration, alive: Alive) {
        if self.tombstones.incarnation(&alive.id).is_some_and(|dead| alive.incarnation <= dead) {
            // It is refused there, and whoever tells of it is told.
            return self.admit(now, alive, NodeState::Alive, Spread::Yes);
        }
        if self.unverified.values().any(|candidate| candidate.alive.id == alive.id) {
            return;
        }
        let is_full = self.table.len() >= self.config.members_max && self.table.longest_gone().is_none();
        if is_full || self.unverified.len() >= UNVERIFIED_MAX {
            self.stats.limit_unverified += 1;
            return;
        }
        let sequence = self.next_sequence();
        self.unverified.insert(sequence, Candidate { alive, asked: 0 });
        self.unverified_step(now, sequence);
    }

    /// Asks again, or gives up.
    pub(crate) fn unverified_step(&mut self, now: Duration, sequence: u32) {
        let Some(candidate) = self.unverified.get_mut(&sequence) else { return };
        let Alive { id, boot, address, .. } = &candidate.alive;
        let (id, boot, address) = (id.clone(), *boot, *address);
        if candidate.asked >= PINGS || self.table.slot_of(&id).is_some() {
            self.stats.unverified_silent += u64::from(self.table.slot_of(&id).is_none());
            self.unverified.remove(&sequence);
            return;
        }
        candidate.asked += 1;
        let (is_first, asked) = (candidate.asked == 1, candidate.asked);
        self.schedule.set(Timer::Unverified(sequence), now + self.config.probe_interval / PINGS);
        self.stats.unverified_asked += u64::from(is_first);
        self.send(address, id.clone(), Body::Ping { sequence, target: id.clone(), target_boot: boot });
        if !is_first {
            // A relay may have to connect first, where datagrams do not pass: it has all the time that is left.
            let left = self.config.probe_interval / PINGS * (PINGS + 1 - asked);
            let budget_ms = left.as_millis() as u64;
            for relay in self.table.live().sample(self.config.indirect_probes, &[], &mut self.random) {
                let body = Body::PingRequest { sequence, target: id.clone(), target_boot: boot, budget_ms };
                self.send_member(relay, body);
            }
        }
    }

    /// It is there: from here on it is a member, and told of.
    pub(crate) fn unverified_answered(&mut self, now: Duration, sequence: u32, node: &NodeId, boot: BootId) -> bool {
        let is_it = |candidate: &Candidate| candidate.alive.id == *node && candidate.alive.boot == boot;
        if !self.unverified.get(&sequence).is_some_and(is_it) {
            return false;
        }
        self.schedule.cancel(Timer::Unverified(sequence));
        if let Some(candidate) = self.unverified.remove(&sequence) {
            self.apply_alive(now, candidate.alive, Spread::Yes);
        }
        true
    }
}
