//! Races request transports side by side in one run on loopback; see the library for what the figures mean.

use std::io::{Stderr, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use rdb_net_benches::certificates::{CertificateError, Certificates};
use rdb_net_benches::measure::allowed_cores;
use rdb_net_benches::peers::Peer;
use rdb_net_benches::probe::Probe;
use rdb_net_benches::race::{
    GATE, GATE_QUIC, GATE_TLS, GateLine, Heat, Judgement, LossRow, OfferedRow, Plan, Report, Role, absolute_table,
    figures_table, full_plan, gate_plan, json, judge, judge_figures, loss_svg, loss_table, offered_table, svg, table,
    text_picture, verdicts_table, whole_gate,
};
use rdb_net_benches::workload::{Mode, Workload};

type AnyError = Box<dyn std::error::Error>;

/// Races request transports against each other on loopback. Without a choice of peers, workloads, modes, probes or gate it runs
/// everything that the whole gate needs, with every peer, and judges it.
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
    /// Peers to race, in every workload and mode that is chosen; default all.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// Workloads; default all.
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<Workload>,
    /// Modes; default all.
    #[arg(long, value_delimiter = ',')]
    modes: Vec<Mode>,
    /// Probes to run, and no heats that were not chosen.
    #[arg(long, value_delimiter = ',')]
    probes: Vec<Probe>,
    /// Makes calls at fixed times, and runs no heats that were not chosen.
    #[arg(long)]
    open_loop: bool,
    /// The peer that ratios refer to.
    #[arg(long, default_value = "single-task")]
    base: Peer,
    /// Length of the measured window, in seconds.
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    seconds: f64,
    /// Traffic before the window, in milliseconds.
    #[arg(long, default_value_t = 300)]
    warm_up_ms: u64,
    /// Runs of each peer; at least five give an interval, eleven where a margin is thin.
    #[arg(long, default_value_t = 11)]
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
    /// Runs what the gate needs and no more, and fails when one of its lines does not hold: the first gate, that of
    /// TLS, that of QUIC against quinn by hand, or all of it but for that of QUIC.
    #[arg(long, num_args = 0..=1, default_missing_value = "first")]
    #[arg(conflicts_with_all = ["peers", "workloads", "modes", "probes", "open_loop"])]
    gate: Option<Gate>,
    /// Runs the probes that compare TCP with QUIC, and nothing else, in a network that loses so many of a hundred packets each way,
    /// for each of these numbers; fails where QUIC does not halve the time of TCP at one in a hundred.
    #[arg(long, value_delimiter = ',', num_args = 0.., default_missing_values = ["0", "1", "5"])]
    #[arg(conflicts_with_all = ["gate", "peers", "workloads", "modes", "probes", "open_loop"])]
    loss: Vec<u8>,
    /// Lets the processes of all peers keep memory that they have freed: what glibc's default costs shows against a race without.
    #[arg(long)]
    keep_freed_memory: bool,
    /// Where the picture of latency by load is written; default beside this program.
    #[arg(long)]
    picture: Option<PathBuf>,
    /// How the results are printed.
    #[arg(long, default_value = "table")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Gate {
    First,
    Tls,
    Quic,
    All,
}

impl Gate {
    fn lines(self) -> Vec<GateLine> {
        match self {
            Self::First => GATE.to_vec(),
            Self::Tls => GATE_TLS.to_vec(),
            Self::Quic => GATE_QUIC.to_vec(),
            Self::All => whole_gate(),
        }
    }

    fn probes(self) -> Vec<Probe> {
        match self {
            Self::First | Self::Quic => Vec::new(),
            Self::Tls => vec![Probe::PeersOverLoopbackTls],
            Self::All => Probe::ALL.to_vec(),
        }
    }

    /// Whether it judges a figure of this name.
    fn judges(self, figure: &str) -> bool {
        match self {
            Self::First | Self::Quic => false,
            Self::Tls => figure.ends_with("-tls"),
            Self::All => true,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// What is run and judged.
struct Choice {
    heats: Vec<Heat>,
    gate: Option<Gate>,
    probes: Vec<Probe>,
    open_loop: bool,
}

impl Choice {
    fn of(race: &Race) -> Self {
        let chosen_heats = !(race.peers.is_empty() && race.workloads.is_empty() && race.modes.is_empty());
        let chosen = chosen_heats || !race.probes.is_empty() || race.open_loop;
        match race.gate {
            Some(gate) => Self {
                heats: gate_plan(&gate.lines()),
                gate: race.gate,
                probes: gate.probes(),
                open_loop: gate == Gate::All,
            },
            None if chosen => Self {
                heats: if chosen_heats { heats(race) } else { Vec::new() },
                gate: None,
                probes: race.probes.clone(),
                open_loop: race.open_loop,
            },
            None => Self { heats: full_plan(), gate: Some(Gate::All), probes: Probe::ALL.to_vec(), open_loop: true },
        }
    }
}

fn main() -> Result<ExitCode, AnyError> {
    let cli = Cli::parse();
    match cli.role {
        None => race(&cli.race),
        Some(role) => {
            role.play()?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Runs this program in networks that lose packets.
fn lose(race: &Race) -> Result<ExitCode, AnyError> {
    let program = std::env::current_exe()?;
    let rows = race.loss.iter().map(|percent| LossRow::measure(&program, *percent, race.repetitions));
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    let path = race.picture.clone().unwrap_or_else(|| program.with_file_name("interactive-by-loss.svg"));
    std::fs::write(&path, loss_svg(&rows))?;
    writeln!(std::io::stdout(), "{}picture: {}", loss_table(&rows), path.display())?;
    let missed = rows.iter().any(|row| row.judgement() == Judgement::Missed);
    Ok(if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn race(race: &Race) -> Result<ExitCode, AnyError> {
    if !race.loss.is_empty() {
        return lose(race);
    }
    let choice = Choice::of(race);
    let certificates = certificates(&choice)?;
    let plan = plan(race, &choice, certificates.as_ref())?;
    let mut log = std::io::stderr();
    writeln!(log, "{} heats, at least {:.0} s", plan.heats.len(), plan.shortest().as_secs_f64())?;
    if plan.counting_program.is_none() {
        writeln!(log, "allocations are not counted: `count` is not built beside this program")?;
    }
    let report = run(&plan, &choice, &mut log);
    let mut out = std::io::stdout().lock();
    match race.output {
        Output::Json => writeln!(out, "{}", json(&plan, &report)?)?,
        Output::Table => write!(out, "{}", tables(&report, race.base))?,
    }
    if !report.offered.is_empty() {
        let path = race.picture.clone().unwrap_or_else(|| plan.program.with_file_name("latency-by-load.svg"));
        std::fs::write(&path, svg(&report.offered))?;
        writeln!(log, "picture: {}", path.display())?;
    }
    let missed = |judgement: Judgement| judgement == Judgement::Missed;
    let failed = report.verdicts.iter().any(|verdict| missed(verdict.judgement))
        || report.figures.iter().any(|verdict| missed(verdict.judgement));
    Ok(if failed && race.gate.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn run(plan: &Plan, choice: &Choice, log: &mut Stderr) -> Report {
    // Progress that nobody can read is no reason to stop.
    let mut tell = |words: String| drop(writeln!(log, "{words}"));
    let results = plan.run(|contest, repetition| {
        let (mode, workload, peer) = (contest.mode.name(), contest.workload.name(), contest.peer.name());
        tell(format!("{mode} {workload} {} {peer}", repetition + 1));
    });
    let readings = plan.run_probes(&choice.probes, |probe, repetition| {
        tell(format!("probe {} {}", probe.name(), repetition + 1));
    });
    let offered: Vec<OfferedRow> = if choice.open_loop {
        plan.run_offered(&results, |peer, share, repetition| {
            tell(format!("open loop {:.0} % {} {}", share * 100.0, repetition + 1, peer.name()));
        })
    } else {
        Vec::new()
    };
    let verdicts = choice.gate.map_or_else(Vec::new, |gate| judge(&gate.lines(), &results));
    let is_judged = |name| choice.gate.is_some_and(|gate| gate.judges(name));
    let mut figures = judge_figures(&readings, &results);
    figures.retain(|verdict| is_judged(verdict.figure.name) || verdict.interval.is_some());
    // What the gate does not ask for is told and not judged.
    for verdict in figures.iter_mut().filter(|verdict| !is_judged(verdict.figure.name)) {
        verdict.judgement = Judgement::Shown;
    }
    Report { results, verdicts, readings, figures, offered }
}

fn tables(report: &Report, base: Peer) -> String {
    let mut out = table(&report.results, base);
    if !report.figures.is_empty() || !report.readings.failures.is_empty() {
        out += &figures_table(&report.figures, &report.readings.failures);
    }
    if !report.offered.is_empty() {
        out += &offered_table(&report.offered);
        out += &text_picture(&report.offered);
    }
    if !report.verdicts.is_empty() {
        out += &verdicts_table(&report.verdicts);
    }
    if report.verdicts.iter().any(|verdict| verdict.line.own.is_quic()) {
        out += &absolute_table(&report.results);
    }
    out
}

/// Those that the peers and probes need; `None` where they need none.
fn certificates(choice: &Choice) -> Result<Option<Certificates>, CertificateError> {
    let races_tls = choice.heats.iter().flat_map(|heat| &heat.peers).any(|peer| peer.is_tls());
    let mut names: Vec<String> = choice.probes.iter().flat_map(|probe| probe.certificates()).collect();
    if races_tls {
        names.extend(["server".to_owned(), "client".to_owned()]);
    }
    names.sort();
    names.dedup();
    (!names.is_empty()).then(|| Certificates::mint(names)).transpose()
}

fn plan(race: &Race, choice: &Choice, certificates: Option<&Certificates>) -> Result<Plan, AnyError> {
    let cores = allowed_cores()?;
    let (warm_up, window) = (Duration::from_millis(race.warm_up_ms), Duration::from_secs_f64(race.seconds));
    let program = std::env::current_exe()?;
    let counting_program = Some(program.with_file_name("count")).filter(|path| path.is_file());
    Ok(Plan {
        program,
        counting_program,
        certificates: certificates.map(|certificates| certificates.dir().to_owned()),
        keep_freed_memory: race.keep_freed_memory,
        heats: choice.heats.clone(),
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
    let heat = |mode, workload| Heat {
        mode,
        workload,
        peers: peers.iter().copied().filter(|peer| peer.offers(workload)).collect(),
    };
    modes.iter().flat_map(|mode| workloads.iter().map(|workload| heat(*mode, *workload))).collect()
}

fn chosen<T: Copy>(chosen: &[T], all: &[T]) -> Vec<T> {
    if chosen.is_empty() { all.to_vec() } else { chosen.to_vec() }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.05..=60.0).contains(&seconds) { Ok(seconds) } else { Err("between 0.05 and 60 seconds".to_owned()) }
}
