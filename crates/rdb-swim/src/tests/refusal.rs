//! The fast way to a verdict.

use rdb_net_types::{EvidenceKind, NodeState};

use super::network::{Network, id, ms, secs};
use crate::Event;
use crate::packet::{Accusation, Update};

#[test]
fn a_killed_process_is_failed_everywhere_within_a_second() {
    for n in [3, 5, 20] {
        for seed in 0..10 {
            let mut net = Network::cluster_of(n, 30 + seed);
            net.loss = 0.01;
            let observers: Vec<usize> = (1..n).take(3).collect();
            net.kill(0, &observers);
            let took = net.run_until(secs(1), "all hold it failed", |net| net.all_hold(0, NodeState::Failed));
            assert!(took > ms(300), "the window is kept");
            assert!(net.count(|event| matches!(event, Event::Failed(record) if record.id != id(0))) == 0);
        }
    }
}

#[test]
fn a_refusal_about_a_living_node_is_stopped_by_its_ack() {
    for seed in 0..20 {
        let mut net = Network::cluster_of(8, 60 + seed);
        net.loss = 0.05;
        for observer in [1, 2, 3] {
            net.evidence(observer, 0, EvidenceKind::Refused);
        }
        net.run(secs(5));
        assert_eq!(net.count(|event| matches!(event, Event::Failed(_))), 0, "seed {seed}");
        net.loss = 0.0;
        net.run_until(secs(60), "one view", |net| net.agrees(8));
    }
}

/// S17: a refusal takes two distinct observers.
#[test]
fn one_observer_convicts_nobody_at_once() {
    let mut net = Network::cluster_of(5, 90);
    net.kill(0, &[1]);
    net.run(secs(3));
    assert_eq!(net.count(|event| matches!(event, Event::Failed(_))), 0);
    net.run_until(secs(8), "ordinary suspicion ends it", |net| net.all_hold(0, NodeState::Failed));
}

#[test]
fn a_suspicion_in_between_does_not_stop_the_clock() {
    let mut net = Network::cluster_of(5, 93);
    net.crash(0);
    net.evidence(1, 0, EvidenceKind::Refused);
    net.run(ms(900));
    net.evidence(2, 0, EvidenceKind::Refused);
    let is_suspected = |net: &Network| net.count(|event| matches!(event, Event::Suspected(_))) > 0;
    net.run_until(ms(200), "the probe that the first refusal has brought forward fails", is_suspected);
    net.run_until(ms(300), "the second refusal's window ends", |net| net.all_hold(0, NodeState::Failed));
}

#[test]
fn the_same_observer_counts_once() {
    let mut net = Network::cluster_of(5, 91);
    net.crash(0);
    (0..5).for_each(|_| net.evidence(1, 0, EvidenceKind::Refused));
    net.run(secs(2));
    assert_eq!(net.count(|event| matches!(event, Event::Failed(_))), 0);
}

#[test]
fn of_two_members_a_refusal_only_brings_the_probe_forward() {
    let mut net = Network::cluster_of(2, 92);
    net.kill(0, &[1]);
    net.run(ms(1_100));
    assert!(net.all_hold(0, NodeState::Suspect), "probed at once");
    assert_eq!(net.nodes[1].swim.stats().failures_by_refusal, 0);
}

#[test]
fn who_has_left_cannot_be_refused() {
    let mut net = Network::cluster_of(5, 93);
    net.leave(0);
    net.run(secs(1));
    for observer in 1..5 {
        net.evidence(observer, 0, EvidenceKind::Refused);
    }
    net.run(secs(10));
    assert_eq!(net.count(|event| matches!(event, Event::Failed(_))), 0);
    assert!(net.all_hold(0, NodeState::Left));
}

#[test]
fn old_refusals_that_are_still_told_do_not_count_after_a_sign_of_life() {
    let mut net = Network::cluster_of(5, 94);
    let incarnation = net.nodes[0].swim.local().incarnation;
    let refused = |from: usize| Update::Refused(Accusation { id: id(0), incarnation, from: id(from) });
    // Only node 4 hears of it, and it hears the subject.
    let swim = &mut net.nodes[4].swim;
    let (now, slot) = (net.now, swim.table.slot_of(&id(0)).expect("held"));
    let is_counting = |swim: &crate::Swim| swim.schedule.deadline(crate::schedule::Timer::Refusal(slot)).is_some();
    swim.apply(now, refused(1));
    swim.apply(now, refused(2));
    assert!(is_counting(swim));
    swim.stop_refusal(now, slot);
    swim.apply(now + ms(800), refused(1));
    swim.apply(now + ms(800), refused(2));
    assert!(!is_counting(swim), "copies of the old ones");
    swim.apply(now + ms(901), refused(1));
    swim.apply(now + ms(901), refused(2));
    assert!(is_counting(swim), "but not for ever");
}
