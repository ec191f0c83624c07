//! How often nodes are asked, and how much it takes to think badly of one.

use std::time::Duration;

/// Which nodes are asked at the interval. A node that is not well is asked in either case, until it is well again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Scope {
    /// Those that this node has links to which carry traffic: the watched ones. The others are judged by what is heard of them. A
    /// node that does nothing pings nobody, in place of a thousand a second in a cluster of a thousand.
    #[default]
    Links,
    /// Every member: the loop of the specification.
    All,
}

/// Settings. A value outside its range is taken as the nearest end of the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Time between two pings of a node that is well, jittered by a tenth either way. `health_check.interval_ms`.
    /// 1 ms to 1 h; default 1 s.
    pub interval: Duration,
    /// How long an answer may take. `health_check.timeout_ms`. 1 ms to 1 h; default 500 ms.
    pub timeout: Duration,
    /// Failures in a row that make a node unhealthy; the first makes it degraded. `health_check.failure_threshold`.
    /// 1 or more; default 3.
    pub failure_threshold: u32,
    /// Successes in a row that make a degraded or unhealthy node healthy. More than one keeps a node that answers now and
    /// then from flapping. 1 or more; default 1.
    pub success_threshold: u32,
    /// Which nodes are asked. `health_check.scope`. Default: [`Scope::Links`].
    pub scope: Scope,
    /// Wait before the first retry; it doubles with each failure, and the actual wait is between half of it and all of it.
    /// Evidence brings no ping nearer to the one before than this. 1 ms to 1 h; default 200 ms.
    pub backoff_first: Duration,
    /// The longest wait before a retry. `backoff_first` to 1 h; default 10 s.
    pub backoff_max: Duration,
    /// Smoothed round trip above which a node is degraded; it is well again below four fifths of it. Default: none.
    pub degraded_latency: Option<Duration>,
    /// Nodes known at most; more are not taken in, and counted. Default 65,536.
    pub nodes_max: usize,
    /// Application checks per node at most; more are not taken in, and counted. Default 16.
    pub checks_per_node_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(500),
            failure_threshold: 3,
            success_threshold: 1,
            scope: Scope::Links,
            backoff_first: Duration::from_millis(200),
            backoff_max: Duration::from_secs(10),
            degraded_latency: None,
            nodes_max: 65_536,
            checks_per_node_max: 16,
        }
    }
}

impl Config {
    /// The same settings with every value inside its range.
    pub(crate) fn clamped(self) -> Self {
        let (shortest, longest) = (Duration::from_millis(1), Duration::from_secs(3600));
        let backoff_first = self.backoff_first.clamp(shortest, longest);
        Self {
            interval: self.interval.clamp(shortest, longest),
            timeout: self.timeout.clamp(shortest, longest),
            failure_threshold: self.failure_threshold.max(1),
            success_threshold: self.success_threshold.max(1),
            backoff_first,
            backoff_max: self.backoff_max.clamp(backoff_first, longest),
            ..self
        }
    }
}
