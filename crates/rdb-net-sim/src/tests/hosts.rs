//! What hosts and the network do to processes.

use std::time::Duration;

use rdb_net_types::NodeState;

use crate::{Config, Life, Simulation};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// So many nodes that have been together for a while.
fn cluster(nodes: usize, seed: u64) -> Simulation {
    let mut simulation = Simulation::new(Config::lan(nodes, seed));
    (0..nodes).for_each(|node| simulation.start(node).expect("legal settings"));
    assert!(simulation.run_until(secs(5), |simulation| simulation.agrees(nodes)).is_some());
    simulation.run_for(secs(5));
    simulation
}

#[track_caller]
fn rest(simulation: &mut Simulation, members: usize) {
    assert!(simulation.run_until(secs(90), |simulation| simulation.agrees(members)).is_some(), "no agreement");
    simulation.check_at_rest();
    assert_eq!(simulation.violations(), []);
}

#[test]
fn every_node_keeps_three_links_and_they_are_up() {
    let simulation = cluster(12, 1);
    for (_, engine) in simulation.running() {
        let statistics = engine.statistics();
        assert_eq!((statistics.links_kept, statistics.links_up), (3, 3));
    }
}

#[test]
fn a_cluster_that_is_cut_in_two_comes_together_again() {
    let mut simulation = cluster(10, 2);
    let (left, right): (Vec<usize>, Vec<usize>) = (0..10).partition(|node| *node < 4);
    (0..10).for_each(|node| simulation.excuse(node));
    simulation.cut(&left, &right);
    let is_apart = |simulation: &Simulation| {
        simulation.running().all(|(node, engine)| engine.census().failed == if node < 4 { 6 } else { 4 })
    };
    assert!(simulation.run_until(secs(60), is_apart).is_some(), "both halves hold the other for failed");
    assert_eq!(
        simulation.engine(0).expect("it runs").report().status,
        rdb_net_types::HealthStatus::Degraded,
        "the smaller half shows that it may be the one that is cut off"
    );
    simulation.run_for(secs(60));
    simulation.mend(&left, &right);
    rest(&mut simulation, 10);
}

#[test]
fn a_link_that_passes_one_way_only_fails_nobody_as_long_as_others_reach_both() {
    for seed in 1..=5 {
        let mut simulation = cluster(6, seed);
        simulation.cut_one_way(0, 1);
        simulation.run_for(secs(60));
        assert_eq!(simulation.count_all("NodeFailed"), 0, "seed {seed}");
        simulation.mend(&[0], &[1]);
        rest(&mut simulation, 6);
    }
}

#[test]
fn a_pause_that_is_too_long_ends_in_recovery() {
    let mut simulation = cluster(5, 4);
    simulation.excuse(2);
    simulation.pause(2);
    let failed = simulation.run_until(secs(15), |simulation| simulation.all_hold(2, NodeState::Failed));
    assert!(failed.is_some());
    assert_eq!(simulation.life(2), Life::Paused);
    simulation.run_for(secs(10));
    simulation.wake(2);
    rest(&mut simulation, 5);
    assert_eq!(simulation.count("NodeRecovered", 2), 4);
}

#[test]
fn a_host_that_had_lost_its_power_comes_back_as_another_life() {
    let mut simulation = cluster(5, 5);
    simulation.power_off(3);
    assert!(simulation.run_until(secs(15), |simulation| simulation.all_hold(3, NodeState::Failed)).is_some());
    simulation.restart(3).expect("legal settings");
    rest(&mut simulation, 5);
    assert_eq!(simulation.count("NodeRecovered", 3), 4);
}

#[test]
fn two_processes_that_are_killed_together_are_both_failed_soon() {
    for seed in 1..=20 {
        let mut simulation = cluster(6, seed);
        simulation.crash(1);
        simulation.crash(4);
        let took = simulation.run_until(secs(3), |simulation| {
            simulation.all_hold(1, NodeState::Failed) && simulation.all_hold(4, NodeState::Failed)
        });
        assert!(took.is_some_and(|took| took <= Duration::from_millis(1_500)), "seed {seed}: {took:?}");
        rest(&mut simulation, 4);
    }
}

#[test]
fn who_has_left_can_be_started_again() {
    let mut simulation = cluster(5, 6);
    simulation.leave(2);
    assert!(simulation.run_until(secs(2), |simulation| simulation.all_hold(2, NodeState::Left)).is_some());
    simulation.run_for(secs(3));
    assert_eq!(simulation.life(2), Life::Stopped);
    simulation.start(2).expect("legal settings");
    rest(&mut simulation, 5);
    assert_eq!(simulation.count_all("NodeFailed"), 0);
    assert_eq!(simulation.count("NodeJoined", 2), 8, "four times at first, four times now");
}

#[test]
fn a_stop_with_closed_connections_but_no_farewell_is_a_failure_in_the_end() {
    let mut simulation = cluster(5, 7);
    simulation.stop(2);
    let took = simulation.run_until(secs(11), |simulation| simulation.all_hold(2, NodeState::Failed));
    assert!(took.is_some(), "its address refuses, whatever its connections said");
    rest(&mut simulation, 4);
}

#[test]
fn a_cluster_that_was_killed_as_a_whole_comes_back() {
    let mut simulation = cluster(5, 8);
    (0..5).for_each(|node| simulation.crash(node));
    simulation.run_for(secs(1));
    (0..5).for_each(|node| simulation.start(node).expect("legal settings"));
    rest(&mut simulation, 5);
}

#[test]
fn a_process_that_stands_still_loses_what_its_buffer_does_not_hold() {
    let mut simulation = Simulation::new(Config { datagram_buffer_bytes: 200, ..Config::lan(5, 9) });
    (0..5).for_each(|node| simulation.start(node).expect("legal settings"));
    simulation.run_for(secs(5));
    simulation.pause(1);
    simulation.run_for(secs(3));
    simulation.wake(1);
    assert!(simulation.datagrams_overflowed > 0);
    simulation.run_for(secs(10));
    rest(&mut simulation, 5);
}
