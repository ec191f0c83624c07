//! The rules see what goes against them: each is shown a run of events that it must not let pass.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rdb_net_engine::{Engine, EngineConfig, EngineEvent};
use rdb_net_types::{ClusterId, Incarnation, MembershipEvent, NodeInfo, NodeState};

use crate::invariant::Watch;
use crate::invariant::scene::Reason;
use crate::{Config, Simulation, node_id};

type Told = fn(Arc<NodeInfo>) -> MembershipEvent;

const JOINED: Told = MembershipEvent::NodeJoined;
const FAILED: Told = MembershipEvent::NodeFailed;
const RECOVERED: Told = MembershipEvent::NodeRecovered;
const LEFT: Told = MembershipEvent::NodeLeft;

fn engine() -> Engine {
    let info = NodeInfo::new(node_id(0), "10.0.0.1:7000".parse().expect("legal"));
    let (cluster, gossip) = (ClusterId::new("test").expect("legal"), "10.0.0.1:7001".parse().expect("legal"));
    Engine::new(EngineConfig::default(), cluster, info, gossip, 1, Duration::ZERO).expect("legal")
}

fn names(watch: &Watch) -> Vec<&'static str> {
    watch.violations().iter().map(|violation| violation.invariant).collect()
}

/// Which rules these events, all of node 1 and heard by node 0, go against.
fn broken(is_excused: bool, events: &[(Told, NodeState, u32)]) -> Vec<&'static str> {
    let info = |node: usize| NodeInfo::new(node_id(node), "10.0.0.1:7000".parse().expect("legal"));
    let mut watch = Watch::new(vec![node_id(0), node_id(1)]);
    watch.started(Duration::ZERO, 0, &engine());
    if is_excused {
        watch.scene.excuse(Reason::Scenario, None, Some(BTreeSet::from([1])));
    }
    for (told, state, generation) in events {
        let node = NodeInfo { state: *state, incarnation: Incarnation::first_of(*generation), ..info(1) };
        watch.heard(Duration::ZERO, 0, &EngineEvent::Membership(told(Arc::new(node))));
    }
    names(&watch)
}

use NodeState::{Alive, Failed, Left};

#[test]
fn an_orderly_life_breaks_no_rule() {
    let life = [(JOINED, Alive, 1), (FAILED, Failed, 1), (RECOVERED, Alive, 2), (LEFT, Left, 2), (JOINED, Alive, 3)];
    assert_eq!(broken(true, &life), [""; 0]);
}

#[test]
fn a_failure_that_nobody_gave_reason_for_is_seen() {
    assert_eq!(broken(false, &[(JOINED, Alive, 1), (FAILED, Failed, 1)]), ["no-false-failure"]);
}

#[test]
fn a_resurrection_is_seen() {
    let life = [(JOINED, Alive, 1), (FAILED, Failed, 1), (RECOVERED, Alive, 1)];
    assert_eq!(broken(true, &life), ["no-resurrection"]);
}

#[test]
fn an_incarnation_that_falls_is_seen() {
    let life = [(JOINED, Alive, 5), (FAILED, Failed, 4)];
    assert_eq!(broken(true, &life), ["incarnation-rises"]);
}

#[test]
fn who_left_and_is_called_failed_is_seen() {
    let life = [(JOINED, Alive, 1), (LEFT, Left, 1), (FAILED, Failed, 1)];
    assert_eq!(broken(true, &life), ["events-fold", "left-never-fails"]);
}

#[test]
fn an_event_that_does_not_lead_on_is_seen() {
    assert_eq!(broken(true, &[(JOINED, Alive, 1), (JOINED, Alive, 2)]), ["events-fold"]);
    assert_eq!(broken(true, &[(RECOVERED, Alive, 1)]), ["events-fold"]);
}

#[test]
fn views_that_differ_at_rest_are_seen() {
    let mut simulation = Simulation::new(Config::lan(6, 3));
    simulation.cut(&[0, 1, 2], &[3, 4, 5]);
    (0..6).for_each(|node| simulation.start(node).expect("legal settings"));
    simulation.run_for(Duration::from_secs(5));
    simulation.check_at_rest();
    let broken: Vec<&str> = simulation.violations().iter().map(|violation| violation.invariant).collect();
    assert_eq!(broken, ["agreement"]);
}

#[test]
fn what_is_due_for_ever_is_seen() {
    let mut watch = Watch::new(vec![node_id(0)]);
    watch.timed(Duration::from_secs(5), 0, Some(Duration::from_secs(6)));
    watch.timed(Duration::from_secs(5), 0, None);
    assert_eq!(names(&watch), [""; 0]);
    watch.timed(Duration::from_secs(5), 0, Some(Duration::from_secs(5)));
    assert_eq!(names(&watch), ["timer-moves-on"]);
}

#[test]
fn a_datagram_that_is_too_long_is_seen() {
    let mut watch = Watch::new(vec![node_id(0)]);
    watch.sent(Duration::ZERO, 0, &engine(), 1_400);
    assert_eq!(names(&watch), [""; 0]);
    watch.sent(Duration::ZERO, 0, &engine(), 1_401);
    assert_eq!(names(&watch), ["datagram-fits"]);
}

#[test]
fn a_node_that_holds_itself_for_gone_is_seen() {
    let (mut watch, mut engine) = (Watch::new(vec![node_id(0)]), engine());
    watch.started(Duration::ZERO, 0, &engine);
    watch.stepped(Duration::ZERO, 0, &engine);
    assert_eq!(names(&watch), [""; 0]);
    // That it was asked to is not told.
    engine.leave(Duration::ZERO);
    watch.stepped(Duration::ZERO, 0, &engine);
    assert_eq!(names(&watch), ["events-fold", "self-alive"]);
}

/// Two nodes that know each other.
fn pair() -> Simulation {
    let mut simulation = Simulation::new(Config::lan(2, 4));
    (0..2).for_each(|node| simulation.start(node).expect("legal settings"));
    simulation.run_for(Duration::from_secs(3));
    simulation
}

#[test]
fn a_dead_node_that_is_held_for_alive_is_seen() {
    let mut simulation = pair();
    // It answers, and is said to be dead.
    simulation.watch.scene.ended(1, Duration::ZERO);
    simulation.run_for(Duration::from_secs(20));
    simulation.check_at_rest();
    assert_eq!(names(&simulation.watch), [""; 0], "it may take that long");
    simulation.run_for(Duration::from_secs(20));
    simulation.check_at_rest();
    assert_eq!(names(&simulation.watch), ["completeness"]);
}

#[test]
fn who_knows_a_higher_incarnation_than_its_subject_is_seen() {
    let mut simulation = pair();
    simulation.power_off(1);
    simulation.watch.scene.reached[1] = Incarnation::first_of(1);
    simulation.run_for(Duration::from_secs(1));
    assert!(names(&simulation.watch).contains(&"nobody-knows-better"));
}

/// How long it takes at most, over ten seeds, until a killed process is failed everywhere.
fn slowest_verdict(links: usize) -> Duration {
    let verdict = |seed: u64| {
        let mut config = Config::lan(8, seed);
        config.engine.links = links;
        let mut simulation = Simulation::new(config);
        (0..8).for_each(|node| simulation.start(node).expect("legal settings"));
        simulation.run_for(Duration::from_secs(5));
        simulation.crash(7);
        simulation.run_until(Duration::from_secs(20), |simulation| simulation.all_hold(7, Failed)).expect("in the end")
    };
    (1..=10).map(verdict).max().expect("ten")
}

#[test]
fn links_are_what_finds_a_killed_process_at_once() {
    assert!(slowest_verdict(3) < Duration::from_millis(500));
    assert!(slowest_verdict(0) > Duration::from_secs(3), "without them it takes probes and suspicion");
}

#[test]
fn a_cluster_that_is_too_impatient_for_a_pause_is_caught() {
    let mut config = Config::lan(5, 6);
    config.engine.swim.suspicion_pause = Duration::from_millis(100);
    let mut simulation = Simulation::new(config);
    (0..5).for_each(|node| simulation.start(node).expect("legal settings"));
    simulation.run_for(Duration::from_secs(5));
    simulation.pause(2);
    simulation.run_for(Duration::from_secs(4));
    let broken: Vec<&str> = simulation.violations().iter().map(|violation| violation.invariant).collect();
    assert_eq!(broken, ["no-false-failure"; 4]);
}
