//! Partitions heal by themselves.

use super::network::{Network, id, local, ms, secs};
use crate::{Config, Event};

#[test]
fn a_partition_heals_into_one_view() {
    for (n, cut, seed) in [(2, 1, 400), (5, 2, 401), (10, 5, 402), (20, 3, 403)] {
        let mut net = Network::cluster_of(n, seed);
        let (left, right): (Vec<usize>, Vec<usize>) = ((0..cut).collect(), (cut..n).collect());
        net.part(&left, &right, true);
        let failed = |net: &Network| net.count(|event| matches!(event, Event::Failed(_)));
        // Whoever takes the silence for its own illness asks seldom: each of n − 1 within 2n − 3 of its longest periods.
        let config = Config::lan();
        let bound = config.probe_interval * (1 + config.lifeguard.health_max) * (2 * n as u32 - 2)
            + config.suspicion_timeout(n) * config.lifeguard.stretch;
        net.run_until(bound, "each side gives the other up", |net| failed(net) == 2 * cut * (n - cut));
        net.run(secs(60));
        assert_eq!(failed(&net), 2 * cut * (n - cut), "once");
        net.part(&left, &right, false);
        net.forget_events();
        let took = net.run_until(secs(20), "one view", |net| net.agrees(n));
        assert!(took > ms(0));
        assert_eq!(net.count(|event| matches!(event, Event::Failed(_))), 0, "healing fails nobody");
        assert_eq!(net.count(|event| matches!(event, Event::Recovered(_))), 2 * cut * (n - cut));
    }
}

#[test]
fn a_link_that_is_cut_one_way_fails_nobody() {
    let mut net = Network::cluster_of(6, 404);
    net.part(&[0], &[1], true);
    net.run(secs(120));
    assert_eq!(net.count(|event| matches!(event, Event::Failed(_))), 0, "others relay the pings");
}

#[test]
fn healing_comes_to_an_end() {
    let mut net = Network::cluster_of(10, 405);
    net.part(&[0, 1, 2, 3, 4], &[5, 6, 7, 8, 9], true);
    net.run(secs(60));
    net.part(&[0, 1, 2, 3, 4], &[5, 6, 7, 8, 9], false);
    net.run(secs(60));
    let before = net.packets;
    net.run(secs(10));
    assert!(net.packets - before <= 200, "nobody quarrels on: {}", net.packets - before);
}

#[test]
fn both_sides_of_a_partition_know_of_it_and_that_it_is_over() {
    let mut net = Network::cluster_of(10, 406);
    let (left, right): (Vec<usize>, Vec<usize>) = ((0..5).collect(), (5..10).collect());
    net.part(&left, &right, true);
    net.run_until(secs(60), "all know of it", |net| net.nodes.iter().all(|node| node.swim.partition().is_some()));
    net.run(secs(240));
    for node in &net.nodes {
        let partition = node.swim.partition().expect("it lasts");
        assert_eq!((partition.reachable, partition.unreachable), (5, 5));
        assert_eq!(node.swim.members().count(), 10, "nobody is dropped");
        assert!(partition.since <= partition.changed && partition.changed < net.now - secs(200), "it has come to rest");
    }
    net.part(&left, &right, false);
    net.run_until(secs(20), "one view", |net| net.agrees(10));
    assert!(net.nodes.iter().all(|node| node.swim.partition().is_none()));
    let told = |is_it: fn(&Event) -> bool| net.count(is_it);
    assert_eq!(told(|event| matches!(event, Event::Partitioned(_))), 10, "once each");
    assert_eq!(told(|event| matches!(event, Event::Healed(_))), 10, "once each");
}

#[test]
fn the_smaller_side_knows_of_a_partition_and_the_larger_takes_it_for_failures() {
    let mut net = Network::cluster_of(5, 407);
    net.part(&[0, 1], &[2, 3, 4], true);
    net.run(secs(90));
    let knows: Vec<bool> = net.nodes.iter().map(|node| node.swim.partition().is_some()).collect();
    assert_eq!(knows, [true, true, false, false, false]);
}

#[test]
fn failures_one_after_the_other_are_no_partition() {
    let mut net = Network::cluster_of(12, 408);
    for n in 6..12 {
        net.crash(n);
        net.run(secs(40));
    }
    assert!(net.nodes[..6].iter().all(|node| node.swim.alive_count() == 6 && node.swim.partition().is_none()));
}

#[test]
fn in_a_partition_nobody_is_dropped_for_room() {
    let mut net = Network::cluster_of(8, 409);
    net.part(&[0, 1, 2, 3], &[4, 5, 6, 7], true);
    net.run_until(secs(60), "all know of it", |net| net.nodes.iter().all(|node| node.swim.partition().is_some()));
    net.run(secs(10));
    let config = Config { members_max: 8, ..Config::lan() };
    (0..4).for_each(|n| net.act(n, |swim, now| swim.set_config(now, config.clone()).expect("legal")));
    let newcomer = net.add(local(20, 1, 1_000));
    // It is on this side too, and no bridge.
    net.part(&[newcomer], &[4, 5, 6, 7], true);
    net.sync(newcomer, 0);
    net.run(secs(10));
    assert_eq!(net.nodes[0].swim.members().count(), 8);
    assert!(net.nodes[0].swim.member(&id(20)).is_none(), "there is no room");
    assert!(net.nodes[0].swim.stats().limit_members > 0 && net.nodes[0].swim.stats().limit_members_evicted == 0);
}
