//! What a balancer has done, and how its nodes stand.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rdb_net_types::{HealthStatus, NodeId, Weight};

use crate::pick::PickError;

/// What a balancer has done since it was made.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Statistics {
    /// Picks asked for, with or without success.
    pub picks: u64,
    /// Picks refused because there were no nodes.
    pub refused_empty: u64,
    /// Picks refused because no node fitted the criteria.
    pub refused_none_eligible: u64,
    /// Picks refused because every node that fitted was unhealthy or ejected.
    pub refused_all_unhealthy: u64,
    /// Picks refused because every node that fitted was draining.
    pub refused_all_draining: u64,
    /// Picks of an unhealthy node, because all were.
    pub failed_open: u64,
    /// Snapshots built.
    pub rebuilds: u64,
    /// Weights refused: not a legal weight, or for a node that is not there.
    pub weights_rejected: u64,
    /// Whether every weight is 0 now, so that all count as equal.
    pub all_weights_zero: bool,
    /// The nodes, by ascending id.
    pub nodes: Vec<NodeStatistics>,
}

/// One node of a balancer.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeStatistics {
    /// Which.
    pub node: NodeId,
    /// Its weight, as it was set.
    pub weight: Weight,
    /// Its health, as the balancer was told.
    pub status: HealthStatus,
    /// Whether it takes no new calls.
    pub draining: bool,
    /// Whether it is ejected for bad results.
    pub ejected: bool,
    /// Calls in flight.
    pub inflight: u32,
    /// Load that failed calls have left behind, in calls in flight.
    pub penalty_calls: f64,
    /// Times it was picked with a guard.
    pub picks: u64,
    /// Calls with a reply, errors of the application included.
    pub successes: u64,
    /// Calls without: connection failed, no reply in time, overloaded.
    pub failures: u64,
    /// Calls that were given up.
    pub cancelled: u64,
}

/// The counters behind [`Statistics`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    empty: AtomicU64,
    none_eligible: AtomicU64,
    all_unhealthy: AtomicU64,
    all_draining: AtomicU64,
    pub(crate) failed_open: AtomicU64,
    pub(crate) rebuilds: AtomicU64,
    pub(crate) weights_rejected: AtomicU64,
}

impl Counters {
    pub(crate) fn refused(&self, error: PickError) {
        let counter = match error {
            PickError::Empty => &self.empty,
            PickError::NoneEligible { .. } => &self.none_eligible,
            PickError::AllUnhealthy { .. } => &self.all_unhealthy,
            PickError::AllDraining { .. } => &self.all_draining,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self) -> Statistics {
        Statistics {
            refused_empty: self.empty.load(Relaxed),
            refused_none_eligible: self.none_eligible.load(Relaxed),
            refused_all_unhealthy: self.all_unhealthy.load(Relaxed),
            refused_all_draining: self.all_draining.load(Relaxed),
            failed_open: self.failed_open.load(Relaxed),
            rebuilds: self.rebuilds.load(Relaxed),
            weights_rejected: self.weights_rejected.load(Relaxed),
            ..Statistics::default()
        }
    }
}
