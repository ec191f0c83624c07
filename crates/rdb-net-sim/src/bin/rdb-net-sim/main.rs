//! `rdb-net-sim`: runs scenarios and experiments, and prints for what fails the command that does it again.

mod cli;
mod experiment;
mod progress;
mod scenarios;
mod storms;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use rdb_net_sim::report::Format;
use rdb_net_sim::{Outcome, Scenario};

use cli::Task;
use experiment::Experiment;
use progress::Bar;

fn main() -> ExitCode {
    // A wrong command line ends here, with exit code 2.
    let task = cli::parse(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let is_good = match task {
        Task::List => {
            say(&scenarios::list());
            true
        }
        Task::Scenarios { names, nodes, first, seeds, json } => {
            // Each is run, whatever became of the one before.
            let run =
                |name: &&str| Scenario::find(name).is_none_or(|scenario| run_one(scenario, nodes, first, seeds, json));
            names.iter().filter(|name| !run(name)).count() == 0
        }
        Task::Storms(storms) => {
            let (text, is_good) = storms::run(&storms);
            say(&text);
            is_good
        }
        Task::Experiment { experiment, format, picture } => match measure(&experiment, format, picture.as_deref()) {
            Ok(is_good) => is_good,
            Err(problem) => return refuse(&problem),
        },
    };
    ExitCode::from(u8::from(!is_good))
}

fn run_one(scenario: Scenario, nodes: usize, first: u64, seeds: u64, json: bool) -> bool {
    let begun = Instant::now();
    let outcomes: Vec<Outcome> = (first..first.saturating_add(seeds)).map(|seed| scenario.run(nodes, seed)).collect();
    let wall = begun.elapsed();
    say(&if json { scenarios::json_of(&outcomes, wall) } else { scenarios::table_of(&outcomes, wall) });
    outcomes.iter().all(Outcome::is_good)
}

fn measure(experiment: &Experiment, format: Format, picture: Option<&Path>) -> Result<bool, String> {
    let begun = Instant::now();
    let mut bar = Bar::new(experiment.name());
    let findings = experiment.run(&mut |done, total| bar.show(done, total));
    drop(bar);
    let findings = findings.map_err(|error| error.to_string())?;
    say(&findings.render(format));
    if let Some(path) = picture {
        let written = std::fs::write(path, findings.render(Format::Svg));
        written.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if format == Format::Table {
        let peak = peak_bytes()
            .map_or_else(String::new, |bytes| format!(", {:.2} GiB at the most", bytes / (1u64 << 30) as f64));
        say(&format!("{:.1} s of wall time{peak}\n", begun.elapsed().as_secs_f64()));
    } else {
        findings.problems.iter().for_each(|problem| {
            let _ = writeln!(std::io::stderr(), "FAILED: {problem}");
        });
    }
    Ok(findings.is_good())
}

/// The most memory that this process ever had resident, where the system tells (Linux).
fn peak_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok().map(|kib| kib * 1024.0)
}

fn refuse(problem: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{}", problem.trim_end());
    ExitCode::from(2)
}

/// Writes to the standard output; who has closed it wants no more.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
