//! A host's clock: off by some time, and too fast or too slow.

use std::time::Duration;

const MILLION: i128 = 1_000_000;

/// A clock that showed `base` at the moment `since`, and has run at its own rate from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock {
    since: Duration,
    base: Duration,
    /// By how many millionths it is too fast; of a slow one below zero.
    drift_ppm: i32,
}

impl Clock {
    pub(crate) const RIGHT: Self = Self { since: Duration::ZERO, base: Duration::ZERO, drift_ppm: 0 };

    /// From now on it shows this, and runs as fast as before.
    pub(crate) fn set(&mut self, now: Duration, shows: Duration) {
        *self = Self { since: now, base: shows, ..*self };
    }

    /// From now on it runs so much too fast; it shows what it has shown.
    pub(crate) fn set_drift(&mut self, now: Duration, drift_ppm: i32) {
        *self = Self { since: now, base: self.shows(now), drift_ppm };
    }

    /// What it shows at this moment, which is not before it was set.
    pub(crate) fn shows(&self, now: Duration) -> Duration {
        let passed = now.saturating_sub(self.since).as_nanos() as i128;
        self.base.saturating_add(nanos(passed * (MILLION + i128::from(self.drift_ppm)) / MILLION))
    }

    /// The first moment, since it was set, at which it shows this time or a later one.
    pub(crate) fn moment_of(&self, shown: Duration) -> Duration {
        let left = shown.saturating_sub(self.base).as_nanos() as i128 * MILLION;
        let rate = MILLION + i128::from(self.drift_ppm);
        self.since.saturating_add(nanos((left + rate - 1) / rate))
    }
}

fn nanos(nanos: i128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_clock_shows_what_it_is_set_to_and_drifts_from_there() {
        let mut clock = Clock::RIGHT;
        assert_eq!(clock.shows(7 * SECOND), 7 * SECOND);
        clock.set(10 * SECOND, 4 * SECOND);
        clock.set_drift(20 * SECOND, -250_000);
        assert_eq!(clock.shows(20 * SECOND), 14 * SECOND);
        assert_eq!(clock.shows(24 * SECOND), 17 * SECOND);
    }

    /// A machine that is called when its time is up must find that it is up.
    #[test]
    fn at_the_moment_of_a_time_the_clock_shows_it_and_just_before_it_does_not() {
        for drift_ppm in [-999_999, -333_333, -7, 0, 1, 50_001, 3_000_000] {
            let mut clock = Clock::RIGHT;
            clock.set_drift(3 * SECOND, drift_ppm);
            for shown in [3_000_000_001, 3_333_333_333, 17_000_000_123].map(Duration::from_nanos) {
                let moment = clock.moment_of(shown);
                assert!(clock.shows(moment) >= shown, "{drift_ppm}: {shown:?}");
                assert!(clock.shows(moment - Duration::from_nanos(1)) < shown, "{drift_ppm}: {shown:?}");
            }
        }
    }
}
