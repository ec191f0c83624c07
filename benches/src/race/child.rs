//! One run: a server process and a driver process, a deadline over both, and their figures put together.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use crate::measure::{MachineTime, Offered};
use crate::peers::Peer;
use crate::probe::{Probe, Reading, Servers};
use crate::race::plan::{Contest, HeapUse, Plan, Sample};
use crate::race::protocol::{ASK_USED, Driven, Line, Used};
use crate::workload::Mode;

/// Why one run has no figures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The peer or the workload does not exist here; the reason is the peer's. Repeating it changes nothing.
    #[error("absent: {0}")]
    Absent(String),
    /// A child failed; the reason is the child's. Other runs are not touched.
    #[error("failed: {0}")]
    Failed(String),
    /// The run took longer than its deadline; both children are ended.
    #[error("no end within the deadline")]
    TimedOut,
    /// A child could not be started or spoken to.
    #[error("child process: {0}")]
    Process(#[from] std::io::Error),
}

/// Runs one contest once.
///
/// # Errors
///
/// [`RunError`]; in every case both children are ended.
pub(crate) fn run_once(contest: &Contest, plan: &Plan) -> Result<Sample, RunError> {
    let mut run = Started::server(&plan.program, contest.peer, &plan.place(contest.mode), plan.run_timeout)?;
    let (driven, server) = run.drive(contest, plan, plan.window)?;
    let machine = run.machine.take();
    sample(&driven, (driven.used.cpu_ns + server.cpu_ns) as f64 / 1e9, machine)
}

/// Runs one contest once with binaries that count allocations.
///
/// # Errors
///
/// [`RunError`], also where the binary does not count.
pub(crate) fn count_once(contest: &Contest, plan: &Plan, counting: &Path) -> Result<HeapUse, RunError> {
    let mut run = Started::server(counting, contest.peer, &plan.place(contest.mode), plan.run_timeout)?;
    let (driven, server) = run.drive(contest, plan, plan.window.min(COUNTED_WINDOW))?;
    let operations = driven.outcome.operations.max(1) as f64;
    let counts = driven.used.allocations.zip(server.allocations);
    let (client, server) = counts.ok_or_else(|| RunError::Failed("the binary does not count".into()))?;
    Ok(HeapUse { client: client as f64 / operations, server: server as f64 / operations })
}

/// Makes calls at fixed times against one peer, once.
///
/// # Errors
///
/// As [`run_once`].
pub(crate) fn offer_once(
    peer: Peer,
    mode: Mode,
    calls_per_second: f64,
    plan: &Plan,
    window: Duration,
) -> Result<Offered, RunError> {
    let run = Started::server(&plan.program, peer, &plan.place(mode), plan.run_timeout + window)?;
    let mut arguments = vec!["offer".to_owned(), format!("--peer={}", peer.name())];
    arguments.push(format!("--calls-per-second={calls_per_second}"));
    arguments.extend(run.driver_arguments(plan, window));
    let driver = Child::start(&run.program, arguments, &run.place, run.deadline)?;
    match driver.next_line()? {
        Line::Offered(offered) => Ok(offered),
        other => Err(unexpected(other)),
    }
}

/// Runs a probe once, with whatever serves it.
///
/// # Errors
///
/// As [`run_once`].
pub(crate) fn probe_once(probe: Probe, plan: &Plan, program: &Path) -> Result<Vec<Reading>, RunError> {
    let (place, deadline) = (plan.place(probe.mode()), Instant::now() + PROBE_TIMEOUT);
    let server = match probe.servers() {
        Servers::None => None,
        Servers::Peer(peer) => Some(vec!["serve".to_owned(), format!("--peer={}", peer.name())]),
        Servers::Nodes(count) => Some(vec!["nodes".to_owned(), format!("--count={count}")]),
        Servers::TlsNodes(count) => Some(vec!["nodes".to_owned(), format!("--count={count}"), "--tls".to_owned()]),
    };
    let server = server.map(|arguments| Child::start(program, arguments, &place, deadline)).transpose()?;
    let ports = server.as_ref().map(Child::ports).transpose()?.unwrap_or_default();
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    let mut arguments = vec!["probe".to_owned(), format!("--probe={}", probe.name())];
    if !ports.is_empty() {
        arguments.push(format!("--ports={}", ports.join(",")));
    }
    match Child::start(program, arguments, &place, deadline)?.next_line()? {
        Line::Readings(readings) => Ok(readings),
        other => Err(unexpected(other)),
    }
}

/// Counts need no long window.
const COUNTED_WINDOW: Duration = Duration::from_millis(300);
/// How long a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(60);

/// A server that listens, and what its driver needs to know.
struct Started {
    program: PathBuf,
    place: Vec<String>,
    deadline: Instant,
    server: Child,
    port: u16,
    /// The machine when the window opened, and when it closed.
    machine: Option<(MachineTime, MachineTime)>,
}

impl Started {
    fn server(program: &Path, peer: Peer, place: &[String], timeout: Duration) -> Result<Self, RunError> {
        let deadline = Instant::now() + timeout;
        let arguments = vec!["serve".to_owned(), format!("--peer={}", peer.name())];
        let server = Child::start(program, arguments, place, deadline)?;
        let port = server.ports()?.first().copied().ok_or_else(|| RunError::Failed("no port".into()))?;
        Ok(Self { program: program.to_owned(), place: place.to_vec(), deadline, server, port, machine: None })
    }

    fn driver_arguments(&self, plan: &Plan, window: Duration) -> Vec<String> {
        vec![
            format!("--seconds={}", window.as_secs_f64()),
            format!("--warm-up-ms={}", plan.warm_up.as_millis()),
            format!("--address=127.0.0.1:{}", self.port),
        ]
    }

    /// Runs the driver, and returns its figures and what the server used in the window.
    fn drive(&mut self, contest: &Contest, plan: &Plan, window: Duration) -> Result<(Driven, Used), RunError> {
        let mut arguments = vec!["drive".to_owned(), format!("--peer={}", contest.peer.name())];
        arguments.push(format!("--workload={}", contest.workload.name()));
        arguments.extend(self.driver_arguments(plan, window));
        let driver = Child::start(&self.program, arguments, &self.place, self.deadline)?;
        driver.expect(&Line::WindowOpens)?;
        let (machine_before, before) = (MachineTime::read(), self.server.used()?);
        driver.expect(&Line::WindowCloses)?;
        let (machine_after, after) = (MachineTime::read(), self.server.used()?);
        self.machine = machine_before.zip(machine_after);
        match driver.next_line()? {
            Line::Result(driven) => Ok((driven, after.since(before))),
            other => Err(unexpected(other)),
        }
    }
}

fn sample(driven: &Driven, cpu_s: f64, machine: Option<(MachineTime, MachineTime)>) -> Result<Sample, RunError> {
    let outcome = driven.outcome;
    if outcome.operations == 0 || outcome.seconds <= 0.0 {
        return Err(RunError::Failed("no operation ended inside the window".into()));
    }
    let operations = outcome.operations as f64;
    Ok(Sample {
        operations_per_second: operations / outcome.seconds,
        latency: outcome.latency,
        cpu_us_per_operation: cpu_s * 1e6 / operations,
        foreign_share: machine.map_or(0.0, |(before, after)| before.foreign_share(&after, cpu_s)),
    })
}

fn unexpected(line: Line) -> RunError {
    match line {
        Line::Absent(reason) => RunError::Absent(reason),
        Line::Failed(reason) => RunError::Failed(reason),
        other => RunError::Failed(format!("out of turn: {other:?}")),
    }
}

/// A child process that is ended when this is dropped.
struct Child {
    process: Process,
    input: ChildStdin,
    lines: Receiver<Line>,
    deadline: Instant,
}

impl Child {
    fn start(program: &Path, arguments: Vec<String>, place: &[String], deadline: Instant) -> Result<Self, RunError> {
        let mut command = Command::new(program);
        let mut process = command.args(arguments).args(place).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = process.stdin.take().expect("invariant: standard input is piped");
        let output = process.stdout.take().expect("invariant: standard output is piped");
        // A child speaks a handful of lines; one that speaks more waits.
        let (sender, lines) = sync_channel(64);
        let child = Self { process, input, lines, deadline };
        std::thread::Builder::new().name("child-lines".into()).spawn(move || {
            for text in BufReader::new(output).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&text).unwrap_or_else(|_| Line::Failed(format!("said {text:?}")));
                if sender.send(line).is_err() {
                    return;
                }
            }
        })?;
        Ok(child)
    }

    fn next_line(&self) -> Result<Line, RunError> {
        match self.lines.recv_timeout(self.deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => Err(RunError::TimedOut),
            Err(RecvTimeoutError::Disconnected) => Err(RunError::Failed("a child ended early".into())),
        }
    }

    fn expect(&self, expected: &Line) -> Result<(), RunError> {
        let line = self.next_line()?;
        if line == *expected { Ok(()) } else { Err(unexpected(line)) }
    }

    fn ports(&self) -> Result<Vec<u16>, RunError> {
        match self.next_line()? {
            Line::Ports(ports) => Ok(ports),
            other => Err(unexpected(other)),
        }
    }

    fn used(&mut self) -> Result<Used, RunError> {
        writeln!(self.input, "{ASK_USED}")?;
        match self.next_line()? {
            Line::Used(used) => Ok(used),
            other => Err(unexpected(other)),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Either may fail only because the child has ended by itself.
        let _killed = self.process.kill();
        let _reaped = self.process.wait();
    }
}
