//! What a fleet is made of, and what makes none.

use rdb_net_faults::LinkFaults;
use rdb_net_types::IdError;
use rdb_swim::ConfigError;

/// A fleet's settings. Equal settings give equal runs.
#[derive(Debug, Clone)]
pub struct FleetConfig {
    /// How many members. From 1 to 1,000,000.
    pub members: usize,
    /// Everything random follows from it.
    pub seed: u64,
    /// Every member's settings.
    pub swim: rdb_swim::Config,
    /// Every link: latency, jitter and loss count. Duplication, reordering and bandwidth are ignored; jitter alone lets packets
    /// overtake.
    pub network: LinkFaults,
    /// Bytes of metadata of each member.
    pub meta_bytes: usize,
    /// Whether views are exchanged when a member wants that. Otherwise anti-entropy is off.
    pub syncs: bool,
}

impl FleetConfig {
    /// So many members with default settings on a local network; no exchange of views.
    pub fn lan(members: usize, seed: u64) -> Self {
        let (swim, network) = (rdb_swim::Config::lan(), LinkFaults::lan());
        Self { members, seed, swim, network, meta_bytes: 0, syncs: false }
    }
}

/// Why a fleet cannot be built. The caller's settings are at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// A number of members that no fleet has.
    #[error("a fleet has from 1 to 1000000 members, not {members}")]
    Size {
        /// The number.
        members: usize,
    },
    /// No member runs with these settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// More metadata than the members' settings allow.
    #[error("{bytes} bytes of metadata are more than the limit of {limit}")]
    Meta {
        /// What was asked for.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A name is not legal.
    #[error(transparent)]
    Id(#[from] IdError),
}
