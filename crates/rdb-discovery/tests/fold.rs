//! Whatever a source does, in whatever order: folding the events over the first snapshot gives the list.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rdb_discovery::{
    Cause, Delta, DiscoveryEvent, Freshness, MembershipView, NodeKey, Policy, Reconciler, RemovalReason,
};
use rdb_net_types::{MembershipEvent, NodeId, NodeInfo};

/// What a source does next. A node is a name and a version; the first four names are seeds.
#[derive(Debug, Clone)]
enum Act {
    Full(Vec<(u8, u8)>),
    Resync(Vec<(u8, u8)>),
    Unchanged,
    Put(u8, u8),
    Remove(u8, RemovalReason),
    Fail(u8),
    Wait(u64),
}

const NAMES: u8 = 12;

fn node(name: u8, version: u8) -> NodeInfo {
    let address = format!("host{name}:7000").parse().expect("legal");
    let node = match name {
        0..4 => NodeInfo::seed(address),
        _ => NodeInfo::new(NodeId::new(&format!("n{name}")).expect("legal"), address),
    };
    NodeInfo { version: version.to_string(), ..node }
}

fn list(nodes: &[(u8, u8)]) -> Vec<NodeInfo> {
    nodes.iter().map(|(name, version)| node(*name, *version)).collect()
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let name = 0..NAMES;
    let nodes = || proptest::collection::vec((0..NAMES, 0..3u8), 0..10);
    let why = prop_oneof![Just(RemovalReason::Deregistered), Just(RemovalReason::Expired), Just(RemovalReason::Absent)];
    let act = prop_oneof![
        4 => nodes().prop_map(Act::Full),
        1 => nodes().prop_map(Act::Resync),
        2 => Just(Act::Unchanged),
        3 => (name.clone(), 0..3u8).prop_map(|(name, version)| Act::Put(name, version)),
        3 => (name, why).prop_map(|(name, why)| Act::Remove(name, why)),
        3 => (0..3u8).prop_map(Act::Fail),
        5 => (0..12_000u64).prop_map(Act::Wait),
    ];
    proptest::collection::vec(act, 1..60)
}

/// A subscriber that folds, the source as a plain map, and the clock.
struct World {
    reconciler: Reconciler,
    guarded: bool,
    now: Duration,
    view: Option<BTreeMap<NodeKey, Arc<NodeInfo>>>,
    membership: BTreeMap<NodeKey, Arc<NodeInfo>>,
    translator: MembershipView,
    /// What the source says; `None` before its first answer.
    source: Option<BTreeMap<NodeKey, NodeInfo>>,
    /// Since when every statement of the source lacks a node that is told.
    lacking: BTreeMap<NodeKey, Duration>,
}

impl World {
    fn new(policy: Policy) -> Self {
        Self {
            reconciler: Reconciler::new(policy, Duration::ZERO),
            guarded: policy.mass_removal.is_some(),
            now: Duration::ZERO,
            view: None,
            membership: BTreeMap::new(),
            translator: MembershipView::new(),
            source: None,
            lacking: BTreeMap::new(),
        }
    }

    fn act(&mut self, act: Act) {
        let now = self.now;
        match act {
            Act::Full(nodes) => {
                self.answer(&nodes);
                self.reconciler.handle_full(now, list(&nodes));
            }
            Act::Resync(nodes) => {
                self.answer(&nodes);
                self.reconciler.handle_resync(now, list(&nodes));
            }
            Act::Unchanged => self.reconciler.handle_unchanged(now),
            Act::Put(name, version) => {
                let node = node(name, version);
                if let Some(source) = &mut self.source {
                    source.insert(NodeKey::of(&node), node.clone());
                }
                self.reconciler.handle_delta(now, vec![Delta::Put(Arc::new(node))]);
            }
            Act::Remove(name, why) => {
                let key = NodeKey::of(&node(name, 0));
                if let Some(source) = &mut self.source {
                    source.remove(&key);
                }
                self.reconciler.handle_delta(now, vec![Delta::Remove { key, why }]);
            }
            Act::Fail(cause) => self.reconciler.handle_failure(now, Cause::unavailable(format!("failure {cause}"))),
            Act::Wait(ms) => self.wait(Duration::from_millis(ms)),
        }
        self.note_lacking();
        self.read();
    }

    /// The first of two entries with one key and one address stays, as the reconciler documents for equal ranks.
    fn answer(&mut self, nodes: &[(u8, u8)]) {
        let mut source = BTreeMap::new();
        for node in list(nodes) {
            source.entry(NodeKey::of(&node)).or_insert(node);
        }
        self.source = Some(source);
    }

    fn note_lacking(&mut self) {
        let source = self.source.clone().unwrap_or_default();
        self.lacking.retain(|key, _| !source.contains_key(key));
        for key in self.view.iter().flat_map(BTreeMap::keys) {
            if !source.contains_key(key) {
                self.lacking.entry(key.clone()).or_insert(self.now);
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.reconciler.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.reconciler.handle_timeout(self.now);
            self.read();
        }
        self.now = end;
    }

    /// Folds what waits, and checks each event against what was told before.
    fn read(&mut self) {
        let mut last_key = None;
        let mut accidents = Vec::new();
        let before = self.view.as_ref().map_or(0, BTreeMap::len);
        while let Some(event) = self.reconciler.poll_event() {
            for told in self.translator.apply(&event) {
                self.fold_membership(told);
            }
            let key = match event {
                DiscoveryEvent::Snapshot(snapshot) => {
                    assert!(self.view.is_none(), "a driver that reads its events gets one snapshot");
                    let nodes = snapshot.nodes.iter().map(|node| (NodeKey::of(node), Arc::clone(node)));
                    self.view = Some(nodes.collect());
                    continue;
                }
                DiscoveryEvent::Added(node) => {
                    let key = NodeKey::of(&node);
                    assert!(self.view().insert(key.clone(), node).is_none());
                    key
                }
                DiscoveryEvent::Updated { old, new } => {
                    assert_ne!(old, new);
                    let key = NodeKey::of(&new);
                    assert_eq!(self.view().insert(key.clone(), new), Some(old));
                    key
                }
                DiscoveryEvent::Removed { node, why } => {
                    let key = NodeKey::of(&node);
                    assert_eq!(self.view().remove(&key), Some(node));
                    if !why.is_meant() {
                        accidents.push(key.clone());
                    }
                    key
                }
                _ => continue,
            };
            assert!(last_key < Some(key.clone()), "ascending within a step");
            last_key = Some(key);
        }
        self.check_guard(before, &accidents);
        let told: Vec<_> = self.view.iter().flat_map(BTreeMap::values).cloned().collect();
        assert_eq!(*told, *self.reconciler.snapshot().nodes);
        assert_eq!(told, self.membership.values().cloned().collect::<Vec<_>>());
    }

    fn view(&mut self) -> &mut BTreeMap<NodeKey, Arc<NodeInfo>> {
        self.view.as_mut().expect("the first event is a snapshot")
    }

    fn fold_membership(&mut self, event: MembershipEvent) {
        let key = NodeKey::of(event.node());
        match event {
            MembershipEvent::NodeJoined(node) | MembershipEvent::NodeRecovered(node) => {
                assert!(self.membership.insert(key, node).is_none());
            }
            MembershipEvent::NodeUpdated(node) => assert!(self.membership.insert(key, node).is_some()),
            MembershipEvent::NodeLeft(_) | MembershipEvent::NodeFailed(_) => {
                assert!(self.membership.remove(&key).is_some());
            }
            other => panic!("discovery does not say {}", other.name()),
        }
    }

    /// No large loss that nobody meant without ten seconds in which the source said nothing else.
    fn check_guard(&self, before: usize, accidents: &[NodeKey]) {
        if self.guarded && accidents.len() >= 3 && accidents.len() * 2 > before {
            for key in accidents {
                let lacking = self.now - self.lacking[key];
                assert!(lacking >= Duration::from_secs(10), "{key} was lost {lacking:?} after it was last named");
            }
        }
    }
}

/// Found by `no_number_of_failures_changes_a_node`: the list had changed beneath what was held, so that a failure, which says
/// nothing, was the occasion to judge it anew.
#[test]
fn a_failure_lets_go_of_nothing_that_is_held() {
    let mut world = World::new(Policy::remote());
    let names = |names: &[u8]| names.iter().map(|name| (*name, 0)).collect();
    world.act(Act::Full(names(&[0, 2, 1, 4, 8, 7])));
    world.act(Act::Full(names(&[0])));
    world.act(Act::Remove(0, RemovalReason::Deregistered));
    world.act(Act::Wait(200));
    world.act(Act::Full(names(&[1, 2, 5])));
    world.wait(Duration::from_secs(5));
    let good = world.reconciler.snapshot();
    assert_eq!(good.nodes.len(), 6, "three are held");
    world.act(Act::Fail(0));
    world.wait(Duration::from_secs(5));
    assert_eq!(good.nodes, world.reconciler.snapshot().nodes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_fold_of_a_source_that_is_believed_at_once_is_what_it_last_said(acts in acts()) {
        let mut world = World::new(Policy::file());
        acts.into_iter().for_each(|act| world.act(act));
        // Removals by a lease are accidents for every policy, but this one holds none.
        world.wait(Duration::from_secs(5));
        let source = world.source.clone().unwrap_or_default().into_values().map(Arc::new).collect::<Vec<_>>();
        prop_assert_eq!(&*world.reconciler.snapshot().nodes, &*source);
    }

    #[test]
    fn a_guarded_source_loses_many_nodes_only_after_it_repeats_itself(acts in acts()) {
        let mut world = World::new(Policy::remote());
        acts.into_iter().for_each(|act| world.act(act));
        world.wait(Duration::from_secs(5));
        let told = world.view.clone().unwrap_or_default();
        for (key, node) in world.source.clone().unwrap_or_default() {
            prop_assert_eq!(told.get(&key).map(|node| &**node), Some(&node), "additions and updates are never held");
        }
        // Asked often enough, every source is believed in the end.
        for _ in 0..5 {
            world.act(Act::Wait(15_000));
            world.act(Act::Unchanged);
        }
        world.wait(Duration::from_secs(5));
        let source = world.source.clone().unwrap_or_default().into_values().map(Arc::new).collect::<Vec<_>>();
        prop_assert_eq!(&*world.reconciler.snapshot().nodes, &*source);
        if world.source.is_some() {
            prop_assert_eq!(world.reconciler.snapshot().freshness, Freshness::Live);
        }
    }

    #[test]
    fn no_number_of_failures_changes_a_node(acts in acts(), failures in 1..50u8) {
        let mut world = World::new(Policy::remote());
        acts.into_iter().for_each(|act| world.act(act));
        world.wait(Duration::from_secs(5));
        let good = world.reconciler.snapshot();
        for failure in 0..failures {
            world.act(Act::Fail(failure));
            world.act(Act::Wait(u64::from(failure) * 1_000));
        }
        world.wait(Duration::from_secs(5));
        prop_assert_eq!(good.nodes, world.reconciler.snapshot().nodes);
        prop_assert_ne!(world.reconciler.snapshot().freshness, Freshness::Live);
        prop_assert_eq!(good.as_of, world.reconciler.snapshot().as_of);
    }

    #[test]
    fn the_order_of_answers_and_their_repetition_change_nothing(
        nodes in proptest::collection::btree_map(0..NAMES, 0..3u8, 0..10),
        seed in any::<u64>(),
    ) {
        let sorted: Vec<_> = nodes.into_iter().collect();
        let mut shuffled = [sorted.clone(), sorted.clone()].concat();
        rdb_net_types::SeededRandom::new(seed).shuffle(&mut shuffled);
        let mut world = World::new(Policy::remote());
        world.act(Act::Full(sorted));
        world.reconciler.handle_full(world.now, list(&shuffled));
        world.reconciler.handle_timeout(Duration::from_secs(3));
        prop_assert_eq!(world.reconciler.poll_event(), None);
    }
}
