//! Nodes with a connection from each to each other one, mixed traffic on all lanes, and connections that are cut at random:
//! every request has an outcome, everything that is counted comes back to zero, and no task and no socket is left.
//!
//! Runs for ten seconds; `RDB_STRESS_SECONDS` makes it longer.

#![expect(clippy::print_stdout, reason = "what was measured is told")]

#[path = "stress/tcp_door.rs"]
mod tcp_door;
#[path = "stress/udp_door.rs"]
mod udp_door;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;
use peak_alloc::PeakAlloc;
use rdb_net_quic::{QuicBackend, QuicConfig};
use rdb_net_session::Identity;
use rdb_net_tcp::{TcpBackend, TcpConfig};
use rdb_net_tests::Certificates;
use rdb_net_transport::{
    Answer, Backend, CallOptions, Config, HandlerError, HandlerOptions, Handling, PeerHandle, Request, StreamOptions,
    Transport,
};
use rdb_net_types::{
    Application, BootId, ClusterId, Incarnation, Lane, MessageType, NodeId, Payload, ProtocolRange, SeededRandom,
};
use tokio::task::JoinSet;

use tcp_door::TcpDoor;
use udp_door::UdpDoor;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const ECHO: MessageType = MessageType::FIRST_APPLICATION;
const SLOW: MessageType = MessageType(0x8001);
const COUNT: MessageType = MessageType(0x8002);
const NOTE: MessageType = MessageType(0x8003);
const PATIENCE: Duration = Duration::from_secs(30);

/// A door in front of a node, through which everybody comes to it.
trait Door: Send {
    fn address(&self) -> SocketAddr;

    /// Where the node listens.
    fn set_target(&self, target: SocketAddr);

    /// Cuts a connection, or all of them. Returns whether there was one.
    fn cut(&self, random: &mut SeededRandom) -> bool;

    fn close(&self);

    fn is_closed(&self) -> bool;
}

/// What a run is made of.
struct Scene {
    nodes: usize,
    /// As many connections are up at once at some time.
    connections: u64,
    cuts: u64,
    pause: Duration,
    certificates: Option<Certificates>,
}

impl Scene {
    /// A node's way out, and its door.
    async fn kind(&self, number: usize, id: &NodeId) -> (Arc<dyn Backend>, Box<dyn Door>) {
        match &self.certificates {
            None => (Arc::new(TcpBackend::new(TcpConfig::default())), Box::new(TcpDoor::open().await)),
            Some(certificates) => {
                let backend = QuicBackend::new(QuicConfig::default(), certificates.of(id));
                (Arc::new(backend), Box::new(UdpDoor::open(number as u64).await))
            }
        }
    }
}

struct Node {
    id: NodeId,
    transport: Transport,
    door: Box<dyn Door>,
}

/// Numbers from 1 on, of so many bytes each.
struct Numbers {
    left: u32,
}

impl Stream for Numbers {
    type Item = Result<Answer, HandlerError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let left = self.left;
        self.left = left.saturating_sub(1);
        Poll::Ready((left > 0).then(|| Ok(Answer::Payload(Payload::from(vec![7; 3000])))))
    }
}

async fn start(scene: &Scene, number: usize) -> Node {
    let id = NodeId::new(&format!("n{number}")).expect("legal");
    let (backend, door) = scene.kind(number, &id).await;
    let mut config = Config::new(Identity {
        cluster: ClusterId::new("stress").expect("legal"),
        node: id.clone(),
        incarnation: Incarnation::first_of(1),
        boot: BootId(number as u64 + 1),
        address: door.address().to_string().parse().expect("legal"),
        protocol: ProtocolRange::CURRENT,
        software: String::new(),
        token: Vec::new(),
    });
    config.bind = Some("127.0.0.1:0".parse().expect("legal"));
    config.memory_bytes_max = 64 << 20;
    config.session.compression = rdb_net_session::CompressionConfig::default();
    let transport = Transport::new(config, backend);
    let echo = |_: &NodeId, request: Request| Handling::Ready(Ok(Answer::Payload(request.into_payload())));
    transport.handle(ECHO, Arc::new(echo), HandlerOptions::default());
    let slow = |_: &NodeId, request: Request| {
        Handling::Later(Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok(Answer::Payload(request.into_payload()))
        }))
    };
    transport.handle(SLOW, Arc::new(slow), HandlerOptions { concurrency_max: 64 });
    let count = |_: &NodeId, _: Request| Handling::Stream(Box::pin(Numbers { left: 50 }));
    transport.handle(COUNT, Arc::new(count), HandlerOptions::default());
    let note = |_: &NodeId, _: Request| Handling::Ready(Ok(Answer::Empty));
    transport.handle(NOTE, Arc::new(note), HandlerOptions::default());
    transport.start().await.expect("a port");
    door.set_target(transport.local_address().expect("it listens"));
    Node { id, transport, door }
}

/// How requests ended.
#[derive(Default)]
struct Tally {
    asked: AtomicU64,
    ended: AtomicU64,
    outcomes: Mutex<BTreeMap<String, u64>>,
}

impl Tally {
    fn end(&self, outcome: String) {
        self.ended.fetch_add(1, Ordering::Relaxed);
        *self.outcomes.lock().expect("no panic").entry(outcome).or_default() += 1;
    }
}

/// What is held does not grow once everything has been at work for a while: the last fifth of the run against the second one. In less
/// than two minutes buffers still reach their sizes.
fn check_growth(memory: &[usize]) {
    let fifth = memory.len() / 5;
    let median = |from: usize| {
        let mut part = memory[from..from + fifth].to_vec();
        part.sort_unstable();
        part[fifth / 2]
    };
    let (early, late) = (median(fifth), median(memory.len() - fifth));
    println!("MEASURED memory held: {early} bytes in the second fifth of the run, {late} in the last one");
    let bound = early + early / 5 + (4 << 20);
    assert!(seconds() < 120 || late < bound, "{early} bytes have become {late}");
}

fn message(message_type: MessageType, bytes: usize) -> Application {
    Application { message_type, payload: Payload::from(vec![7; bytes]) }
}

/// One exchange of some kind, and how it ended.
async fn exchange(peer: &PeerHandle, random: &mut SeededRandom) -> String {
    let lane = Lane::ALL[random.next_u64() as usize % 4];
    let call = CallOptions { lane: Some(lane), ..CallOptions::timeout(Duration::from_secs(3)) };
    let bytes = match random.next_u64() % 20 {
        0 => 600_000,
        1..=4 => 30_000,
        _ => random.next_u64() as usize % 2000,
    };
    let told = |effect, reason: &str| format!("{effect:?} {reason}");
    match random.next_u64() % 10 {
        0 => match peer.send(&message(NOTE, bytes), call).await {
            Ok(()) => "sent".to_owned(),
            Err(error) => told(error.effect, error.reason.name()),
        },
        1 => {
            let asked = message(SLOW, bytes);
            let request = peer.request(&asked, call);
            match tokio::time::timeout(Duration::from_millis(random.next_u64() % 6), request).await {
                Ok(Ok(_)) => "answered".to_owned(),
                Ok(Err(error)) => told(error.effect, error.reason.name()),
                Err(_) => "given up".to_owned(),
            }
        }
        2 => {
            let asked = message(SLOW, bytes);
            match peer.request(&asked, CallOptions { timeout: Some(Duration::from_millis(4)), ..call }).await {
                Ok(_) => "answered".to_owned(),
                Err(error) => told(error.effect, error.reason.name()),
            }
        }
        3 => {
            let options = StreamOptions { call, window_bytes: 16 * 1024 };
            let mut stream = match peer.stream(&message(COUNT, 10), options).await {
                Ok(stream) => stream,
                Err(error) => return told(error.effect, error.reason.name()),
            };
            let mut replies = random.next_u64() % 100;
            loop {
                match stream.next().await {
                    None => return "streamed".to_owned(),
                    Some(Err(error)) => return told(error.effect, error.reason.name()),
                    Some(Ok(_)) if replies == 0 => return "stream given up".to_owned(),
                    Some(Ok(_)) => replies -= 1,
                }
            }
        }
        _ => match peer.request(&message(ECHO, bytes), call).await {
            Ok(reply) if reply.body.len() == bytes => "answered".to_owned(),
            Ok(_) => "answered with another's reply".to_owned(),
            Err(error) => told(error.effect, error.reason.name()),
        },
    }
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} took longer than {PATIENCE:?}"))
}

/// Sockets of TCP and UDP; those that ask the kernel about them stay open.
fn open_sockets() -> usize {
    let tables = ["tcp", "tcp6", "udp", "udp6"]
        .map(|table| std::fs::read_to_string(format!("/proc/self/net/{table}")).unwrap_or_default());
    let inodes: Vec<&str> =
        tables.iter().flat_map(|table| table.lines()).filter_map(|line| line.split_whitespace().nth(9)).collect();
    let entries = std::fs::read_dir("/proc/self/fd").expect("Linux").flatten();
    let targets = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let is_ours = |target: &std::path::PathBuf| {
        let target = target.to_string_lossy();
        target
            .strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'))
            .is_some_and(|inode| inodes.contains(&inode))
    };
    targets.filter(is_ours).count()
}

fn seconds() -> u64 {
    std::env::var("RDB_STRESS_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(10)
}

/// One run at a time: sockets are counted.
static ALONE: Mutex<()> = Mutex::new(());

fn play(scene: Scene) {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let sockets_before = open_sockets();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(stress(&scene));
    let began = Instant::now();
    // The library of QUIC ends a socket's task with its last connection's, a moment later.
    while runtime.metrics().num_alive_tasks() > 0 && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(runtime.metrics().num_alive_tasks(), 0, "tasks are left");
    drop(runtime);
    assert_eq!(open_sockets(), sockets_before, "sockets are left");
}

#[test]
fn two_hundred_connections_under_mixed_traffic_and_cuts_lose_no_outcome_and_leave_nothing() {
    play(Scene { nodes: 15, connections: 200, cuts: 100, pause: Duration::from_millis(20), certificates: None });
}

#[test]
fn over_quic_lost_packets_moved_clients_and_shut_ports_lose_no_outcome_and_leave_nothing() {
    play(Scene {
        nodes: 6,
        connections: 20,
        cuts: 20,
        pause: Duration::from_millis(200),
        certificates: Some(Certificates::new()),
    });
}

async fn stress(scene: &Scene) {
    let mut nodes = Vec::new();
    for number in 0..scene.nodes {
        nodes.push(start(scene, number).await);
    }
    let (tally, stop) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
    let mut load = JoinSet::new();
    for (from, node) in nodes.iter().enumerate() {
        for (to, other) in nodes.iter().enumerate().filter(|(to, _)| *to != from) {
            let peer = node.transport.peer(&other.id, &other.transport.advertised_address());
            let (tally, stop) = (Arc::clone(&tally), Arc::clone(&stop));
            let mut random = SeededRandom::new((from * scene.nodes + to) as u64);
            load.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    tally.asked.fetch_add(1, Ordering::Relaxed);
                    let outcome = exchange(&peer, &mut random).await;
                    if outcome == "NotSent unreachable" {
                        // Its connection was cut; the next dial is due in a moment.
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    tally.end(outcome);
                }
            });
        }
    }
    let (began, mut random, mut cuts) = (Instant::now(), SeededRandom::new(1), 0);
    let (mut most, mut memory) = (0, Vec::new());
    while began.elapsed() < Duration::from_secs(seconds()) {
        tokio::time::sleep(scene.pause).await;
        cuts += u64::from(nodes[random.next_u64() as usize % scene.nodes].door.cut(&mut random));
        let links =
            |node: &Node| node.transport.statistics().peers.values().map(|peer| peer.active_connections).sum::<u64>();
        most = most.max(nodes.iter().map(links).sum::<u64>() / 2);
        memory.push(MEMORY.current_usage());
    }
    check_growth(&memory);
    stop.store(true, Ordering::Relaxed);
    soon("the last exchanges", async { while load.join_next().await.is_some() {} }).await;

    let (asked, ended) = (tally.asked.load(Ordering::Relaxed), tally.ended.load(Ordering::Relaxed));
    let outcomes = tally.outcomes.lock().expect("no panic").clone();
    println!("MEASURED {asked} exchanges over at most {most} connections, {cuts} cuts: {outcomes:?}");
    assert_eq!(asked, ended, "every exchange has an outcome");
    assert!(!outcomes.contains_key("answered with another's reply"));
    assert!(outcomes["answered"] > asked / 4 && outcomes["streamed"] > 0 && cuts > scene.cuts, "{outcomes:?}");
    assert!(most >= scene.connections, "{most} connections");

    // With nothing under way, nothing is counted, on either side.
    soon("the end of what is under way", async {
        let busy = |node: &Node| {
            let statistics = node.transport.statistics();
            let lanes = statistics.peers.values().flat_map(|peer| peer.lanes);
            let held: u64 = lanes.map(|lane| lane.queued_bytes + lane.held_bytes).sum();
            let running: usize = node.transport.handlers().iter().map(|handler| handler.running).sum();
            held > 0 || running > 0 || node.transport.peers().iter().any(|peer| peer.requests_in_flight > 0)
        };
        while nodes.iter().any(busy) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    for node in &nodes {
        assert!(soon("a shutdown", node.transport.shutdown()).await, "{} was cut off", node.id);
        assert_eq!(node.transport.memory().0, 0, "{} has memory reserved", node.id);
    }
    nodes.iter().for_each(|node| node.door.close());
    soon("the end of the doors", async {
        while nodes.iter().any(|node| !node.door.is_closed()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
