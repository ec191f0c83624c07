//! What is known of a node: where it is, what it can do, and in which state the cluster sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{BootId, Incarnation, NodeAddress, NodeId, Weight};

/// Something that a node can do for others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Capability {
    /// Serves reads.
    Read,
    /// Serves writes.
    Write,
    /// Serves analytical queries.
    Analytics,
    /// One of the application's own names.
    #[serde(untagged)]
    Custom(String),
}

/// What a node has to give. `None` where nobody told. Slow-changing facts only: fast ones travel with heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// Processor time, in thousandths of a core.
    pub cpu_millicores: Option<u32>,
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Disk space, in bytes.
    pub disk_bytes: Option<u64>,
}

/// Where a node stands, from the widest to the narrowest. Empty where nobody told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Locality {
    /// Region, such as `eu-west`.
    pub region: String,
    /// Zone within the region.
    pub zone: String,
    /// Rack within the zone.
    pub rack: String,
}

/// The wire versions that a node speaks, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProtocolRange {
    /// Oldest version it speaks.
    pub min: u16,
    /// Newest version it speaks.
    pub max: u16,
}

impl ProtocolRange {
    /// What this build speaks.
    pub const CURRENT: Self = Self { min: 1, max: 1 };

    /// The newest version that both speak.
    pub fn agree(self, other: Self) -> Option<u16> {
        let newest = self.max.min(other.max);
        (newest >= self.min.max(other.min)).then_some(newest)
    }
}

/// The state in which membership holds a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// A full member.
    #[default]
    Alive,
    /// Somebody could not reach it; it may still refute. It is routed to as before.
    Suspect,
    /// Unroutable: declared failed, kept and revisited. It comes back by a higher incarnation.
    Failed,
    /// It said farewell.
    Left,
}

impl NodeState {
    /// The state in lower case, as configuration, JSON and metrics show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Failed => "failed",
            Self::Left => "left",
        }
    }

    /// Whether messages are sent to a node in this state.
    pub const fn is_routable(self) -> bool {
        matches!(self, Self::Alive | Self::Suspect)
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A node, as discovery and membership tell of it.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeInfo {
    /// Its name. While `provisional`, made from its address.
    pub id: NodeId,
    /// Where its transport listens.
    pub address: NodeAddress,
    /// Where its gossip socket listens, once known.
    pub gossip_address: Option<NodeAddress>,
    /// Where its admin listener is, if others may reach it.
    pub admin_address: Option<NodeAddress>,
    /// The newest incarnation heard of.
    pub incarnation: Incarnation,
    /// Which process; `BootId(0)` while unknown.
    pub boot: BootId,
    /// The state in which membership holds it.
    pub state: NodeState,
    /// Version of its software, for people.
    pub version: String,
    /// Wire versions it speaks.
    pub protocol: ProtocolRange,
    /// What it can do.
    pub capabilities: BTreeSet<Capability>,
    /// What it has to give.
    pub resources: Resources,
    /// Where it stands.
    pub locality: Locality,
    /// Its configured share of traffic.
    pub weight: Weight,
    /// Free labels, for selection and for people.
    pub labels: BTreeMap<String, String>,
    /// The id was made from the address and is not proved: a seed before its hello.
    pub provisional: bool,
}

impl NodeInfo {
    /// A node of which nothing but name and address is known.
    pub fn new(id: NodeId, address: NodeAddress) -> Self {
        Self {
            id,
            address,
            gossip_address: None,
            admin_address: None,
            incarnation: Incarnation::default(),
            boot: BootId(0),
            state: NodeState::Alive,
            version: String::new(),
            protocol: ProtocolRange::CURRENT,
            capabilities: BTreeSet::new(),
            resources: Resources::default(),
            locality: Locality::default(),
            weight: Weight::default(),
            labels: BTreeMap::new(),
            provisional: false,
        }
    }

    /// A seed: an address whose node has not yet told its name. The provisional id is `host-port`, every character that an
    /// id may not hold replaced by `-`.
    pub fn seed(address: NodeAddress) -> Self {
        let mut text: String = format!("{}-{}", address.host(), address.port())
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' })
            .collect();
        if text.len() > 64 {
            text = text.split_off(text.len() - 64);
        }
        let id = NodeId::new(&text).expect("1 to 64 legal characters by construction");
        Self { provisional: true, ..Self::new(id, address) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_agree_on_the_newest_common_one() {
        let range = |min, max| ProtocolRange { min, max };
        assert_eq!(range(1, 3).agree(range(2, 9)), Some(3));
        assert_eq!(range(1, 1).agree(range(2, 2)), None);
        assert_eq!(range(4, 9).agree(range(1, 4)), Some(4));
    }

    #[test]
    fn a_seed_has_a_legal_provisional_name() {
        let name = |text: &str| NodeInfo::seed(text.parse().expect("legal")).id.to_string();
        assert_eq!(name("node1.example.com:7000"), "node1.example.com-7000");
        assert_eq!(name("[::1]:7000"), "--1-7000");
        let long = format!("{}.{}:7000", "a".repeat(60), "b".repeat(60));
        assert_eq!(name(&long).len(), 64);
    }
}
