//! The two hidden roles that the binary plays when it executes itself: `serve` and `drive`.
//!
//! A child ends with its standard input, so none outlives the race even when that is killed.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::measure::{Marks, PinError, Run, pin_to_core, process_cpu_ns};
use crate::peers::{Peer, PeerError};
use crate::race::protocol::{ASK_CPU, Driven, Line};
use crate::workload::{Runtime, Workload};

/// Why a role could not be played; the figures of a peer never depend on it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoleError {
    /// The core asked for is not available to this process.
    #[error("cannot pin: {0}")]
    Pin(#[from] PinError),
    /// The runtime or a thread could not be started.
    #[error("cannot start: {0}")]
    Start(#[from] std::io::Error),
}

/// Serves `peer` until standard input ends, printing the port first.
///
/// # Errors
///
/// [`RoleError`] when the process cannot be set up; errors of the peer are printed as a line.
pub fn serve_role(peer: Peer, runtime: Runtime, core: Option<usize>) -> Result<(), RoleError> {
    let runtime = set_up(runtime, core)?;
    let served =
        runtime.block_on(async move { tokio::spawn(peer.serve(|address| tell(&Line::Port(address.port())))).await });
    match served {
        Ok(Ok(())) => tell(&Line::Failed("the server ended".into())),
        Ok(Err(error)) => tell(&line_of(&error)),
        Err(_) => tell(&Line::Failed("the server panicked".into())),
    }
    Ok(())
}

/// Drives `workload` against `address` and prints the result.
///
/// # Errors
///
/// [`RoleError`] when the process cannot be set up; errors of the peer are printed as a line.
pub fn drive_role(
    peer: Peer,
    workload: Workload,
    runtime: Runtime,
    core: Option<usize>,
    address: SocketAddr,
    lengths: Lengths,
) -> Result<(), RoleError> {
    let runtime = set_up(runtime, core)?;
    let marks = Arc::new(CpuMarks::default());
    let run =
        Run { workload, warm_up: lengths.warm_up, length: lengths.window, marks: Arc::clone(&marks) as Arc<dyn Marks> };
    // A task and not `block_on` itself, so that in a multi-threaded runtime a worker runs it.
    let driven = runtime.block_on(async move { tokio::spawn(async move { peer.drive(address, &run).await }).await });
    match driven {
        Ok(Ok(outcome)) => tell(&Line::Result(Driven { outcome, cpu_ns: marks.used_ns() })),
        Ok(Err(error)) => tell(&line_of(&error)),
        Err(_) => tell(&Line::Failed("the driver panicked".into())),
    }
    Ok(())
}

/// How long a driver warms up and measures.
#[derive(Debug, Clone, Copy)]
pub struct Lengths {
    /// Traffic before the window opens.
    pub warm_up: std::time::Duration,
    /// The window.
    pub window: std::time::Duration,
}

fn set_up(runtime: Runtime, core: Option<usize>) -> Result<tokio::runtime::Runtime, RoleError> {
    if let Some(core) = core {
        pin_to_core(core)?;
    }
    std::thread::Builder::new().name("control".into()).spawn(answer_standard_input)?;
    Ok(runtime.build()?)
}

fn answer_standard_input() {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        if line == ASK_CPU {
            tell(&Line::CpuNs(process_cpu_ns()));
        }
    }
    std::process::exit(0);
}

fn line_of(error: &PeerError) -> Line {
    match error {
        PeerError::NotBuilt | PeerError::NotOffered => Line::Absent(error.to_string()),
        _ => Line::Failed(error.to_string()),
    }
}

fn tell(line: &Line) {
    let text = serde_json::to_string(line).expect("invariant: a line is plain data");
    let mut out = std::io::stdout().lock();
    // A parent that is gone cannot be told; standard input ends then, and this process with it.
    let _told = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Reads this process's clock at both marks and tells the parent, which reads the server's.
#[derive(Debug, Default)]
struct CpuMarks {
    started_ns: AtomicU64,
    ended_ns: AtomicU64,
}

impl CpuMarks {
    fn used_ns(&self) -> u64 {
        self.ended_ns.load(Ordering::Acquire).saturating_sub(self.started_ns.load(Ordering::Acquire))
    }
}

impl Marks for CpuMarks {
    fn started(&self) {
        self.started_ns.store(process_cpu_ns(), Ordering::Release);
        tell(&Line::WindowOpens);
    }

    fn ended(&self) {
        self.ended_ns.store(process_cpu_ns(), Ordering::Release);
        tell(&Line::WindowCloses);
    }
}
