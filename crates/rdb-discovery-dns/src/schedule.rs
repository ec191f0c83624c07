//! When a name is asked for again: pure.

use std::time::Duration;

use rdb_net_types::SeededRandom;

use crate::config::DnsConfig;

/// The first wait after a failure; each further one doubles.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest wait after a failure.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// When the next round of questions is due.
#[derive(Debug)]
pub(crate) struct Schedule {
    interval_min: Duration,
    interval_max: Duration,
    negative_min: Duration,
    failures: u32,
    random: SeededRandom,
}

/// What a round says of the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Records that hold for this long.
    Records(Duration),
    /// No records, for this long where the server says.
    None(Option<Duration>),
    /// No answer.
    Failure,
}

impl Schedule {
    pub(crate) fn new(config: &DnsConfig, seed: u64) -> Self {
        Self {
            interval_min: config.interval_min,
            interval_max: config.interval_max,
            negative_min: config.negative_min,
            failures: 0,
            random: SeededRandom::new(seed),
        }
    }

    /// How long to wait after a round, by the answer that holds for the shortest time.
    pub(crate) fn next(&mut self, holds: impl IntoIterator<Item = Hold>) -> Duration {
        let holds: Vec<_> = holds.into_iter().collect();
        let failed = holds.contains(&Hold::Failure);
        self.failures = if failed { self.failures.saturating_add(1) } else { 0 };
        let wait = holds.iter().map(|hold| self.wait(*hold)).min().unwrap_or(self.interval_max);
        // Up to a tenth early, so that nodes that started together do not ask together; never late.
        let early = self.random.duration(Duration::ZERO, wait / 10);
        (wait - early).max(self.interval_min)
    }

    fn wait(&self, hold: Hold) -> Duration {
        match hold {
            Hold::Records(ttl) => ttl.clamp(self.interval_min, self.interval_max),
            Hold::None(ttl) => {
                ttl.unwrap_or_default().max(self.negative_min).min(self.interval_max.max(self.negative_min))
            }
            Hold::Failure => {
                let doublings = self.failures.saturating_sub(1).min(16);
                RETRY_MIN.saturating_mul(1 << doublings).min(RETRY_MAX).max(self.interval_min)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DnsName, Records};

    fn s(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn schedule() -> Schedule {
        Schedule::new(&DnsConfig::new(vec![DnsName { name: "a.test".to_owned(), records: Records::Srv }]), 7)
    }

    #[track_caller]
    fn check(schedule: &mut Schedule, holds: &[Hold], around: Duration) {
        let next = schedule.next(holds.iter().copied());
        assert!(next <= around && next >= around - around / 10, "{next:?} for {around:?}");
    }

    #[test]
    fn records_are_asked_for_when_they_age_within_bounds() {
        let mut schedule = schedule();
        check(&mut schedule, &[Hold::Records(s(30))], s(30));
        check(&mut schedule, &[Hold::Records(s(3_600))], s(300));
        assert_eq!(schedule.next([Hold::Records(s(0))]), s(1), "never sooner than the floor");
        check(&mut schedule, &[Hold::Records(s(60)), Hold::Records(s(20)), Hold::None(None)], s(5));
    }

    #[test]
    fn a_server_that_says_nothing_of_negative_answers_is_not_stormed() {
        let mut schedule = schedule();
        check(&mut schedule, &[Hold::None(None)], s(5));
        check(&mut schedule, &[Hold::None(Some(s(0)))], s(5));
        check(&mut schedule, &[Hold::None(Some(s(60)))], s(60));
        check(&mut schedule, &[Hold::None(Some(s(86_400)))], s(300));
    }

    #[test]
    fn failures_are_retried_at_longer_and_longer_intervals() {
        let mut schedule = schedule();
        assert_eq!(schedule.next([Hold::Failure]), s(1));
        for around in [2, 4, 8, 16, 30, 30] {
            check(&mut schedule, &[Hold::Failure, Hold::Records(s(200))], s(around));
        }
        check(&mut schedule, &[Hold::Records(s(200))], s(200));
        assert_eq!(schedule.next([Hold::Failure]), s(1), "a success forgets them");
    }
}
