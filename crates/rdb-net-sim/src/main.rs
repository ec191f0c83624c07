//! `rdb-net-sim`: runs scenarios over many seeds, and prints for one that fails the command that replays it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rdb_net_sim::{Outcome, Scenario, scenario};

const USAGE: &str = "\
rdb-net-sim runs scenarios on a simulated cluster.

  rdb-net-sim list
  rdb-net-sim scenario NAME|all [--nodes N] [--seed S] [--seeds K] [--output table|json]

  --nodes N    nodes of the cluster; default 5
  --seed S     the first seed; default 1
  --seeds K    how many seeds, S and those after it; default 1

Exit codes: 0 all runs were good, 1 some were not, 2 the command line is wrong.
";

/// What the command line asks for.
#[derive(Debug)]
enum Task {
    Help,
    List,
    Run { scenarios: Vec<Scenario>, nodes: usize, first: u64, seeds: u64, json: bool },
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match parse(&arguments) {
        Ok(Task::Help) => say(USAGE),
        Ok(Task::List) => list(),
        Ok(Task::Run { scenarios, nodes, first, seeds, json }) => {
            let mut is_good = true;
            for scenario in scenarios {
                let begun = Instant::now();
                let outcomes: Vec<Outcome> =
                    (first..first.saturating_add(seeds)).map(|seed| scenario.run(nodes, seed)).collect();
                is_good &= outcomes.iter().all(Outcome::is_good);
                let wall = begun.elapsed();
                say(&if json { json_of(&outcomes, wall) } else { table_of(&outcomes, wall) });
            }
            if !is_good {
                return ExitCode::from(1);
            }
        }
        Err(problem) => {
            let _ = write!(std::io::stderr(), "{problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn parse(arguments: &[String]) -> Result<Task, String> {
    let mut words = arguments.iter().map(String::as_str);
    match words.next() {
        None | Some("help" | "--help" | "-h") => return Ok(Task::Help),
        Some("list") => return Ok(Task::List),
        Some("scenario") => {}
        Some(other) => return Err(format!("there is no command {other:?}")),
    }
    let name = words.next().ok_or("which scenario?")?;
    let scenarios = match Scenario::find(name) {
        _ if name == "all" => scenario::ALL.to_vec(),
        Some(scenario) => vec![scenario],
        None => return Err(format!("there is no scenario {name:?}; `rdb-net-sim list` names them")),
    };
    let (mut nodes, mut first, mut seeds, mut json) = (5, 1, 1, false);
    while let Some(option) = words.next() {
        let value = words.next().ok_or_else(|| format!("{option} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{option} needs a number, not {value:?}"));
        match option {
            "--nodes" => nodes = number()?.min(100_000) as usize,
            "--seed" => first = number()?,
            "--seeds" => seeds = number()?,
            "--output" if value == "json" => json = true,
            "--output" if value == "table" => json = false,
            "--output" => return Err(format!("--output is table or json, not {value:?}")),
            _ => return Err(format!("there is no option {option:?}")),
        }
    }
    Ok(Task::Run { scenarios, nodes, first, seeds, json })
}

fn list() {
    let mut text = String::new();
    for scenario in scenario::ALL {
        let _ = writeln!(text, "{:<12}{} ({} nodes or more)", scenario.name, scenario.about, scenario.nodes_min);
    }
    say(&text);
}

fn table_of(outcomes: &[Outcome], wall: Duration) -> String {
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

fn json_of(outcomes: &[Outcome], wall: Duration) -> String {
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

/// Writes to the standard output; who has closed it wants no more.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
