//! A cluster that has come apart, and which side of it goes on.

use std::time::Duration;

/// Members that have vanished together and are not back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionView {
    /// How many members are reached, this node included.
    pub reachable: usize,
    /// How many have vanished.
    pub unreachable: usize,
    /// How long ago the first of them failed.
    pub since: Duration,
}

/// What a split-brain strategy says of this node's side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitBrainView {
    /// Which strategy.
    pub strategy: &'static str,
    /// Whether the side does not go on.
    pub withdraws: bool,
    /// Why; nothing was to be decided where nobody is missing.
    pub reason: String,
}
