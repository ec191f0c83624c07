//! Outcomes of scenarios, for people and for programs.

use std::fmt::Write as _;
use std::time::Duration;

use rdb_net_sim::{Outcome, scenario};

/// The names, and what each does.
pub(crate) fn list() -> String {
    let mut text = String::new();
    for scenario in scenario::ALL {
        let _ = writeln!(text, "{:<12}{} ({} nodes or more)", scenario.name, scenario.about, scenario.nodes_min);
    }
    text
}

pub(crate) fn table_of(outcomes: &[Outcome], wall: Duration) -> String {
    let mut text = String::new();
    let Some(first) = outcomes.first() else { return text };
    let good = outcomes.iter().filter(|outcome| outcome.is_good()).count();
    let _ = writeln!(
        text,
        "{:<12}{} nodes, {good} of {} seeds good; {}; bound {:.1} s; {:.1} s of wall time",
        first.scenario,
        first.nodes,
        outcomes.len(),
        spread(outcomes),
        first.bound.as_secs_f64(),
        wall.as_secs_f64(),
    );
    if let [only] = outcomes {
        let simulated = only.simulated.as_secs_f64();
        let _ = writeln!(text, "  trace {:016x}, {simulated:.3} s simulated, {} packets", only.trace, only.packets);
    }
    for outcome in outcomes.iter().filter(|outcome| !outcome.is_good()) {
        let _ = writeln!(text, "  FAILED: {}", outcome.replay());
        outcome.problems.iter().take(5).for_each(|problem| {
            let _ = writeln!(text, "    {problem}");
        });
    }
    text
}

/// The least, middle and greatest of what was measured.
fn spread(outcomes: &[Outcome]) -> String {
    let mut took: Vec<Duration> = outcomes.iter().filter_map(|outcome| outcome.took).collect();
    took.sort_unstable();
    match (took.first(), took.get(took.len() / 2), took.last()) {
        (Some(least), Some(middle), Some(most)) => format!(
            "took {:.3} / {:.3} / {:.3} s (least / median / most)",
            least.as_secs_f64(),
            middle.as_secs_f64(),
            most.as_secs_f64()
        ),
        _ => "nothing was measured".to_owned(),
    }
}

pub(crate) fn json_of(outcomes: &[Outcome], wall: Duration) -> String {
    let runs: Vec<serde_json::Value> = outcomes
        .iter()
        .map(|outcome| {
            serde_json::json!({
                "seed": outcome.seed,
                "good": outcome.is_good(),
                "took_seconds": outcome.took.map(|took| took.as_secs_f64()),
                "problems": outcome.problems,
                "trace": format!("{:016x}", outcome.trace),
                "simulated_seconds": outcome.simulated.as_secs_f64(),
                "packets": outcome.packets,
                "replay": outcome.replay(),
            })
        })
        .collect();
    let first = outcomes.first();
    let report = serde_json::json!({
        "scenario": first.map(|outcome| outcome.scenario),
        "nodes": first.map(|outcome| outcome.nodes),
        "bound_seconds": first.map(|outcome| outcome.bound.as_secs_f64()),
        "wall_seconds": wall.as_secs_f64(),
        "runs": runs,
    });
    format!("{report}\n")
}
