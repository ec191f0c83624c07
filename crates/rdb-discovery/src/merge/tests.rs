//! Two and three sources, one list.

use proptest::prelude::*;
use rdb_net_types::NodeId;

use super::*;

fn node(id: &str, port: u16, version: u8) -> NodeInfo {
    let address = format!("host:{port}").parse().expect("legal");
    NodeInfo { version: version.to_string(), ..NodeInfo::new(NodeId::new(id).expect("legal"), address) }
}

fn seed(port: u16) -> NodeInfo {
    NodeInfo::seed(format!("host:{port}").parse().expect("legal"))
}

/// Sources with reconcilers of their own, and the composite of them.
struct World {
    sources: Vec<Reconciler>,
    merge: Merge,
    composite: Reconciler,
    now: Duration,
}

impl World {
    fn new(names: &[&str]) -> Self {
        let policy = Policy { debounce: Duration::ZERO, ..Policy::file() };
        Self {
            sources: names.iter().map(|_| Reconciler::new(policy, Duration::ZERO)).collect(),
            merge: Merge::new(names.iter().copied()),
            composite: Reconciler::new(Merge::policy(), Duration::ZERO),
            now: Duration::ZERO,
        }
    }

    fn input(&mut self, source: usize, input: impl FnOnce(&mut Reconciler, Duration)) {
        let reconciler = &mut self.sources[source];
        input(reconciler, self.now);
        while let Some(event) = reconciler.poll_event() {
            self.merge.handle_event(source, &event);
        }
    }

    fn full(&mut self, source: usize, nodes: &[NodeInfo]) -> Vec<String> {
        self.input(source, |reconciler, now| reconciler.handle_full(now, nodes.to_vec()));
        self.step()
    }

    fn step(&mut self) -> Vec<String> {
        self.merge.tell(self.now, &mut self.composite);
        self.now += Duration::from_secs(1);
        self.composite.handle_timeout(self.now);
        std::iter::from_fn(|| self.composite.poll_event())
            .map(|event| match event {
                DiscoveryEvent::Snapshot(list) => format!("={}", list.nodes.len()),
                DiscoveryEvent::Added(node) => format!("+{} {}", node.id, node.version),
                DiscoveryEvent::Updated { new, .. } => format!("~{} {}", new.id, new.version),
                DiscoveryEvent::Removed { node, why } => format!("-{} {}", node.id, why.name()),
                DiscoveryEvent::Degraded { cause } => format!("degraded {cause}"),
                DiscoveryEvent::Restored => "restored".to_owned(),
                DiscoveryEvent::Resynced { added, updated, removed } => {
                    format!("resynced +{added} ~{updated} -{removed}")
                }
            })
            .collect()
    }
}

const SILENT: &str = "degraded etcd: the source cannot be reached: it has not answered yet";

#[test]
fn the_first_source_that_names_a_node_tells_its_facts_and_the_last_that_drops_it_its_end() {
    let mut world = World::new(&["etcd", "static"]);
    assert_eq!(world.full(1, &[node("a", 1, 1)]), ["=1", SILENT]);
    assert_eq!(world.full(0, &[node("a", 1, 2), node("b", 2, 2)]), ["~a 2", "+b 2", "restored"]);
    assert_eq!(world.full(1, &[node("a", 1, 3)]), [""; 0], "the second word does not count");
    assert_eq!(world.full(0, &[node("b", 2, 2)]), ["~a 3"], "but it remains");
    assert_eq!(world.full(1, &[]), ["-a file_edited"]);
}

#[test]
fn a_source_that_has_not_answered_holds_nobody_up_and_is_named() {
    let mut world = World::new(&["etcd", "static"]);
    assert_eq!(world.full(1, &[seed(1)]), ["=1", SILENT]);
    assert_eq!(world.full(0, &[]), ["restored"]);
    world.input(1, |reconciler, now| reconciler.handle_failure(now, Cause::missing("no file")));
    assert_eq!(world.step(), ["degraded static: the source is missing: no file"]);
    world.input(1, Reconciler::handle_unchanged);
    assert_eq!(world.step(), ["restored"]);
}

#[test]
fn a_change_while_another_source_is_away_does_not_read_as_its_return() {
    let mut world = World::new(&["etcd", "static"]);
    world.full(0, &[]);
    world.full(1, &[]);
    world.input(0, |reconciler, now| reconciler.handle_failure(now, Cause::unavailable("cut")));
    assert_eq!(world.step(), ["degraded etcd: the source cannot be reached: cut"]);
    assert_eq!(world.full(1, &[seed(1)]), ["+host-1 "]);
}

#[test]
fn a_seed_is_the_named_node_at_its_address() {
    let mut world = World::new(&["static", "etcd"]);
    world.full(1, &[]);
    assert_eq!(world.full(0, &[seed(1), seed(2)]), ["+host-1 ", "+host-2 ", "restored"]);
    assert_eq!(world.full(1, &[node("n1", 1, 1)]), ["+n1 1", "-host-1 absent"]);
    assert_eq!(world.full(1, &[]), ["-n1 file_edited", "+host-1 "]);
}

#[test]
fn a_resync_of_one_source_is_told_of_the_whole() {
    let mut world = World::new(&["etcd", "static"]);
    world.full(1, &[node("c", 3, 1)]);
    world.full(0, &[node("a", 1, 1)]);
    world.input(0, |reconciler, now| reconciler.handle_resync(now, vec![node("b", 2, 1)]));
    assert_eq!(world.step(), ["-a file_edited", "+b 1", "resynced +1 ~0 -1"]);
}

proptest! {
    /// Whatever three sources say, in whatever order: the composite lists what a plain look at all of them gives.
    #[test]
    fn the_composite_is_what_its_sources_say_together(
        acts in proptest::collection::vec(
            (0..3usize, proptest::collection::vec((0..6u16, any::<bool>(), 0..3u8), 0..5), any::<bool>()), 1..30),
    ) {
        let mut world = World::new(&["x", "y", "z"]);
        let mut said: [Nodes; 3] = Default::default();
        for (source, entries, stepped) in acts {
            let nodes: Nodes = entries
                .iter()
                .map(|(port, named, version)| {
                    if *named { node(&format!("n{port}"), *port + 1, *version) } else { seed(*port + 1) }
                })
                .map(|node| (NodeKey::of(&node), Arc::new(node)))
                .collect();
            let list: Vec<_> = nodes.values().map(|node| NodeInfo::clone(node)).collect();
            world.input(source, |reconciler, now| reconciler.handle_full(now, list));
            said[source] = nodes;
            if stepped {
                world.step();
            }
        }
        world.step();
        let mut expected = Nodes::new();
        for nodes in said.iter().rev() {
            expected.extend(nodes.clone());
        }
        let named: Vec<_> = expected.values().filter(|node| !node.provisional).map(|node| node.address.clone()).collect();
        expected.retain(|_, node| !node.provisional || !named.contains(&node.address));
        let expected: Vec<_> = expected.into_values().collect();
        prop_assert_eq!(&*world.composite.snapshot().nodes, &*expected);
    }
}
