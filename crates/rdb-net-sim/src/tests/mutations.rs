//! Bugs of others, planted one at a time: each must break a rule that names it. Without one the same storms break none.

use rdb_swim::Mutation;

use crate::storm::Storm;

/// Seeds from which a storm is looked for that shows a bug.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=40;

/// With this bug in every node, one of the storms breaks this rule.
#[track_caller]
fn check(mutation: Mutation, rule: &str) {
    let mut seen = std::collections::BTreeMap::<String, Vec<u64>>::new();
    for seed in SEEDS {
        for problem in Storm::new(seed).with_mutation(mutation).run().problems {
            let name = problem.split(": ").next().unwrap_or_default().split(", ").last().unwrap_or_default().to_owned();
            seen.entry(name).or_default().push(seed);
        }
    }
    seen.values_mut().for_each(Vec::dedup);
    eprintln!("{mutation:?}: {seen:?}");
    assert!(seen.contains_key(rule), "{mutation:?} breaks none of {rule}, but {seen:?}");
}

#[test]
fn an_incarnation_that_wraps_is_found() {
    check(Mutation::IncarnationWraps, "own-incarnation");
}

#[test]
fn a_ghost_that_returns_is_found() {
    check(Mutation::GhostsReturn, "no-resurrection");
}

#[test]
fn evidence_that_is_dropped_is_found() {
    check(Mutation::EvidenceDropped, "agreement");
}

#[test]
fn a_nack_that_comes_late_is_found() {
    check(Mutation::NacksLate, "nacks-in-time");
}

#[test]
fn probes_that_overlap_are_found() {
    check(Mutation::ProbesOverlap, "probes-in-turn");
}
