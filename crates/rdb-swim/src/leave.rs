//! Saying farewell so that it is heard, and coming back.
//!
//! A leaver that vanishes before its farewell has spread is found failed instead of left. So it asks a few members to
//! acknowledge, repeats itself to those that have not, and only then falls silent.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use rdb_net_types::{NodeId, NodeState};

use crate::event::Event;
use crate::packet::{Accusation, Body, Sender};
use crate::schedule::Timer;
use crate::swim::{Phase, Swim};
use crate::table::{SELF, Slot};

/// Time between two rounds of farewells.
const ROUND: Duration = Duration::from_millis(100);

/// How many members more than needed are asked, so that one that is gone does not cost a round.
const SPARE: usize = 1;

/// A farewell under way.
#[derive(Debug)]
pub(crate) struct Leaving {
    sequence: u32,
    deadline: Duration,
    acknowledged: BTreeSet<NodeId>,
    asked: BTreeSet<Slot>,
    needed: usize,
}

impl Swim {
    /// Leaves the cluster: [`Event::Farewell`] tells when enough members know, or the time is up. Pings are answered until
    /// then; nothing is sent thereafter. Leaving again changes nothing.
    pub fn leave(&mut self, now: Duration) {
        if !matches!(self.phase, Phase::Active) {
            return;
        }
        self.schedule.clear();
        self.void_all_probes();
        self.relays.clear();
        self.give_up_verifications();
        self.unverified.clear();
        let refused: Vec<Slot> = self.refusals.keys().copied().collect();
        refused.into_iter().for_each(|slot| {
            self.drop_refusals(slot);
        });
        self.refusals.clear();
        let doubted: Vec<Slot> = self.doubts.keys().copied().collect();
        doubted.into_iter().for_each(|slot| self.end_doubt(slot));
        self.table.update(SELF, &mut self.random, |own| {
            own.set(NodeState::Left, now);
        });
        self.phase = Phase::Leaving(Leaving {
            sequence: self.next_sequence(),
            deadline: now + self.config.farewell_timeout,
            acknowledged: BTreeSet::new(),
            asked: BTreeSet::new(),
            needed: self.config.farewell_acks.min(self.table.live().len()),
        });
        self.tell(now, SELF);
        self.farewell_round(now);
    }

    /// Comes back after [`Swim::leave`], with a higher incarnation. Where the node has not left, this changes nothing.
    pub fn rejoin(&mut self, now: Duration) {
        if matches!(self.phase, Phase::Active) {
            return;
        }
        self.phase = Phase::Active;
        self.differences.has_view = false;
        self.schedule.clear();
        self.start_timers(now);
        self.speak_anew(now, |own| {
            own.set(NodeState::Alive, now);
        });
        let suspects = self.members().filter(|member| member.state == NodeState::Suspect);
        let suspects: Vec<Slot> = suspects.filter_map(|member| self.table.slot_of(member.id)).collect();
        for slot in suspects {
            self.start_doubt(now, slot);
        }
        // The view is as old as the farewell.
        self.schedule.bring_forward(Timer::Sync, now);
    }

    /// Asks those that have not acknowledged yet, and new ones for those that are gone.
    pub(crate) fn farewell_round(&mut self, now: Duration) {
        let Phase::Leaving(leaving) = &mut self.phase else { return };
        if leaving.acknowledged.len() >= leaving.needed || now >= leaving.deadline {
            return self.fall_silent();
        }
        let table = &self.table;
        leaving.asked.retain(|slot| {
            table.get(*slot).is_some_and(|entry| entry.state.is_routable() && !leaving.acknowledged.contains(entry.id))
        });
        let wanted = leaving.needed + SPARE - leaving.acknowledged.len();
        let known: Vec<Slot> = leaving
            .asked
            .iter()
            .copied()
            .chain(leaving.acknowledged.iter().filter_map(|id| table.slot_of(id)))
            .collect();
        let more = wanted.saturating_sub(leaving.asked.len());
        leaving.asked.extend(table.live().sample(more, &known, &mut self.random));
        let (sequence, asked) = (leaving.sequence, leaving.asked.clone());
        self.schedule.set(Timer::Farewell, (now + ROUND).min(leaving.deadline));
        for slot in asked {
            self.send_member(slot, Body::Farewell { sequence });
        }
    }

    fn fall_silent(&mut self) {
        let Phase::Leaving(leaving) = &self.phase else { return };
        let acknowledged = leaving.acknowledged.len();
        self.phase = Phase::Silent;
        // What others have asked for meanwhile has no timer any more either.
        self.schedule.clear();
        self.void_all_probes();
        self.relays.clear();
        self.refusals.clear();
        self.outgoing.clear();
        self.emit(Event::Farewell { acknowledged });
    }

    pub(crate) fn take_farewell(&mut self, now: Duration, from: SocketAddr, sender: Sender, sequence: u32) {
        let Sender { version, id, boot: _, incarnation } = sender;
        let farewell = Accusation { id: id.clone(), incarnation, from: id.clone() };
        self.apply_claim(now, farewell, NodeState::Left, crate::apply::Spread::Yes);
        self.send_in(version, from, id, Body::FarewellAck { sequence });
    }

    pub(crate) fn take_farewell_ack(&mut self, sender: &Sender, sequence: u32) {
        match &mut self.phase {
            Phase::Leaving(leaving) if leaving.sequence == sequence => {
                leaving.acknowledged.insert(sender.id.clone());
                if leaving.acknowledged.len() >= leaving.needed {
                    self.fall_silent();
                }
            }
            _ => self.stats.unexpected_answers += 1,
        }
    }
}
