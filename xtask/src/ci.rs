//! `cargo xtask ci`: what `.ci/run` does, in one process: every stage, whatever happened to the one before it, and at the
//! end the time of each.

use std::time::{Duration, Instant};

use crate::failure::{Failure, no_arguments};
use crate::house::House;
use crate::{Run, claims, deny, features, layers, lint, sim, test};

/// The stages in order, without arguments.
pub(crate) const STAGES: &[(&str, Run)] = &[
    ("test", test::run),
    ("claims", claims::run),
    ("sim", sim::run),
    ("lint", lint::run),
    ("layers", layers::run),
    ("features", features::run),
    ("deny", deny::run),
];

/// Runs all stages and fails when one of them did.
pub(crate) fn run(house: &House, arguments: &[String]) -> Result<(), Failure> {
    no_arguments("ci", arguments)?;
    let mut outcomes = Vec::new();
    for (name, stage) in STAGES {
        println!("\n== {name}");
        let started = Instant::now();
        let result = stage(house, &[]);
        if let Err(failure) = &result {
            eprintln!("error: {failure}");
        }
        outcomes.push(Outcome { name, took: started.elapsed(), passed: result.is_ok() });
    }
    println!("\n{}", summary(&outcomes));
    let failed: Vec<&str> = outcomes.iter().filter(|outcome| !outcome.passed).map(|outcome| outcome.name).collect();
    if failed.is_empty() { Ok(()) } else { Err(Failure::Check(format!("failed: {}", failed.join(", ")))) }
}

/// How a stage ended.
struct Outcome {
    name: &'static str,
    took: Duration,
    passed: bool,
}

fn summary(outcomes: &[Outcome]) -> String {
    let total = outcomes.iter().map(|outcome| outcome.took).sum();
    let rows = outcomes.iter().map(|outcome| {
        let verdict = if outcome.passed { "ok" } else { "FAILED" };
        row(outcome.name, outcome.took, verdict)
    });
    rows.chain([row("total", total, "")]).collect::<Vec<_>>().join("\n")
}

fn row(name: &str, took: Duration, verdict: &str) -> String {
    format!("{name:<10}{:>7.1} s  {verdict}", took.as_secs_f64()).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_each_stage_its_time_and_how_it_ended() {
        let outcomes = [
            Outcome { name: "test", took: Duration::from_millis(61_500), passed: true },
            Outcome { name: "lint", took: Duration::from_millis(2_300), passed: false },
        ];
        assert_eq!(summary(&outcomes), "test         61.5 s  ok\nlint          2.3 s  FAILED\ntotal        63.8 s");
    }
}
