//! Runs by the seed, what is told of one that breaks a rule, and bugs that are planted.

#![expect(clippy::print_stdout, reason = "the figures of a test are its output")]

use std::collections::BTreeMap;

use rdb_net_patterns::query::{Mutation, Outcome};

use crate::check;
use crate::history::{Fact, History};
use crate::world::{Counts, World};

/// How many runs an ordinary test makes.
const RUNS: u64 = 2000;
/// In how many runs each planted bug is found.
const RUNS_OF_A_BUG: u64 = 1000;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

fn play(seed: u64, mutation: Option<Mutation>) -> (History, Counts) {
    World::new(seed, |script| script.mutation = mutation).run()
}

/// What became of parts, and what was given behind the deadline.
fn count(history: &History, counts: Counts, totals: &mut BTreeMap<&'static str, u64>) {
    let mut add = |name, more: u64| *totals.entry(name).or_default() += more;
    for event in &history.events {
        match &event.what {
            Fact::Outcome { outcome, .. } => {
                let (name, tried) = match outcome {
                    Outcome::Complete { .. } => ("complete", 0),
                    Outcome::Failed { tried } => ("failed", tried.len() - 1),
                    Outcome::Broken { tried, .. } => ("broken", tried.len()),
                    Outcome::Late { tried, .. } => ("late", tried.len()),
                    Outcome::NotNeeded => ("not needed", 0),
                    Outcome::TooMuch => ("too much", 0),
                };
                add(name, 1);
                add("told of nodes before", tried as u64);
            }
            Fact::Asked { .. } => add("asked", 1),
            Fact::Given { rows, .. } if event.at >= history.deadline() => {
                add("rows behind the deadline", rows.len() as u64)
            }
            Fact::Given { rows, .. } => add("rows", rows.len() as u64),
            _ => {}
        }
    }
    let Counts { losses, kills, cuts, refusals } = counts;
    for (name, more) in [("connections lost", losses), ("kills", kills), ("cuts", cuts), ("refusals", refusals)] {
        add(name, more);
    }
}

#[test]
fn runs_of_slow_cut_and_killed_nodes_break_no_rule() {
    let (runs, first) = (number("QUERY_RUNS", RUNS), number("QUERY_SEED", 1));
    let mut totals = BTreeMap::new();
    for seed in first..first + runs {
        let (history, counts) = play(seed, None);
        if runs == 1 {
            history.events.iter().for_each(|event| println!("{:>8} {:?}", event.at.as_micros(), event.what));
        }
        let broken = check::all(&history);
        assert!(
            broken.is_empty(),
            "{}\nagain, with all that happens:\n  QUERY_SEED={seed} QUERY_RUNS=1 \
             cargo test -p rdb-net-patterns --test query runs_of -- --nocapture",
            broken.join("\n")
        );
        count(&history, counts, &mut totals);
    }
    println!("{runs} runs: {totals:?}");
    // Nothing is shown by runs in which nothing happened.
    let seldom = |(name, least): &(&str, u64)| totals.get(name).copied().unwrap_or(0) * 100 < least * runs;
    let least = [
        ("complete", 50),
        ("failed", 10),
        ("broken", 10),
        ("late", 20),
        ("not needed", 10),
        ("too much", 5),
        ("told of nodes before", 10),
        ("rows behind the deadline", 10),
        ("connections lost", 50),
        ("kills", 30),
        ("cuts", 30),
        ("refusals", 20),
    ];
    let missing: Vec<_> = least.iter().filter(|it| seldom(it)).collect();
    assert!(runs < 100 || missing.is_empty(), "the runs are not rough: {missing:?} of {totals:?}");
}

#[test]
fn a_seed_is_one_run() {
    assert_eq!(play(3, None).0, play(3, None).0);
    assert_ne!(play(3, None).0, play(4, None).0);
}

/// With this bug some run breaks this rule; the same runs without it break none.
#[track_caller]
fn check_found(mutation: Mutation, rule: &str) {
    let breaks = |problem: &String| problem.starts_with(&format!("{rule}: "));
    let found = (1..=RUNS_OF_A_BUG).find(|seed| check::all(&play(*seed, Some(mutation)).0).iter().any(breaks));
    let seed = found.unwrap_or_else(|| panic!("{mutation:?} does not break {rule} in {RUNS_OF_A_BUG} runs"));
    println!("{mutation:?} breaks {rule} in run {seed}");
    for seed in 1..=RUNS_OF_A_BUG {
        assert_eq!(check::all(&play(seed, None).0), [""; 0], "seed {seed} without a bug");
    }
}

#[test]
fn another_node_that_is_asked_after_an_unknown_effect_is_found() {
    check_found(Mutation::AsksAfterUnknown, "asked-once");
}

#[test]
fn a_missing_cancellation_when_enough_are_complete_is_found() {
    check_found(Mutation::NoCancelAtFirst, "told-to-stop");
}

#[test]
fn a_part_that_is_told_as_complete_when_its_node_died_in_the_middle_is_found() {
    check_found(Mutation::BrokenIsComplete, "one-node");
}

#[test]
fn rows_that_are_dropped_at_the_deadline_are_found() {
    check_found(Mutation::DropsAtDeadline, "nothing-lost");
}

#[test]
fn rows_of_two_nodes_in_one_part_are_found() {
    check_found(Mutation::MixesNodes, "one-node");
}

#[test]
fn a_node_that_was_not_reached_and_is_told_as_late_is_found() {
    check_found(Mutation::UnsentIsLate, "truth");
}

#[test]
fn an_earlier_node_that_an_outcome_forgets_is_found() {
    check_found(Mutation::ForgetsTried, "truth");
}

#[test]
fn rows_that_are_taken_without_end_behind_the_deadline_are_found() {
    check_found(Mutation::TakesOnBehindDeadline, "deadline");
}

#[test]
fn an_end_behind_a_full_window_that_is_lost_is_found() {
    check_found(Mutation::ForgetsEnds, "nothing-lost");
}

#[test]
fn a_request_that_went_at_once_and_counts_as_not_sent_is_found() {
    check_found(Mutation::SentIsNotSeen, "nothing-lost");
}
