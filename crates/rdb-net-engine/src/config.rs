//! The settings of a node's control logic, and what can be wrong with them.

use std::time::Duration;

use rdb_net_types::NodeId;

use crate::phi::PhiConfig;
use crate::split::SplitBrainConfig;

/// How a node finds its cluster, follows it, and chooses among its members.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineConfig {
    /// Membership.
    pub swim: rdb_swim::Config,
    /// Health of other nodes.
    pub health: rdb_health::Config,
    /// How the balancer chooses.
    pub strategy: rdb_balance::Strategy,
    /// To how many successors of its own id on the ring a node keeps a link. Default 3; at least 2 are needed for a killed
    /// process to be found by refusals. More find it although some links are down, and cost one idle connection each.
    pub links: usize,
    /// How long a link is still asked about (`health.interval`) after it has carried something for the application. Default 10 s.
    /// Longer finds more of what happens to links between two bursts, and costs some pings after each.
    pub quiet_after: Duration,
    /// When the silence of such a link becomes suspicious.
    pub phi: PhiConfig,
    /// Shortest wait between two calls on one seed before the cluster is joined. Default 100 ms.
    pub seed_retry_first: Duration,
    /// Longest wait between them. Default 3 s; it bounds how long a node takes to notice the first seed that has come up.
    pub seed_retry_max: Duration,
    /// How long an exchange of views may take, connecting included. Default 2 s.
    pub sync_timeout: Duration,
    /// About how often a seed that is not a live member is called on after the cluster is joined, so that two halves which
    /// have forgotten each other find together again. Default 30 s, jittered by a quarter either way.
    pub seed_revisit: Duration,
    /// Which side of a partition goes on. Default: nobody decides.
    pub split_brain: SplitBrainConfig,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self::with_swim(rdb_swim::Config::lan())
    }
}

impl EngineConfig {
    /// The defaults around these membership settings.
    pub fn with_swim(swim: rdb_swim::Config) -> Self {
        Self {
            swim,
            health: rdb_health::Config::default(),
            strategy: rdb_balance::Strategy::default(),
            links: 3,
            quiet_after: Duration::from_secs(10),
            phi: PhiConfig::default(),
            seed_retry_first: Duration::from_millis(100),
            seed_retry_max: Duration::from_secs(3),
            sync_timeout: Duration::from_secs(2),
            seed_revisit: Duration::from_secs(30),
            split_brain: SplitBrainConfig::default(),
        }
    }

    /// Checks that a node can run with these settings.
    ///
    /// # Errors
    ///
    /// [`EngineError::Swim`] or [`EngineError::Config`] names the first field that is out of range.
    pub fn validate(&self) -> Result<(), EngineError> {
        self.swim.validate()?;
        let millisecond = Duration::from_millis(1);
        let rules = [
            ("links", "at most 16", self.links <= 16),
            ("phi.threshold", "from 0 to 100", (0.0..=100.0).contains(&self.phi.threshold)),
            ("quiet_after", "at least 1 s", self.quiet_after >= Duration::from_secs(1)),
            ("seed_retry_first", "at least 1 ms", self.seed_retry_first >= millisecond),
            ("seed_retry_max", "at least seed_retry_first", self.seed_retry_max >= self.seed_retry_first),
            ("sync_timeout", "at least 1 ms", self.sync_timeout >= millisecond),
            ("seed_revisit", "at least 10 ms", self.seed_revisit >= millisecond * 10),
            ("split_brain.stable_after", "at least 1 ms", self.split_brain.stable_after >= millisecond),
        ];
        match rules.into_iter().find(|(_, _, holds)| !holds) {
            Some((field, rule, _)) => Err(EngineError::Config { field, rule }),
            None => Ok(()),
        }
    }
}

/// Why an engine cannot be made, or its own description not be changed. The caller is at fault; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A membership setting is out of range.
    #[error("swim: {0}")]
    Swim(#[from] rdb_swim::ConfigError),
    /// A setting is out of range.
    #[error("{field} must be {rule}")]
    Config {
        /// The field of [`EngineConfig`].
        field: &'static str,
        /// What it must satisfy.
        rule: &'static str,
    },
    /// The node's own description does not fit into the membership settings that it is to take.
    #[error("swim: {0}")]
    Reconfigure(#[from] rdb_swim::ReconfigureError),
    /// What the node tells of itself does not fit into a membership record. Shorten labels, capabilities or names.
    #[error("the node's description takes {bytes} bytes, more than the {limit} that travel with membership")]
    DescriptionTooLarge {
        /// Bytes of the description.
        bytes: usize,
        /// The limit, `swim.meta_bytes_max`.
        limit: usize,
    },
    /// A node cannot become another one.
    #[error("this engine is node {own}, and its description cannot become that of {other}")]
    OtherNode {
        /// The engine's node.
        own: NodeId,
        /// The node of the refused description.
        other: NodeId,
    },
}
