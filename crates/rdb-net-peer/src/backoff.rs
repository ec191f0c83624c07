//! How long to wait before the next try: decorrelated jitter.
//!
//! Each wait is drawn between the shortest wait and three times the last one, and cut at the longest (Brooker: "Exponential
//! backoff and jitter", AWS architecture blog, 2015). Callers that failed together do not come back together.

use std::time::Duration;

use rdb_net_types::SeededRandom;

/// Bounds of the waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffConfig {
    /// The shortest wait. Default 50 ms.
    pub shortest: Duration,
    /// The longest wait. Default 10 s.
    pub longest: Duration,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self { shortest: Duration::from_millis(50), longest: Duration::from_secs(10) }
    }
}

/// The waits of one series of failures.
#[derive(Debug, Clone)]
pub struct Backoff {
    config: BackoffConfig,
    last: Option<Duration>,
    random: SeededRandom,
}

impl Backoff {
    /// Before the first failure.
    pub fn new(config: BackoffConfig, random: SeededRandom) -> Self {
        Self { config, last: None, random }
    }

    /// The wait after one more failure.
    pub fn next_wait(&mut self) -> Duration {
        let BackoffConfig { shortest, longest } = self.config;
        let high = self.last.map_or(shortest, |last| last.saturating_mul(3));
        let wait = self.random.duration(shortest, high.max(shortest)).min(longest.max(shortest));
        self.last = Some(wait);
        wait
    }

    /// Whether there was a failure since the beginning, or since the last reset.
    pub fn has_failed(&self) -> bool {
        self.last.is_some()
    }

    /// Forgets the failures.
    pub fn reset(&mut self) {
        self.last = None;
    }
}
