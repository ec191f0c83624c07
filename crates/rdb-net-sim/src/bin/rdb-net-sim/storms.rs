//! Storms, for people and for programs.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use rdb_net_sim::storm::{Storm, Tally, run_many};

use crate::progress::Bar;

/// How many storms are played, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Storms {
    pub(crate) first: u64,
    pub(crate) seeds: u64,
    pub(crate) threads: usize,
    /// Until this time is up, however many seeds are left.
    pub(crate) time: Option<Duration>,
    pub(crate) json: bool,
}

/// Plays them. Gives what is to be said, and whether all were as they must be.
pub(crate) fn run(storms: &Storms) -> (String, bool) {
    let begun = Instant::now();
    let seeds = storms.first..storms.first.saturating_add(storms.seeds);
    let bar = std::sync::Mutex::new(Bar::new("storm"));
    let tally = run_many(seeds, storms.threads, storms.time, &|done| {
        if let Ok(mut bar) = bar.lock() {
            bar.show(done, storms.seeds);
        }
    });
    drop(bar);
    let wall = begun.elapsed();
    let text = if storms.json { json_of(storms, &tally, wall) } else { table_of(storms, &tally, wall) };
    (text, tally.bad.is_empty() && tally.storms > 0)
}

fn table_of(storms: &Storms, tally: &Tally, wall: Duration) -> String {
    let mut text = String::new();
    let good = tally.storms - tally.bad.len() as u64;
    let _ = writeln!(
        text,
        "storm       {good} of {} seeds from {} good, {} nodes, {} packets; one view after {}; {:.1} s of wall time on {} threads",
        tally.storms,
        storms.first,
        tally.nodes,
        tally.packets,
        spread(&tally.took),
        wall.as_secs_f64(),
        storms.threads,
    );
    if storms.seeds == 1 {
        let storm = Storm::new(storms.first);
        let _ = writeln!(text, "  {} nodes", storm.nodes());
        storm.script().iter().for_each(|line| {
            let _ = writeln!(text, "  {line}");
        });
    }
    for outcome in &tally.bad {
        let _ = writeln!(text, "  FAILED: {} (trace {:016x})", outcome.replay(), outcome.trace);
        outcome.problems.iter().take(5).for_each(|problem| {
            let _ = writeln!(text, "    {problem}");
        });
    }
    text
}

/// The middle and the greatest.
fn spread(took: &[Duration]) -> String {
    match (took.get(took.len() / 2), took.get(took.len() * 99 / 100), took.last()) {
        (Some(middle), Some(late), Some(most)) => format!(
            "{:.2} / {:.2} / {:.2} s (median / p99 / most)",
            middle.as_secs_f64(),
            late.as_secs_f64(),
            most.as_secs_f64()
        ),
        _ => "no time".to_owned(),
    }
}

fn json_of(storms: &Storms, tally: &Tally, wall: Duration) -> String {
    let bad: Vec<serde_json::Value> = tally
        .bad
        .iter()
        .map(|outcome| {
            serde_json::json!({
                "seed": outcome.seed,
                "nodes": outcome.nodes,
                "problems": outcome.problems,
                "trace": format!("{:016x}", outcome.trace),
                "replay": outcome.replay(),
            })
        })
        .collect();
    let report = serde_json::json!({
        "first_seed": storms.first,
        "storms": tally.storms,
        "nodes": tally.nodes,
        "packets": tally.packets,
        "one_view_seconds_most": tally.took.last().map(Duration::as_secs_f64),
        "bad": bad,
        "wall_seconds": wall.as_secs_f64(),
    });
    format!("{report}\n")
}
