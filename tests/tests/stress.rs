//! Fifteen nodes, a connection from each to each other one, mixed traffic on all lanes, and connections that are cut at random:
//! every request has an outcome, everything that is counted comes back to zero, and no task and no socket is left.
//!
//! Runs for ten seconds; `RDB_STRESS_SECONDS` makes it longer.

#![expect(clippy::print_stdout, reason = "what was measured is told")]

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;
use rdb_net_session::Identity;
use rdb_net_tcp::{TcpBackend, TcpConfig};
use rdb_net_transport::{
    Answer, CallOptions, Config, HandlerError, HandlerOptions, Handling, PeerHandle, Request, StreamOptions, Transport,
};
use rdb_net_types::{
    Application, BootId, ClusterId, Incarnation, Lane, MessageType, NodeId, Payload, ProtocolRange, SeededRandom,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

const NODES: usize = 15;
const ECHO: MessageType = MessageType::FIRST_APPLICATION;
const SLOW: MessageType = MessageType(0x8001);
const COUNT: MessageType = MessageType(0x8002);
const NOTE: MessageType = MessageType(0x8003);
const PATIENCE: Duration = Duration::from_secs(30);

/// A door in front of a node, whose connections can be cut.
struct Door {
    address: SocketAddr,
    passages: Arc<Mutex<Vec<AbortHandle>>>,
    task: AbortHandle,
}

impl Door {
    async fn open() -> (Self, Arc<Mutex<Option<SocketAddr>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let passages = Arc::<Mutex<Vec<AbortHandle>>>::default();
        let target = Arc::<Mutex<Option<SocketAddr>>>::default();
        let (opened, behind) = (Arc::clone(&passages), Arc::clone(&target));
        let task = tokio::spawn(async move {
            let mut copies = JoinSet::new();
            while let Ok((mut outer, _)) = listener.accept().await {
                let to = *behind.lock().expect("no panic");
                let Some(to) = to else { continue };
                let copied = copies.spawn(async move {
                    // Whoever is cut sees it as a reset or an end.
                    if let Ok(mut inner) = TcpStream::connect(to).await {
                        let _cut = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
                    }
                });
                opened.lock().expect("no panic").push(copied);
                while copies.try_join_next().is_some() {}
            }
        });
        (Self { address, passages, task: task.abort_handle() }, target)
    }

    /// Cuts one of the connections.
    fn cut(&self, random: &mut SeededRandom) -> bool {
        let mut passages = self.passages.lock().expect("no panic");
        passages.retain(|passage| !passage.is_finished());
        if passages.is_empty() {
            return false;
        }
        let which = random.next_u64() as usize % passages.len();
        passages.swap_remove(which).abort();
        true
    }
}

struct Node {
    id: NodeId,
    transport: Transport,
    door: Door,
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

async fn start(number: usize) -> Node {
    let (door, target) = Door::open().await;
    let id = NodeId::new(&format!("n{number}")).expect("legal");
    let mut config = Config::new(Identity {
        cluster: ClusterId::new("stress").expect("legal"),
        node: id.clone(),
        incarnation: Incarnation::first_of(1),
        boot: BootId(number as u64 + 1),
        address: door.address.to_string().parse().expect("legal"),
        protocol: ProtocolRange::CURRENT,
        software: String::new(),
        token: Vec::new(),
    });
    config.bind = Some("127.0.0.1:0".parse().expect("legal"));
    config.memory_bytes_max = 64 << 20;
    config.session.compression = rdb_net_session::CompressionConfig::default();
    let transport = Transport::new(config, Arc::new(TcpBackend::new(TcpConfig::default())));
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
    *target.lock().expect("no panic") = transport.local_address();
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

/// Sockets of TCP; those that ask the kernel about them stay open.
fn open_sockets() -> usize {
    let tables =
        ["/proc/self/net/tcp", "/proc/self/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let inodes: Vec<&str> =
        tables.iter().flat_map(|table| table.lines()).filter_map(|line| line.split_whitespace().nth(9)).collect();
    let entries = std::fs::read_dir("/proc/self/fd").expect("Linux").flatten();
    let targets = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let is_tcp = |target: &std::path::PathBuf| {
        let target = target.to_string_lossy();
        target
            .strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'))
            .is_some_and(|inode| inodes.contains(&inode))
    };
    targets.filter(is_tcp).count()
}

fn seconds() -> u64 {
    std::env::var("RDB_STRESS_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(10)
}

#[test]
fn two_hundred_connections_under_mixed_traffic_and_cuts_lose_no_outcome_and_leave_nothing() {
    let sockets_before = open_sockets();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(stress());
    let tasks = runtime.metrics().num_alive_tasks();
    assert_eq!(tasks, 0, "tasks are left");
    drop(runtime);
    assert_eq!(open_sockets(), sockets_before, "sockets are left");
}

async fn stress() {
    let mut nodes = Vec::new();
    for number in 0..NODES {
        nodes.push(start(number).await);
    }
    let (tally, stop) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
    let mut load = JoinSet::new();
    for (from, node) in nodes.iter().enumerate() {
        for (to, other) in nodes.iter().enumerate().filter(|(to, _)| *to != from) {
            let peer = node.transport.peer(&other.id, &other.transport.advertised_address());
            let (tally, stop) = (Arc::clone(&tally), Arc::clone(&stop));
            let mut random = SeededRandom::new((from * NODES + to) as u64);
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
    let mut most = 0;
    while began.elapsed() < Duration::from_secs(seconds()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        cuts += u64::from(nodes[random.next_u64() as usize % NODES].door.cut(&mut random));
        let links =
            |node: &Node| node.transport.statistics().peers.values().map(|peer| peer.active_connections).sum::<u64>();
        most = most.max(nodes.iter().map(links).sum::<u64>() / 2);
    }
    stop.store(true, Ordering::Relaxed);
    soon("the last exchanges", async { while load.join_next().await.is_some() {} }).await;

    let (asked, ended) = (tally.asked.load(Ordering::Relaxed), tally.ended.load(Ordering::Relaxed));
    let outcomes = tally.outcomes.lock().expect("no panic").clone();
    println!("MEASURED {asked} exchanges over at most {most} connections, {cuts} cuts: {outcomes:?}");
    assert_eq!(asked, ended, "every exchange has an outcome");
    assert!(!outcomes.contains_key("answered with another's reply"));
    assert!(outcomes["answered"] > asked / 4 && outcomes["streamed"] > 0 && cuts > 100, "{outcomes:?}");
    assert!(most >= 200, "{most} connections");

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
    for node in &nodes {
        node.door.task.abort();
        node.door.passages.lock().expect("no panic").iter().for_each(AbortHandle::abort);
    }
    soon("the end of the doors", async {
        while nodes.iter().any(|node| !node.door.task.is_finished()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
