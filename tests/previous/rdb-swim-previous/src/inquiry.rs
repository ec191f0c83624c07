//! Asking a suspect once more, oneself, before failing it.
//!
//! A suspicion is told by gossip and refuted by gossip, and either may miss somebody: where packets are lost, or where so much is
//! told at once, as after a partition or a restart of everything, that a word takes longer than a suspect has. So whoever is
//! about to fail a suspect pings it, several times within the last moment of the suspect's time. The ping tells what is held
//! against it, and the answer carries its refutation, so nothing is needed but that the two reach each other. Departure from SWIM
//! (DSN 2002), where whoever holds a suspicion long enough does nothing to test it.

use std::time::Duration;

use crate::schedule::Timer;
use crate::swim::Swim;
use crate::table::Slot;

/// How many times a suspect is pinged: the loss of one packet must not convict it.
pub(crate) const PINGS: u32 = 3;

/// How many such pings are sent in one probe interval: where half of a large cluster has vanished, the others wait for their turn.
const PINGS_MAX: u32 = 256;

/// How many pings were sent in this interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Inquiries {
    since: Duration,
    sent: u32,
}

impl Swim {
    /// The time within which a suspect is asked, before its own runs out.
    fn inquiry_step(&self) -> Duration {
        self.config.refusal_window / PINGS
    }

    /// A suspect's time runs out then: it is asked shortly before.
    pub(crate) fn plan_inquiry(&mut self, slot: Slot, deadline: Duration) {
        if self.config.lifeguard.own_verdicts {
            self.schedule.bring_forward(Timer::Inquiry(slot), deadline.saturating_sub(self.inquiry_step() * PINGS));
        }
    }

    /// Asks a suspect, and again until it was asked often enough. Where too many are, it waits for its turn: whoever was not asked is
    /// not failed. Gives whether it was asked.
    pub(crate) fn inquire(&mut self, now: Duration, slot: Slot) -> bool {
        let interval = self.config.probe_interval;
        let Some(doubt) = self.doubts.get_mut(&slot).filter(|doubt| doubt.asked < PINGS) else { return false };
        if now >= self.inquiries.since + interval {
            self.inquiries = Inquiries { since: now, sent: 0 };
        }
        if self.inquiries.sent >= PINGS_MAX {
            self.stats.limit_inquiries += 1;
            self.schedule.set(Timer::Inquiry(slot), self.inquiries.since + interval);
            return false;
        }
        doubt.asked += 1;
        if doubt.asked < PINGS {
            self.schedule.set(Timer::Inquiry(slot), now + self.config.refusal_window / PINGS);
        }
        self.inquiries.sent += 1;
        self.stats.suspects_asked += 1;
        self.ping(slot, 0);
        true
    }

    /// A suspect's time is up. Gives whether it was asked often enough; otherwise it is, and its time ends after that.
    pub(crate) fn is_asked(&mut self, now: Duration, slot: Slot) -> bool {
        if !self.config.lifeguard.own_verdicts || self.doubts.get(&slot).is_none_or(|doubt| doubt.asked >= PINGS) {
            return true;
        }
        let is_asked = self.inquire(now, slot);
        self.schedule.cancel(Timer::Inquiry(slot));
        let next = if is_asked { now + self.inquiry_step() } else { self.inquiries.since + self.config.probe_interval };
        self.schedule.set(Timer::Suspicion(slot), next);
        false
    }
}
