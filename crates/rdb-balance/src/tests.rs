//! The balancer by its public interface: who may be picked, what survives a change of the nodes, and that calls in flight
//! always add up. Shares and loads are in [`load`].

mod load;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use proptest::strategy::Strategy as _;
use rdb_net_types::{
    BoxFuture, CallOutcome, Capability, Component, HealthStatus, Incarnation, LoadBalancer, NetworkError, NodeId,
    NodeInfo, NodeState, SelectionCriteria, Weight,
};

use crate::{Backend, Balancer, Config, FailMode, PickError, Statistics, Strategy};

fn id(number: usize) -> NodeId {
    NodeId::new(&format!("n{number:05}")).expect("legal")
}

fn info(number: usize) -> NodeInfo {
    NodeInfo::new(id(number), "127.0.0.1:7000".parse().expect("legal"))
}

fn backend(number: usize, weight: f64) -> Backend {
    Backend { info: Arc::new(info(number)), weight: Weight::new(weight).expect("legal") }
}

/// A balancer over nodes of these weights, numbered from 0.
fn balancer(strategy: Strategy, seed: u64, weights: &[f64]) -> Balancer {
    let balancer = Balancer::new(strategy, seed);
    balancer.set_nodes(weights.iter().enumerate().map(|(number, &weight)| backend(number, weight)).collect());
    balancer
}

fn anyone() -> SelectionCriteria {
    SelectionCriteria::default()
}

/// How often each node is picked when every call succeeds before the next one.
fn picked(balancer: &Balancer, picks: usize, criteria: &SelectionCriteria) -> BTreeMap<NodeId, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..picks {
        let pick = balancer.pick(criteria).expect("somebody is there");
        *counts.entry(pick.node().clone()).or_default() += 1;
        pick.finish(CallOutcome::Success);
    }
    counts
}

fn who(balancer: &Balancer, criteria: &SelectionCriteria) -> Vec<NodeId> {
    picked(balancer, 400, criteria).into_keys().collect()
}

const BOTH: [Strategy; 2] = Strategy::ALL;

#[test]
fn without_nodes_the_reason_is_empty() {
    for strategy in BOTH {
        let balancer = Balancer::new(strategy, 1);
        assert_eq!(balancer.pick(&anyone()).expect_err("nobody"), PickError::Empty);
        assert_eq!(balancer.select_node(&anyone()), None);
        assert_eq!(balancer.status(), HealthStatus::Unknown);
        let Statistics { picks, refused_empty, .. } = balancer.statistics();
        assert_eq!((picks, refused_empty), (2, 2));
    }
}

#[test]
fn unhealthy_ejected_draining_failed_and_weightless_nodes_get_no_new_calls() {
    for strategy in BOTH {
        let balancer = balancer(strategy, 2, &[1.0, 1.0, 1.0, 1.0, 0.0]);
        assert!(balancer.set_status(&id(0), HealthStatus::Unhealthy));
        assert!(balancer.set_ejected(&id(1), true));
        assert!(balancer.set_draining(&id(2), true));
        assert_eq!(who(&balancer, &anyone()), [id(3)]);
        balancer.set_status(&id(3), HealthStatus::Unhealthy);
        let all_down = PickError::AllUnhealthy { unhealthy: 3, draining: 2, filtered: 0 };
        assert_eq!(balancer.pick(&anyone()).expect_err("nobody"), all_down);
        assert_eq!(balancer.status(), HealthStatus::Unhealthy);
        for node in 0..4 {
            balancer.set_status(&id(node), HealthStatus::Healthy);
            balancer.set_ejected(&id(node), false);
            balancer.set_draining(&id(node), false);
        }
        assert_eq!(who(&balancer, &anyone()), [id(0), id(1), id(2), id(3)]);

        let failed = NodeInfo { state: NodeState::Failed, ..info(0) };
        balancer.set_nodes(vec![Backend::from(Arc::new(failed)), backend(1, 1.0)]);
        assert_eq!(who(&balancer, &anyone()), [id(1)]);
        assert!(!balancer.set_status(&id(3), HealthStatus::Healthy), "is not there any more");
    }
}

#[test]
fn health_and_draining_rebuild_nothing() {
    let balancer = balancer(Strategy::RoundRobin, 2, &[1.0; 3]);
    let before = balancer.statistics().rebuilds;
    balancer.set_status(&id(0), HealthStatus::Unhealthy);
    balancer.set_draining(&id(1), true);
    balancer.set_ejected(&id(2), true);
    assert_eq!(balancer.statistics().rebuilds, before);
}

#[test]
fn capabilities_labels_and_exclusions_filter() {
    for strategy in BOTH {
        let reader = NodeInfo { capabilities: BTreeSet::from([Capability::Read]), ..info(0) };
        let both = NodeInfo { capabilities: BTreeSet::from([Capability::Read, Capability::Write]), ..info(1) };
        let labelled = NodeInfo { labels: BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]), ..both.clone() };
        let labelled = NodeInfo { id: id(2), ..labelled };
        let balancer = Balancer::new(strategy, 3);
        balancer.set_nodes([reader, both, labelled].map(|info| Backend::from(Arc::new(info))).into());

        let writers = SelectionCriteria { capabilities: BTreeSet::from([Capability::Write]), ..anyone() };
        assert_eq!(who(&balancer, &writers), [id(1), id(2)]);
        let disk = |value: &str| BTreeMap::from([("disk".to_owned(), value.to_owned())]);
        assert_eq!(who(&balancer, &SelectionCriteria { labels: disk("ssd"), ..anyone() }), [id(2)]);
        let others = SelectionCriteria { exclude: vec![id(1), id(2)], ..anyone() };
        assert_eq!(who(&balancer, &others), [id(0)]);
        let nobody = SelectionCriteria { labels: disk("tape"), ..anyone() };
        assert_eq!(balancer.pick(&nobody).expect_err("nobody"), PickError::NoneEligible { filtered: 3 });
    }
}

/// envoy#7218: draining must not break a session.
#[test]
fn a_sticky_caller_stays_while_its_node_works_even_when_it_drains() {
    for strategy in BOTH {
        let balancer = balancer(strategy, 4, &[1.0, 1.0, 0.0]);
        let sticky = |node| SelectionCriteria { sticky: Some(id(node)), ..anyone() };
        assert_eq!(who(&balancer, &sticky(1)), [id(1)]);
        assert_eq!(who(&balancer, &sticky(2)), [id(2)]);
        balancer.set_draining(&id(1), true);
        assert_eq!(who(&balancer, &sticky(1)), [id(1)]);
        balancer.set_status(&id(1), HealthStatus::Unhealthy);
        assert_eq!(who(&balancer, &sticky(1)), [id(0)]);
        assert_eq!(who(&balancer, &sticky(77)), [id(0)]);
        let tried = SelectionCriteria { exclude: vec![id(2)], ..sticky(2) };
        assert_eq!(who(&balancer, &tried), [id(0)]);
    }
}

#[test]
fn weight_zero_drains_and_all_zero_is_equal() {
    for strategy in BOTH {
        let drained = balancer(strategy, 5, &[0.0, 1.0, 1.0]);
        assert_eq!(who(&drained, &anyone()), [id(1), id(2)]);
        assert!(!drained.statistics().all_weights_zero);
        let zero = balancer(strategy, 5, &[0.0; 3]);
        assert!(zero.statistics().all_weights_zero);
        let counts = picked(&zero, 3000, &anyone());
        assert!(counts.len() == 3 && counts.values().all(|count| count.abs_diff(1000) < 100), "{counts:?}");
        zero.update_weights(HashMap::from([(id(0), 2.0)]));
        assert_eq!(who(&zero, &anyone()), [id(0)]);
    }
}

#[test]
fn illegal_weights_are_refused_one_by_one_and_counted() {
    let balancer = balancer(Strategy::RoundRobin, 6, &[1.0; 5]);
    let weights = [f64::NAN, f64::INFINITY, -1.0, 65_537.0, 3.0];
    let mut update: HashMap<NodeId, f64> = weights.into_iter().enumerate().map(|(n, w)| (id(n), w)).collect();
    update.insert(id(99), 1.0);
    assert_eq!(balancer.update_weights(update), 5);
    assert_eq!(balancer.statistics().weights_rejected, 5);
    let set: Vec<f64> = balancer.statistics().nodes.iter().map(|node| node.weight.value()).collect();
    assert_eq!(set, [1.0, 1.0, 1.0, 1.0, 3.0]);
    assert_eq!(picked(&balancer, 700, &anyone())[&id(4)], 300);
}

/// pingora's health table is keyed by address and weight: there, a weight change brings a dead node back.
#[test]
fn health_and_set_weights_survive_a_new_snapshot_and_absence_ends_them() {
    let balancer = balancer(Strategy::RoundRobin, 7, &[1.0, 1.0]);
    balancer.set_status(&id(0), HealthStatus::Unhealthy);
    balancer.update_weights(HashMap::from([(id(0), 5.0)]));
    balancer.set_nodes(vec![backend(0, 2.0), backend(1, 2.0), backend(2, 2.0)]);
    let zero = balancer.statistics().nodes[0].clone();
    assert_eq!((zero.status, zero.weight.value()), (HealthStatus::Unhealthy, 5.0));

    let held = balancer.pick(&anyone()).expect("two are up");
    let node = held.node().clone();
    balancer.set_nodes(vec![]);
    balancer.set_nodes(vec![backend(0, 2.0), backend(1, 2.0), backend(2, 2.0)]);
    let nodes = balancer.statistics().nodes;
    assert_eq!((nodes[0].status, nodes[0].weight.value()), (HealthStatus::Unknown, 2.0));
    let inflight = |nodes: &[crate::NodeStatistics]| nodes.iter().find(|n| n.node == node).map(|n| n.inflight);
    assert_eq!(inflight(&nodes), Some(1), "the call began before the absence and goes on");
    held.finish(CallOutcome::Success);
    assert_eq!(inflight(&balancer.statistics().nodes), Some(0));
}

#[test]
fn failing_open_is_asked_for_and_told() {
    for strategy in BOTH {
        let balancer = Balancer::with_config(Config { strategy, fail_mode: FailMode::Open }, 8);
        balancer.set_nodes((0..3).map(|number| backend(number, 1.0)).collect());
        assert!(!balancer.pick(&anyone()).expect("up").failed_open());
        for node in 0..3 {
            balancer.set_status(&id(node), HealthStatus::Unhealthy);
        }
        balancer.set_draining(&id(2), true);
        assert!(balancer.pick(&anyone()).expect("in spite of health").failed_open());
        assert_eq!(who(&balancer, &anyone()), [id(0), id(1)], "an operator's draining is no matter of health");
        assert!(balancer.statistics().failed_open > 0);
        let nobody = SelectionCriteria { capabilities: BTreeSet::from([Capability::Write]), ..anyone() };
        assert_eq!(balancer.pick(&nobody).expect_err("nobody"), PickError::NoneEligible { filtered: 3 });
    }
}

#[test]
fn all_draining_is_told_as_such() {
    let balancer = balancer(Strategy::LeastConnections, 8, &[1.0, 1.0]);
    balancer.set_draining(&id(0), true);
    balancer.set_draining(&id(1), true);
    let refused = PickError::AllDraining { draining: 2, filtered: 0 };
    assert_eq!(balancer.pick(&anyone()).expect_err("nobody"), refused);
    assert_eq!(balancer.statistics().refused_all_draining, 1);
}

#[test]
fn of_two_entries_with_one_id_the_newer_incarnation_counts() {
    let newer = NodeInfo { incarnation: Incarnation::first_of(7), version: "2".into(), ..info(0) };
    let entries = [Backend::from(Arc::new(newer)), backend(0, 9.0)];
    let mut reversed = entries.clone();
    reversed.reverse();
    for entries in [entries, reversed] {
        let balancer = Balancer::new(Strategy::RoundRobin, 1);
        balancer.set_nodes(entries.into());
        assert_eq!(balancer.statistics().nodes.len(), 1);
        assert_eq!(balancer.statistics().nodes[0].weight.value(), 1.0);
    }
}

fn ready<T>(mut future: BoxFuture<'_, T>) -> T {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("there is nothing to wait for"),
    }
}

#[test]
fn every_method_of_the_standard_traits_works_through_an_object() {
    let balancer = Arc::new(balancer(Strategy::RoundRobin, 9, &[1.0, 1.0]));
    let object: Arc<dyn LoadBalancer> = Arc::<Balancer>::clone(&balancer);
    let component: &dyn Component = &*object;
    assert_eq!(ready(component.initialize()), Ok::<(), NetworkError>(()));
    assert_eq!(component.health_check(), HealthStatus::Unknown);
    balancer.set_status(&id(0), HealthStatus::Degraded);
    balancer.set_status(&id(1), HealthStatus::Healthy);
    assert_eq!(component.health_check(), HealthStatus::Healthy);
    balancer.set_status(&id(1), HealthStatus::Unhealthy);
    assert_eq!(component.health_check(), HealthStatus::Degraded);
    assert_eq!(object.select_node(&anyone()), Some(id(0)));
    object.update_weights(HashMap::from([(id(0), 0.0), (id(1), f64::NAN)]));
    assert_eq!(object.select_node(&anyone()), None);
    assert_eq!(component.health_check(), HealthStatus::Unhealthy);
    assert_eq!(balancer.statistics().weights_rejected, 1);
    assert_eq!(ready(component.shutdown()), Ok(()));
    assert!(balancer.statistics().nodes.iter().all(|node| node.inflight == 0), "select_node tracks nothing");
}

#[derive(Debug, Clone)]
enum Act {
    Pick,
    Finish(prop::sample::Index, CallOutcome),
    Drop(prop::sample::Index),
    SetNodes(Vec<u8>),
    SetStatus(u8, HealthStatus),
    Weights(u8, f64),
}

fn any_act() -> impl proptest::strategy::Strategy<Value = Act> {
    let outcome = prop::sample::select(vec![
        CallOutcome::Success,
        CallOutcome::ApplicationError,
        CallOutcome::Overloaded,
        CallOutcome::TransportError,
        CallOutcome::TimedOut,
        CallOutcome::Cancelled,
    ]);
    let status = prop::sample::select(vec![HealthStatus::Healthy, HealthStatus::Degraded, HealthStatus::Unhealthy]);
    prop_oneof![
        6 => Just(Act::Pick),
        3 => (any::<prop::sample::Index>(), outcome).prop_map(|(which, outcome)| Act::Finish(which, outcome)),
        1 => any::<prop::sample::Index>().prop_map(Act::Drop),
        1 => prop::collection::vec(0u8..100, 0..90).prop_map(Act::SetNodes),
        1 => (0u8..100, status).prop_map(|(node, status)| Act::SetStatus(node, status)),
        1 => (0u8..100, prop_oneof![Just(f64::NAN), Just(0.0), 0.1f64..9.0]).prop_map(|(node, w)| Act::Weights(node, w)),
    ]
}

proptest! {
    /// Whatever happens in whatever order, a node's calls in flight are the picks of it that are held.
    #[test]
    fn calls_in_flight_always_add_up(seed: u64, strategy in prop::sample::select(&BOTH[..]), acts in prop::collection::vec(any_act(), 1..150)) {
        let balancer = balancer(strategy, seed, &[1.0; 5]);
        let mut held = Vec::new();
        for act in acts {
            match act {
                Act::Pick => held.extend(balancer.pick(&anyone())),
                Act::Finish(which, outcome) if !held.is_empty() => {
                    let index = which.index(held.len());
                    held.swap_remove(index).finish(outcome);
                }
                Act::Drop(which) if !held.is_empty() => drop(held.swap_remove(which.index(held.len()))),
                Act::Finish(..) | Act::Drop(_) => {}
                Act::SetNodes(nodes) => {
                    balancer.set_nodes(nodes.into_iter().map(|node| backend(node.into(), 1.0)).collect());
                }
                Act::SetStatus(node, status) => drop(balancer.set_status(&id(node.into()), status)),
                Act::Weights(node, weight) => drop(balancer.update_weights(HashMap::from([(id(node.into()), weight)]))),
            }
            for node in balancer.statistics().nodes {
                let calls = held.iter().filter(|pick| *pick.node() == node.node).count();
                prop_assert_eq!(node.inflight as usize, calls, "{}", node.node);
            }
        }
        held.clear();
        prop_assert!(balancer.statistics().nodes.iter().all(|node| node.inflight == 0));
    }

    /// The order in which discovery lists the nodes decides nothing.
    #[test]
    fn the_order_of_the_input_decides_nothing(
        seed: u64,
        strategy in prop::sample::select(&BOTH[..]),
        weights in prop::collection::vec(0.0f64..9.0, 1..100),
        shuffle: u64,
    ) {
        let sorted: Vec<Backend> = weights.iter().enumerate().map(|(n, w)| backend(n, *w)).collect();
        let mut shuffled = sorted.clone();
        rdb_net_types::SeededRandom::new(shuffle).shuffle(&mut shuffled);
        let trace = |nodes: Vec<Backend>| {
            let balancer = Balancer::new(strategy, seed);
            balancer.set_nodes(nodes);
            let held: Vec<_> = (0..50).map_while(|_| balancer.pick(&anyone()).ok()).collect();
            held.iter().map(|pick| pick.node().clone()).collect::<Vec<_>>()
        };
        prop_assert_eq!(trace(sorted), trace(shuffled));
    }
}

#[test]
fn many_threads_pick_while_the_nodes_change() {
    let balancer = balancer(Strategy::LeastConnections, 10, &[1.0; 8]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..5_000 {
                    let pick = balancer.pick(&anyone()).expect("at least four nodes");
                    if round % 3 == 0 {
                        pick.finish(CallOutcome::TransportError);
                    }
                }
            });
        }
        for round in 0..200 {
            balancer.set_nodes((0..4 + round % 5).map(|number| backend(number, 1.0)).collect());
        }
    });
    let Statistics { picks, nodes, .. } = balancer.statistics();
    assert_eq!(picks, 20_000);
    assert!(nodes.iter().all(|node| node.inflight == 0));
}
