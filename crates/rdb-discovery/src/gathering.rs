//! Waiting for a cluster to be there: a number of nodes, and a time in which nobody came or went.
//!
//! Nodes that start together see each other one after the other. Whoever acts on the first answer sees himself alone; a margin
//! of quiet is what makes them act on the same list.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::{DiscoveryEvent, Freshness, NodeKey};

/// Waits until a source has named enough nodes, and the same ones for a while.
#[derive(Debug)]
pub struct Gathering {
    expected: usize,
    stable_margin: Duration,
    nodes: BTreeSet<NodeKey>,
    /// Since when the list is what it is; `None` while it cannot be trusted.
    since: Option<Duration>,
}

impl Gathering {
    /// Waits for this many nodes, and a list that stays the same for this long.
    pub fn new(expected: usize, stable_margin: Duration) -> Self {
        Self { expected, stable_margin, nodes: BTreeSet::new(), since: None }
    }

    /// The source has told this.
    pub fn handle_event(&mut self, now: Duration, event: &DiscoveryEvent) {
        match event {
            DiscoveryEvent::Snapshot(snapshot) => {
                let nodes = snapshot.nodes.iter().map(|node| NodeKey::of(node)).collect();
                let trusted = snapshot.freshness == Freshness::Live;
                if self.nodes != nodes || self.since.is_none() {
                    self.since = Some(now);
                }
                self.nodes = nodes;
                self.since = self.since.filter(|_| trusted);
            }
            DiscoveryEvent::Added(node) => {
                self.nodes.insert(NodeKey::of(node));
                self.restart(now);
            }
            DiscoveryEvent::Removed { node, .. } => {
                self.nodes.remove(&NodeKey::of(node));
                self.restart(now);
            }
            // A source that is away cannot say that somebody has come or gone.
            DiscoveryEvent::Degraded { .. } => self.since = None,
            DiscoveryEvent::Restored => self.since = Some(now),
            DiscoveryEvent::Updated { .. } | DiscoveryEvent::Resynced { .. } => {}
        }
    }

    /// Whether the nodes are there and the margin has passed.
    pub fn is_complete(&self, now: Duration) -> bool {
        self.complete_at().is_some_and(|at| at <= now)
    }

    /// When it is complete if nothing more is told.
    pub fn complete_at(&self) -> Option<Duration> {
        let enough = self.nodes.len() >= self.expected;
        self.since.filter(|_| enough).map(|since| since.saturating_add(self.stable_margin))
    }

    /// How many nodes are named.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    fn restart(&mut self, now: Duration) {
        if self.since.is_some() {
            self.since = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rdb_net_types::NodeInfo;

    use super::*;
    use crate::{Cause, Policy, Reconciler, RemovalReason};

    fn s(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn added(port: u16) -> DiscoveryEvent {
        DiscoveryEvent::Added(node(port))
    }

    fn node(port: u16) -> Arc<NodeInfo> {
        Arc::new(NodeInfo::seed(format!("host:{port}").parse().expect("legal")))
    }

    fn begun(ports: &[u16]) -> Gathering {
        let mut gathering = Gathering::new(3, s(5));
        let mut reconciler = Reconciler::new(Policy::remote(), s(0));
        reconciler.handle_full(s(0), ports.iter().map(|port| NodeInfo::clone(&node(*port))).collect());
        gathering.handle_event(s(0), &reconciler.poll_event().expect("a snapshot"));
        gathering
    }

    #[test]
    fn enough_nodes_and_a_quiet_margin_are_needed() {
        let mut gathering = begun(&[1]);
        assert_eq!((gathering.count(), gathering.complete_at()), (1, None));
        gathering.handle_event(s(1), &added(2));
        gathering.handle_event(s(2), &added(3));
        assert_eq!(gathering.complete_at(), Some(s(7)));
        gathering.handle_event(s(6), &added(4));
        assert!(!gathering.is_complete(s(10)), "somebody came");
        assert!(gathering.is_complete(s(11)));
        let gone = |port| DiscoveryEvent::Removed { node: node(port), why: RemovalReason::Expired };
        gathering.handle_event(s(12), &gone(4));
        assert_eq!(gathering.complete_at(), Some(s(17)), "somebody went");
        gathering.handle_event(s(13), &gone(3));
        assert_eq!(gathering.complete_at(), None);
    }

    #[test]
    fn a_source_that_is_away_does_not_count_as_quiet() {
        let mut gathering = begun(&[1, 2, 3]);
        assert_eq!(gathering.complete_at(), Some(s(5)));
        gathering.handle_event(s(2), &DiscoveryEvent::Degraded { cause: Cause::unavailable("away") });
        assert_eq!(gathering.complete_at(), None);
        gathering.handle_event(s(9), &DiscoveryEvent::Restored);
        assert_eq!(gathering.complete_at(), Some(s(14)));
    }
}
