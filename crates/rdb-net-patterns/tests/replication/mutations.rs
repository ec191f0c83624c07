//! Bugs, planted one at a time: each must break a rule that names it. Without one the same runs break none.

#![expect(clippy::print_stdout, reason = "the figures of a test are its output")]

use std::time::Duration;

use rdb_net_patterns::replication::Mutation;

use crate::script::Script;
use crate::world::World;

/// How many runs may pass until a bug is found.
const RUNS: u64 = 10_000;

/// With this bug in every node, a run breaks this rule; the same run without it breaks none.
#[track_caller]
fn check(mutation: Mutation, rule: &str) {
    check_with(&format!("{mutation:?}"), |script| script.mutation = Some(mutation), rule);
}

#[track_caller]
fn check_with(bug: &str, plant: impl Fn(&mut Script), rule: &str) {
    let rough = |script: &mut Script| {
        script.crash = script.crash.max(0.005);
        script.lead_every = script.lead_every.min(Duration::from_millis(100));
        script.compact_every = Some(Duration::from_millis(20));
        script.failed_sync = 0.0;
    };
    let breaks = |problem: &String| problem.starts_with(&format!("{rule}: "));
    let planted = |script: &mut Script| {
        rough(script);
        plant(script);
    };
    let found = (1..=RUNS).find(|seed| World::new(*seed, planted, false).run().0.iter().any(breaks));
    let seed = found.unwrap_or_else(|| panic!("{bug} does not break {rule} in {RUNS} runs"));
    println!("{bug} breaks {rule} in run {seed}");
    assert_eq!(World::new(seed, rough, false).run().0, [""; 0], "seed {seed} without a bug");
}

#[test]
fn an_acknowledgement_before_the_sync_is_found() {
    check(Mutation::AckBeforeSync, "acknowledged-is-durable");
    check(Mutation::AckBeforeSync, "nothing-lost");
}

/// A disk that fails a sync may have lost what it should have written; who takes it for done breaks his word.
#[test]
fn a_failed_sync_that_is_taken_for_one_that_did_not_is_found() {
    for rule in ["acknowledged-is-durable", "nothing-lost"] {
        let plant = |script: &mut Script| (script.lies, script.failed_sync) = (true, 0.005);
        check_with("a failed sync that is taken for done", plant, rule);
    }
}

#[test]
fn an_acknowledgement_before_the_append_is_found() {
    check(Mutation::AckBeforeAppend, "acknowledged-is-durable");
}

#[test]
fn a_leader_that_knows_less_is_found() {
    check(Mutation::GrantsAnybody, "nothing-lost");
}

#[test]
fn a_leader_of_an_older_epoch_is_found() {
    check(Mutation::EpochUnfenced, "nothing-lost");
}

#[test]
fn replicas_of_former_epochs_that_count_are_found() {
    check(Mutation::CountsFormerEpochs, "committed-prefix");
}

#[test]
fn a_log_that_is_compacted_too_far_is_found() {
    check(Mutation::CompactsUncommitted, "nothing-lost");
}

#[test]
fn a_promise_that_is_forgotten_is_found() {
    check(Mutation::RestoreForgetsPromise, "nothing-lost");
}
