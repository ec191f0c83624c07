//! The load that failed calls leave behind: what keeps a fast-failing node from looking like an idle one.
//!
//! Its time is the number of picks of the balancer, not a clock: a penalty must last until enough calls have gone elsewhere,
//! however long that takes. Reading a penalty changes nothing.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// One call, in the fixed-point unit of penalties.
const CALL: u64 = 256;
/// What a first failure adds, in calls.
const FIRST_FAILURE_CALLS: u64 = 8;
/// The largest penalty, in calls. More than a node has calls in flight, and small enough to be worked off.
const CALLS_MAX: u64 = 1 << 20;
/// Half-life of a penalty, in picks for each node of the balancer.
const HALF_LIFE_PICKS_PER_NODE: u32 = 16;
/// How often an update that lost a race is tried again. A lost sample of many at once does no harm.
const TRIES_MAX: u32 = 8;

/// The picks that a balancer has made, shared with its nodes.
#[derive(Debug)]
pub(crate) struct PickClock {
    picks: AtomicU64,
    start: u64,
    half_life: AtomicU32,
}

impl PickClock {
    pub(crate) fn new(start: u64) -> Self {
        Self { picks: AtomicU64::new(start), start, half_life: AtomicU32::new(HALF_LIFE_PICKS_PER_NODE) }
    }

    pub(crate) fn set_nodes(&self, nodes: usize) {
        let nodes = u32::try_from(nodes).unwrap_or(u32::MAX).max(1);
        self.half_life.store(nodes.saturating_mul(HALF_LIFE_PICKS_PER_NODE), Relaxed);
    }

    /// The number of this pick. The first one is given by the seed.
    pub(crate) fn tick(&self) -> u64 {
        self.picks.fetch_add(1, Relaxed)
    }

    /// Picks asked for so far.
    pub(crate) fn elapsed(&self) -> u64 {
        self.picks.load(Relaxed).wrapping_sub(self.start)
    }

    fn now(&self) -> u32 {
        self.picks.load(Relaxed) as u32
    }
}

/// A node's penalty: the value in the low half, the pick at which it was so in the high half.
///
/// The stamp wraps: a penalty that nothing has touched for four thousand million picks seems fresh for one half-life.
#[derive(Debug, Default)]
pub(crate) struct Penalty(AtomicU64);

impl Penalty {
    /// The present penalty, in calls in flight.
    pub(crate) fn calls(&self, clock: &PickClock) -> f64 {
        match self.0.load(Relaxed) {
            0 => 0.0,
            packed => decayed(packed, clock) as f64 / CALL as f64,
        }
    }

    pub(crate) fn failure(&self, clock: &PickClock) {
        let first = FIRST_FAILURE_CALLS * CALL;
        self.update(clock, |value| (2 * value).max(value + first).min(CALLS_MAX * CALL));
    }

    pub(crate) fn success(&self, clock: &PickClock) {
        if self.0.load(Relaxed) != 0 {
            // The last call of a penalty decides little but ties.
            self.update(clock, |value| if value <= CALL { 0 } else { value / 2 });
        }
    }

    fn update(&self, clock: &PickClock, next: impl Fn(u64) -> u64) {
        let mut packed = self.0.load(Relaxed);
        for _ in 0..TRIES_MAX {
            let value = next(decayed(packed, clock));
            let stamped = if value == 0 { 0 } else { u64::from(clock.now()) << 32 | value };
            match self.0.compare_exchange_weak(packed, stamped, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(other) => packed = other,
            }
        }
    }
}

/// Halved once per half-life, and linear in between.
fn decayed(packed: u64, clock: &PickClock) -> u64 {
    let (stamp, value) = ((packed >> 32) as u32, packed & 0xffff_ffff);
    let age = clock.now().wrapping_sub(stamp);
    let half_life = clock.half_life.load(Relaxed);
    let halved = value.checked_shr(age / half_life).unwrap_or(0);
    halved - halved * u64::from(age % half_life) / (2 * u64::from(half_life))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(clock: &PickClock, picks: u32) {
        for _ in 0..picks {
            clock.tick();
        }
    }

    #[test]
    fn failures_pile_up_successes_and_picks_take_down() {
        let (clock, penalty) = (PickClock::new(u64::from(u32::MAX) - 5), Penalty::default());
        clock.set_nodes(10);
        assert_eq!(penalty.calls(&clock), 0.0);
        for expected in [8.0, 16.0, 32.0, 64.0] {
            penalty.failure(&clock);
            assert_eq!(penalty.calls(&clock), expected);
        }
        after(&clock, 80);
        assert_eq!(penalty.calls(&clock), 48.0, "half a half-life");
        after(&clock, 80);
        assert_eq!(penalty.calls(&clock), 32.0, "one half-life");
        penalty.success(&clock);
        assert_eq!(penalty.calls(&clock), 16.0);
        after(&clock, 160 * 64);
        assert_eq!(penalty.calls(&clock), 0.0);
    }

    #[test]
    fn a_few_replies_clear_any_penalty_and_no_number_of_failures_overflows() {
        let (clock, penalty) = (PickClock::new(0), Penalty::default());
        (0..1000).for_each(|_| penalty.failure(&clock));
        assert_eq!(penalty.calls(&clock), CALLS_MAX as f64);
        (0..21).for_each(|_| penalty.success(&clock));
        assert_eq!(penalty.calls(&clock), 0.0);
    }
}
