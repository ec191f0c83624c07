//! What no race against others shows, since the others have nothing like it, or a race would hide it.
//!
//! A probe runs in a process of its own. Times are taken with the binary that does not count allocations, and counts with the
//! one that does: each gives the readings that it can.

mod crowd;
mod frame;
mod lossy;
mod passes;
mod urgent;

use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub(crate) use crowd::{Security, serve_nodes};

use crate::peers::{Peer, PeerError};
use crate::workload::Mode;

/// One number of a probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// The figure's name.
    pub figure: String,
    /// Its value, in the figure's unit.
    pub value: f64,
}

impl Reading {
    pub(crate) fn new(figure: &str, value: f64) -> Self {
        Self { figure: figure.to_owned(), value }
    }
}

/// A probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// A frame, written and read.
    Frame,
    /// Pings on the System lane while 1 MiB messages fill the same connection.
    UrgentPing,
    /// One node with 1,000 peers over a network in memory.
    PeersInMemory,
    /// One node with 200 peers over loopback, in another process.
    PeersOverLoopback,
    /// The same inside TLS.
    PeersOverLoopbackTls,
    /// Copies of the bytes of a large message.
    Passes,
    /// Requests on the Interactive lane while 1 MiB messages fill the Bulk lane, inside TLS over TCP: for a network that loses
    /// packets.
    InteractiveUnderBulkTls,
    /// The same over QUIC.
    InteractiveUnderBulkQuic,
}

/// What serves a probe, in another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Servers {
    /// Nothing.
    None,
    /// A peer's server.
    Peer(Peer),
    /// As many nodes of this workspace.
    Nodes(usize),
    /// The same inside TLS.
    TlsNodes(usize),
}

impl Probe {
    /// Those that compare TCP and QUIC where packets get lost.
    pub const LOSSY: [Self; 2] = [Self::InteractiveUnderBulkTls, Self::InteractiveUnderBulkQuic];

    /// All others, in the order of the report.
    pub const ALL: [Self; 6] = [
        Self::Frame,
        Self::UrgentPing,
        Self::PeersInMemory,
        Self::PeersOverLoopback,
        Self::PeersOverLoopbackTls,
        Self::Passes,
    ];

    /// The name used on the command line and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frame => "frame",
            Self::UrgentPing => "urgent-ping",
            Self::PeersInMemory => "peers-in-memory",
            Self::PeersOverLoopback => "peers-over-loopback",
            Self::PeersOverLoopbackTls => "peers-over-loopback-tls",
            Self::Passes => "passes",
            Self::InteractiveUnderBulkTls => "interactive-under-bulk-tls",
            Self::InteractiveUnderBulkQuic => "interactive-under-bulk-quic",
        }
    }

    /// Runtime and placement of its processes.
    #[must_use]
    pub const fn mode(self) -> Mode {
        match self {
            Self::Frame => Mode::OneCore,
            _ => Mode::Free,
        }
    }

    /// What serves it.
    #[must_use]
    pub const fn servers(self) -> Servers {
        match self {
            Self::UrgentPing => Servers::Peer(Peer::Ours),
            Self::InteractiveUnderBulkTls => Servers::Peer(Peer::OursTls),
            Self::InteractiveUnderBulkQuic => Servers::Peer(Peer::OursQuic),
            Self::PeersOverLoopback => Servers::Nodes(crowd::OVER_LOOPBACK),
            Self::PeersOverLoopbackTls => Servers::TlsNodes(crowd::OVER_LOOPBACK),
            _ => Servers::None,
        }
    }

    /// The nodes that need a certificate.
    #[must_use]
    pub fn certificates(self) -> Vec<String> {
        match self.servers() {
            Servers::TlsNodes(_) => crowd::names(),
            Servers::Peer(peer) if peer.is_tls() => vec!["server".to_owned(), "client".to_owned()],
            _ => Vec::new(),
        }
    }

    /// How often it is run for its times, where a race is repeated `full` times.
    #[must_use]
    pub fn timed_runs(self, full: usize) -> usize {
        match self {
            Self::Passes => 1,
            _ => full.min(5),
        }
    }

    /// Whether it counts allocations or memory as well; once, because they repeat.
    #[must_use]
    pub const fn counts(self) -> bool {
        matches!(self, Self::Frame | Self::PeersInMemory | Self::PeersOverLoopback | Self::PeersOverLoopbackTls)
    }

    /// Measures. `ports` are those of its servers on loopback; the folder has the certificates.
    ///
    /// # Errors
    ///
    /// What went wrong; nothing was measured.
    pub async fn measure(self, ports: &[u16], certificates: Option<&Path>) -> Result<Vec<Reading>, PeerError> {
        match self {
            Self::Frame => Ok(frame::measure()),
            Self::UrgentPing => urgent::measure(ports).await,
            Self::PeersInMemory => crowd::in_memory().await,
            Self::PeersOverLoopback => crowd::over_loopback("over-loopback", ports, &Security::Plain).await,
            Self::PeersOverLoopbackTls => {
                let security = Security::Tls(certificates.map(Path::to_owned));
                crowd::over_loopback("over-loopback-tls", ports, &security).await
            }
            Self::Passes => passes::measure().await,
            Self::InteractiveUnderBulkTls => lossy::measure(Peer::OursTls, ports, certificates).await,
            Self::InteractiveUnderBulkQuic => lossy::measure(Peer::OursQuic, ports, certificates).await,
        }
    }
}
