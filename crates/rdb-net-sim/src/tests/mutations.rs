//! Bugs of others, planted one at a time: each must break a rule that names it. Without one the same storms break none.

use rdb_swim::Mutation;

use crate::storm::Storm;

/// In one of these storms, with this bug in every node, this rule is broken.
#[track_caller]
fn check(mutation: Mutation, rule: &str, seeds: &[u64]) {
    let breaks = |problem: &String| problem.contains(&format!(" s, {rule}: "));
    let seen: Vec<Vec<String>> =
        seeds.iter().map(|seed| Storm::new(*seed).without_memory().with_mutation(mutation).run().problems).collect();
    assert!(seen.iter().flatten().any(breaks), "{mutation:?} does not break {rule}: {seen:#?}");
    for seed in seeds {
        assert_eq!(Storm::new(*seed).without_memory().run().problems, [""; 0], "seed {seed} without a bug");
    }
}

#[test]
fn an_incarnation_that_wraps_is_found() {
    check(Mutation::IncarnationWraps, "own-incarnation", &[1]);
}

#[test]
fn a_ghost_that_returns_is_found() {
    check(Mutation::GhostsReturn, "no-resurrection", &[7, 8]);
}

#[test]
fn evidence_that_is_dropped_is_found() {
    check(Mutation::EvidenceDropped, "agreement", &[1, 2]);
}

#[test]
fn a_nack_that_comes_late_is_found() {
    check(Mutation::NacksLate, "nacks-in-time", &[21, 35]);
}

#[test]
fn probes_that_overlap_are_found() {
    check(Mutation::ProbesOverlap, "probes-in-turn", &[1]);
}

#[test]
fn rumours_that_never_end_are_found() {
    check(Mutation::RumoursNeverEnd, "load-at-rest", &[1]);
}

#[test]
fn a_score_of_health_without_a_limit_is_found() {
    check(Mutation::HealthHasNoLimit, "local-health", &[1]);
}

#[test]
fn hasty_verdicts_are_found() {
    check(Mutation::VerdictsAreHasty, "suspicion-time", &[1]);
}
