//! How well this member itself does, by its own signs: a slow member is the commonest false accuser.
//!
//! Lifeguard (arXiv 1707.00788), section IV-A: the local health multiplier. Each sign that this member may be the slow one
//! raises the score, each answered probe lowers it; intervals and time-outs grow with it. Departures: the next probe follows the
//! scaled interval too, so that probes never overlap; and two signs are added that need no failed probe: timers that fire late,
//! and packets that have waited for this process.

use std::time::Duration;

use crate::mutation::Mutation;
use crate::swim::Swim;

/// The score, and how much of it the delays of the last while have brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Health {
    score: u32,
    delays_since: Duration,
    delays_counted: u32,
}

impl Health {
    pub(crate) fn limit(&mut self, score_max: u32) {
        self.score = self.score.min(score_max);
    }
}

impl Swim {
    /// How this member judges itself: 0 is healthy, [`Lifeguard::health_max`](crate::Lifeguard::health_max) the worst. A probe
    /// takes `1 + score` times as long.
    pub fn local_health(&self) -> u32 {
        self.health.score
    }

    /// Packets that are handed over at `now` have waited for this process for so long, be it in its socket or its queues. The
    /// driver tells the longest wait of what it hands over, before it does.
    pub fn note_ingress_age(&mut self, now: Duration, age: Duration) {
        self.note_delay(now, age);
    }

    /// A stretch of time as this member's health makes it.
    pub(crate) fn scaled(&self, time: Duration) -> Duration {
        time * (1 + self.health.score)
    }

    /// A sign that this member is the slow one.
    pub(crate) fn worsen_health(&mut self, by: u32) {
        if self.config.lifeguard.local_health && by > 0 {
            self.stats.health_worsened += u64::from(by);
            let most = if self.has(Mutation::HealthHasNoLimit) { 60 } else { self.config.lifeguard.health_max };
            self.health.score = (self.health.score + by).min(most);
        }
    }

    /// A sign that it is not.
    pub(crate) fn improve_health(&mut self) {
        self.health.score = self.health.score.saturating_sub(1);
    }

    /// Something of this process came late: a point for each period, or part of one, that it was late. What comes late together
    /// counts once: within one period only the longest delay does.
    pub(crate) fn note_delay(&mut self, now: Duration, delay: Duration) {
        if !self.config.lifeguard.lateness || delay <= self.config.pause_threshold() {
            return;
        }
        let period = self.config.probe_interval;
        if now >= self.health.delays_since + period {
            (self.health.delays_since, self.health.delays_counted) = (now, 0);
        }
        let grade = delay.as_nanos().div_ceil(period.as_nanos());
        let grade = u32::try_from(grade).unwrap_or(u32::MAX).min(self.config.lifeguard.health_max);
        let more = grade.saturating_sub(self.health.delays_counted);
        self.health.delays_counted = self.health.delays_counted.max(grade);
        self.worsen_health(more);
    }
}
