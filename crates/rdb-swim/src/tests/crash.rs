//! Crashes are found, and nothing else is taken for one.

use rdb_net_types::{EvidenceKind, NodeState};

use super::network::{Network, id, ms, secs};
use crate::{Config, Event};

#[test]
fn a_silent_crash_is_failed_everywhere_within_the_bound() {
    for (n, seed) in [(2, 1), (3, 2), (5, 3), (12, 4), (20, 5)] {
        let mut net = Network::cluster_of(n, seed);
        net.crash(n - 1);
        let config = Config::lan();
        // A peer probes it within 2(n − 1) − 1 periods, the probe takes one, then come suspicion and dissemination.
        let bound = config.probe_interval * (2 * n as u32 - 2)
            + config.suspicion_timeout(n)
            + config.gossip_interval * config.dissemination_ticks(n);
        let took = net.run_until(bound, "all hold it failed", |net| net.all_hold(n - 1, NodeState::Failed));
        assert!(took >= config.suspicion_pause, "a tolerated pause is tolerated");
        assert_eq!(net.count(|event| matches!(event, Event::Failed(_))), n - 1, "each is told once");
        net.run(secs(10));
        assert_eq!(net.count(|event| matches!(event, Event::Failed(_))), n - 1);
        assert!(net.nodes[0].swim.member(&id(n - 1)).is_some(), "failed is not forgotten");
    }
}

#[test]
fn a_sound_network_has_no_suspicion() {
    let mut net = Network::cluster_of(10, 7);
    net.run(secs(300));
    assert_eq!(net.count(|event| matches!(event, Event::Suspected(_) | Event::Failed(_))), 0);
    assert!(net.agrees(10));
}

#[test]
fn heavy_loss_makes_suspects_but_no_dead() {
    let mut net = Network::cluster_of(10, 8);
    net.loss = 0.3;
    net.run(secs(300));
    assert_eq!(net.count(|event| matches!(event, Event::Failed(_))), 0);
    assert!(net.count(|event| matches!(event, Event::Suspected(_))) > 0, "the loss was felt");
    net.loss = 0.0;
    net.run_until(secs(90), "one view again", |net| net.agrees(10));
}

#[test]
fn a_pause_of_three_seconds_fails_nobody() {
    for seed in 0..20 {
        let mut net = Network::cluster_of(5, 100 + seed);
        net.run(ms(seed * 97));
        net.pause(2);
        net.run(secs(3));
        net.wake(2);
        net.run(secs(15));
        assert_eq!(net.count(|event| matches!(event, Event::Failed(_))), 0, "seed {seed}");
        let by_sleeper = net.nodes[2].events.iter().filter(|(_, event)| matches!(event, Event::Suspected(_))).count();
        assert_eq!(by_sleeper, 0, "seed {seed}: waking, it blames nobody");
        assert_eq!(net.nodes[2].swim.stats().local_pauses, 1);
        assert!(net.agrees(5));
    }
}

#[test]
fn a_suspects_time_stands_still_while_the_accuser_pauses() {
    let mut net = Network::cluster_of(2, 17);
    net.crash(1);
    net.run_until(secs(5), "suspected", |net| net.all_hold(1, NodeState::Suspect));
    net.pause(0);
    net.run(secs(10));
    net.wake(0);
    net.run(secs(2));
    assert!(net.all_hold(1, NodeState::Suspect), "the pause does not count");
    net.run_until(secs(4), "but the time after it does", |net| net.all_hold(1, NodeState::Failed));
}

/// Storm 32: what a process hears of on waking was suspected for as long as it had slept, and then as long as ever.
#[test]
fn a_suspicion_that_is_heard_of_on_waking_gets_no_time_for_the_pause() {
    let mut net = Network::cluster_of(6, 17);
    net.pause(0);
    net.run(ms(100));
    net.crash(5);
    net.run(secs(30));
    net.wake(0);
    let is_failed = |net: &Network| net.nodes[0].swim.member(&id(5)).is_some_and(|m| m.state == NodeState::Failed);
    assert!(!is_failed(&net), "it comes to the verdict by itself");
    net.run_until(secs(8), "failed by who slept", is_failed);
}

#[test]
fn a_pause_that_is_too_long_ends_in_recovery() {
    let mut net = Network::cluster_of(5, 9);
    net.pause(2);
    net.run_until(secs(15), "all hold it failed", |net| net.all_hold(2, NodeState::Failed));
    net.wake(2);
    net.run_until(secs(5), "one view again", |net| net.agrees(5));
    assert_eq!(net.count(|event| matches!(event, Event::Recovered(record) if record.id == id(2))), 4);
    assert!(net.nodes[2].events.iter().all(|(_, event)| !matches!(event, Event::Failed(_))));
}

#[test]
fn evidence_brings_the_probe_forward_and_life_calls_it_off() {
    let mut net = Network::cluster_of(10, 10);
    net.crash(4);
    net.evidence(0, 4, EvidenceKind::Reset);
    let took = net.run_until(secs(2), "suspected", |net| net.all_hold(4, NodeState::Suspect));
    assert!((secs(1)..ms(1_500)).contains(&took), "one probe from the evidence on: {took:?}");
    assert_eq!(net.count(|event| matches!(event, Event::Failed(_))), 0, "a reset accuses nobody");

    // The same, but then it answers over another way before the probe has failed.
    let mut net = Network::cluster_of(10, 11);
    net.crash(4);
    net.evidence(0, 4, EvidenceKind::PhiCrossed);
    net.run(ms(600));
    net.evidence(0, 4, EvidenceKind::Alive { round_trip: ms(1) });
    net.run(ms(600));
    let told = |is_it: fn(&Event) -> bool| net.nodes[0].events.iter().any(|(_, event)| is_it(event));
    assert!(!told(|event| matches!(event, Event::ProbeFailed { .. })));
}

#[test]
fn a_round_trip_is_told_with_each_direct_ack() {
    let mut net = Network::cluster_of(3, 13);
    net.run(secs(10));
    let trips: Vec<_> = net.nodes[0]
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::RoundTrip { round_trip, .. } => Some(*round_trip),
            _ => None,
        })
        .collect();
    assert_eq!(trips.len(), 10);
    assert!(trips.iter().all(|trip| (ms(2)..=ms(10)).contains(trip)));
}

#[test]
fn relays_answer_in_time_that_the_target_is_silent() {
    let mut net = Network::cluster_of(6, 14);
    net.crash(5);
    net.evidence(0, 5, EvidenceKind::Reset);
    net.run(ms(990));
    let stats = net.nodes[0].swim.stats();
    assert_eq!((stats.nacks_received, stats.unexpected_answers), (3, 0), "before the probe's end");
    assert!(net.nodes.iter().map(|node| node.swim.stats().pings_relayed).sum::<u64>() >= 3);
}

#[test]
fn who_cannot_be_reached_directly_is_reached_through_others() {
    let mut net = Network::cluster_of(6, 15);
    net.part(&[0], &[5], true);
    net.evidence(0, 5, EvidenceKind::Reset);
    net.run(ms(1_200));
    let stats = net.nodes[0].swim.stats();
    assert_eq!(stats.probes_failed, 0);
    assert!(stats.probes_indirect >= 1 && net.count(|event| matches!(event, Event::Suspected(_))) == 0);
}

#[test]
fn evidence_storms_are_bounded() {
    let mut net = Network::cluster_of(40, 16);
    for of in 1..40 {
        net.evidence(0, of, EvidenceKind::Silent);
        net.evidence(0, of, EvidenceKind::Reset);
    }
    let started = net.nodes[0].swim.stats().probes_urgent;
    net.run(secs(3));
    assert!(net.nodes[0].swim.stats().probes_urgent >= 39, "those that waited had their turn");
    assert!(started <= 78 && net.count(|event| matches!(event, Event::Suspected(_))) == 0);
}

#[test]
fn an_operator_may_suspect_and_the_node_refutes() {
    let mut net = Network::cluster_of(5, 12);
    net.act(0, |swim, now| swim.suspect(now, &id(3)));
    net.run(secs(1));
    assert!(net.agrees(5));
    assert!(net.nodes[3].events.iter().any(|(_, event)| matches!(event, Event::SelfRefuted { .. })));
    assert!(net.nodes[0].events.iter().any(|(_, event)| matches!(event, Event::Trusted(_))));
}
