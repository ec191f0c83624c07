//! The timers of one member: at most one deadline per timer, in deterministic order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::table::Slot;

/// What a deadline is for. The order decides which of two equal deadlines comes first: verdicts last, so that a simultaneous
/// tick cannot act on a state that is about to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The next regular probe.
    Probe,
    /// The next gossip tick.
    Gossip,
    /// The next anti-entropy exchange.
    Sync,
    /// The next draw whether to call on a failed member.
    Revisit,
    /// The next look for members that are gone for too long.
    Reap,
    /// The next round of farewells.
    Farewell,
    /// A relayed ping's nack is due.
    Relay(u32),
    /// The next step in checking whether a known life of a joining node still answers.
    Verification(u64),
    /// The next ping of a member that is known from another's view alone.
    Unverified(u32),
    /// A probe's direct or last deadline.
    ProbeStep(u32),
    /// The next step of a refused member's window.
    Refusal(Slot),
    /// A suspect is asked before its time is up.
    Inquiry(Slot),
    /// A suspect's time is up.
    Suspicion(Slot),
}

impl Timer {
    /// Whether the deadline condemns somebody, so that a pause of this process must move it.
    fn is_verdict(self) -> bool {
        matches!(
            self,
            Self::Refusal(_) | Self::Inquiry(_) | Self::Suspicion(_) | Self::Verification(_) | Self::Unverified(_)
        )
    }
}

/// Deadlines, soonest first.
#[derive(Debug)]
pub(crate) struct Schedule {
    order: BTreeSet<(Duration, Timer)>,
    deadlines: BTreeMap<Timer, Duration>,
    floor: Duration,
}

impl Schedule {
    pub(crate) fn new(now: Duration) -> Self {
        Self { order: BTreeSet::new(), deadlines: BTreeMap::new(), floor: now }
    }

    /// Sets the timer, replacing its former deadline. A deadline is always later than the last [`Schedule::begin`].
    pub(crate) fn set(&mut self, timer: Timer, at: Duration) {
        let at = at.max(self.floor + Duration::from_nanos(1));
        if let Some(former) = self.deadlines.insert(timer, at) {
            self.order.remove(&(former, timer));
        }
        self.order.insert((at, timer));
    }

    /// Sets the timer unless it has an earlier deadline already.
    pub(crate) fn bring_forward(&mut self, timer: Timer, at: Duration) {
        if self.deadlines.get(&timer).is_none_or(|former| *former > at) {
            self.set(timer, at);
        }
    }

    pub(crate) fn cancel(&mut self, timer: Timer) {
        if let Some(former) = self.deadlines.remove(&timer) {
            self.order.remove(&(former, timer));
        }
    }

    pub(crate) fn clear(&mut self) {
        self.order.clear();
        self.deadlines.clear();
    }

    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.deadlines.contains_key(&timer)
    }

    /// When the timer is due, if it is set.
    #[cfg(test)]
    pub(crate) fn deadline(&self, timer: Timer) -> Option<Duration> {
        self.deadlines.get(&timer).copied()
    }

    pub(crate) fn next(&self) -> Option<Duration> {
        self.order.first().map(|(at, _)| *at)
    }

    /// From here on, every deadline that is set lies after `now`: handling what is due comes to an end.
    pub(crate) fn begin(&mut self, now: Duration) {
        self.floor = self.floor.max(now);
    }

    /// Takes the first timer that is due.
    pub(crate) fn pop_due(&mut self, now: Duration) -> Option<Timer> {
        let (at, timer) = *self.order.first()?;
        if at > now {
            return None;
        }
        self.order.remove(&(at, timer));
        self.deadlines.remove(&timer);
        Some(timer)
    }

    /// Moves every verdict later by the time in which this process did not run.
    pub(crate) fn postpone_verdicts(&mut self, pause: Duration) {
        let verdicts: Vec<_> =
            self.deadlines.iter().filter(|(timer, _)| timer.is_verdict()).map(|(timer, at)| (*timer, *at)).collect();
        for (timer, at) in verdicts {
            self.set(timer, at + pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_soonest_is_first_and_a_timer_has_one_deadline() {
        let mut schedule = Schedule::new(Duration::ZERO);
        schedule.set(Timer::Probe, ms(30));
        schedule.set(Timer::Gossip, ms(20));
        schedule.set(Timer::Probe, ms(10));
        schedule.bring_forward(Timer::Gossip, ms(40));
        assert_eq!(schedule.next(), Some(ms(10)));
        assert_eq!(schedule.pop_due(ms(20)), Some(Timer::Probe));
        assert_eq!(schedule.pop_due(ms(20)), Some(Timer::Gossip));
        assert_eq!(schedule.pop_due(ms(100)), None);
    }

    #[test]
    fn what_is_set_while_handling_is_due_later() {
        let mut schedule = Schedule::new(Duration::ZERO);
        schedule.begin(ms(50));
        schedule.set(Timer::Probe, ms(10));
        assert!(schedule.next() > Some(ms(50)));
        assert_eq!(schedule.pop_due(ms(50)), None);
    }

    #[test]
    fn a_pause_moves_verdicts_only() {
        let mut schedule = Schedule::new(Duration::ZERO);
        schedule.set(Timer::Suspicion(3), ms(10));
        schedule.set(Timer::Probe, ms(10));
        schedule.postpone_verdicts(ms(5));
        assert_eq!(schedule.deadline(Timer::Suspicion(3)), Some(ms(15)));
        assert_eq!(schedule.deadline(Timer::Probe), Some(ms(10)));
    }
}
