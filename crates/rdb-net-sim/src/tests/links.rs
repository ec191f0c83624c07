//! Links that are not as the others, and processes that are slow.

use std::time::Duration;

use rdb_net_faults::LinkFaults;
use rdb_net_types::NodeState;

use crate::{Config, Simulation, node_id};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn cluster(nodes: usize, seed: u64) -> Simulation {
    let mut simulation = Simulation::new(Config::lan(nodes, seed));
    (0..nodes).for_each(|node| simulation.start(node).expect("legal settings"));
    assert!(simulation.run_until(secs(5), |simulation| simulation.agrees(nodes)).is_some());
    simulation
}

/// What one node's probes have measured to another.
#[track_caller]
fn round_trip(simulation: &Simulation, from: usize, to: usize) -> Duration {
    let membership = simulation.engine(from).expect("it runs").membership();
    membership.member(&node_id(to)).and_then(|member| member.round_trip).expect("it was probed")
}

fn datagrams_received(simulation: &Simulation, node: usize) -> u64 {
    simulation.engine(node).expect("it runs").membership().stats().packets_received
}

#[test]
fn a_link_of_its_own_is_late_and_the_others_are_as_they_were() {
    let mut simulation = cluster(3, 1);
    simulation.set_link(0, 1, LinkFaults { latency: ms(60), jitter: ms(10), ..LinkFaults::lan() });
    simulation.run_for(secs(60));
    for (from, to) in [(0, 1), (1, 0)] {
        assert!(round_trip(&simulation, from, to) >= ms(55), "{:?}", round_trip(&simulation, from, to));
    }
    for (from, to) in [(0, 2), (2, 0), (1, 2), (2, 1)] {
        assert!(round_trip(&simulation, from, to) <= ms(5), "{:?}", round_trip(&simulation, from, to));
    }
    assert_eq!(simulation.violations(), []);
}

#[test]
fn a_link_of_its_own_loses_one_way() {
    let mut simulation = cluster(2, 2);
    (0..2).for_each(|node| simulation.excuse(node));
    simulation.set_link(0, 1, LinkFaults { loss: 1.0, ..LinkFaults::lan() });
    simulation.run_for(secs(1));
    let before = [0, 1].map(|node| datagrams_received(&simulation, node));
    simulation.run_for(secs(30));
    let [to_0, to_1] = [0, 1].map(|node| datagrams_received(&simulation, node) - before[node]);
    assert!(to_1 == 0 && to_0 >= 20, "{to_0} and {to_1}");
    simulation.set_link(0, 1, LinkFaults::lan());
    assert!(simulation.run_until(secs(60), |simulation| simulation.agrees(2)).is_some());
    assert!(datagrams_received(&simulation, 1) > before[1]);
    simulation.check_at_rest();
    assert_eq!(simulation.violations(), []);
}

/// Two nodes send each other four datagrams a second, and answer a second copy as the first.
#[test]
fn a_link_of_its_own_doubles_and_reorders_one_way() {
    let received = |faults| {
        let mut simulation = cluster(2, 3);
        simulation.set_link(0, 1, faults);
        simulation.run_for(secs(1));
        let before = [0, 1].map(|node| datagrams_received(&simulation, node));
        simulation.run_for(secs(30));
        assert_eq!(simulation.violations(), []);
        [0, 1].map(|node| datagrams_received(&simulation, node) - before[node])
    };
    let disorder = LinkFaults { reordering: 0.5, reordering_delay: ms(20), ..LinkFaults::lan() };
    let [plain_0, plain_1] = received(disorder);
    let [to_0, to_1] = received(LinkFaults { duplication: 1.0, ..disorder });
    assert!(plain_0.abs_diff(plain_1) <= 2, "{plain_0} and {plain_1}");
    assert!(to_1 * 10 >= plain_1 * 19 && to_0 * 10 <= plain_0 * 16, "{to_0} of {plain_0} and {to_1} of {plain_1}");
}

#[test]
fn a_process_that_takes_its_time_answers_late_and_is_failed_by_nobody() {
    let mut simulation = cluster(5, 4);
    simulation.set_processing(2, ms(20));
    simulation.run_for(secs(60));
    for other in [0, 1, 3, 4] {
        let (slow, fast) = (round_trip(&simulation, other, 2), round_trip(&simulation, other, (other + 1) % 5));
        assert!(slow >= ms(20), "{slow:?}");
        assert!((other + 1) % 5 == 2 || fast <= ms(5), "{fast:?}");
    }
    assert_eq!((simulation.count_all("NodeFailed"), simulation.violations()), (0, &[][..]));
}

#[test]
fn a_process_that_is_slower_than_what_comes_fails_nobody_else_and_is_back_when_it_is_fast_again() {
    let mut simulation = cluster(5, 5);
    simulation.excuse(2);
    simulation.set_processing(2, secs(3));
    let failed = simulation.run_until(secs(120), |simulation| simulation.all_hold(2, NodeState::Failed));
    assert!(failed.is_some());
    let score = simulation.engine(2).expect("it runs").membership().local_health();
    assert!(score > 0, "it sees that what it takes up has waited");
    assert_eq!(simulation.count_all("NodeFailed"), simulation.count("NodeFailed", 2), "nobody else was failed");
    simulation.set_processing(2, Duration::ZERO);
    assert!(simulation.run_until(secs(90), |simulation| simulation.agrees(5)).is_some());
    simulation.check_at_rest();
    assert_eq!(simulation.violations(), []);
}
