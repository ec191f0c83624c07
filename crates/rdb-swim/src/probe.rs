//! Asking members whether they are there: directly, then through others, then suspecting them.
//!
//! SWIM (DSN 2002), sections 3.1 and 4.3. Departures: the direct ping is repeated while there is no answer, before and beside the
//! indirect ones, so that losses hardly ever make a suspect; a relay answers with a nack when the target stays silent (Lifeguard, section IV-A), and is told
//! how much time the prober has left, so that its nack comes in time; and the direct ping's time follows the member's round trips.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use rdb_net_types::{BootId, NodeId};

use crate::event::Event;
use crate::mutation::Mutation;
use crate::packet::{Body, Sender};
use crate::round_trip::RoundTrips;
use crate::schedule::Timer;
use crate::swim::{DropReason, Phase, Swim};
use crate::table::Slot;
use crate::transmit::Outgoing;

/// How many probes may be under way before urgent ones wait.
const PROBES_MAX: usize = 16;

/// How many urgent probes may wait.
const URGENT_MAX: usize = 64;

/// How many pings are relayed for others at a time.
const RELAYS_MAX: usize = 256;

/// How many failed members, per alive one, are called on in one interval.
const REVISIT_FACTOR: f64 = 3.0;

/// Why a probe was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Its turn in the ring.
    Turn,
    /// Evidence against it.
    Evidence,
}

#[derive(Debug)]
pub(crate) struct Probe {
    slot: Slot,
    boot: BootId,
    started: Duration,
    /// How many pings were sent in vain, of `pings` in each stage: the direct one, and that in which others are asked too.
    step: u32,
    pings: u32,
    cause: Cause,
    /// How long the whole of it takes, and how long the direct ping alone, as this member's health was when it began.
    interval: Duration,
    timeout: Duration,
    /// Relays that have not answered.
    silent_relays: Vec<Slot>,
    /// Whether there were any.
    is_relayed: bool,
}

impl Probe {
    /// When a step is due.
    fn due(&self, step: u32) -> Duration {
        let direct = self.timeout * step.min(self.pings) / self.pings;
        let indirect = (self.interval - self.timeout) * step.saturating_sub(self.pings) / self.pings;
        self.started + direct + indirect
    }
}

/// Probes under way, and urgent ones that wait.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    active: BTreeMap<u32, Probe>,
    urgent: VecDeque<Slot>,
}

impl Probes {
    #[cfg(test)]
    pub(crate) fn under_way(&self) -> usize {
        self.active.len()
    }

    fn is_probing(&self, slot: Slot) -> bool {
        self.active.values().any(|probe| probe.slot == slot)
    }
}

/// A ping that is relayed for another member.
#[derive(Debug)]
pub(crate) struct Relay {
    origin: SocketAddr,
    origin_id: NodeId,
    /// In which version the origin asked.
    version: u8,
    sequence: u32,
    target: NodeId,
}

impl Swim {
    /// How many members are being asked because it is their turn: one at most, however long a probe takes.
    pub fn probes_in_turn(&self) -> usize {
        self.probes.active.values().filter(|probe| probe.cause == Cause::Turn).count()
    }

    pub(crate) fn probe_tick(&mut self, now: Duration) {
        // The next one follows when this one is over, however long that takes: probes in turn never overlap.
        if self.probes_in_turn() > 0 && !self.has(Mutation::ProbesOverlap) {
            // Its timers came late, and its last steps are due now: they come first.
            return self.schedule.set(Timer::Probe, now);
        }
        let interval = self.config.probe_interval;
        let interval = if self.has(Mutation::ProbesOverlap) { interval } else { self.scaled(interval) };
        self.schedule.set(Timer::Probe, now + interval);
        if let Some(slot) = self.table.pick_live(&mut self.random) {
            self.start_probe(now, slot, Cause::Turn);
        }
        self.start_waiting_probes(now);
    }

    /// Probes a member out of its turn.
    pub(crate) fn probe_soon(&mut self, now: Duration, slot: Slot) {
        if self.probes.active.len() < PROBES_MAX {
            self.stats.probes_urgent += 1;
            self.start_probe(now, slot, Cause::Evidence);
        } else if self.probes.urgent.len() >= URGENT_MAX {
            self.stats.limit_urgent_probes += 1;
        } else if !self.probes.urgent.contains(&slot) {
            self.probes.urgent.push_back(slot);
        }
    }

    fn start_waiting_probes(&mut self, now: Duration) {
        while self.probes.active.len() < PROBES_MAX {
            let Some(slot) = self.probes.urgent.pop_front() else { return };
            self.stats.probes_urgent += 1;
            self.start_probe(now, slot, Cause::Evidence);
        }
    }

    fn start_probe(&mut self, now: Duration, slot: Slot, cause: Cause) {
        let Some(entry) = self.table.get(slot).filter(|entry| entry.state.is_routable()) else { return };
        if self.probes.is_probing(slot) {
            return;
        }
        let boot = entry.boot;
        let timeout = self.direct_timeout(slot);
        let sequence = self.next_sequence();
        self.stats.probes_started += 1;
        let (interval, timeout) = (self.scaled(self.config.probe_interval), self.scaled(timeout));
        let probe = Probe {
            slot,
            boot,
            started: now,
            step: 0,
            pings: self.config.probe_pings.max(1),
            cause,
            interval,
            timeout,
            silent_relays: Vec::new(),
            is_relayed: false,
        };
        let first = probe.due(1);
        self.probes.active.insert(sequence, probe);
        self.ping(slot, sequence);
        self.schedule.set(Timer::ProbeStep(sequence), first);
    }

    /// How long a member is pinged before others are asked: each ping until its answer is late, between the configured bounds.
    fn direct_timeout(&self, slot: Slot) -> Duration {
        let (least, most) = (self.config.probe_timeout_min, self.config.probe_timeout);
        let late = self.table.round_trips(slot).late();
        late.map_or(most, |late| (late * self.config.probe_pings).max(least).min(most))
    }

    /// Pings a member at the address that is held; 0 where no particular ack is waited for.
    pub(crate) fn ping(&mut self, slot: Slot, sequence: u32) {
        if let Some(entry) = self.table.get(slot) {
            let body = Body::Ping { sequence, target: entry.id.clone(), target_boot: entry.boot };
            self.send_member(slot, body);
        }
    }

    pub(crate) fn probe_step(&mut self, now: Duration, sequence: u32) {
        let Some(probe) = self.probes.active.get_mut(&sequence) else { return };
        probe.step += 1;
        let (slot, step, pings, next) = (probe.slot, probe.step, probe.pings, probe.due(probe.step + 1));
        if step >= pings * 2 {
            return self.probe_failed(now, sequence);
        }
        self.schedule.set(Timer::ProbeStep(sequence), next);
        self.ping(slot, sequence);
        if step == pings {
            self.ask_others(sequence);
        }
    }

    fn ask_others(&mut self, sequence: u32) {
        let Some(probe) = self.probes.active.get(&sequence) else { return };
        let (slot, budget) = (probe.slot, probe.interval - probe.timeout);
        self.stats.probes_indirect += 1;
        let Some((target, target_boot)) = self.table.get(slot).map(|entry| (entry.id.clone(), entry.boot)) else {
            return;
        };
        self.want_stream_ping(slot, sequence, budget);
        let budget_ms = budget.as_millis() as u64;
        let relays = self.table.live().sample(self.config.indirect_probes, &[slot], &mut self.random);
        for relay in &relays {
            self.send_member(*relay, Body::PingRequest { sequence, target: target.clone(), target_boot, budget_ms });
        }
        if let Some(probe) = self.probes.active.get_mut(&sequence) {
            (probe.is_relayed, probe.silent_relays) = (!relays.is_empty(), relays);
        }
    }

    fn probe_failed(&mut self, now: Duration, sequence: u32) {
        let Some(probe) = self.probes.active.remove(&sequence) else { return };
        // Section IV-A: relays that answer show that the silence is not this member's own.
        self.stats.nacks_missed += probe.silent_relays.len() as u64;
        if self.blames_itself_for_silence() {
            self.worsen_health(if probe.is_relayed { probe.silent_relays.len() as u32 } else { 1 });
        }
        let Some(node) = self.table.get(probe.slot).map(|entry| entry.id.clone()) else { return };
        self.stats.probes_failed += 1;
        self.advise(Event::ProbeFailed { node });
        self.raise_suspicion(now, probe.slot);
        self.start_waiting_probes(now);
    }

    /// Gives up the probes of a member: they would prove nothing.
    pub(crate) fn void_probes_of(&mut self, slot: Slot) {
        self.void_probes(|probe| probe.slot == slot);
        self.probes.urgent.retain(|waiting| *waiting != slot);
    }

    /// Gives up what evidence has brought forward: newer evidence says that the member is there.
    pub(crate) fn void_urgent_probe(&mut self, slot: Slot) {
        self.void_probes(|probe| probe.slot == slot && probe.cause == Cause::Evidence);
        self.probes.urgent.retain(|waiting| *waiting != slot);
    }

    pub(crate) fn void_all_probes(&mut self) {
        let voided = self.void_probes(|_| true);
        self.stats.probes_voided += voided;
    }

    fn void_probes(&mut self, is_void: impl Fn(&Probe) -> bool) -> u64 {
        let void: Vec<u32> =
            self.probes.active.iter().filter(|(_, probe)| is_void(probe)).map(|(sequence, _)| *sequence).collect();
        for sequence in &void {
            self.probes.active.remove(sequence);
            self.schedule.cancel(Timer::ProbeStep(*sequence));
        }
        void.len() as u64
    }

    pub(crate) fn answer_ping(
        &mut self,
        from: SocketAddr,
        sender: Sender,
        sequence: u32,
        target: &NodeId,
        target_boot: BootId,
        is_accused: bool,
    ) -> Result<(), DropReason> {
        let own = self.table.local();
        if target != own.id {
            self.stats.dropped_target += 1;
            return Err(DropReason::WrongTarget);
        }
        // Whoever asks for a former life must learn of this one, and who accuses this node must hear its word: gossip told it
        // to so many members, and the accuser may not have been among them.
        let introduces = target_boot != own.boot || is_accused;
        let body = Body::Ack { sequence, digest: self.table.digest() };
        let version = Some(sender.version);
        self.send_outgoing(Outgoing { to: from, node: sender.id, body, introduces, version });
        Ok(())
    }

    pub(crate) fn take_ack(&mut self, now: Duration, sender: &Sender, sequence: u32, digest: u64) {
        self.datagram_answered();
        let (id, boot) = (&sender.id, sender.boot);
        if let Some(probe) = self.probe_answered(now, sequence, id, boot) {
            // A repeated ping's ack does not tell which ping it answers (Karn's rule). If answers have become slower, what was
            // measured before would have pings repeated for ever; without it they have the configured time again.
            let round_trips = if probe.step == 0 {
                let round_trip = now.saturating_sub(probe.started);
                self.advise(Event::RoundTrip { node: id.clone(), round_trip });
                self.table.round_trips(probe.slot).with(round_trip)
            } else {
                RoundTrips::default()
            };
            self.table.set_round_trips(probe.slot, round_trips);
            return self.compare_views(now, id, digest);
        }
        let is_taken = self.relay_answered(sequence, id, boot)
            || self.verification_answered(now, sequence, id, boot)
            || self.unverified_answered(now, sequence, id, boot);
        if !is_taken && sequence != 0 {
            self.stats.unexpected_answers += 1;
        }
    }

    pub(crate) fn take_relayed_ack(&mut self, now: Duration, sequence: u32, target: &NodeId, boot: BootId) {
        self.datagram_answered();
        let is_probe = self.probe_answered(now, sequence, target, boot).is_some();
        if !is_probe && !self.unverified_answered(now, sequence, target, boot) {
            self.stats.unexpected_answers += 1;
        }
    }

    fn probe_answered(&mut self, now: Duration, sequence: u32, id: &NodeId, boot: BootId) -> Option<Probe> {
        let probe = self.probes.active.get(&sequence)?;
        let is_target = self.table.get(probe.slot).is_some_and(|entry| entry.id == id);
        if !is_target || probe.boot != boot {
            return None;
        }
        self.end_probe(now, sequence)
    }

    /// Whoever is probed is there.
    pub(crate) fn end_probe(&mut self, now: Duration, sequence: u32) -> Option<Probe> {
        let probe = self.probes.active.remove(&sequence)?;
        self.schedule.cancel(Timer::ProbeStep(sequence));
        self.stats.probes_answered += 1;
        self.improve_health();
        self.start_waiting_probes(now);
        Some(probe)
    }

    pub(crate) fn take_nack(&mut self, sender: &NodeId, sequence: u32) {
        self.datagram_answered();
        let (slot, probe) = (self.table.slot_of(sender), self.probes.active.get_mut(&sequence));
        let asked = probe.and_then(|probe| {
            let at = probe.silent_relays.iter().position(|relay| Some(*relay) == slot)?;
            Some(probe.silent_relays.swap_remove(at))
        });
        match asked {
            Some(_) => self.stats.nacks_received += 1,
            None => self.stats.unexpected_answers += 1,
        }
    }

    /// Pings a member for another one, and promises an answer within four fifths of the budget.
    pub(crate) fn relay_ping(
        &mut self,
        now: Duration,
        from: SocketAddr,
        sender: Sender,
        sequence: u32,
        target: &NodeId,
        budget_ms: u64,
    ) {
        let Some(slot) = self.table.slot_of(target) else {
            // Pinging an address on a stranger's word would let him aim this node at anybody.
            self.send_in(sender.version, from, sender.id, Body::Nack { sequence });
            return;
        };
        if self.relays.len() >= RELAYS_MAX {
            self.stats.limit_relays += 1;
            return;
        }
        let own_sequence = self.next_sequence();
        let budget = Duration::from_millis(budget_ms).min(self.config.probe_interval);
        let Sender { version, id: origin_id, .. } = sender;
        let relay = Relay { origin: from, origin_id, version, sequence, target: target.clone() };
        self.relays.insert(own_sequence, relay);
        self.stats.pings_relayed += 1;
        self.ping(slot, own_sequence);
        let wait = if self.has(Mutation::NacksLate) { self.config.probe_interval } else { budget * 4 / 5 };
        self.schedule.set(Timer::Relay(own_sequence), now + wait);
    }

    fn relay_answered(&mut self, sequence: u32, id: &NodeId, boot: BootId) -> bool {
        if self.relays.get(&sequence).is_none_or(|relay| relay.target != *id) {
            return false;
        }
        self.schedule.cancel(Timer::Relay(sequence));
        if let Some(relay) = self.relays.remove(&sequence) {
            let body = Body::RelayedAck { sequence: relay.sequence, target: id.clone(), target_boot: boot };
            self.send_in(relay.version, relay.origin, relay.origin_id, body);
        }
        true
    }

    pub(crate) fn relay_expired(&mut self, sequence: u32) {
        if let Some(relay) = self.relays.remove(&sequence) {
            self.send_in(relay.version, relay.origin, relay.origin_id, Body::Nack { sequence: relay.sequence });
        }
    }

    /// Calls on a random failed member now and then, for ever: it hears what is said of it and refutes, and a partition heals
    /// from any one pair.
    pub(crate) fn revisit_tick(&mut self, now: Duration) {
        self.schedule.set(Timer::Revisit, now + self.config.revisit_interval);
        let (failed, alive) = (self.table.failed().len(), self.table.alive_count().max(1));
        let is_called = self.random.chance(REVISIT_FACTOR * failed as f64 / alive as f64);
        if !is_called || !matches!(self.phase, Phase::Active) {
            return;
        }
        for slot in self.table.failed().sample(1, &[], &mut self.random) {
            self.stats.revisits += 1;
            self.ping(slot, 0);
        }
    }
}
