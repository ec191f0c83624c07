//! One node and many peers: a request to all of them at once, the memory that an idle one costs, and all of them lost at once.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdb_net_session::Config as SessionConfig;
use rdb_net_transport::{Backend, CallOptions, Connection, DialError, ListenError, Listener, PeerHandle, Transport};
use rdb_net_types::{BoxFuture, NodeAddress, NodeId, Payload};
use rdb_net_wire::Raw;
use tokio::task::JoinSet;

use crate::certificates;
use crate::measure::{Heap, histogram, quantiles, resident_bytes};
use crate::peers::PeerError;
use crate::peers::ours::{self, ECHO, config, register};
use crate::pipe::PipeNetwork;
use crate::probe::Reading;
use crate::race::Line;

/// What connections over loopback are inside.
#[derive(Debug, Clone)]
pub(crate) enum Security {
    /// Nothing.
    Plain,
    /// TLS, each node with its certificate in this folder.
    Tls(Option<PathBuf>),
}

impl Security {
    /// The backend of the node of this name.
    fn backend(&self, name: &str) -> Result<Arc<dyn Backend>, PeerError> {
        match self {
            Self::Plain => Ok(ours::backend(None)),
            Self::Tls(dir) => Ok(ours::backend(Some(certificates::load(dir.as_deref(), name)?))),
        }
    }
}

/// The node in the middle.
const HUB: &str = "hub";

/// Every node of the probe over loopback.
pub(crate) fn names() -> Vec<String> {
    (0..OVER_LOOPBACK).map(name_of).chain([HUB.to_owned()]).collect()
}

/// Peers over loopback, in one other process.
pub(crate) const OVER_LOOPBACK: usize = 200;
const IN_MEMORY: usize = 1000;
/// Small, because the memory of pipes is not the node's; it is taken off.
const PIPE_BYTES: usize = 4 << 10;
const FAN_OUTS: usize = 20;
/// How long the peers are idle before their memory is looked at.
const IDLE: Duration = Duration::from_millis(500);
/// What a dial over a wire would take, so that dials meet.
const DIAL_TIME: Duration = Duration::from_millis(2);
/// How long all peers may take to be up again.
const PATIENCE: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_secs(10);

/// The network in memory. Another one is one line: whatever dials and listens.
fn network() -> Arc<dyn Backend> {
    Arc::new(PipeNetwork::new(PIPE_BYTES))
}

/// Serves as many nodes on loopback, tells their ports, and never ends.
///
/// # Errors
///
/// The operating system's.
pub(crate) async fn serve_nodes(
    count: usize,
    security: Security,
    announce: impl FnOnce(Vec<u16>) + Send,
) -> Result<Line, PeerError> {
    let addresses = (0..count).map(|_| NodeAddress::from(SocketAddr::from(([127, 0, 0, 1], 0))));
    let nodes = start_nodes(|name| security.backend(name), addresses).await?;
    announce(nodes.iter().filter_map(Transport::local_address).map(|address| address.port()).collect());
    std::future::pending().await
}

async fn start_nodes(
    backend_of: impl Fn(&str) -> Result<Arc<dyn Backend>, PeerError>,
    addresses: impl Iterator<Item = NodeAddress>,
) -> Result<Vec<Transport>, PeerError> {
    let mut nodes = Vec::new();
    for (number, address) in addresses.enumerate() {
        let name = name_of(number);
        let node = Transport::new(config(&name, Some(address), SessionConfig::default()), backend_of(&name)?);
        register(&node);
        node.start().await.map_err(|error| PeerError::Io(error.source))?;
        nodes.push(node);
    }
    Ok(nodes)
}

fn name_of(number: usize) -> String {
    format!("node-{number}")
}

pub(crate) async fn in_memory() -> Result<Vec<Reading>, PeerError> {
    let backend = network();
    let addresses: Vec<NodeAddress> =
        (0..IN_MEMORY).map(|number| SocketAddr::from(([127, 0, 0, 1], 10_000 + number as u16)).into()).collect();
    let nodes = start_nodes(|_| Ok(Arc::clone(&backend)), addresses.iter().cloned()).await?;
    // Both ends are in this process.
    let memory = |bytes: u64| (bytes as f64 / IN_MEMORY as f64 - 2.0 * PIPE_BYTES as f64) / 2.0;
    let readings = measure("in-memory", backend, &addresses, memory).await;
    drop(nodes);
    readings
}

pub(crate) async fn over_loopback(place: &str, ports: &[u16], security: &Security) -> Result<Vec<Reading>, PeerError> {
    let addresses: Vec<NodeAddress> =
        ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port)).into()).collect();
    let memory = |bytes: u64| bytes as f64 / OVER_LOOPBACK as f64;
    measure(place, security.backend(HUB)?, &addresses, memory).await
}

async fn measure(
    place: &str,
    backend: Arc<dyn Backend>,
    addresses: &[NodeAddress],
    memory_of_peer: impl Fn(u64) -> f64,
) -> Result<Vec<Reading>, PeerError> {
    let dials = Arc::new(CountedDials {
        backend,
        under_way: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
        made: AtomicUsize::new(0),
    });
    let mut settings = config(HUB, None, SessionConfig::default());
    settings.connections_max = addresses.len() + 16;
    let dials_max = settings.dials_max;
    let hub = Transport::new(settings, Arc::clone(&dials) as Arc<dyn Backend>);
    let (heap, resident) = (Heap::read(), resident_bytes());
    let peers: Vec<PeerHandle> =
        addresses.iter().enumerate().map(|(number, address)| peer(&hub, number, address)).collect();
    fan_out(&peers).await?;
    let named = |figure: &str, value| Reading::new(&format!("{figure}-{place}"), value);
    let mut readings = Vec::new();
    if let Some(before) = heap {
        tokio::time::sleep(IDLE).await;
        let kibibytes = |before: u64, after: u64| memory_of_peer(after.saturating_sub(before)) / 1024.0;
        let after = Heap::read().unwrap_or(before);
        readings.push(named("idle-peer-heap", kibibytes(before.live_bytes, after.live_bytes)));
        let resident = resident.zip(resident_bytes()).map(|(before, after)| kibibytes(before, after));
        readings.extend(resident.map(|value| named("idle-peer-resident", value)));
        return Ok(readings);
    }
    let (mut each, mut all) = (histogram(3), Vec::new());
    for _ in 0..FAN_OUTS {
        let latencies = fan_out(&peers).await?;
        all.extend(latencies.iter().max().copied());
        for latency in latencies {
            each.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        }
    }
    all.sort();
    let median_of_last = all.get(all.len() / 2).map_or(0.0, |latency| latency.as_secs_f64() * 1e6);
    readings.push(named("fan-out-p99", quantiles(&each).p99_us));
    readings.push(named("fan-out-last", median_of_last));
    dials.most.store(0, Ordering::Relaxed);
    dials.made.store(0, Ordering::Relaxed);
    let seconds = reconnect(&hub, &peers, &dials.made).await?;
    readings.push(named("reconnect-all", seconds * 1e3));
    readings.push(named("reconnect-dials", dials.most.load(Ordering::Relaxed) as f64 / dials_max as f64));
    Ok(readings)
}

fn peer(hub: &Transport, number: usize, address: &NodeAddress) -> PeerHandle {
    let node = NodeId::new(&name_of(number)).expect("the name is legal");
    let peer = hub.peer(&node, address);
    peer.keep(true);
    peer
}

/// Asks all peers at once. Returns how long each answer took from the beginning of the whole.
async fn fan_out(peers: &[PeerHandle]) -> Result<Vec<Duration>, PeerError> {
    let started = Instant::now();
    let mut calls = JoinSet::new();
    for peer in peers {
        let peer = peer.clone();
        calls.spawn(async move {
            let message = Raw { message_type: ECHO, payload: Payload::from(Bytes::from_static(&[7; 64])) };
            let reply = peer.request(&message, CallOptions::timeout(TIMEOUT)).await;
            reply.map(|_| started.elapsed())
        });
    }
    let mut latencies = Vec::with_capacity(peers.len());
    while let Some(ended) = calls.join_next().await {
        let answered = ended.map_err(|_| PeerError::ConnectionLost("a caller panicked"))?;
        latencies.push(answered.map_err(|_| PeerError::ConnectionLost("a peer did not answer"))?);
    }
    Ok(latencies)
}

/// Loses all connections at once. Returns after how many seconds all are up again.
async fn reconnect(hub: &Transport, peers: &[PeerHandle], dials_made: &AtomicUsize) -> Result<f64, PeerError> {
    let started = Instant::now();
    hub.close_connections();
    let are_back = || dials_made.load(Ordering::Relaxed) >= peers.len() && peers.iter().all(PeerHandle::is_up);
    wait_until(are_back).await?;
    Ok(started.elapsed().as_secs_f64())
}

async fn wait_until(condition: impl Fn() -> bool) -> Result<(), PeerError> {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        if Instant::now() > end {
            return Err(PeerError::ConnectionLost("the peers did not come back"));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// A backend whose dials take a while, and are counted.
struct CountedDials {
    backend: Arc<dyn Backend>,
    under_way: AtomicUsize,
    /// The most that were under way at once.
    most: AtomicUsize,
    /// How many have ended.
    made: AtomicUsize,
}

impl Backend for CountedDials {
    fn name(&self) -> &'static str {
        self.backend.name()
    }

    fn dial<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Connection>, DialError>> {
        Box::pin(async move {
            let under_way = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(under_way, Ordering::Relaxed);
            tokio::time::sleep(DIAL_TIME).await;
            let dialled = self.backend.dial(address).await;
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            self.made.fetch_add(1, Ordering::Relaxed);
            dialled
        })
    }

    fn listen<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Listener>, ListenError>> {
        self.backend.listen(address)
    }
}
