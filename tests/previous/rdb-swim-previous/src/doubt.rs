//! How long a suspect has: long where one member alone accuses it, short where several do.
//!
//! Lifeguard (arXiv 1707.00788), section IV-B: a member that is slow itself accuses many, and nobody agrees; of one that has
//! crashed, everybody who asks it finds the same. So the time starts long, and falls with the logarithm of the number of members
//! that confirm: `max − (max − min) · ln(c + 1) / ln(k + 1)` for `c` of `k` confirmations.

use std::collections::BTreeMap;
use std::time::Duration;

use rdb_net_types::NodeId;

use crate::gossip::Topic;
use crate::mutation::Mutation;
use crate::schedule::Timer;
use crate::swim::Swim;
use crate::table::Slot;

/// Suspects by slot.
pub(crate) type Doubts = BTreeMap<Slot, Doubt>;

/// One suspect's case.
#[derive(Debug)]
pub(crate) struct Doubt {
    since: Duration,
    /// The first accuser, then those that have confirmed: at most `needed` and one.
    pub(crate) accusers: Vec<NodeId>,
    needed: usize,
    /// So many verdicts are enough for a member that would wait longer by its own health: half of those that can come to one, so that
    /// two such members do not wait for each other.
    judges_needed: usize,
    /// How often it was asked once more.
    pub(crate) asked: u32,
    /// Who is through with it and holds the suspect for failed: at most `judges_needed`.
    verdicts: Vec<NodeId>,
    /// What everybody tolerates, however healthy this member is.
    tolerated: Duration,
    shortest: Duration,
    longest: Duration,
}

impl Doubt {
    fn deadline(&self) -> Duration {
        let confirmations = self.accusers.len().saturating_sub(1);
        let time = timeout(self.shortest, self.longest, confirmations, self.needed);
        // Whether this member is the slow one does not matter where it is not its own finding.
        let is_found_by_others = self.verdicts.len() >= self.judges_needed;
        self.since + if is_found_by_others { time.min(self.tolerated) } else { time }
    }
}

/// The time of a suspect with `confirmations` of `needed`.
pub(crate) fn timeout(shortest: Duration, longest: Duration, confirmations: usize, needed: usize) -> Duration {
    if confirmations >= needed || longest <= shortest {
        return shortest;
    }
    let share = ((confirmations + 1) as f64).ln() / ((needed + 1) as f64).ln();
    longest - (longest - shortest).mul_f64(share.clamp(0.0, 1.0))
}

/// How many verdicts are enough where so many confirm and so many others are there, without the suspect.
fn judges_needed(needed: usize, others: usize) -> usize {
    needed.min(others.div_ceil(2))
}

impl Swim {
    /// A member's suspicion begins: its clock starts.
    pub(crate) fn start_doubt(&mut self, now: Duration, slot: Slot) {
        let alive = self.table.alive_count();
        let (lifeguard, tolerated) = (self.config.lifeguard, self.config.suspicion_timeout(alive));
        let is_hasty = self.has(Mutation::VerdictsAreHasty);
        let tolerated = if is_hasty { tolerated - self.config.suspicion_pause } else { tolerated };
        // Neither the suspect nor the first accuser can confirm.
        let others = alive.saturating_sub(2);
        let can_confirm = lifeguard.confirmations && !self.is_unheard();
        let needed = if can_confirm { lifeguard.confirmations_needed.min(others) } else { 0 };
        let longest = if needed == 0 { tolerated } else { tolerated * lifeguard.stretch };
        // Whoever is slow itself waits longer, whatever others confirm, but never beyond what nobody confirms.
        let shortest = self.scaled(tolerated).min(longest);
        self.end_doubt(slot);
        let accusers = vec![self.table.accuser(slot).clone()];
        let doubt = Doubt {
            since: now,
            accusers,
            needed,
            judges_needed: judges_needed(needed, others),
            asked: 0,
            verdicts: Vec::new(),
            tolerated,
            shortest,
            longest,
        };
        let deadline = doubt.deadline();
        self.schedule.set(Timer::Suspicion(slot), deadline);
        self.doubts.insert(slot, doubt);
        self.plan_inquiry(slot, deadline);
    }

    /// Somebody says the same of a suspect, of the same incarnation. Gives whether that was news.
    pub(crate) fn confirm_doubt(&mut self, now: Duration, slot: Slot, accuser: NodeId) -> bool {
        let is_member = self.table.find(&accuser).is_some_and(|entry| entry.state.is_routable());
        let is_itself = self.table.get(slot).is_some_and(|entry| *entry.id == accuser);
        let Some(doubt) = self.doubts.get_mut(&slot) else { return false };
        if !is_member || is_itself || doubt.accusers.len() > doubt.needed || doubt.accusers.contains(&accuser) {
            return false;
        }
        doubt.accusers.push(accuser.clone());
        // A deadline that a pause has moved was moved together with `since`.
        self.hurry_doubt(slot);
        self.stats.confirmations += 1;
        // Section IV-B: the first k confirmations are told on, so that everybody's clock runs down.
        self.queue.push(Topic::Doubt(slot, accuser));
        self.hurry_gossip(now);
        true
    }

    /// Another member holds a suspect of this incarnation for failed.
    pub(crate) fn note_verdict(&mut self, slot: Slot, judge: NodeId) {
        let is_member = self.table.find(&judge).is_some_and(|entry| entry.state.is_routable());
        let Some(doubt) = self.doubts.get_mut(&slot).filter(|_| is_member) else { return };
        if doubt.verdicts.len() < doubt.judges_needed && !doubt.verdicts.contains(&judge) {
            doubt.verdicts.push(judge);
            self.hurry_doubt(slot);
        }
    }

    /// A suspect may have less time from here on. Once it is being asked, its time ends with that.
    fn hurry_doubt(&mut self, slot: Slot) {
        let Some(doubt) = self.doubts.get(&slot).filter(|doubt| doubt.asked == 0) else { return };
        let deadline = doubt.deadline();
        self.schedule.bring_forward(Timer::Suspicion(slot), deadline);
        self.plan_inquiry(slot, deadline);
    }

    /// A member has failed: where hardly anybody is left, as many confirm as there are.
    pub(crate) fn expect_fewer_confirmations(&mut self) {
        let others = self.table.alive_count().saturating_sub(2);
        if others >= self.config.lifeguard.confirmations_needed {
            return;
        }
        let waiting = self.doubts.iter_mut().filter(|(_, doubt)| doubt.needed > others);
        let slots: Vec<Slot> = waiting
            .map(|(slot, doubt)| {
                (doubt.needed, doubt.judges_needed) = (others, judges_needed(others, others));
                *slot
            })
            .collect();
        slots.into_iter().for_each(|slot| self.hurry_doubt(slot));
    }

    /// From here on nobody's confirmation can come: suspects have what they would have where nobody is asked for one.
    pub(crate) fn await_no_confirmations(&mut self) {
        let shortest = self.scaled(self.config.suspicion_timeout(self.table.alive_count()));
        for doubt in self.doubts.values_mut() {
            (doubt.needed, doubt.judges_needed, doubt.shortest) = (0, 0, doubt.shortest.min(shortest));
        }
        self.hurry_doubts();
    }

    fn hurry_doubts(&mut self) {
        let slots: Vec<Slot> = self.doubts.keys().copied().collect();
        slots.into_iter().for_each(|slot| self.hurry_doubt(slot));
    }

    /// A member is no suspect any more, or one anew.
    pub(crate) fn end_doubt(&mut self, slot: Slot) {
        self.schedule.cancel(Timer::Suspicion(slot));
        self.schedule.cancel(Timer::Inquiry(slot));
        for accuser in self.doubts.remove(&slot).into_iter().flat_map(|doubt| doubt.accusers) {
            self.queue.remove(&Topic::Doubt(slot, accuser));
        }
    }

    /// This process did not run for so long: suspects could not have been heard.
    pub(crate) fn postpone_doubts(&mut self, pause: Duration) {
        self.doubts.values_mut().for_each(|doubt| doubt.since += pause);
    }
}
