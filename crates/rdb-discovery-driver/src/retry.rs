//! How long to wait after a failure: longer with each one in a row, and never as long as another process waits.

use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use rdb_net_types::SeededRandom;

/// The waits between one failure and the next try, doubled by each further one and with jitter of half of it, so that the nodes of a
/// cluster do not come back to a source all at once.
#[derive(Debug, Clone)]
pub struct Retry {
    min: Duration,
    max: Duration,
    failures: u32,
    random: SeededRandom,
}

impl Retry {
    /// The first wait and the longest one.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, failures: 0, random: SeededRandom::new(seed()) }
    }

    /// How long to wait after a try that held for this long and then failed. One that held for longer than the longest wait was a
    /// success, and its end is the first failure.
    pub fn wait_after(&mut self, held: Duration) -> Duration {
        self.failures = if held > self.max { 1 } else { self.failures.saturating_add(1) };
        let wait = self.min.saturating_mul(1 << (self.failures - 1).min(16)).min(self.max);
        self.random.duration(wait / 2, wait)
    }
}

/// A number for the jitter of this process that no other one has. A process id would be 1 in every container.
pub fn seed() -> u64 {
    // What the standard library makes of the system's randomness for hashing; this is no secret.
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[track_caller]
    fn check(retry: &mut Retry, held: Duration, around: Duration) {
        let wait = retry.wait_after(held);
        assert!(wait >= around / 2 && wait <= around, "{wait:?} for {around:?}");
    }

    #[test]
    fn each_failure_in_a_row_doubles_the_wait_up_to_the_longest() {
        let mut retry = Retry::new(S, 5 * S);
        for around in [1, 2, 4, 5, 5] {
            check(&mut retry, Duration::ZERO, around * S);
        }
        for _ in 0..100 {
            check(&mut retry, Duration::ZERO, 5 * S);
        }
    }

    #[test]
    fn what_held_for_a_while_is_tried_again_soon() {
        let mut retry = Retry::new(S, 5 * S);
        check(&mut retry, Duration::ZERO, S);
        check(&mut retry, Duration::ZERO, 2 * S);
        check(&mut retry, 6 * S, S);
        check(&mut retry, Duration::ZERO, 2 * S);
    }

    #[test]
    fn no_two_of_them_wait_for_the_same_time() {
        let waits = || Retry::new(S, 5 * S).wait_after(Duration::ZERO);
        assert_ne!(waits(), waits());
        assert_ne!(seed(), seed());
    }
}
