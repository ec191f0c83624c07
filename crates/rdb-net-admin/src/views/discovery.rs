//! Where the node finds others.

use rdb_net_manager::{ControlPlane, SourceView as Source};
use rdb_net_types::{NodeAddress, NodeId, NodeInfo};
use serde::{Deserialize, Serialize};

/// The sources of a node, and how it stands there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiscoveryView {
    /// The sources, the one that counts most first.
    pub sources: Vec<SourceView>,
}

/// A source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceView {
    /// Its name: `etcd`.
    pub name: String,
    /// `live`: the list is what the source says; `stale`: it is the last good one; `never`: the source has not answered yet.
    pub state: String,
    /// Why the list cannot be fully trusted; empty where it can.
    pub cause: String,
    /// How long ago the source last answered; `None` where it never has.
    pub age_seconds: Option<f64>,
    /// Whether nodes register themselves there.
    pub registers: bool,
    /// How this node stands there; `None` where it is not to be registered.
    pub registration: Option<RegistrationView>,
    /// Whom it names.
    pub nodes: Vec<ListedView>,
}

/// How this node stands at a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationView {
    /// `registering`, `active`, `lost`, `conflict`, `draining` or `ended`.
    pub state: String,
    /// Why it does not stand, or what else is to be said of it; may be empty.
    pub detail: String,
}

/// A node that a source names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ListedView {
    /// Its id; `None` where the source knows addresses only.
    pub node_id: Option<NodeId>,
    /// Where it is.
    pub address: NodeAddress,
}

impl DiscoveryView {
    pub(crate) fn of(control: &dyn ControlPlane) -> Self {
        Self { sources: control.discovery().sources.iter().map(SourceView::of).collect() }
    }
}

impl SourceView {
    /// What the manager sees, for the wire.
    pub fn of(source: &Source) -> Self {
        Self {
            name: source.name.clone(),
            state: source.state.name().to_owned(),
            cause: source.cause.clone(),
            age_seconds: source.age.map(|age| age.as_secs_f64()),
            registers: source.registers,
            registration: source.registration.as_ref().map(|registration| RegistrationView {
                state: registration.state.to_owned(),
                detail: registration.detail.clone(),
            }),
            nodes: source.nodes.iter().map(|node| ListedView::of(node)).collect(),
        }
    }
}

impl ListedView {
    fn of(node: &NodeInfo) -> Self {
        Self { node_id: (!node.provisional).then(|| node.id.clone()), address: node.address.clone() }
    }
}
