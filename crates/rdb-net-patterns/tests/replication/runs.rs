//! Runs by the seed, and what is told of one that breaks a rule.

#![expect(clippy::print_stdout, reason = "the figures of a test are its output")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::deaths::Deaths;
use crate::world::World;

/// How many runs an ordinary test makes, and how often nodes have died at each step in as many, at the least.
const RUNS: u64 = 500;
const DEATHS_MIN: u64 = 3;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn runs_of_crashes_cuts_and_changing_leaders_break_no_rule() {
    let (runs, first) = (number("REPLICATION_RUNS", RUNS), number("REPLICATION_SEED", 1));
    let next = AtomicU64::new(first);
    let (totals, deaths): ([AtomicU64; 7], Mutex<Deaths>) = Default::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + runs {
                        return;
                    }
                    run(seed, runs == 1, &totals, &deaths);
                }
            });
        }
    });
    let [acknowledged, crashes, leaders, cuts, compactions, restored, failed] = totals.map(AtomicU64::into_inner);
    println!(
        "{runs} runs: {acknowledged} entries acknowledged, {leaders} leaders, {crashes} crashes, {cuts} logs cut, \
         {compactions} compacted, {restored} restored from a copy, {failed} failed syncs"
    );
    let deaths = deaths.into_inner().expect("no run panics while it holds this lock");
    println!("died at\n{}", deaths.table());
    let seldom = deaths.fewer_than(runs / RUNS * DEATHS_MIN);
    assert!(seldom.is_empty(), "hardly anybody died at {seldom:?}");
    assert!(acknowledged > 10 * runs && leaders > runs, "the runs do something");
    assert!(
        runs < 100 || (crashes > runs && cuts > runs / 10 && compactions > runs && restored > runs / 10),
        "the runs are rough"
    );
}

fn run(seed: u64, is_traced: bool, totals: &[AtomicU64; 7], deaths: &Mutex<Deaths>) {
    let mut world = World::new(seed, |_| {}, is_traced);
    let (broken, trace) = world.run();
    trace.iter().for_each(|line| println!("{line}"));
    deaths.lock().expect("no run panics while it holds this lock").add(std::mem::take(&mut world.deaths));
    let World { acknowledged, crashes, leaders, cut_logs, compactions, restored, failed_syncs, .. } = world;
    let counts = [acknowledged, crashes, leaders, cut_logs, compactions, restored, failed_syncs];
    totals.iter().zip(counts).for_each(|(total, count)| {
        total.fetch_add(count, Ordering::Relaxed);
    });
    assert!(
        broken.is_empty(),
        "{}\nagain, with all that happens:\n  REPLICATION_SEED={seed} REPLICATION_RUNS=1 \
         cargo test -p rdb-net-patterns --test replication runs_of -- --nocapture",
        broken.join("\n")
    );
}

#[test]
fn a_seed_is_one_run() {
    let trace = |seed| World::new(seed, |_| {}, true).run().1;
    assert_eq!(trace(3), trace(3));
    assert_ne!(trace(3), trace(4));
}
