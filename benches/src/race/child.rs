//! One run: a server process and a driver process, a deadline over both, and their figures put together.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child as Process, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Instant;

use crate::measure::MachineTime;
use crate::race::plan::{Contest, Plan, Sample};
use crate::race::protocol::{ASK_CPU, Driven, Line};

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
    let deadline = Instant::now() + plan.run_timeout;
    let mut server = Child::start(plan, &["serve", "--peer", contest.peer.name()], contest, deadline)?;
    let port = match server.next_line()? {
        Line::Port(port) => port,
        other => return Err(unexpected(other)),
    };
    let arguments = [
        "drive".to_owned(),
        format!("--peer={}", contest.peer.name()),
        format!("--workload={}", contest.workload.name()),
        format!("--seconds={}", plan.window.as_secs_f64()),
        format!("--warm-up-ms={}", plan.warm_up.as_millis()),
        format!("--address=127.0.0.1:{port}"),
    ];
    let driver = Child::start(plan, &arguments, contest, deadline)?;
    driver.expect(&Line::WindowOpens)?;
    let (machine_before, server_before_ns) = (MachineTime::read(), server.cpu_ns()?);
    driver.expect(&Line::WindowCloses)?;
    let (machine_after, server_after_ns) = (MachineTime::read(), server.cpu_ns()?);
    let driven = match driver.next_line()? {
        Line::Result(driven) => driven,
        other => return Err(unexpected(other)),
    };
    let cpu_ns = driven.cpu_ns + server_after_ns.saturating_sub(server_before_ns);
    sample(&driven, cpu_ns as f64 / 1e9, machine_before.zip(machine_after))
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
    fn start<S: AsRef<std::ffi::OsStr>>(
        plan: &Plan,
        arguments: &[S],
        contest: &Contest,
        deadline: Instant,
    ) -> Result<Self, RunError> {
        let mut command = Command::new(&plan.program);
        command.args(arguments).arg("--runtime").arg(contest.mode.runtime().name());
        if let Some(core) = plan.core_of(contest.mode) {
            command.arg("--core").arg(core.to_string());
        }
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
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

    fn cpu_ns(&mut self) -> Result<u64, RunError> {
        writeln!(self.input, "{ASK_CPU}")?;
        match self.next_line()? {
            Line::CpuNs(nanoseconds) => Ok(nanoseconds),
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
