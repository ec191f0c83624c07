//! Who takes part in a race. Each peer can serve and can drive; the harness knows nothing else of it.
//!
//! - [`single_task`]: the floor. One task owns the whole window of requests, so it batches perfectly; no interface with
//!   independent callers can equal it on a window of many.
//! - [`mux`]: the floor of multiplexing. Independent callers, correlation ids, a shared write buffer.
//! - [`tonic_peer`]: gRPC, one bidirectional stream or one unary call per request.
//! - [`tarpc_peer`]: tarpc over its serde transport.
//! - `quinn_peer`: quinn by hand, one stream for all requests or one for each.
//! - [`ours`]: this workspace.
//!
//! Three of them take part inside TLS as well, and this workspace over QUIC.
//!
//! The floors have no checksums, deadlines, priorities or metrics.

mod floor_server;
pub mod frame;
pub mod mux;
pub mod ours;
mod pump;
pub(crate) mod quinn_peer;
pub mod single_task;
pub mod tarpc_peer;
mod tls;
pub mod tonic_peer;
mod tonic_service;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use clap::ValueEnum;
use rdb_net_tls::Tls;
use rdb_net_transport::Backend;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

pub use floor_server::serve_connection;

use crate::certificates::{self, CertificateError};
use crate::measure::{Offer, Offered, Outcome, Run, drive, offer};
use crate::peers::quinn_peer::{Packets, Streams};
use crate::workload::{Pattern, Workload};

/// A participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// The floor: one task owns the window.
    SingleTask,
    /// The floor of multiplexing: independent callers.
    Mux,
    /// tonic, all calls over one bidirectional stream.
    TonicStream,
    /// tonic, one unary call per request.
    TonicUnary,
    /// tarpc.
    Tarpc,
    /// This workspace, with its defaults.
    Ours,
    /// This workspace, with frames that hold 1 MiB in one piece; for the workload of such messages alone.
    #[value(name = "ours-1mib-frames")]
    #[serde(rename = "ours-1mib-frames")]
    OursLargeFrames,
    /// The floor of multiplexing inside TLS: tokio-rustls.
    MuxTls,
    /// tonic inside TLS, all calls over one bidirectional stream.
    TonicStreamTls,
    /// This workspace inside TLS, with its defaults.
    OursTls,
    /// The floor of multiplexing over one bidirectional stream of quinn.
    QuinnMux,
    /// The same with packets as large as this workspace's.
    QuinnMuxLargePackets,
    /// quinn, a bidirectional stream for each request.
    QuinnStreams,
    /// This workspace over QUIC, with its defaults.
    OursQuic,
}

/// Why a peer did not serve or drive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The peer does not exist in this build. Nothing was measured.
    #[error("not built yet")]
    NotBuilt,
    /// The peer has no way to carry this workload. Nothing was measured.
    #[error("this peer does not offer the workload")]
    NotOffered,
    /// The connection ended while calls were open. The run is void; repeat it.
    #[error("the connection was lost: {0}")]
    ConnectionLost(&'static str),
    /// The other side broke the peer's protocol: a bug of the peer.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// The operating system's. The run is void.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// tonic refused or lost a call. The run is void.
    #[error("gRPC status: {0}")]
    Grpc(#[source] Box<tonic::Status>),
    /// tonic could not connect or serve. The run is void.
    #[error("gRPC transport: {0}")]
    GrpcTransport(#[from] tonic::transport::Error),
    /// There are no certificates. Nothing was measured.
    #[error("{0}")]
    Certificates(#[from] CertificateError),
    /// tarpc refused or lost a call. The run is void.
    #[error("tarpc: {0}")]
    Tarpc(#[from] tarpc::client::RpcError),
}

impl From<tonic::Status> for PeerError {
    fn from(status: tonic::Status) -> Self {
        Self::Grpc(Box::new(status))
    }
}

impl Peer {
    /// All peers, in the order of the report.
    pub const ALL: [Self; 14] = [
        Self::SingleTask,
        Self::Mux,
        Self::TonicStream,
        Self::TonicUnary,
        Self::Tarpc,
        Self::Ours,
        Self::OursLargeFrames,
        Self::MuxTls,
        Self::TonicStreamTls,
        Self::OursTls,
        Self::QuinnMux,
        Self::QuinnMuxLargePackets,
        Self::QuinnStreams,
        Self::OursQuic,
    ];

    /// Whether its connections are inside TLS, for which it needs certificates.
    #[must_use]
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::MuxTls | Self::TonicStreamTls | Self::OursTls) || self.is_quic()
    }

    /// Whether its connections are QUIC's, which are always inside TLS.
    #[must_use]
    pub const fn is_quic(self) -> bool {
        matches!(self, Self::QuinnMux | Self::QuinnMuxLargePackets | Self::QuinnStreams | Self::OursQuic)
    }

    /// Whether this peer takes part in a workload at all.
    #[must_use]
    pub fn offers(self, workload: Workload) -> bool {
        match self {
            Self::TonicUnary | Self::QuinnStreams => workload.pattern() == Pattern::Echo,
            Self::OursLargeFrames => workload == Workload::W5,
            _ => true,
        }
    }

    /// How often this peer is run where the others are run `full` times: those that are several times slower than the rest
    /// need no narrow interval.
    #[must_use]
    pub fn repetitions(self, full: usize) -> usize {
        match self {
            Self::TonicUnary | Self::Tarpc => full.min(5),
            _ => full,
        }
    }

    /// The name used on the command line and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SingleTask => "single-task",
            Self::Mux => "mux",
            Self::TonicStream => "tonic-stream",
            Self::TonicUnary => "tonic-unary",
            Self::Tarpc => "tarpc",
            Self::Ours => "ours",
            Self::OursLargeFrames => "ours-1mib-frames",
            Self::MuxTls => "mux-tls",
            Self::TonicStreamTls => "tonic-stream-tls",
            Self::OursTls => "ours-tls",
            Self::QuinnMux => "quinn-mux",
            Self::QuinnMuxLargePackets => "quinn-mux-large-packets",
            Self::QuinnStreams => "quinn-streams",
            Self::OursQuic => "ours-quic",
        }
    }

    /// Serves on a loopback port that the kernel chooses, tells it through `announce`, and serves until dropped. Inside TLS
    /// with the certificate that is in this folder.
    ///
    /// # Errors
    ///
    /// [`PeerError::Certificates`] without one, otherwise the listener's error.
    pub async fn serve(
        self,
        certificates: Option<&Path>,
        announce: impl FnOnce(SocketAddr) + Send,
    ) -> Result<(), PeerError> {
        if let Some(limits) = self.limits() {
            return ours::serve(limits, self.backend(certificates, "server")?, announce).await;
        }
        let tls = self.tls(certificates, "server")?;
        match (self, &tls) {
            (Self::QuinnMux | Self::QuinnMuxLargePackets, Some(tls)) => {
                return quinn_peer::serve(tls, Streams::One, self.packets(), announce).await;
            }
            (Self::QuinnStreams, Some(tls)) => {
                return quinn_peer::serve(tls, Streams::PerRequest, Packets::Quinns, announce).await;
            }
            _ => {}
        }
        let acceptor = tls.as_ref().map(tls::Acceptor::new);
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        announce(listener.local_addr()?);
        match self {
            Self::TonicStream | Self::TonicUnary | Self::TonicStreamTls => {
                tonic_service::serve_listener(listener, acceptor).await
            }
            Self::Tarpc => tarpc_peer::serve_listener(listener).await,
            _ => floor_server::serve_listener(listener, acceptor).await,
        }
    }

    /// The limits of this workspace's sessions, where the peer is this workspace.
    fn limits(self) -> Option<rdb_net_session::Config> {
        match self {
            Self::Ours | Self::OursTls | Self::OursQuic => Some(rdb_net_session::Config::default()),
            Self::OursLargeFrames => Some(ours::large_frames()),
            _ => None,
        }
    }

    /// How large the packets of quinn by hand may be.
    fn packets(self) -> Packets {
        match self {
            Self::QuinnMuxLargePackets => Packets::Ours,
            _ => Packets::Quinns,
        }
    }

    /// The TLS of the process of this name, where the peer has any.
    fn tls(self, certificates: Option<&Path>, name: &str) -> Result<Option<Tls>, PeerError> {
        Ok(self.is_tls().then(|| certificates::load(certificates, name)).transpose()?)
    }

    /// What this workspace dials and listens with, where the peer is this workspace.
    fn backend(self, certificates: Option<&Path>, name: &str) -> Result<Arc<dyn Backend>, PeerError> {
        let tls = self.tls(certificates, name)?;
        Ok(match tls {
            Some(tls) if self.is_quic() => ours::quic_backend(tls),
            tls => ours::backend(tls),
        })
    }

    /// Connects to `address` and makes the traffic of `run`.
    ///
    /// # Errors
    ///
    /// [`PeerError::NotOffered`] when there is nothing to measure, otherwise what went wrong.
    pub async fn drive(
        self,
        certificates: Option<&Path>,
        address: SocketAddr,
        run: &Run,
    ) -> Result<Outcome, PeerError> {
        if !self.offers(run.workload) {
            return Err(PeerError::NotOffered);
        }
        if let Some(limits) = self.limits() {
            let backend = self.backend(certificates, "client")?;
            return drive(ours::OursCaller::connect(limits, backend, address, run.workload), run).await;
        }
        let tls = self.tls(certificates, "client")?;
        match self {
            Self::QuinnMux | Self::QuinnMuxLargePackets | Self::QuinnStreams => {
                let tls = tls.ok_or(CertificateError::NoFolder)?;
                match self {
                    Self::QuinnStreams => drive(quinn_peer::StreamsCaller::connect(&tls, address).await?, run).await,
                    _ => drive(quinn_peer::connect_mux(&tls, self.packets(), address).await?, run).await,
                }
            }
            Self::SingleTask => single_task::drive(address, run).await,
            Self::Mux | Self::MuxTls => drive(mux::MuxClient::connect(address, tls).await?, run).await,
            Self::TonicStream | Self::TonicStreamTls => {
                drive(tonic_peer::StreamCaller::connect(address, tls).await?, run).await
            }
            Self::TonicUnary => drive(tonic_peer::UnaryCaller::connect(address).await?, run).await,
            Self::Tarpc => drive(tarpc_peer::TarpcCaller::connect(address).await?, run).await,
            Self::Ours | Self::OursLargeFrames | Self::OursTls | Self::OursQuic => Err(PeerError::NotBuilt),
        }
    }

    /// Connects to `address` and makes calls at fixed times.
    ///
    /// # Errors
    ///
    /// [`PeerError::NotOffered`] for a peer whose one task owns its window, otherwise what went wrong.
    pub async fn offer(
        self,
        certificates: Option<&Path>,
        address: SocketAddr,
        ask: &Offer,
    ) -> Result<Offered, PeerError> {
        let tls = self.tls(certificates, "client")?;
        match self {
            Self::Mux | Self::MuxTls => offer(mux::MuxClient::connect(address, tls).await?, ask).await,
            Self::TonicStream | Self::TonicStreamTls => {
                offer(tonic_peer::StreamCaller::connect(address, tls).await?, ask).await
            }
            Self::TonicUnary => offer(tonic_peer::UnaryCaller::connect(address).await?, ask).await,
            Self::Tarpc => offer(tarpc_peer::TarpcCaller::connect(address).await?, ask).await,
            Self::Ours | Self::OursTls | Self::OursQuic => {
                let limits = rdb_net_session::Config::default();
                let backend = self.backend(certificates, "client")?;
                offer(ours::OursCaller::connect(limits, backend, address, ask.workload), ask).await
            }
            Self::QuinnMux | Self::QuinnMuxLargePackets | Self::QuinnStreams => {
                let tls = tls.ok_or(CertificateError::NoFolder)?;
                match self {
                    Self::QuinnStreams => offer(quinn_peer::StreamsCaller::connect(&tls, address).await?, ask).await,
                    _ => offer(quinn_peer::connect_mux(&tls, self.packets(), address).await?, ask).await,
                }
            }
            Self::SingleTask | Self::OursLargeFrames => Err(PeerError::NotOffered),
        }
    }
}
