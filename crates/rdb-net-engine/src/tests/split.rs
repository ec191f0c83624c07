//! A split-brain strategy in a node: when it is asked, and what is told of its answers.

use std::time::Duration;

use rdb_net_types::HealthStatus;
use rdb_swim::{Decision, Strategy, Verdict, Why};

use super::lab::{Lab, address, id, secs};
use crate::{Engine, EngineConfig, EngineEvent, SplitBrainConfig};

fn config(strategy: Strategy) -> EngineConfig {
    let split_brain = SplitBrainConfig { strategy: Some(strategy), ..SplitBrainConfig::default() };
    EngineConfig { split_brain, ..EngineConfig::default() }
}

fn told(lab: &Lab, node: usize) -> Vec<Verdict> {
    let verdict = |event: &EngineEvent| match event {
        EngineEvent::SplitBrain(verdict) => Some(*verdict),
        _ => None,
    };
    lab.events[node].iter().filter_map(verdict).collect()
}

fn part(lab: &Lab, node: usize) -> Option<(HealthStatus, String)> {
    let parts = lab.engines[node].report().parts;
    parts.into_iter().find(|(name, ..)| name == "split brain").map(|(_, status, words)| (status, words))
}

#[test]
fn without_a_strategy_nobody_decides() {
    let mut lab = Lab::cluster(5);
    (3..5).for_each(|node| lab.cut[node] = true);
    lab.run(secs(120));
    assert!((0..5).all(|node| told(&lab, node).is_empty() && part(&lab, node).is_none()));
    assert!((0..5).all(|node| lab.engines[node].split_verdict().is_none()));
}

#[test]
fn the_larger_side_stays_and_the_smaller_withdraws_until_it_is_whole_again() {
    let mut lab = Lab::cluster_with(5, &config(Strategy::KeepMajority));
    (3..5).for_each(|node| lab.cut[node] = true);
    lab.run(secs(90));
    for node in 0..3 {
        let verdicts = told(&lab, node);
        let [verdict] = verdicts[..] else { panic!("{verdicts:?}") };
        assert_eq!((verdict.decision, verdict.seen, verdict.unseen), (Decision::Stay, 3, 2));
        assert_eq!(part(&lab, node).expect("it is told").0, HealthStatus::Healthy);
    }
    for node in 3..5 {
        let verdict = lab.engines[node].split_verdict().expect("it has decided");
        assert_eq!((verdict.decision, verdict.seen, verdict.unseen), (Decision::Withdraw, 1, 4));
        let (status, words) = part(&lab, node).expect("it is told");
        assert_eq!(status, HealthStatus::Unhealthy);
        assert_eq!(words, "this side withdraws; keep_majority: 1 of 5 members are seen, not the larger side");
    }
    lab.forget();
    (3..5).for_each(|node| lab.cut[node] = false);
    lab.run(secs(30));
    for node in 0..5 {
        let last = *told(&lab, node).last().expect("that it is over is told");
        assert_eq!((last.decision, last.why, last.unseen), (Decision::Stay, Why::Whole, 0));
        assert_eq!(lab.engines[node].split_verdict(), None);
    }
}

/// The view is still changing while members fail one after the other.
#[test]
fn nothing_is_decided_before_the_view_has_come_to_rest() {
    let mut lab = Lab::cluster_with(7, &config(Strategy::KeepMajority));
    (1..7).for_each(|node| lab.cut[node] = true);
    let began = lab.now;
    let mut last_failed = None;
    while told(&lab, 0).is_empty() {
        lab.run(Duration::from_millis(100));
        let failed = lab.engines[0].census().failed;
        if last_failed.is_none_or(|(count, _)| failed > count) && failed > 0 {
            last_failed = Some((failed, lab.now));
        }
        assert!(lab.now < began + secs(120), "it never decides");
    }
    let (failed, at) = last_failed.expect("members failed");
    let rest = lab.now - at;
    assert_eq!(failed, 6);
    assert!(rest >= secs(9) && rest <= secs(11), "decided {rest:?} after the last failure");
    assert_eq!(told(&lab, 0)[0].decision, Decision::Withdraw);
}

#[test]
fn a_quorum_that_never_came_together_is_missing_as_well() {
    let mut lab = Lab::strangers(0);
    let mut alone = Lab::cluster_with(1, &config(Strategy::StaticQuorum { members: 2 }));
    alone.run(secs(30));
    let verdict = alone.engines[0].split_verdict().expect("one is no quorum");
    assert_eq!((verdict.decision, verdict.seen, verdict.unseen), (Decision::Withdraw, 1, 0));
    lab.forget();
    let mut pair = Lab::cluster_with(2, &config(Strategy::StaticQuorum { members: 2 }));
    pair.run(secs(30));
    assert_eq!((told(&pair, 0), pair.engines[0].split_verdict()), (vec![], None));
    pair.cut[1] = true;
    pair.run(secs(60));
    assert_eq!(pair.engines[0].split_verdict().expect("it has decided").decision, Decision::Withdraw);
    // An operator who drops the other one does not change the quorum.
    pair.act(0, |engine, now| assert!(engine.forget(now, &id(1))));
    pair.run(secs(30));
    assert_eq!(pair.engines[0].split_verdict().expect("it has decided").decision, Decision::Withdraw);
}

#[test]
fn one_crash_is_decided_upon_and_told() {
    let mut lab = Lab::cluster_with(5, &config(Strategy::KeepOldest));
    // All are of one generation: the smallest id stands for the oldest.
    lab.cut[0] = true;
    lab.run(secs(90));
    for node in 1..5 {
        let verdict = lab.engines[node].split_verdict().expect("it has decided");
        assert_eq!(
            (verdict.decision, verdict.why),
            (Decision::Stay, Why::OldestIsAlone),
            "one crash stops nobody else"
        );
    }
    assert_eq!(lab.engines[0].split_verdict().expect("it has decided").decision, Decision::Withdraw);
    // Dropped for good: the four are whole.
    lab.forget();
    lab.act(1, |engine, now| assert!(engine.forget(now, &id(0))));
    lab.run(secs(10));
    assert!((1..5).all(|node| lab.engines[node].split_verdict().is_none() && told(&lab, node).len() == 1));
}

/// Otherwise a node that has left while it was to withdraw would never hear that this is over.
#[test]
fn who_leaves_while_it_withdraws_and_comes_back_is_told_when_that_is_over() {
    let mut lab = Lab::cluster_with(3, &config(Strategy::KeepMajority));
    (1..3).for_each(|node| lab.cut[node] = true);
    lab.run(secs(90));
    assert_eq!(told(&lab, 0).last().expect("it has decided").decision, Decision::Withdraw);
    lab.act(0, |engine, now| engine.leave(now));
    lab.run(secs(10));
    (1..3).for_each(|node| lab.cut[node] = false);
    lab.act(0, |engine, now| engine.join(now, vec![address(1)]));
    lab.run(secs(60));
    assert_eq!(lab.engines[0].census().alive, 3);
    assert_eq!(told(&lab, 0).last().expect("it is told").decision, Decision::Stay);
    assert_eq!(lab.engines[0].split_verdict(), None);
}

/// Whoever follows the events hears in their order what holds: a verdict that was told a moment before is over too.
#[test]
fn that_no_strategy_decides_any_more_is_told_after_what_it_has_said() {
    let mut lab = Lab::cluster_with(3, &config(Strategy::KeepMajority));
    (1..3).for_each(|node| lab.cut[node] = true);
    lab.run(secs(90));
    let swim = lab.engines[0].config().swim.clone();
    lab.act(0, |engine, now| engine.set_membership(now, swim, SplitBrainConfig::default()).expect("legal"));
    let is_of_split = |event: &&EngineEvent| matches!(event, EngineEvent::SplitBrain(_) | EngineEvent::SplitBrainEnded);
    let told: Vec<_> = lab.events[0].iter().filter(is_of_split).collect();
    assert!(
        matches!(told[..], [EngineEvent::SplitBrain(verdict), EngineEvent::SplitBrainEnded]
            if verdict.decision == Decision::Withdraw),
        "{told:?}"
    );
    assert_eq!(lab.engines[0].split_verdict(), None);
}

/// Leaves with two members failed and nothing decided, and comes back on the same side.
fn leave_and_rejoin(lab: &mut Lab, meanwhile: impl FnOnce(&mut Engine, Duration)) {
    assert_eq!((lab.engines[0].census().failed, told(lab, 0)), (2, vec![]));
    lab.act(0, |engine, now| engine.leave(now));
    lab.run(secs(10));
    lab.act(0, meanwhile);
    lab.act(0, |engine, now| engine.join(now, vec![address(1)]));
    lab.run(secs(60));
    assert_eq!(told(lab, 0).last().map(|verdict| verdict.decision), Some(Decision::Withdraw));
}

#[test]
fn who_leaves_before_the_verdict_and_comes_back_to_the_same_side_decides() {
    let mut lab = Lab::cluster_with(3, &config(Strategy::KeepMajority));
    (1..3).for_each(|node| lab.cut[node] = true);
    let end = lab.now + secs(120);
    while lab.engines[0].census().failed < 2 {
        lab.run(Duration::from_millis(100));
        assert!(lab.now < end, "nobody fails");
    }
    leave_and_rejoin(&mut lab, |_, _| ());
}

#[test]
fn a_strategy_that_was_set_after_the_farewell_decides_after_the_return() {
    let mut lab = Lab::cluster(3);
    (1..3).for_each(|node| lab.cut[node] = true);
    lab.run(secs(90));
    leave_and_rejoin(&mut lab, |engine, now| {
        let swim = engine.config().swim.clone();
        engine.set_membership(now, swim, config(Strategy::KeepMajority).split_brain).expect("legal");
    });
}
