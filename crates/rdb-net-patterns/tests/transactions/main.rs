//! Transactions in a world where everything goes wrong: what must hold of every run, and what finds each planted bug.
//!
//! ```text
//! RDB_RUNS=10000 cargo test --release -p rdb-net-patterns --test transactions every_run
//! RDB_SEED=4711 cargo test -p rdb-net-patterns --test transactions one_seed -- --nocapture
//! ```

mod host;
mod operator;
#[path = "../world/mod.rs"]
mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use rdb_net_patterns::transaction::check::{self, Violation};
use rdb_net_patterns::transaction::{Decision, Event, History, Mutation, Occurrence};
use rdb_net_types::SeededRandom;

use host::{PLANTED, PRESUMED, TransactionNode};
use world::{Counts, Deaths, Faults, LIES, Told, World};

/// How many runs an ordinary test makes.
const RUNS: u64 = 500;
const TRANSACTIONS: usize = 40;
const FAULTY: Duration = Duration::from_secs(10);
/// Longer than every wait of the machines, one after the other.
const HEALED: Duration = Duration::from_secs(60);

struct Run {
    history: History,
    counts: Counts,
    deaths: Deaths,
}

/// Plays the run of a seed, whose nodes, faults and transactions all follow from it.
fn play(seed: u64) -> Run {
    let mut random = SeededRandom::new(seed);
    let nodes = 3 + random.index(5);
    let faults = Faults::draw(&mut random);
    let mut world: World<TransactionNode> = World::new(random.next_u64(), nodes, faults);
    for _ in 0..TRANSACTIONS {
        world.command(random.duration(Duration::from_millis(50), FAULTY));
    }
    world.run(FAULTY, HEALED);
    let event = |Told { at, node, note }| Event { at_us: at.as_micros() as u64, node, what: note };
    let deaths = std::mem::take(&mut world.deaths);
    Run { history: world.take_notes().into_iter().map(event).collect(), counts: world.counts, deaths }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

#[track_caller]
fn assert_sound(seed: u64, violations: &[Violation]) {
    let found: Vec<String> = violations.iter().map(Violation::to_string).collect();
    assert!(
        found.is_empty(),
        "seed {seed}:\n{}\nreplay: RDB_SEED={seed} cargo test -p rdb-net-patterns --test transactions one_seed -- --nocapture",
        found.join("\n")
    );
}

/// How many transactions came to which end.
fn decided(history: &History, wanted: Decision) -> usize {
    let is_it = |event: &&Event| matches!(event.what, Occurrence::Decided { decision, .. } if decision == wanted);
    history.events().iter().filter(is_it).count()
}

/// How many times an operator decided so by hand.
fn resolved(history: &History, wanted: Decision) -> usize {
    let is_it = |event: &&Event| matches!(event.what, Occurrence::Resolved { decision, .. } if decision == wanted);
    history.events().iter().filter(is_it).count()
}

#[test]
fn every_run_is_atomic_durable_and_comes_to_an_end() {
    let mut sum = Counts::default();
    let (mut committed, mut aborted) = (0, 0);
    let (mut by_hand_committed, mut by_hand_aborted) = (0, 0);
    let runs = variable("RDB_RUNS").unwrap_or(RUNS);
    let mut deaths = Deaths::default();
    PRESUMED.set(0);
    for seed in 0..runs {
        let run = play(seed);
        assert_sound(seed, &check::all(&run.history));
        sum = sum + run.counts;
        deaths.add(run.deaths);
        committed += decided(&run.history, Decision::Commit);
        aborted += decided(&run.history, Decision::Abort);
        by_hand_committed += resolved(&run.history, Decision::Commit);
        by_hand_aborted += resolved(&run.history, Decision::Abort);
    }
    println!("{runs} runs: {committed} committed, {aborted} aborted, {sum:?}");
    println!("resolved by hand: {by_hand_committed} committed, {by_hand_aborted} aborted");
    println!("acknowledged by presumption alone, each done: {}", PRESUMED.get());
    println!("died at\n{}", deaths.table());
    let mut steps = steps();
    steps.retain(|step| deaths.of(step) < runs / RUNS * DEATHS_MIN);
    assert!(steps.is_empty(), "hardly anybody died at {steps:?}");
    // Nothing is shown by runs in which nothing happened.
    assert!(by_hand_committed as u64 > runs / 10 && by_hand_aborted as u64 > runs / 20, "operators had nothing to do");
    assert!(committed as u64 > 5 * runs && aborted as u64 > 2 * runs, "{committed} and {aborted}");
    assert!(sum.deaths > runs && sum.deaths_unsynced > runs / 10 && sum.cuts > runs, "{sum:?}");
    assert!(sum.failed_syncs > runs / 10, "{sum:?}");
    assert!(PRESUMED.get() > runs / 10, "{} acknowledged by presumption", PRESUMED.get());
    assert!([sum.not_sent, sum.not_started, sum.unknown, sum.copies].iter().all(|count| *count > runs), "{sum:?}");
}

/// How often nodes have died at each step, at the least, in as many runs as an ordinary test makes.
const DEATHS_MIN: u64 = 5;

/// Every step of the protocol, with what comes before and after it. Those at which an operator's decision is written are counted and not asked for:
/// hardly one of some hundred in so many runs falls into the time of the faults. Nor are refusals, which hardly happen.
fn steps() -> Vec<String> {
    let forced = ["Started", "Prepared", "Decided", "Committed", "GivenUp"];
    let others = ["Aborted", "Applied", "Ended"];
    let steps = [
        "sending a prepare",
        "sending a commit",
        "sending an abort",
        "sending a question",
        "answering a vote to commit",
        "answering another vote",
        "answering an acknowledgement",
        "answering that it is committed",
        "answering that it is aborted",
        "answering that it is not decided",
        "asking for a list",
        "answering with a list",
        "giving a request up",
        "replacing the log",
        "telling the application",
        "letting the resource apply",
        "the resource has applied",
    ];
    let steps = steps.iter().map(|step| (*step).to_owned());
    let appends = forced.iter().chain(&others).map(|record| format!("appending {record}"));
    let syncs = forced.iter().map(|record| format!("the sync of {record}"));
    let steps: Vec<String> = steps.chain(appends).chain(syncs).collect();
    let first = ["before the first action of a life".to_owned()];
    let failed = forced.iter().map(|record| format!("failed: the sync of {record}"));
    let sides = ["before", "after"].map(|side| steps.iter().map(move |step| format!("{side} {step}")));
    first.into_iter().chain(failed).chain(sides.into_iter().flatten()).collect()
}

#[test]
fn one_seed() {
    let seed = variable("RDB_SEED").unwrap_or(1);
    let run = play(seed);
    if variable("RDB_SEED").is_some() {
        run.history.events().iter().for_each(|event| println!("{:>10} {} {:?}", event.at_us, event.node, event.what));
        println!("{:?}", run.counts);
    }
    assert_sound(seed, &check::all(&run.history));
    assert_eq!(run.history, play(seed).history, "one seed is one run");
}

/// A bug is to be found by this check, in so many runs at the most.
#[track_caller]
fn assert_found_in(runs: u64, mutation: Mutation, by: &str) {
    PLANTED.set(Some(mutation));
    let mut found = BTreeSet::new();
    for seed in 0..runs {
        found.extend(check::all(&play(seed).history).into_iter().map(|violation| violation.check));
        if found.contains(by) {
            break;
        }
    }
    PLANTED.set(None);
    assert!(found.contains(by), "{mutation:?} is to be found by {by}, and was found by {found:?}");
}

#[track_caller]
fn assert_found(mutation: Mutation, by: &str) {
    assert_found_in(200, mutation, by);
}

/// A disk that fails a sync may have lost what it should have written; who takes it for done breaks his word.
#[test]
fn a_failed_sync_that_is_taken_for_one_that_did_not_is_found_by_durability() {
    LIES.set(true);
    let found =
        (0..200).any(|seed| check::all(&play(seed).history).iter().any(|violation| violation.check == "durability"));
    LIES.set(false);
    assert!(found, "durability is to find it");
}

#[test]
fn a_forgotten_sync_of_the_decision_is_found_by_durability() {
    assert_found(Mutation::DecidedNotForced, "durability");
}

#[test]
fn a_forgotten_sync_of_the_vote_is_found_by_durability() {
    assert_found(Mutation::PreparedNotForced, "durability");
}

#[test]
fn a_forgotten_sync_of_the_commit_is_found_by_atomicity() {
    assert_found(Mutation::CommittedNotForced, "atomicity");
}

#[test]
fn a_commit_that_counts_as_done_before_the_resource_has_done_it_is_found_by_durability() {
    assert_found(Mutation::AppliedBeforeEnd, "durability");
}

#[test]
fn a_commit_before_all_votes_is_found_by_votes() {
    assert_found(Mutation::CommitBeforeVotes, "votes");
}

#[test]
fn an_abort_by_oneself_in_doubt_is_found_by_atomicity() {
    assert_found(Mutation::DoubtAborts, "atomicity");
}

#[test]
fn a_doubt_that_asks_nobody_is_found_by_progress() {
    assert_found(Mutation::DoubtNeverAsks, "progress");
}

#[test]
fn ids_that_are_used_twice_are_found_by_atomicity() {
    assert_found(Mutation::EpochForgotten, "atomicity");
}

#[test]
fn a_restart_that_forgets_the_part_of_who_was_given_up_is_found_by_atomicity() {
    assert_found(Mutation::GivenUpIsNoMember, "atomicity");
}

#[test]
fn a_vote_of_who_was_given_up_that_still_counts_is_found_by_atomicity() {
    assert_found_in(1000, Mutation::GiveUpLeavesVoting, "atomicity");
}

#[test]
fn a_restart_that_forgets_which_commits_were_given_up_is_found_by_atomicity() {
    assert_found(Mutation::GivenUpCommitsForgotten, "atomicity");
}
