//! Taking what others say: about others, by the order of statements; about this node, by refuting it.
//!
//! SWIM (DSN 2002), section 4.2: only a member itself raises its incarnation, and does so to refute.

use std::net::SocketAddr;
use std::time::Duration;

use rdb_net_types::{BootId, Incarnation, NodeId, NodeState};

use crate::entry::Entry;
use crate::event::{Event, MemberRecord};
use crate::gossip::Topic;
use crate::merge::{Standing, Transition, is_leap, is_plausible, is_possible, transitions};
use crate::mutation::Mutation;
use crate::packet::{Accusation, Alive, Sender, Update};
use crate::profile::Profile;
use crate::schedule::Timer;
use crate::swim::{DropReason, Phase, Swim};
use crate::table::{SELF, Slot};
use crate::versions::Versions;

/// A conflict about one id is told, and a rival outbid, at most once in this time: two processes of one id must not make the
/// whole cluster follow their quarrel.
const CONFLICT_INTERVAL: Duration = Duration::from_secs(10);

/// Whether what was learned is told on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spread {
    /// By gossip.
    Yes,
    /// No: those who could be told know it already.
    No,
}

impl Swim {
    /// Asks the cluster to suspect a member, as an operator's request: if it is there, it refutes.
    pub fn suspect(&mut self, now: Duration, node: &NodeId) {
        let Some(slot) = self.table.slot_of(node).filter(|slot| *slot != SELF) else { return };
        if matches!(self.phase, Phase::Active) {
            self.raise_suspicion(now, slot);
        }
    }

    pub(crate) fn check_sender(&mut self, now: Duration, from: SocketAddr, sender: &Sender) -> Result<(), DropReason> {
        let own = self.table.local();
        if sender.id != *own.id {
            return Ok(());
        }
        if sender.boot == own.boot {
            self.stats.dropped_echo += 1;
            return Err(DropReason::Echo);
        }
        self.stats.dropped_conflict += 1;
        self.tell_conflict(now, sender.id.clone(), from, sender.boot);
        Err(DropReason::Conflict)
    }

    pub(crate) fn tell_conflict(&mut self, now: Duration, id: NodeId, address: SocketAddr, boot: BootId) {
        let is_fresh = |(told, at): &(NodeId, Duration)| *told == id && now.saturating_sub(*at) < CONFLICT_INTERVAL;
        if self.conflict_told.as_ref().is_some_and(is_fresh) {
            return;
        }
        self.conflict_told = Some((id.clone(), now));
        self.emit(Event::Conflict { id, address, boot });
    }

    pub(crate) fn apply(&mut self, now: Duration, update: Update) {
        match update {
            Update::Alive(alive) => self.apply_alive(now, alive, Spread::Yes),
            Update::Suspect(accusation) => self.apply_claim(now, accusation, NodeState::Suspect, Spread::Yes),
            Update::Failed(accusation) => self.hear_verdict(now, accusation),
            Update::Left(accusation) => self.apply_claim(now, accusation, NodeState::Left, Spread::Yes),
            Update::Refused(accusation) => self.apply_refusal(now, accusation),
            Update::Forgotten(word) => self.apply_forgotten(now, word),
            Update::Broadcast(broadcast) => self.hear_broadcast(now, broadcast),
        }
    }

    pub(crate) fn apply_alive(&mut self, now: Duration, alive: Alive, spread: Spread) {
        match self.table.slot_of(&alive.id) {
            Some(SELF) => self.hear_of_self(now, &alive),
            Some(slot) => self.renew(now, slot, alive, spread),
            None => self.admit(now, alive, NodeState::Alive, spread),
        }
    }

    /// Takes in a member that is not held, unless it is a ghost, shares no version, or there is no room.
    pub(crate) fn admit(&mut self, now: Duration, alive: Alive, state: NodeState, spread: Spread) {
        let is_entombed = self.tombstones.incarnation(&alive.id).is_some_and(|dead| alive.incarnation <= dead);
        if is_entombed && !self.has(Mutation::GhostsReturn) {
            self.stats.updates_entombed += 1;
            return self.tell_forgotten(now, &alive.id);
        }
        if !self.shares_version(now, &alive) {
            return;
        }
        if self.table.len() >= self.config.members_max && !self.make_room(now) {
            self.stats.limit_members += 1;
            return;
        }
        self.disinter(&alive.id);
        let Alive { id, incarnation, boot, address, meta, versions } = alive;
        let entry = Entry::new(Profile::of_versions(id, boot, address, meta, versions), incarnation, state, now);
        let slot = self.table.insert(entry, &mut self.random);
        self.note_change(now, slot, None, false, spread);
    }

    /// Takes a held member's newer word of itself, its range of versions with the rest: whatever was said of it before, the newest
    /// word stands. One process understands one range, so words of one incarnation differ only where the range was lost on the way,
    /// with whoever does not know of versions. That costs little: they are members of the first version, which all others understand
    /// then.
    fn renew(&mut self, now: Duration, slot: Slot, alive: Alive, spread: Spread) {
        let Some(held) = self.table.get(slot) else { return };
        let next = Standing::new(alive.incarnation, NodeState::Alive);
        if is_leap(alive.incarnation, held.incarnation) {
            self.stats.updates_implausible += 1;
            return;
        }
        // Two lives of one incarnation are an accident; the same one must win everywhere.
        let wins_tie = next == held.standing() && alive.boot > held.boot;
        let is_new_life = alive.boot != held.boot;
        if !next.beats(held.standing()) && !wins_tie {
            self.stats.updates_stale += 1;
            let is_same_word = !is_new_life && alive.incarnation == held.incarnation;
            let is_more = held.versions == Versions::FIRST && alive.versions != Versions::FIRST;
            if is_same_word && is_more && alive.versions.shared(self.versions()).is_some() {
                self.note_versions(slot, alive.versions);
            }
            return;
        }
        if !self.shares_version(now, &alive) {
            return;
        }
        let Some(held) = self.table.get(slot) else { return };
        let (said, known) = ((alive.address, &alive.meta, alive.versions), (held.address, held.meta, held.versions));
        let is_changed = is_new_life || said != known;
        if !is_changed && held.state == NodeState::Alive && self.has(Mutation::EvidenceDropped) {
            return;
        }
        let former = held.state;
        let told = transitions(Some(former), NodeState::Alive, is_new_life);
        if told.first() == Some(&Transition::Failed) {
            // The former life's end is told with the former life's record.
            let record = MemberRecord { state: NodeState::Failed, ..held.to_record() };
            self.emit(Event::Failed(record));
        }
        self.drop_doubts(slot);
        self.table.update(slot, &mut self.random, |entry| {
            let Alive { id: _, incarnation, boot, address, meta, versions } = alive;
            if is_new_life {
                entry.set(NodeState::Alive, now);
            }
            entry.turn(NodeState::Alive, now);
            entry.incarnation = incarnation;
            entry.introduce(boot, address, meta, versions);
        });
        self.note_change(now, slot, Some(former), is_new_life, spread);
        if is_changed && matches!(former, NodeState::Alive | NodeState::Suspect) && !is_new_life {
            self.emit_of(slot, Event::Updated);
        }
        if former == NodeState::Failed && !is_new_life {
            self.hurry_sync(now, slot);
        }
    }

    /// Takes an accusation or a farewell.
    pub(crate) fn apply_claim(&mut self, now: Duration, claim: Accusation, state: NodeState, spread: Spread) {
        let Some(slot) = self.table.slot_of(&claim.id) else {
            self.stats.updates_unknown += 1;
            return;
        };
        let Some(held) = self.table.get(slot) else { return };
        let next = Standing::new(claim.incarnation, state);
        // A farewell comes from the member itself, which may have been born and gone between two words of it.
        let is_new_life_leaving =
            state == NodeState::Left && slot != SELF && claim.incarnation.generation() > held.incarnation.generation();
        if slot != SELF && !is_new_life_leaving && !is_plausible(claim.incarnation, held.incarnation) {
            self.stats.updates_implausible += 1;
            return;
        }
        if slot == SELF {
            return self.refute(now, next);
        }
        let (held, former) = (held.standing(), held.state);
        if !next.beats(held) || state == former && self.has(Mutation::EvidenceDropped) {
            let is_news = next == held && state == NodeState::Suspect && self.confirm_doubt(now, slot, claim.from);
            self.stats.updates_taken += u64::from(is_news);
            self.stats.updates_stale += u64::from(!is_news);
            return;
        }
        if state == NodeState::Suspect {
            if !self.config.lifeguard.confirmations {
                // Where they can confirm nothing, they would find nothing new.
                self.void_probes_of(slot);
            }
            self.drop_older_refusals(slot, claim.incarnation);
        } else {
            self.end_doubts(slot, state);
        }
        self.table.update(slot, &mut self.random, |entry| {
            entry.turn(state, now);
            entry.incarnation = claim.incarnation;
        });
        self.table.accuse(slot, claim.from);
        if state == NodeState::Failed {
            self.expect_fewer_confirmations();
        }
        self.note_change(now, slot, Some(former), false, spread);
    }

    /// Tells the application and the cluster of a member's change, and starts a suspect's clock.
    pub(crate) fn note_change(
        &mut self,
        now: Duration,
        slot: Slot,
        former: Option<NodeState>,
        is_new_life: bool,
        spread: Spread,
    ) {
        self.stats.updates_taken += 1;
        let Some(state) = self.table.get(slot).map(|entry| entry.state) else { return };
        self.note_vanishing(now, slot, former, state);
        let told = transitions(former, state, is_new_life);
        // With a new life, the failure of the former one was told by the caller, who had its record.
        let told = if is_new_life { told.strip_prefix(&[Transition::Failed]).unwrap_or(told) } else { told };
        for transition in told {
            self.emit_of(
                slot,
                match transition {
                    Transition::Joined => Event::Joined,
                    Transition::Left => Event::Left,
                    Transition::Failed => Event::Failed,
                    Transition::Recovered => Event::Recovered,
                    Transition::Suspected => Event::Suspected,
                    Transition::Trusted => Event::Trusted,
                },
            );
        }
        if state == NodeState::Suspect {
            self.start_doubt(now, slot);
        }
        if spread == Spread::Yes {
            self.tell(now, slot);
        }
    }

    pub(crate) fn emit_of(&mut self, slot: Slot, event: fn(MemberRecord) -> Event) {
        if let Some(record) = self.table.get(slot).map(|entry| entry.to_record()) {
            self.emit(event(record));
        }
    }

    /// Ends every doubt about a member: a newer statement has decided.
    pub(crate) fn drop_doubts(&mut self, slot: Slot) {
        self.end_doubts(slot, NodeState::Alive);
    }

    /// Ends every doubt about a member that is from here on held so.
    fn end_doubts(&mut self, slot: Slot, state: NodeState) {
        self.end_doubt(slot);
        self.schedule.cancel(Timer::Refusal(slot));
        match state {
            NodeState::Failed => self.tell_evidence(slot),
            NodeState::Alive | NodeState::Suspect | NodeState::Left => {
                self.drop_refusals(slot);
                self.refusals.remove(&slot);
            }
        }
        self.void_probes_of(slot);
    }

    /// Suspects an alive member, as this node's own finding.
    pub(crate) fn raise_suspicion(&mut self, now: Duration, slot: Slot) {
        let Some(entry) = self.table.get(slot).filter(|entry| entry.state.is_routable()) else { return };
        let (id, incarnation, state) = (entry.id.clone(), entry.incarnation, entry.state);
        let from = self.table.local().id.clone();
        if state == NodeState::Suspect {
            self.confirm_doubt(now, slot, from);
            return;
        }
        self.stats.suspicions_raised += 1;
        self.apply_claim(now, Accusation { id, incarnation, from }, NodeState::Suspect, Spread::Yes);
    }

    pub(crate) fn suspicion_expired(&mut self, now: Duration, slot: Slot) {
        let suspect = self.table.get(slot).filter(|entry| entry.state == NodeState::Suspect);
        let Some(incarnation) = suspect.map(|entry| entry.incarnation) else { return };
        if self.is_asked(now, slot) {
            self.declare_failed(now, slot, incarnation);
        }
    }

    pub(crate) fn declare_failed(&mut self, now: Duration, slot: Slot, incarnation: Incarnation) {
        let Some(id) = self.table.get(slot).map(|entry| entry.id.clone()) else { return };
        let from = self.table.local().id.clone();
        self.stats.failures_declared += 1;
        self.apply_claim(now, Accusation { id, incarnation, from }, NodeState::Failed, Spread::Yes);
    }

    /// Somebody tells this node's own record. A former life that stands higher is outbid; a living rival is told of.
    fn hear_of_self(&mut self, now: Duration, alive: &Alive) {
        let own = self.table.local();
        let is_same_word = alive.incarnation == own.incarnation && alive.boot == own.boot;
        let is_other_range = alive.versions != own.versions && alive.versions != Versions::FIRST;
        if is_same_word && is_other_range && own.state == NodeState::Alive {
            // Not lost on the way, but made up: packets of a version that is not understood here may follow.
            return self.rise_to(now, alive.incarnation.next());
        }
        if is_same_word || alive.incarnation < own.incarnation {
            return;
        }
        if alive.boot == own.boot {
            return self.refute(now, Standing::new(alive.incarnation, NodeState::Alive));
        }
        if let Some((boot, at)) = self.last_outbid {
            // Only a living process goes above what has outbid it.
            if boot == alive.boot {
                self.tell_conflict(now, alive.id.clone(), alive.address, alive.boot);
            }
            if now.saturating_sub(at) < CONFLICT_INTERVAL {
                return;
            }
        }
        self.last_outbid = Some((alive.boot, now));
        self.outbid(now, alive.incarnation);
    }

    /// Answers a statement against this node with a higher incarnation.
    pub(crate) fn refute(&mut self, now: Duration, claim: Standing) {
        let own = self.table.local().standing();
        let is_against = claim.beats(own) || claim.incarnation == own.incarnation && claim.state != NodeState::Alive;
        if !is_against || own.state == NodeState::Left && !claim.beats(own) {
            return;
        }
        if claim.incarnation.generation() > own.incarnation.generation() {
            // Not this life's doing: a former life had the higher generation.
            return self.outbid(now, claim.incarnation);
        }
        if !is_plausible(claim.incarnation, own.incarnation) {
            // Nobody takes it who knows this life, but a newcomer may have met nothing else: only another generation stands above it.
            self.stats.updates_implausible += 1;
            return self.outbid(now, claim.incarnation);
        }
        if matches!(claim.state, NodeState::Suspect | NodeState::Failed) {
            // Others could not hear this member: it may be the slow one.
            self.worsen_health(1);
        }
        self.rise_to(now, claim.incarnation.next());
    }

    /// Takes the generation after one that another life has.
    pub(crate) fn outbid(&mut self, now: Duration, incarnation: Incarnation) {
        let above = Incarnation::first_of(incarnation.generation().saturating_add(1));
        self.rise_to(now, if is_possible(above) { above } else { incarnation.next() });
    }

    /// Takes a higher incarnation. Whoever has heard of none that is as high as the own is told that one.
    pub(crate) fn rise_to(&mut self, now: Duration, incarnation: Incarnation) {
        let own = self.table.local().incarnation;
        if !is_possible(incarnation) {
            // Others would refuse it, and with it every packet of this node. Nobody has had the one before: it is made up.
            self.stats.updates_implausible += 1;
            return;
        }
        if incarnation > own {
            self.stats.refutations += 1;
            let wraps = self.has(Mutation::IncarnationWraps);
            let raised = if wraps { Incarnation::from_u64(incarnation.as_u64() & !0xffff_fffe) } else { incarnation };
            self.table.update(SELF, &mut self.random, |own| own.incarnation = raised);
            self.emit(Event::SelfRefuted { incarnation: raised });
        }
        self.tell(now, SELF);
    }

    /// Puts the refusal of a member into the queue.
    pub(crate) fn tell_refusal(&mut self, now: Duration, slot: Slot, observer: NodeId) {
        self.queue.push(Topic::Refusal(slot, observer));
        self.hurry_gossip(now);
    }
}
