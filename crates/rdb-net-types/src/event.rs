//! What happens to the membership of a cluster.

use std::sync::Arc;

use crate::{NodeId, NodeInfo};

/// A change of the membership. Each transition is told once and in order: whoever folds the events over the first snapshot
/// holds the member list.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum MembershipEvent {
    /// A node that was not known, or had left, is a member.
    NodeJoined(Arc<NodeInfo>),
    /// A member said farewell.
    NodeLeft(Arc<NodeInfo>),
    /// A member is unroutable. It is kept and revisited, and may come back.
    NodeFailed(Arc<NodeInfo>),
    /// A failed member is back.
    NodeRecovered(Arc<NodeInfo>),
    /// A member changed what it tells of itself.
    NodeUpdated(Arc<NodeInfo>),
    /// Somebody could not reach a member; it may still refute, and is routed to as before.
    NodeSuspected(Arc<NodeInfo>),
    /// A suspected member has refuted.
    NodeTrusted(Arc<NodeInfo>),
    /// A member is forgotten: by an operator, or because it had left or failed long ago.
    NodeForgotten(Arc<NodeInfo>),
}

impl MembershipEvent {
    /// The node, as it stands after the event.
    pub fn node(&self) -> &Arc<NodeInfo> {
        match self {
            Self::NodeJoined(node)
            | Self::NodeLeft(node)
            | Self::NodeFailed(node)
            | Self::NodeRecovered(node)
            | Self::NodeUpdated(node)
            | Self::NodeSuspected(node)
            | Self::NodeTrusted(node)
            | Self::NodeForgotten(node) => node,
        }
    }

    /// The node's id.
    pub fn node_id(&self) -> &NodeId {
        &self.node().id
    }

    /// The name of the event, as the specification spells it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NodeJoined(_) => "NodeJoined",
            Self::NodeLeft(_) => "NodeLeft",
            Self::NodeFailed(_) => "NodeFailed",
            Self::NodeRecovered(_) => "NodeRecovered",
            Self::NodeUpdated(_) => "NodeUpdated",
            Self::NodeSuspected(_) => "NodeSuspected",
            Self::NodeTrusted(_) => "NodeTrusted",
            Self::NodeForgotten(_) => "NodeForgotten",
        }
    }
}
