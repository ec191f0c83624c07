//! This workspace as a peer: two transports over TCP, inside TLS or not, or over QUIC, handlers registered per message type,
//! requests through a [`PeerHandle`], checksums, deadlines and statistics on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rdb_net_quic::{QuicBackend, QuicConfig};
use rdb_net_session::{Config as SessionConfig, Identity};
use rdb_net_tcp::{TcpBackend, TcpConfig, TlsBackend};
use rdb_net_tls::Tls;
use rdb_net_transport::{
    Answer, Backend, CallOptions, Config, HandlerOptions, Handling, PeerHandle, Request, Transport,
};
use rdb_net_types::{
    BootId, ClusterId, Incarnation, Lane, MessageType, NodeAddress, NodeId, Payload, ProtocolRange, RequestError,
};
use rdb_net_wire::{BodyWriter, Encode, Raw};

use crate::certificates::CLUSTER;
use crate::measure::Caller;
use crate::peers::PeerError;
use crate::workload::Workload;

pub(crate) const ECHO: MessageType = MessageType(0x8000);
pub(crate) const COUNT: MessageType = MessageType(0x8001);
pub(crate) const BARRIER: MessageType = MessageType(0x8002);

/// The limits of sessions whose frames hold a message of 1 MiB in one piece.
pub(crate) fn large_frames() -> SessionConfig {
    SessionConfig { frame_bytes_max: (1 << 20) + (64 << 10), ..SessionConfig::default() }
}

/// Sockets with their defaults, inside TLS where there is one.
pub(crate) fn backend(tls: Option<Tls>) -> Arc<dyn Backend> {
    let tcp = TcpBackend::new(TcpConfig::default());
    match tls {
        None => Arc::new(tcp),
        Some(tls) => Arc::new(TlsBackend::new(tcp, tls, HANDSHAKE_TIMEOUT)),
    }
}

/// QUIC with its defaults.
pub(crate) fn quic_backend(tls: Tls) -> Arc<dyn Backend> {
    Arc::new(QuicBackend::new(QuicConfig::default(), tls))
}

/// A node of this name with these limits.
pub(crate) fn config(name: &str, bind: Option<NodeAddress>, session: SessionConfig) -> Config {
    let id = |text| NodeId::new(text).expect("the name is legal");
    let identity = Identity {
        cluster: ClusterId::new(CLUSTER).expect("the name is legal"),
        node: id(name),
        incarnation: Incarnation::first_of(1),
        boot: BootId(name.len() as u64),
        address: "127.0.0.1:0".parse().expect("the address is legal"),
        protocol: ProtocolRange::CURRENT,
        software: String::new(),
        token: Vec::new(),
    };
    Config { bind, session, ..Config::new(identity) }
}

/// Two transports over a backend of any kind: the second echoes, counts and answers barriers, the first calls it. Both live
/// as long as the caller.
///
/// # Errors
///
/// The backend's, when the second cannot listen.
pub async fn over(backend: Arc<dyn Backend>) -> Result<(OursCaller, Transport), PeerError> {
    let address: NodeAddress = "127.0.0.1:1".parse().expect("the address is legal");
    let limits = SessionConfig::default;
    let server = Transport::new(config("server", Some(address.clone()), limits()), Arc::clone(&backend));
    register(&server);
    server.start().await.map_err(|error| PeerError::Io(error.source))?;
    let client = Transport::new(config("client", None, limits()), backend);
    let peer = client.peer(&NodeId::new("server").expect("the name is legal"), &address);
    Ok((OursCaller { peer, lane: Lane::Interactive }, server))
}

/// Serves on a loopback port, which it tells through `announce`, until dropped.
///
/// # Errors
///
/// The operating system's.
pub async fn serve(
    limits: SessionConfig,
    backend: Arc<dyn Backend>,
    announce: impl FnOnce(SocketAddr) + Send,
) -> Result<(), PeerError> {
    let bind = "127.0.0.1:0".parse().expect("the address is legal");
    let transport = Transport::new(config("server", Some(bind), limits), backend);
    register(&transport);
    transport.start().await.map_err(|error| PeerError::Io(error.source))?;
    announce(transport.local_address().expect("the transport listens"));
    std::future::pending().await
}

/// Registers who echoes, counts, and tells the count.
pub(crate) fn register(transport: &Transport) {
    let received = Arc::new(AtomicU64::new(0));
    let echo = |_: &NodeId, request: Request| Handling::Ready(Ok(Answer::Payload(request.into_payload())));
    transport.handle(ECHO, Arc::new(echo), HandlerOptions::default());
    let counted = Arc::clone(&received);
    let count = move |_: &NodeId, _: Request| {
        counted.fetch_add(1, Ordering::Relaxed);
        Handling::Ready(Ok(Answer::Empty))
    };
    transport.handle(COUNT, Arc::new(count), HandlerOptions::default());
    let barrier = move |_: &NodeId, _: Request| {
        let count = received.load(Ordering::Relaxed).to_be_bytes();
        Handling::Ready(Ok(Answer::Payload(Payload::from(count.to_vec()))))
    };
    transport.handle(BARRIER, Arc::new(barrier), HandlerOptions::default());
}

/// A client whose clones share one connection.
#[derive(Debug, Clone)]
pub struct OursCaller {
    peer: PeerHandle,
    /// The lane of everything but pings.
    lane: Lane,
}

/// As long as the floors, which have no deadline at all, would wait in a race.
const TIMEOUT: Duration = Duration::from_secs(20);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

impl OursCaller {
    /// A client of the server at this address; nothing is dialled until it is used. Messages of 1 MiB take the Bulk lane, all
    /// others the lane of their type.
    #[must_use]
    pub fn connect(limits: SessionConfig, backend: Arc<dyn Backend>, address: SocketAddr, workload: Workload) -> Self {
        let transport = Transport::new(config("client", None, limits), backend);
        let server = NodeId::new("server").expect("the name is legal");
        let peer = transport.peer(&server, &NodeAddress::from(address));
        let lane = if workload == Workload::W5 { Lane::Bulk } else { Lane::Interactive };
        Self { peer, lane }
    }

    fn options(&self) -> CallOptions {
        CallOptions { lane: Some(self.lane), ..CallOptions::timeout(TIMEOUT) }
    }

    /// A request of a few bytes on this lane.
    ///
    /// # Errors
    ///
    /// [`PeerError::ConnectionLost`].
    pub async fn ping(&self, lane: Lane) -> Result<(), PeerError> {
        let options = CallOptions { lane: Some(lane), ..CallOptions::timeout(TIMEOUT) };
        self.peer.request(&raw(ECHO, Bytes::from_static(b"ping")), options).await.map_err(lost)?;
        Ok(())
    }
}

fn lost(_: RequestError) -> PeerError {
    PeerError::ConnectionLost("a request had no reply")
}

/// A message of plain bytes that are its attachment, as large byte fields are: fragments of it are put together without a copy.
#[derive(Debug, Clone)]
pub(crate) struct Attached(pub(crate) Payload);

impl Encode for Attached {
    fn message_type(&self) -> MessageType {
        COUNT
    }

    fn attachment_bytes(&self) -> usize {
        self.0.len()
    }

    fn encode(&self, body: &mut BodyWriter<'_>) {
        body.share(&self.0);
    }
}

fn raw(message_type: MessageType, payload: Bytes) -> Raw {
    Raw { message_type, payload: Payload::from(payload) }
}

impl Caller for OursCaller {
    async fn call(&self, payload: Bytes) -> Result<Bytes, PeerError> {
        let reply = self.peer.request(&raw(ECHO, payload), self.options()).await.map_err(lost)?;
        Ok(reply.body.into_bytes())
    }

    async fn send(&self, payload: Bytes) -> Result<(), PeerError> {
        let sent = match self.lane {
            Lane::Bulk => self.peer.send(&Attached(Payload::from(payload)), self.options()).await,
            _ => self.peer.send(&raw(COUNT, payload), self.options()).await,
        };
        sent.map_err(lost)
    }

    async fn barrier(&self) -> Result<u64, PeerError> {
        let reply = self.peer.request(&raw(BARRIER, Bytes::new()), self.options()).await.map_err(lost)?;
        let count = reply.body.into_bytes();
        count.first_chunk().copied().map(u64::from_be_bytes).ok_or(PeerError::Protocol("a barrier without a count"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::payload;

    #[tokio::test]
    async fn a_barrier_on_the_bulk_lane_counts_every_message_sent_before_it() {
        let (announce, address) = tokio::sync::oneshot::channel();
        let server =
            tokio::spawn(serve(SessionConfig::default(), backend(None), |address| announce.send(address).unwrap()));
        let caller = OursCaller::connect(SessionConfig::default(), backend(None), address.await.unwrap(), Workload::W5);
        for _ in 0..20 {
            caller.send(payload(Workload::W5)).await.unwrap();
        }
        assert_eq!(caller.barrier().await.unwrap(), 20);
        caller.ping(Lane::System).await.unwrap();
        server.abort();
    }
}
