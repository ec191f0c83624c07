//! A picked node, and why there was none.

use std::sync::Arc;

use rdb_net_types::{CallOutcome, NodeId};

use crate::live::Live;

/// Why no node was picked. Nothing was changed; which nodes there are and how they are decides, not the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickError {
    /// There are no nodes. Discovery or membership has not brought any yet.
    #[error("there are no nodes to pick from")]
    Empty,
    /// No node is what the criteria ask for. The caller's criteria, or the cluster's make-up, is at fault.
    #[error("none of {filtered} nodes fits the criteria")]
    NoneEligible {
        /// Nodes that the criteria leave out.
        filtered: u32,
    },
    /// Every node that fits is unhealthy or ejected, or draining. Trying again later may help.
    #[error("all nodes that fit are down: {unhealthy} unhealthy, {draining} draining; {filtered} do not fit")]
    AllUnhealthy {
        /// Nodes that fit and are unhealthy, ejected, failed or left.
        unhealthy: u32,
        /// Nodes that fit and take no new calls.
        draining: u32,
        /// Nodes that the criteria leave out.
        filtered: u32,
    },
    /// Every node that fits takes no new calls. An operator's doing.
    #[error("all {draining} nodes that fit are draining; {filtered} do not fit")]
    AllDraining {
        /// Nodes that fit and take no new calls.
        draining: u32,
        /// Nodes that the criteria leave out.
        filtered: u32,
    },
}

/// A call under way to a picked node. It counts as in flight until it is finished; a pick that is dropped unfinished counts as
/// cancelled, which says nothing of the node.
#[derive(Debug)]
#[must_use = "a pick that is dropped at once counts as a cancelled call"]
pub struct Pick {
    live: Arc<Live>,
    failed_open: bool,
    /// What the drop will tell.
    outcome: CallOutcome,
}

impl Pick {
    pub(crate) fn new(live: Arc<Live>, failed_open: bool) -> Self {
        live.begin();
        Self { live, failed_open, outcome: CallOutcome::Cancelled }
    }

    /// The node to call.
    pub fn node(&self) -> &NodeId {
        &self.live.id
    }

    /// Whether the node was picked although it is unhealthy, because all are ([`FailMode::Open`](crate::FailMode::Open)).
    pub const fn failed_open(&self) -> bool {
        self.failed_open
    }

    /// The call has ended like this.
    pub fn finish(mut self, outcome: CallOutcome) {
        self.outcome = outcome;
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        self.live.end(self.outcome);
    }
}
