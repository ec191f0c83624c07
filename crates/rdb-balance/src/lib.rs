//! Choosing a node for a call.
//!
//! A [`Balancer`] holds an immutable snapshot of the nodes behind an atomic pointer. A pick takes no lock, allocates nothing
//! and reads no clock; what changes often (calls in flight, health, draining) lives in atomics beside the snapshot, so that
//! a flap of health rebuilds nothing. What changes seldom (which nodes there are, and their weights) is a new snapshot, built
//! by whoever brings the change.
//!
//! ```
//! use std::sync::Arc;
//! use rdb_balance::{Backend, Balancer, Strategy};
//! use rdb_net_types::{CallOutcome, NodeId, NodeInfo, SelectionCriteria};
//!
//! let balancer = Balancer::new(Strategy::LeastConnections, 7);
//! let node = |name: &str| NodeInfo::new(NodeId::new(name).expect("legal"), "127.0.0.1:7000".parse().expect("legal"));
//! balancer.set_nodes(vec![Backend::from(Arc::new(node("a"))), Backend::from(Arc::new(node("b")))]);
//!
//! let first = balancer.pick(&SelectionCriteria::default()).expect("two nodes");
//! let second = balancer.pick(&SelectionCriteria::default()).expect("two nodes");
//! assert_ne!(first.node(), second.node());
//! first.finish(CallOutcome::Success);
//! second.finish(CallOutcome::TimedOut);
//! ```
//!
//! **The outcome must be told.** A node that refuses every call at once has the fewest calls in flight, and a balancer that
//! counts only those sends it everything. Here a failed call weighs on after its end; [`Strategy::LeastConnections`] says how.
//!
//! **What a state does.** *Unhealthy* and *ejected* nodes are not picked. A *degraded* node counts with a tenth of its weight.
//! A *draining* node, and one of weight 0, gets no new calls, but a sticky caller stays with it. Where no node is left the
//! balancer fails closed with a reason, unless [`FailMode::Open`] was asked for.
//!
//! Cost of a pick: constant in the number of nodes while most of them fit. Where only few fit (a rare label, most nodes
//! unhealthy), one pass over the nodes.

mod balancer;
mod config;
mod eligibility;
mod facade;
mod least_connections;
mod live;
mod penalty;
mod pick;
mod round_robin;
mod snapshot;
mod statistics;
mod table;

pub use balancer::Balancer;
pub use config::{Config, FailMode, Strategy, StrategyError};
pub use pick::{Pick, PickError};
pub use snapshot::Backend;
pub use statistics::{NodeStatistics, Statistics};

#[cfg(test)]
mod tests;
