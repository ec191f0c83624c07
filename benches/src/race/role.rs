//! The hidden roles that a binary plays when it executes itself: serving, driving, probing.
//!
//! A child ends with its standard input, so none outlives the race even when that is killed.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::measure::{Marks, Offer, PinError, Run, pin_to_core};
use crate::peers::{Peer, PeerError};
use crate::probe::{self, Probe, Security};
use crate::race::protocol::{ASK_USED, Driven, Line, Used};
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

/// A role of a child process.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// Serves one peer until standard input ends.
    #[command(hide = true)]
    Serve {
        /// Who.
        #[arg(long)]
        peer: Peer,
        /// Where.
        #[command(flatten)]
        place: Place,
    },
    /// Drives one workload against a server and prints the figures.
    #[command(hide = true)]
    Drive {
        /// Who.
        #[arg(long)]
        peer: Peer,
        /// What.
        #[arg(long)]
        workload: Workload,
        /// Where.
        #[command(flatten)]
        place: Place,
        /// For how long.
        #[command(flatten)]
        lengths: Lengths,
        /// Where the server is.
        #[arg(long)]
        address: SocketAddr,
    },
    /// Makes calls at fixed times and prints their latencies.
    #[command(hide = true)]
    Offer {
        /// Who.
        #[arg(long)]
        peer: Peer,
        /// How often.
        #[arg(long)]
        calls_per_second: f64,
        /// Where.
        #[command(flatten)]
        place: Place,
        /// For how long.
        #[command(flatten)]
        lengths: Lengths,
        /// Where the server is.
        #[arg(long)]
        address: SocketAddr,
    },
    /// Measures what no race shows and prints it.
    #[command(hide = true)]
    Probe {
        /// What.
        #[arg(long)]
        probe: Probe,
        /// Where.
        #[command(flatten)]
        place: Place,
        /// Where its servers are.
        #[arg(long, value_delimiter = ',')]
        ports: Vec<u16>,
    },
    /// Serves as many nodes of this workspace until standard input ends.
    #[command(hide = true)]
    Nodes {
        /// How many.
        #[arg(long)]
        count: usize,
        /// Whether inside TLS.
        #[arg(long)]
        tls: bool,
        /// Where.
        #[command(flatten)]
        place: Place,
    },
}

/// Runtime, core and certificates of a child.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// The runtime.
    #[arg(long)]
    runtime: Runtime,
    /// The core, where it has to be a certain one.
    #[arg(long)]
    core: Option<usize>,
    /// The folder with the certificates of those who need one.
    #[arg(long)]
    certificates: Option<PathBuf>,
    /// Whether freed memory is kept.
    #[arg(long)]
    keep_freed_memory: bool,
}

/// How long a driver warms up and measures.
#[derive(Debug, Clone, Copy, Args)]
pub struct Lengths {
    /// Traffic before the window opens, in milliseconds.
    #[arg(long)]
    warm_up_ms: u64,
    /// The window, in seconds.
    #[arg(long)]
    seconds: f64,
}

impl Role {
    /// Plays it until it ends. The first error of the peer is printed as a line.
    ///
    /// # Errors
    ///
    /// [`RoleError`] when the process cannot be set up.
    pub fn play(self) -> Result<(), RoleError> {
        match self {
            Self::Serve { peer, place } => {
                let announce = |address: SocketAddr| tell(&Line::Ports(vec![address.port()]));
                let certificates = place.certificates.clone();
                let serve = async move {
                    peer.serve(certificates.as_deref(), announce).await?;
                    Err(PeerError::ConnectionLost("the server ended"))
                };
                play(place, serve)
            }
            Self::Nodes { count, tls, place } => {
                let announce = |ports: Vec<u16>| tell(&Line::Ports(ports));
                let certificates = place.certificates.clone();
                let security = if tls { Security::Tls(certificates) } else { Security::Plain };
                play(place, probe::serve_nodes(count, security, announce))
            }
            Self::Drive { peer, workload, place, lengths, address } => {
                let certificates = place.certificates.clone();
                play(place, drive(peer, certificates, workload, lengths, address))
            }
            Self::Offer { peer, calls_per_second, place, lengths, address } => {
                let offer = Offer {
                    workload: Workload::W2,
                    calls_per_second,
                    warm_up: Duration::from_millis(lengths.warm_up_ms),
                    length: Duration::from_secs_f64(lengths.seconds),
                };
                let certificates = place.certificates.clone();
                play(
                    place,
                    async move { Ok(Line::Offered(peer.offer(certificates.as_deref(), address, &offer).await?)) },
                )
            }
            Self::Probe { probe, place, ports } => {
                let certificates = place.certificates.clone();
                play(place, async move { Ok(Line::Readings(probe.measure(&ports, certificates.as_deref()).await?)) })
            }
        }
    }
}

async fn drive(
    peer: Peer,
    certificates: Option<PathBuf>,
    workload: Workload,
    lengths: Lengths,
    address: SocketAddr,
) -> Result<Line, PeerError> {
    let marks = Arc::new(UsedMarks::default());
    let run = Run {
        workload,
        warm_up: Duration::from_millis(lengths.warm_up_ms),
        length: Duration::from_secs_f64(lengths.seconds),
        marks: Arc::clone(&marks) as Arc<dyn Marks>,
    };
    let outcome = peer.drive(certificates.as_deref(), address, &run).await?;
    let used = marks.between().ok_or(PeerError::Protocol("the window was not marked"))?;
    Ok(Line::Result(Driven { outcome, used }))
}

/// Runs a role's future and prints what it ends with.
fn play(place: Place, role: impl Future<Output = Result<Line, PeerError>> + Send + 'static) -> Result<(), RoleError> {
    if let Some(core) = place.core {
        pin_to_core(core)?;
    }
    std::thread::Builder::new().name("control".into()).spawn(answer_standard_input)?;
    if place.keep_freed_memory {
        keep_freed_memory();
    }
    // A task and not `block_on` itself, so that in a multi-threaded runtime a worker runs it.
    let ended = place.runtime.build()?.block_on(async move { tokio::spawn(role).await });
    tell(&match ended {
        Ok(Ok(line)) => line,
        Ok(Err(error)) => line_of(&error),
        Err(_) => Line::Failed("it panicked".into()),
    });
    Ok(())
}

/// glibc gives freed memory at the top of its heap back from 128 KiB on, and takes it anew page by page, until a block has been
/// freed that was larger: from then on it keeps twice as much as that.
fn keep_freed_memory() {
    drop(std::hint::black_box(vec![0_u8; 16 << 20]));
}

fn answer_standard_input() {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        if line == ASK_USED {
            tell(&Line::Used(Used::read()));
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

/// Reads what this process has used at both marks, and tells the parent, which asks the server.
#[derive(Debug, Default)]
struct UsedMarks {
    marks: Mutex<[Option<Used>; 2]>,
}

impl UsedMarks {
    fn between(&self) -> Option<Used> {
        let [started, ended] = *self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        Some(ended?.since(started?))
    }

    fn mark(&self, place: usize) {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some(Used::read());
    }
}

impl Marks for UsedMarks {
    fn started(&self) {
        self.mark(0);
        tell(&Line::WindowOpens);
    }

    fn ended(&self) {
        self.mark(1);
        tell(&Line::WindowCloses);
    }
}
