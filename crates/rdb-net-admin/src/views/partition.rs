//! A cluster that has come apart, and which side of it goes on.

use serde::{Deserialize, Serialize};

/// Members that have vanished together and are not back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartitionView {
    /// How many members are reached, the answering node included.
    pub reachable: usize,
    /// How many have vanished.
    pub unreachable: usize,
    /// How long ago the first of them failed, in seconds.
    pub since_seconds: f64,
}

/// What a split-brain strategy says of the answering node's side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitBrainView {
    /// `static_quorum`, `keep_majority` or `keep_oldest`.
    pub strategy: String,
    /// `stay` or `withdraw`: a side that withdraws takes no new messages to other nodes.
    pub decision: String,
    /// Why.
    pub reason: String,
}

impl From<rdb_net_manager::PartitionView> for PartitionView {
    fn from(view: rdb_net_manager::PartitionView) -> Self {
        Self { reachable: view.reachable, unreachable: view.unreachable, since_seconds: view.since.as_secs_f64() }
    }
}

impl From<rdb_net_manager::SplitBrainView> for SplitBrainView {
    fn from(view: rdb_net_manager::SplitBrainView) -> Self {
        let decision = if view.withdraws { "withdraw" } else { "stay" };
        Self { strategy: view.strategy.to_owned(), decision: decision.to_owned(), reason: view.reason }
    }
}
