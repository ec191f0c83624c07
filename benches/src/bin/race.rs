//! Races echo servers side by side in one run on loopback; see the library for what the figures mean.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rdb_net_benches::measure::allowed_cores;
use rdb_net_benches::peers::Peer;
use rdb_net_benches::race::{
    Heat, Judgement, Lengths, Plan, drive_role, gate_plan, json, judge, serve_role, table, verdicts_table,
};
use rdb_net_benches::workload::{Mode, Runtime, Workload};

/// Races request transports against each other on loopback.
#[derive(Debug, Parser)]
#[command(name = "race")]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    race: Race,
}

#[derive(Debug, Args)]
struct Race {
    /// Peers to race; default all.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// Workloads; default all.
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<Workload>,
    /// Modes; default all.
    #[arg(long, value_delimiter = ',')]
    modes: Vec<Mode>,
    /// The peer that ratios refer to.
    #[arg(long, default_value = "single-task")]
    base: Peer,
    /// Length of the measured window, in seconds.
    #[arg(long, default_value_t = 1.5, value_parser = seconds)]
    seconds: f64,
    /// Traffic before the window, in milliseconds.
    #[arg(long, default_value_t = 400)]
    warm_up_ms: u64,
    /// Runs of each peer; at least five give an interval, eleven where a margin is thin.
    #[arg(long, default_value_t = 5)]
    repetitions: usize,
    /// Time after which one run is ended, in seconds beyond its warm-up and window.
    #[arg(long, default_value_t = 15)]
    run_timeout_s: u64,
    /// The core of mode one-core; default the last one that this process may use.
    #[arg(long)]
    core: Option<usize>,
    /// Share of the machine, 0 to 1, that others may use in a run that counts.
    #[arg(long, default_value_t = 0.25)]
    foreign_share_max: f64,
    /// Runs what the gate needs and no more, and fails when one of its lines does not hold.
    #[arg(long, conflicts_with_all = ["peers", "workloads", "modes"])]
    gate: bool,
    /// How the results are printed.
    #[arg(long, default_value = "table")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Serves one peer until standard input ends.
    #[command(hide = true)]
    Serve {
        #[arg(long)]
        peer: Peer,
        #[arg(long)]
        runtime: Runtime,
        #[arg(long)]
        core: Option<usize>,
    },
    /// Drives one workload against a server and prints the figures.
    #[command(hide = true)]
    Drive {
        #[arg(long)]
        peer: Peer,
        #[arg(long)]
        workload: Workload,
        #[arg(long)]
        runtime: Runtime,
        #[arg(long)]
        core: Option<usize>,
        #[arg(long, value_parser = seconds)]
        seconds: f64,
        #[arg(long, default_value_t = 400)]
        warm_up_ms: u64,
        #[arg(long)]
        address: SocketAddr,
    },
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let cli = Cli::parse();
    match cli.role {
        None => return race(&cli.race),
        Some(Role::Serve { peer, runtime, core }) => serve_role(peer, runtime, core)?,
        Some(Role::Drive { peer, workload, runtime, core, seconds, warm_up_ms, address }) => {
            let lengths =
                Lengths { warm_up: Duration::from_millis(warm_up_ms), window: Duration::from_secs_f64(seconds) };
            drive_role(peer, workload, runtime, core, address, lengths)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn race(race: &Race) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let plan = plan(race)?;
    let mut log = std::io::stderr();
    writeln!(log, "{} heats, at least {:.0} s", plan.heats.len(), plan.shortest().as_secs_f64())?;
    let results = plan.run(|contest, repetition| {
        // Progress that nobody can read is no reason to stop.
        let _shown = writeln!(
            log,
            "{} {} {} {}",
            contest.mode.name(),
            contest.workload.name(),
            repetition + 1,
            contest.peer.name()
        );
    });
    let verdicts = race.gate.then(|| judge(&results));
    let mut out = std::io::stdout().lock();
    match race.output {
        Output::Json => writeln!(out, "{}", json(&plan, &results, verdicts.as_deref())?)?,
        Output::Table => {
            write!(out, "{}", table(&results, race.base))?;
            write!(out, "{}", verdicts.as_deref().map(verdicts_table).unwrap_or_default())?;
        }
    }
    let failed = verdicts.iter().flatten().any(|verdict| verdict.judgement == Judgement::Fail);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn plan(race: &Race) -> Result<Plan, Box<dyn std::error::Error>> {
    let cores = allowed_cores()?;
    let (warm_up, window) = (Duration::from_millis(race.warm_up_ms), Duration::from_secs_f64(race.seconds));
    Ok(Plan {
        program: std::env::current_exe()?,
        heats: if race.gate { gate_plan() } else { heats(race) },
        repetitions: race.repetitions,
        warm_up,
        window,
        run_timeout: warm_up + window + Duration::from_secs(race.run_timeout_s),
        core: race.core.or(cores.last().copied()).ok_or("this process may use no core")?,
        foreign_share_max: race.foreign_share_max,
    })
}

fn heats(race: &Race) -> Vec<Heat> {
    let modes = chosen(&race.modes, &Mode::ALL);
    let workloads = chosen(&race.workloads, &Workload::ALL);
    let peers = chosen(&race.peers, &Peer::ALL);
    let heat = |mode, workload| Heat { mode, workload, peers: peers.clone() };
    modes.iter().flat_map(|mode| workloads.iter().map(|workload| heat(*mode, *workload))).collect()
}

fn chosen<T: Copy>(chosen: &[T], all: &[T]) -> Vec<T> {
    if chosen.is_empty() { all.to_vec() } else { chosen.to_vec() }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.05..=60.0).contains(&seconds) { Ok(seconds) } else { Err("between 0.05 and 60 seconds".to_owned()) }
}
