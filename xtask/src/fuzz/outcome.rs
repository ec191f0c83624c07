//! What the engine says of a run.

use std::path::PathBuf;

/// How a run of one target ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    executions: u64,
    per_second: u64,
    /// Edges and inputs, when the corpora were read and at the end.
    edges: (u64, u64),
    inputs: (u64, u64),
    /// The panic's first lines, or what else the engine stopped at.
    pub(crate) message: String,
    /// The files with the inputs that broke a promise.
    pub(crate) findings: Vec<PathBuf>,
}

impl Outcome {
    /// Reads the engine's log.
    pub(crate) fn read(name: &str, log: &str, findings: Vec<PathBuf>) -> Self {
        let told: Vec<(u64, u64)> = log.lines().filter(|line| line.starts_with('#')).filter_map(progress).collect();
        let first = log.lines().find(|line| line.contains("\tINITED")).and_then(progress);
        let first = first.or(told.first().copied()).unwrap_or_default();
        let last = told.last().copied().unwrap_or_default();
        let statistic = |name: &str| {
            let line = log.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim().parse().ok()).unwrap_or(0)
        };
        Self {
            name: name.to_owned(),
            executions: statistic("stat::number_of_executed_units:"),
            per_second: statistic("stat::average_exec_per_sec:"),
            edges: (first.0, last.0),
            inputs: (first.1, last.1),
            message: message(log),
            findings,
        }
    }

    /// One line of the table.
    pub(crate) fn row(&self) -> String {
        let (edges, inputs) = (arrow(self.edges), arrow(self.inputs));
        let found = if self.findings.is_empty() { String::new() } else { format!("{} FOUND", self.findings.len()) };
        let row = format!(
            "{:<16} {:>11} {:>9}  {edges:<14} {inputs:<14} {found}",
            self.name, self.executions, self.per_second
        );
        row.trim_end().to_owned()
    }
}

/// All runs.
pub(crate) fn table(outcomes: &[Outcome]) -> String {
    let head = format!("{:<16} {:>11} {:>9}  {:<14} {:<14}", "target", "executions", "a second", "edges", "inputs");
    let rows = outcomes.iter().map(Outcome::row);
    [head.trim_end().to_owned()].into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}

fn arrow((before, after): (u64, u64)) -> String {
    format!("{before} -> {after}")
}

/// Edges and inputs in a line such as `#4 INITED cov: 55 ft: 194 corp: 40/620b exec/s: 0 rss: 28Mb`.
fn progress(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split_whitespace();
    words.by_ref().find(|word| *word == "cov:")?;
    let edges = words.next()?.parse().ok()?;
    words.by_ref().find(|word| *word == "corp:")?;
    let inputs = words.next()?.split('/').next()?.parse().ok()?;
    Some((edges, inputs))
}

/// The line of the panic and the one behind it, or the engine's own error.
fn message(log: &str) -> String {
    let mut lines = log.lines().skip_while(|line| !line.contains("panicked at"));
    if let Some(place) = lines.next() {
        return format!("{place} {}", lines.next().unwrap_or_default()).trim().to_owned();
    }
    let error = log.lines().find(|line| line.contains("ERROR: libFuzzer:"));
    error.map(|line| line.trim_start_matches('=').trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "INFO: Seed: 1\n\
        #3\tINITED cov: 55 ft: 190 corp: 40/620b exec/s: 0 rss: 28Mb\n\
        #9\tNEW    cov: 57 ft: 194 corp: 41/621b lim: 4 exec/s: 0 rss: 28Mb L: 4/9 MS: 1 ChangeBit-\n\
        thread '<unnamed>' (1) panicked at fuzz/src/world.rs:9:5:\nit is broken\n\
        stat::number_of_executed_units: 12\nstat::average_exec_per_sec:     6\n";

    #[test]
    fn the_log_is_read() {
        let outcome = Outcome::read("hello", LOG, vec![PathBuf::from("crash-1")]);
        assert_eq!((outcome.executions, outcome.per_second), (12, 6));
        assert_eq!((outcome.edges, outcome.inputs), ((55, 57), (40, 41)));
        assert_eq!(outcome.message, "thread '<unnamed>' (1) panicked at fuzz/src/world.rs:9:5: it is broken");
        assert_eq!(outcome.row(), "hello                     12         6  55 -> 57       40 -> 41       1 FOUND");
    }

    #[test]
    fn a_log_without_anything_is_no_finding() {
        assert_eq!(Outcome::read("", "", Vec::new()), Outcome::default());
    }

    #[test]
    fn what_the_engine_stops_at_itself_is_told() {
        assert_eq!(
            message("==7== ERROR: libFuzzer: timeout after 5 seconds\n"),
            "7== ERROR: libFuzzer: timeout after 5 seconds"
        );
    }
}
