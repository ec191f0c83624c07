//! What a static source is configured with.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use rdb_discovery::{FeedConfig, Policy};
use rdb_net_types::NodeAddress;

const POLL_INTERVAL: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3_600);
const DEBOUNCE_MAX: Duration = Duration::from_secs(60);

/// What a static source is configured with. [`StaticDiscovery::new`](crate::StaticDiscovery::new) checks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticConfig {
    /// Addresses that are always listed, none twice. Default none.
    pub seeds: Vec<NodeAddress>,
    /// A file with more, which reloads. Default none.
    pub file: Option<PathBuf>,
    /// How often the file is compared with what was last read, whatever the watch says. Default 5 s, range 10 ms to 1 h.
    /// It is how long a change takes on file systems that report none, such as NFS.
    pub poll_interval: Duration,
    /// Whether the file's directory is watched. Default yes. Without it, or where the system has no watch to give, a change
    /// is seen at the next poll.
    pub watch: bool,
    /// How long the file must rest before a change is told. Default 200 ms, at most 1 min; zero tells at once.
    pub debounce: Duration,
    /// How long a file that never rests can delay a change. Default 2 s, at most 1 min.
    pub debounce_max: Duration,
    /// Nodes that are taken at most; those beyond are refused and counted, and the source is degraded. Default 20,000.
    pub nodes_max: usize,
    /// How long a shutdown waits for a read that hangs. Default 5 s.
    pub shutdown_timeout: Duration,
    /// Bounds of the subscribers' queues.
    pub feed: FeedConfig,
}

impl Default for StaticConfig {
    fn default() -> Self {
        let policy = Policy::file();
        Self {
            seeds: Vec::new(),
            file: None,
            poll_interval: Duration::from_secs(5),
            watch: true,
            debounce: policy.debounce,
            debounce_max: policy.debounce_max,
            nodes_max: policy.nodes_max,
            shutdown_timeout: Duration::from_secs(5),
            feed: FeedConfig::default(),
        }
    }
}

impl StaticConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let mut seen = BTreeSet::new();
        for seed in &self.seeds {
            if seed.port() == 0 {
                return Err(ConfigError::SeedPort { seed: seed.clone() });
            }
            if !seen.insert(seed) {
                return Err(ConfigError::DuplicateSeed { seed: seed.clone() });
            }
        }
        let (interval, debounce) = (self.poll_interval, self.debounce.max(self.debounce_max));
        if !POLL_INTERVAL.contains(&interval) {
            return Err(ConfigError::PollInterval { interval });
        }
        if debounce > DEBOUNCE_MAX {
            return Err(ConfigError::Debounce { debounce });
        }
        Ok(())
    }

    pub(crate) fn policy(&self) -> Policy {
        Policy { debounce: self.debounce, debounce_max: self.debounce_max, nodes_max: self.nodes_max, ..Policy::file() }
    }
}

/// A configuration that cannot work. Its author is at fault; nothing was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A seed stands twice.
    #[error("seeds: {seed} stands twice")]
    DuplicateSeed {
        /// The seed.
        seed: NodeAddress,
    },
    /// A seed has port 0, where nobody can be dialled.
    #[error("seeds: {seed} has port 0, which cannot be dialled")]
    SeedPort {
        /// The seed.
        seed: NodeAddress,
    },
    /// The poll interval is out of range.
    #[error("poll_interval: {interval:?} is not between 10 ms and 1 h")]
    PollInterval {
        /// The refused interval.
        interval: Duration,
    },
    /// The debounce time or its maximum is out of range.
    #[error("debounce: {debounce:?} is longer than 1 min")]
    Debounce {
        /// The longer of the two.
        debounce: Duration,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(config: StaticConfig, text: &str) {
        assert_eq!(config.check().expect_err("refused").to_string(), text);
    }

    #[test]
    fn a_refusal_names_the_key() {
        let seeds = |texts: &[&str]| StaticConfig {
            seeds: texts.iter().map(|text| text.parse().expect("legal")).collect(),
            ..StaticConfig::default()
        };
        refused(seeds(&["a:1", "b:1", "a:1"]), "seeds: a:1 stands twice");
        refused(seeds(&["a:0"]), "seeds: a:0 has port 0, which cannot be dialled");
        let poll_interval = Duration::ZERO;
        let zero = StaticConfig { poll_interval, ..StaticConfig::default() };
        refused(zero, "poll_interval: 0ns is not between 10 ms and 1 h");
        let debounce = Duration::from_secs(61);
        refused(StaticConfig { debounce, ..StaticConfig::default() }, "debounce: 61s is longer than 1 min");
        assert_eq!(StaticConfig::default().check(), Ok(()));
    }
}
