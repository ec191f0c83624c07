//! From discovery events to the specification's membership events, for one subscriber.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rdb_net_types::{MembershipEvent, NodeInfo};

use crate::{DiscoveryEvent, NodeKey, RemovalReason, Snapshot};

/// Failed nodes that are remembered so that their return is told as a recovery.
const FAILED_MAX: usize = 20_000;

/// What one subscriber has been told, and how the next event reads for it.
///
/// | discovery | membership |
/// |---|---|
/// | added | `NodeJoined`, or `NodeRecovered` where it had failed |
/// | updated | `NodeUpdated` |
/// | removed: deregistered, absent, file edited | `NodeLeft` |
/// | removed: expired | `NodeFailed` |
/// | snapshot | the difference to what was told: joined, recovered, updated and left, by ascending [`NodeKey`] |
/// | degraded, restored, resynced | nothing: no node changed |
///
/// A snapshot that stands for missed events has lost why nodes are gone: they are told as left. Of more than 20,000 failed
/// nodes the lowest key is told as `NodeForgotten` and would join anew.
#[derive(Debug, Default)]
pub struct MembershipView {
    nodes: BTreeMap<NodeKey, Arc<NodeInfo>>,
    failed: BTreeMap<NodeKey, Arc<NodeInfo>>,
}

impl MembershipView {
    /// A view that has been told nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The nodes that are there after all events so far, by ascending key.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<NodeInfo>> {
        self.nodes.values()
    }

    /// What this event means to somebody who has been told all the former ones.
    pub fn apply(&mut self, event: &DiscoveryEvent) -> Vec<MembershipEvent> {
        match event {
            DiscoveryEvent::Snapshot(snapshot) => self.replace(snapshot),
            DiscoveryEvent::Added(node) | DiscoveryEvent::Updated { new: node, .. } => {
                self.put(NodeKey::of(node), node).into_iter().collect()
            }
            DiscoveryEvent::Removed { node, why } => self.remove(&NodeKey::of(node), *why),
            DiscoveryEvent::Degraded { .. } | DiscoveryEvent::Restored | DiscoveryEvent::Resynced { .. } => Vec::new(),
        }
    }

    fn replace(&mut self, snapshot: &Snapshot) -> Vec<MembershipEvent> {
        let listed: BTreeMap<NodeKey, &Arc<NodeInfo>> =
            snapshot.nodes.iter().map(|node| (NodeKey::of(node), node)).collect();
        let keys: BTreeSet<NodeKey> = listed.keys().chain(self.nodes.keys()).cloned().collect();
        let mut events = Vec::new();
        for key in keys {
            match listed.get(&key) {
                Some(node) => events.extend(self.put(key, node)),
                None => events.extend(self.remove(&key, RemovalReason::Absent)),
            }
        }
        events
    }

    fn put(&mut self, key: NodeKey, node: &Arc<NodeInfo>) -> Option<MembershipEvent> {
        let recovered = self.failed.remove(&key).is_some();
        match self.nodes.insert(key, Arc::clone(node)) {
            Some(old) if old == *node => None,
            Some(_) => Some(MembershipEvent::NodeUpdated(Arc::clone(node))),
            None if recovered => Some(MembershipEvent::NodeRecovered(Arc::clone(node))),
            None => Some(MembershipEvent::NodeJoined(Arc::clone(node))),
        }
    }

    fn remove(&mut self, key: &NodeKey, why: RemovalReason) -> Vec<MembershipEvent> {
        let Some(node) = self.nodes.remove(key) else {
            return Vec::new();
        };
        if why != RemovalReason::Expired {
            return vec![MembershipEvent::NodeLeft(node)];
        }
        let mut events = vec![MembershipEvent::NodeFailed(Arc::clone(&node))];
        self.failed.insert(key.clone(), node);
        if self.failed.len() > FAILED_MAX {
            events.extend(self.failed.pop_first().map(|(_, node)| MembershipEvent::NodeForgotten(node)));
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rdb_net_types::NodeId;

    use super::*;
    use crate::Freshness;

    fn node(id: &str, port: u16) -> Arc<NodeInfo> {
        let address = format!("host:{port}").parse().expect("legal");
        Arc::new(NodeInfo::new(NodeId::new(id).expect("legal"), address))
    }

    fn snapshot(nodes: &[Arc<NodeInfo>]) -> DiscoveryEvent {
        DiscoveryEvent::Snapshot(Snapshot { nodes: nodes.into(), as_of: Duration::ZERO, freshness: Freshness::Live })
    }

    #[track_caller]
    fn check(view: &mut MembershipView, event: DiscoveryEvent, expected: &[(&str, &str)]) {
        let told = view.apply(&event);
        let told: Vec<_> = told.iter().map(|event| (event.name(), event.node_id().as_str())).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn each_removal_reads_as_what_it_was() {
        let mut view = MembershipView::new();
        let (a, b, c) = (node("a", 1), node("b", 2), node("c", 3));
        let removed = |node: &Arc<NodeInfo>, why| DiscoveryEvent::Removed { node: Arc::clone(node), why };
        check(
            &mut view,
            snapshot(&[a.clone(), b.clone(), c.clone()]),
            &[("NodeJoined", "a"), ("NodeJoined", "b"), ("NodeJoined", "c")],
        );
        check(&mut view, removed(&a, RemovalReason::Deregistered), &[("NodeLeft", "a")]);
        check(&mut view, removed(&b, RemovalReason::Expired), &[("NodeFailed", "b")]);
        check(&mut view, removed(&c, RemovalReason::FileEdited), &[("NodeLeft", "c")]);
        check(&mut view, removed(&c, RemovalReason::FileEdited), &[]);
        check(&mut view, DiscoveryEvent::Added(a), &[("NodeJoined", "a")]);
        check(&mut view, DiscoveryEvent::Added(b), &[("NodeRecovered", "b")]);
    }

    #[test]
    fn a_second_snapshot_reads_as_the_difference() {
        let mut view = MembershipView::new();
        check(&mut view, snapshot(&[node("a", 1), node("b", 2)]), &[("NodeJoined", "a"), ("NodeJoined", "b")]);
        check(
            &mut view,
            snapshot(&[node("b", 9), node("c", 3)]),
            &[("NodeLeft", "a"), ("NodeUpdated", "b"), ("NodeJoined", "c")],
        );
        check(&mut view, snapshot(&[node("b", 9), node("c", 3)]), &[]);
        assert_eq!(view.nodes().count(), 2);
    }

    #[test]
    fn what_concerns_the_source_only_changes_no_node() {
        let mut view = MembershipView::new();
        check(&mut view, DiscoveryEvent::Restored, &[]);
        check(&mut view, DiscoveryEvent::Degraded { cause: crate::Cause::unavailable("away") }, &[]);
        check(&mut view, DiscoveryEvent::Resynced { added: 1, updated: 0, removed: 0 }, &[]);
    }

    #[test]
    fn failed_nodes_are_remembered_within_a_bound() {
        let mut view = MembershipView::new();
        let mut forgotten = Vec::new();
        for i in 0..=FAILED_MAX {
            let node = node(&format!("n{i:06}"), 1);
            view.apply(&DiscoveryEvent::Added(Arc::clone(&node)));
            forgotten = view.apply(&DiscoveryEvent::Removed { node, why: RemovalReason::Expired });
        }
        let names: Vec<_> = forgotten.iter().map(|event| (event.name(), event.node_id().as_str())).collect();
        assert_eq!(names, [("NodeFailed", "n020000"), ("NodeForgotten", "n000000")]);
    }
}
