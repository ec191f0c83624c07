//! When each node is asked next: one phase per node, indexed by time, by order and by ping.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdb_net_types::NodeId;

/// Names one ping among all of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PingId(pub u64);

/// A ping to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ping {
    /// To whom.
    pub node: NodeId,
    /// To be given back with the outcome.
    pub id: PingId,
    /// After this time the machine counts it as failed by itself.
    pub timeout: Duration,
}

/// Where a node stands between two pings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Phase {
    /// Is not asked.
    #[default]
    Idle,
    /// Is asked at this time.
    Due(Duration),
    /// Is to be asked as soon as the driver polls; the number gives the order.
    Queued(u64),
    /// Was asked, and has until the deadline.
    InFlight { id: PingId, deadline: Duration },
}

/// Finds nodes by their phase. Every phase of a node passes through [`Schedule::enter`], which keeps the indexes true.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    timers: BTreeSet<(Duration, NodeId)>,
    queue: BTreeMap<u64, NodeId>,
    pings: BTreeMap<PingId, NodeId>,
    last_number: u64,
}

impl Schedule {
    /// Takes a node from its phase to the next one.
    pub(crate) fn enter(&mut self, node: &NodeId, phase: &mut Phase, next: Phase) {
        match *phase {
            Phase::Idle => {}
            Phase::Due(at) => {
                self.timers.remove(&(at, node.clone()));
            }
            Phase::Queued(number) => {
                self.queue.remove(&number);
            }
            Phase::InFlight { id, deadline } => {
                self.pings.remove(&id);
                self.timers.remove(&(deadline, node.clone()));
            }
        }
        match next {
            Phase::Idle => {}
            Phase::Due(at) => {
                self.timers.insert((at, node.clone()));
            }
            Phase::Queued(number) => {
                self.queue.insert(number, node.clone());
            }
            Phase::InFlight { id, deadline } => {
                self.pings.insert(id, node.clone());
                self.timers.insert((deadline, node.clone()));
            }
        }
        *phase = next;
    }

    /// A number that no ping and no place in the queue had before.
    pub(crate) fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// The earliest time at which something is due.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// A node for which something is due.
    pub(crate) fn due(&self, now: Duration) -> Option<NodeId> {
        self.timers.first().filter(|(at, _)| *at <= now).map(|(_, node)| node.clone())
    }

    /// The node that has waited longest to be asked.
    pub(crate) fn first_queued(&self) -> Option<NodeId> {
        self.queue.first_key_value().map(|(_, node)| node.clone())
    }

    /// Whom a ping in flight was sent to.
    pub(crate) fn pinged(&self, id: PingId) -> Option<NodeId> {
        self.pings.get(&id).cloned()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.pings.len()
    }
}
