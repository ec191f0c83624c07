//! What a database does with its network, as a library: two-phase commit, log replication and distributed queries.
//!
//! Each pattern is a state machine that does no input or output and reads no clock, and a driver that runs it over a node.

mod planted;
pub mod query;
pub mod replication;
pub mod storage;
pub mod transaction;
#[cfg(all(test, feature = "manager"))]
mod warned;

/// A longer time-out is taken for this one: no clock counts to the end of all times.
pub(crate) const TIMEOUT_MAX: std::time::Duration = std::time::Duration::from_secs(365 * 86_400);
