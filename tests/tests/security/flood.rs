//! A flood of strangers at a node's door: members stay and are served, a new node comes in, memory stays bounded, and nothing
//! is left. S12.
//!
//! Lasts 5 seconds; `RDB_FLOOD_SECONDS` makes it longer, 30 being the full length.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdb_net_transport::PeerHandle;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use crate::MEMORY;
use crate::child::{Child, descriptors, folder, serve};
use crate::mint::{Ca, Files};
use crate::node::{Node, PATIENCE, ask, id, runtime, start, start_with, wait};
use crate::raw::{ALPN, client};

const PER_SECOND: u64 = 2_000;
/// From so many loopback addresses, 127.0.1.1 and on.
const SOURCES: u8 = 8;
const MEMBERS: usize = 3;
/// How soon a new node is up, in the middle of it.
const JOIN_WITHIN: Duration = Duration::from_secs(3);
/// By how much the node's memory may grow.
const GROWTH_BYTES_MAX: u64 = 64 << 20;
/// How long a stranger holds on that the node does not hang up on.
const HOLDS: Duration = Duration::from_secs(5);
/// How many of a member's requests are at work in a second.
const PACE: Duration = Duration::from_millis(2);

fn seconds() -> Duration {
    let told = std::env::var("RDB_FLOOD_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(told.unwrap_or(5))
}

/// The child: an ordinary node with the ordinary limits.
fn node(folder: &Path) {
    let runtime = runtime();
    let node = start_with(&runtime, "n1", Files::at(folder), |_| {});
    serve(|question| {
        if question == "begin" {
            MEMORY.reset_peak_usage();
        }
        let (address, errors) = (node.address().to_string(), node.errors());
        json!({
            "address": address,
            "errors": errors,
            "descriptors": descriptors(),
            "bytes": MEMORY.current_usage(),
            "peak": MEMORY.peak_usage(),
            "resident": resident("VmRSS"),
            "resident_peak": resident("VmHWM"),
        })
    });
}

/// Bytes of this process in memory, those of the cryptography included, which the allocator does not see.
fn resident(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().find_map(|word| word.parse::<u64>().ok()).map(|kib| kib * 1024)
}

/// What the strangers have done so far.
#[derive(Default)]
struct Done {
    begun: AtomicU64,
    /// Connections that the kernel did not make in time.
    unconnected: AtomicU64,
    /// Handshakes that came to the end where the certificate is asked for.
    shaken: AtomicU64,
}

/// The kinds of strangers, one after the other.
async fn stranger(kind: u64, to: SocketAddr, tls: TlsConnector, half: Arc<Vec<u8>>, done: Arc<Done>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    let source = Ipv4Addr::new(127, 0, 1, 1 + (kind % u64::from(SOURCES)) as u8);
    socket.bind(SocketAddr::new(IpAddr::V4(source), 0)).expect("loopback has such an address");
    let connected = tokio::time::timeout(HOLDS, socket.connect(to)).await;
    let Ok(Ok(mut stream)) = connected else {
        done.unconnected.fetch_add(1, Ordering::Relaxed);
        return;
    };
    // Whatever the node does to it is right.
    let held = async {
        match kind / u64::from(SOURCES) % 5 {
            0 => {}
            1 => {
                let _reset = stream.set_zero_linger();
            }
            2 => {
                let _ = stream.write_all(&half).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
            3 => {
                let name = "localhost".try_into().expect("a name");
                if let Ok(mut secured) = tls.connect(name, stream).await {
                    done.shaken.fetch_add(1, Ordering::Relaxed);
                    let _ = secured.read_to_end(&mut Vec::new()).await;
                }
            }
            _ => {
                let _ = stream.write_all(&[0x5a; 512]).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        }
    };
    let _ended = tokio::time::timeout(HOLDS, held).await;
}

/// The first half of what a client says first.
fn half_a_hello() -> Vec<u8> {
    let name = "localhost".try_into().expect("a name");
    let mut hello = Vec::new();
    let mut connection = rustls::ClientConnection::new(client(None, ALPN), name).expect("a configuration");
    connection.write_tls(&mut hello).expect("written");
    hello.truncate(hello.len() / 2);
    hello
}

/// Strangers at this rate, until it is over.
async fn flood(to: SocketAddr, lasts: Duration, done: Arc<Done>) {
    let (tls, half) = (TlsConnector::from(client(None, ALPN)), Arc::new(half_a_hello()));
    let (begun, mut kind) = (Instant::now(), 0_u64);
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while begun.elapsed() < lasts {
        ticks.tick().await;
        let due = (begun.elapsed().as_secs_f64() * PER_SECOND as f64) as u64;
        while kind < due {
            tokio::spawn(stranger(kind, to, tls.clone(), Arc::clone(&half), Arc::clone(&done)));
            done.begun.fetch_add(1, Ordering::Relaxed);
            kind += 1;
        }
    }
}

/// Members, whose requests go on without a pause.
struct Members {
    nodes: Vec<Node>,
    peers: Vec<PeerHandle>,
    /// Latencies since they were last taken.
    taken: Arc<Mutex<Vec<Duration>>>,
    failed: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Members {
    fn start(runtime: &Runtime, ca: &Ca, to: SocketAddr) -> Self {
        let name = |number| format!("m{number}");
        let nodes: Vec<Node> = (0..MEMBERS).map(|number| start(runtime, &name(number), ca, |_| {})).collect();
        let peers: Vec<PeerHandle> = nodes.iter().map(|node| node.transport.peer(&id("n1"), &to.into())).collect();
        let members = Self { nodes, peers, taken: Arc::default(), failed: Arc::default(), over: Arc::default() };
        for (node, peer) in members.nodes.iter().zip(&members.peers) {
            assert_eq!(runtime.block_on(node.dialled(peer)), "up");
            let (peer, taken) = (peer.clone(), Arc::clone(&members.taken));
            let (failed, over) = (Arc::clone(&members.failed), Arc::clone(&members.over));
            runtime.spawn(async move {
                let mut pace = tokio::time::interval(PACE);
                pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
                while !over.load(Ordering::SeqCst) {
                    pace.tick().await;
                    let begun = Instant::now();
                    match ask(&peer).await {
                        Ok(()) => taken.lock().expect("no panic").push(begun.elapsed()),
                        Err(_) => {
                            failed.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }
            });
        }
        members
    }

    /// How many requests there were since the last time, and the slowest hundredth.
    fn latencies(&self) -> (usize, Duration) {
        let mut taken = std::mem::take(&mut *self.taken.lock().expect("no panic"));
        taken.sort_unstable();
        let p99 = taken.get(taken.len() * 99 / 100).copied().unwrap_or_default();
        (taken.len(), p99)
    }
}

/// A passage to the node from another address than 127.0.0.1. It stays open as long as the runtime.
fn passage(runtime: &Runtime, to: SocketAddr, from: Ipv4Addr) -> SocketAddr {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("bound");
    runtime.spawn(async move {
        while let Ok((mut outer, _)) = listener.accept().await {
            tokio::spawn(async move {
                let socket = TcpSocket::new_v4().expect("a socket");
                socket.bind(SocketAddr::new(IpAddr::V4(from), 0)).expect("loopback has such an address");
                let Ok(mut inner): std::io::Result<TcpStream> = socket.connect(to).await else { return };
                let _ended = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
            });
        }
    });
    address
}

/// How long a new node takes until it is up and answered.
#[track_caller]
fn join(runtime: &Runtime, ca: &Ca, name: &str, address: SocketAddr) -> Duration {
    let joining = start(runtime, name, ca, |settings| {
        settings.config.peer = rdb_net_peer::PeerConfig::default();
    });
    let begun = Instant::now();
    let peer = joining.transport.peer(&id("n1"), &address.into());
    let entered = runtime.enter();
    peer.keep(true);
    drop(entered);
    wait("a new node is up", PATIENCE, || peer.is_up());
    runtime.block_on(ask(&peer)).expect("and answered");
    let took = begun.elapsed();
    println!("MEASURED {name} is up in a flood: {} ms, after {:?}", took.as_millis(), joining.errors());
    joining.stop(runtime);
    took
}

fn number(report: &Value, key: &str) -> u64 {
    report[key].as_u64().unwrap_or_else(|| panic!("{key}: {report}"))
}

#[test]
fn a_flood_of_strangers_keeps_no_member_from_its_work_and_no_new_node_out() {
    if let Some(folder) = folder() {
        return node(&folder);
    }
    let (lasts, ca) = (seconds(), Ca::new("ca"));
    let (runtime, crowd) = (runtime(), runtime());
    let files = Files::write(&ca.pem(), &ca.node("n1"));
    let test = "flood::a_flood_of_strangers_keeps_no_member_from_its_work_and_no_new_node_out";
    let mut child = Child::start(test, files.path(""));
    let address: SocketAddr =
        child.ask("report")["address"].as_str().and_then(|it| it.parse().ok()).expect("an address");
    let members = Members::start(&runtime, &ca, address);
    let elsewhere = passage(&runtime, address, Ipv4Addr::new(127, 0, 2, 1));
    wait("they are at work", PATIENCE, || members.taken.lock().expect("no panic").len() > 2_000);
    let (_, alone) = members.latencies();
    let before = child.ask("begin");

    let (done, begun) = (Arc::<Done>::default(), Instant::now());
    let flooding = crowd.spawn(flood(address, lasts, Arc::clone(&done)));
    wait("the door is crowded", PATIENCE, || done.begun.load(Ordering::Relaxed) > PER_SECOND);
    let known = join(&runtime, &ca, "n8", address);
    let unknown = join(&runtime, &ca, "n9", elsewhere);
    assert!(!flooding.is_finished(), "the flood goes on");
    crowd.block_on(flooding).expect("the flood ends");
    let took = begun.elapsed();
    let (count, flooded) = members.latencies();
    let after = child.ask("report");

    let growth = number(&after, "peak").saturating_sub(number(&before, "bytes"));
    let strangers = done.begun.load(Ordering::Relaxed);
    println!(
        "MEASURED flood: {strangers} strangers in {took:.1?}, {} of them not connected, {} handshakes; {}",
        done.unconnected.load(Ordering::Relaxed),
        done.shaken.load(Ordering::Relaxed),
        after["errors"],
    );
    println!("MEASURED members in a flood: n={count} p99={flooded:.1?}, {alone:.1?} alone");
    let resident = number(&after, "resident_peak").saturating_sub(number(&before, "resident"));
    let kib = [growth, resident, GROWTH_BYTES_MAX].map(|bytes| bytes / 1024);
    println!(
        "MEASURED memory in a flood: {} KiB allocated, {} KiB resident more at most, bound {} KiB",
        kib[0], kib[1], kib[2]
    );
    assert!(strangers as f64 >= lasts.as_secs_f64() * PER_SECOND as f64 * 0.95, "{strangers} strangers");
    assert!(growth.max(resident) <= GROWTH_BYTES_MAX, "{growth} bytes allocated, {resident} resident more");
    assert!(known <= JOIN_WITHIN && unknown <= JOIN_WITHIN, "{known:?} and {unknown:?}");
    assert_eq!(members.failed.load(Ordering::SeqCst), 0, "no request of a member has failed");
    for (node, peer) in members.nodes.iter().zip(&members.peers) {
        assert!(peer.is_up() && node.errors().is_empty(), "{}: {:?}", node.id, node.errors());
    }
    members.over.store(true, Ordering::SeqCst);
    // Hangs up on whatever was still held.
    drop(crowd);
    let held = number(&before, "descriptors");
    wait("its descriptors are free again", PATIENCE, || number(&child.ask("report"), "descriptors") <= held);
    for node in members.nodes {
        node.stop(&runtime);
    }
}
