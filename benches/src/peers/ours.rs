//! This workspace as a peer: two transports over TCP with their default limits, handlers registered per message type,
//! requests through a [`PeerHandle`], checksums, deadlines and statistics on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rdb_net_session::Identity;
use rdb_net_tcp::{TcpConfig, TcpTransport};
use rdb_net_transport::{
    Answer, Backend, CallOptions, Config, HandlerOptions, Handling, PeerHandle, Request, Transport,
};
use rdb_net_types::{
    BootId, ClusterId, Incarnation, MessageType, NodeAddress, NodeId, Payload, ProtocolRange, RequestError,
};
use rdb_net_wire::Raw;

use crate::measure::{Caller, Outcome, Run, drive as drive_callers, payload};
use crate::peers::PeerError;

const ECHO: MessageType = MessageType(0x8000);
const COUNT: MessageType = MessageType(0x8001);
const BARRIER: MessageType = MessageType(0x8002);

fn config(name: &str, bind: Option<NodeAddress>) -> Config {
    let id = |text| NodeId::new(text).expect("the name is legal");
    let identity = Identity {
        cluster: ClusterId::new("race").expect("the name is legal"),
        node: id(name),
        incarnation: Incarnation::first_of(1),
        boot: BootId(name.len() as u64),
        address: "127.0.0.1:0".parse().expect("the address is legal"),
        protocol: ProtocolRange::CURRENT,
        software: String::new(),
        token: Vec::new(),
    };
    Config { bind, ..Config::new(identity) }
}

/// Two transports over a backend of any kind: the second echoes, counts and answers barriers, the first calls it. Both live
/// as long as the caller.
pub async fn over(backend: Arc<dyn Backend>) -> Result<(impl Caller, Transport), PeerError> {
    let address: NodeAddress = "127.0.0.1:1".parse().expect("the address is legal");
    let server = Transport::new(config("server", Some(address.clone())), Arc::clone(&backend));
    register(&server);
    server.start().await.map_err(|error| PeerError::Io(error.source))?;
    let client = Transport::new(config("client", None), backend);
    Ok((OursCaller(client.peer(&NodeId::new("server").expect("the name is legal"), &address)), server))
}

/// Serves on a loopback port, which it tells through `announce`, until dropped.
///
/// # Errors
///
/// The operating system's.
pub async fn serve(announce: impl FnOnce(SocketAddr) + Send) -> Result<(), PeerError> {
    let bind = "127.0.0.1:0".parse().expect("the address is legal");
    let transport = TcpTransport::new(config("server", Some(bind)), TcpConfig::default());
    register(&transport);
    transport.start().await.map_err(|error| PeerError::Io(error.source))?;
    announce(transport.local_address().expect("the transport listens"));
    std::future::pending().await
}

fn register(transport: &Transport) {
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

#[derive(Clone)]
struct OursCaller(PeerHandle);

/// As long as the floors, which have no deadline at all, would wait in a race.
const TIMEOUT: Duration = Duration::from_secs(20);

fn lost(_: RequestError) -> PeerError {
    PeerError::ConnectionLost("a request had no reply")
}

fn raw(message_type: MessageType, payload: Bytes) -> Raw {
    Raw { message_type, payload: Payload::from(payload) }
}

impl Caller for OursCaller {
    async fn call(&self, payload: Bytes) -> Result<Bytes, PeerError> {
        let reply = self.0.request(&raw(ECHO, payload), CallOptions::timeout(TIMEOUT)).await.map_err(lost)?;
        Ok(reply.body.into_bytes())
    }

    async fn send(&self, payload: Bytes) -> Result<(), PeerError> {
        self.0.send(&raw(COUNT, payload), CallOptions::timeout(TIMEOUT)).await.map_err(lost)
    }

    async fn barrier(&self) -> Result<u64, PeerError> {
        let reply = self.0.request(&raw(BARRIER, Bytes::new()), CallOptions::timeout(TIMEOUT)).await.map_err(lost)?;
        let count = reply.body.into_bytes();
        count.first_chunk().copied().map(u64::from_be_bytes).ok_or(PeerError::Protocol("a barrier without a count"))
    }
}

/// Connects to `address` and makes the traffic of `run`.
///
/// # Errors
///
/// [`PeerError::NotOffered`] for messages above the largest frame, otherwise what went wrong.
pub async fn drive(address: SocketAddr, run: &Run) -> Result<Outcome, PeerError> {
    let frame_bytes_max = rdb_net_session::Config::default().frame_bytes_max;
    if payload(run.workload).len() >= frame_bytes_max as usize {
        return Err(PeerError::NotOffered);
    }
    let transport = TcpTransport::new(config("client", None), TcpConfig::default());
    let server = NodeId::new("server").expect("the name is legal");
    let caller = OursCaller(transport.peer(&server, &NodeAddress::from(address)));
    drive_callers(caller, run).await
}
