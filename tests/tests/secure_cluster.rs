//! Clusters with TLS in one process: members prove who they are, gossip is sealed or travels inside connections, and
//! certificates, authorities and keys change while requests run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdb_net_manager::config::{Config, GossipTransport, TransportProtocol};
use rdb_net_manager::{
    Answer, CallOptions, HandlerOptions, Handling, NetworkEvent, NetworkManager, Request, StartError,
};
use rdb_net_seal::{DiskFiles, FileConfig, FileKind, FileOwner, SealedFile, StoreKey};
use rdb_net_tls::Clock;
use rdb_net_tls::pki::{Pki, PkiOptions};
use rdb_net_types::{
    Application, ClusterId, MembershipEvent, MessageType, NodeAddress, NodeId, NodeState, Payload, Role,
};
use tempfile::TempDir;

const ECHO: MessageType = MessageType::FIRST_APPLICATION;
const PATIENCE: Duration = Duration::from_secs(15);

fn id(name: &str) -> NodeId {
    NodeId::new(name).expect("legal")
}

fn cluster() -> ClusterId {
    ClusterId::new("orders").expect("legal")
}

/// An authority, and the files of nodes that it has issued.
struct Authority {
    folder: TempDir,
    pki: Pki,
}

impl Authority {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let pki = Pki::init(&folder.path().join("ca"), &PkiOptions::new(cluster()), Clock::default());
        Self { pki: pki.expect("an authority"), folder }
    }

    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let issued = self.pki.issue(&id(name), Role::Node, &[]).expect("a certificate");
        (issued.certificate, issued.key)
    }
}

/// The files of one node, which it looks at: they are replaced as an operator would.
struct Files(PathBuf);

impl Files {
    fn new(folder: &Path, name: &str) -> Self {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    /// Puts both in place, each by a rename.
    fn replace(&self, file: &str, content: &[u8]) {
        let (new, path) = (self.path("new"), self.path(file));
        std::fs::write(&new, content).expect("written");
        if file == "key.pem" {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).expect("its mode is set");
        }
        std::fs::rename(&new, &path).expect("in place");
    }

    fn take(&self, authority: &Authority, name: &str) {
        let (certificate, key) = authority.issue(name);
        self.replace("key.pem", &std::fs::read(key).expect("the key"));
        self.replace("cert.pem", &std::fs::read(certificate).expect("the certificate"));
    }

    fn trust(&self, authorities: &[&Authority]) {
        let all: Vec<Vec<u8>> =
            authorities.iter().map(|one| std::fs::read(one.pki.ca_path()).expect("its certificate")).collect();
        self.replace("ca.pem", &all.concat());
    }

    fn config(&self, seeds: Vec<NodeAddress>) -> Config {
        let mut config = Config::default();
        config.cluster_id = cluster();
        config.bind_address = "127.0.0.1:0".parse().expect("legal");
        config.admin.enabled = false;
        config.service_discovery.seeds = seeds;
        config.gossip.swim = rdb_swim::Config::local();
        config.tls.enabled = true;
        config.tls.cert_path = Some(self.path("cert.pem"));
        config.tls.key_path = Some(self.path("key.pem"));
        config.tls.ca_cert_path = Some(self.path("ca.pem"));
        config.tls.reload_interval = Duration::from_millis(200);
        config
    }
}

struct Node {
    manager: NetworkManager,
    files: Files,
}

async fn start_with(files: Files, seeds: Vec<NodeAddress>, change: impl FnOnce(&mut Config)) -> Node {
    let mut config = files.config(seeds);
    change(&mut config);
    let manager = NetworkManager::new(config).expect("it can run");
    let echo = |_: &NodeId, request: Request| Handling::Ready(Ok(Answer::Payload(request.into_payload())));
    manager.handle(ECHO, Arc::new(echo), HandlerOptions::default());
    manager.start().await.expect("loopback has free ports");
    Node { manager, files }
}

/// Nodes a, b, c, … that join through the first.
async fn start(authority: &Authority, count: usize, change: impl Fn(&mut Config)) -> Vec<Node> {
    let (mut nodes, mut seeds) = (Vec::new(), Vec::new());
    for name in ["a", "b", "c", "d", "e"].into_iter().take(count) {
        let files = Files::new(authority.folder.path(), name);
        files.take(authority, name);
        files.trust(&[authority]);
        let node = start_with(files, seeds.clone(), &change).await;
        if seeds.is_empty() {
            seeds.push(node.manager.addresses().transport);
        }
        nodes.push(node);
    }
    eventually("all know all", || nodes.iter().all(|node| alive(node) == count)).await;
    nodes
}

fn alive(node: &Node) -> usize {
    node.manager.members().iter().filter(|member| member.state == NodeState::Alive).count()
}

async fn eventually(what: &str, condition: impl Fn() -> bool) -> Duration {
    eventually_within(PATIENCE, what, condition).await
}

async fn eventually_within(patience: Duration, what: &str, condition: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < patience, "{what}: not within {patience:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}

async fn stop(nodes: Vec<Node>) {
    for node in &nodes {
        node.manager.shutdown().await;
    }
}

fn message() -> Application {
    Application { message_type: ECHO, payload: Payload::from(vec![7; 64]) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_with_certificates_of_one_authority_are_a_cluster_whose_gossip_is_sealed() {
    let authority = Authority::new();
    let nodes = start(&authority, 3, |_| {}).await;
    for node in &nodes {
        for other in ["a", "b", "c"] {
            node.manager.request(&id(other), &message(), CallOptions::default()).await.expect("an answer");
        }
    }
    let keys = |node: &Node| node.manager.control().security().gossip_keys;
    eventually("one key seals everywhere", || {
        let first = keys(&nodes[0]);
        first.len() == 1
            && nodes.iter().all(|node| keys(node).iter().map(|key| &key.id).eq(first.iter().map(|key| &key.id)))
    })
    .await;
    eventually("sealed packets pass", || {
        nodes.iter().all(|node| {
            let sealed = node.manager.control().security().sealed;
            sealed.get("sealed").copied() > Some(10) && sealed.get("opened").copied() > Some(10)
        })
    })
    .await;
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_authority_is_no_member_and_no_member_is_one_of_its() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let nodes = start(&authority, 2, |_| {}).await;
    let files = Files::new(foreign.folder.path(), "x");
    files.take(&foreign, "x");
    files.trust(&[&foreign, &authority]);
    let stranger = start_with(files, vec![nodes[0].manager.addresses().transport], |_| {}).await;
    let counted = |reason: &str| {
        let errors = nodes[0].manager.control().statistics().transport.unidentified_errors;
        errors.get(reason).copied().unwrap_or_default()
    };
    eventually("the stranger is refused", || counted("unknown_issuer") > 2).await;
    assert!(nodes.iter().all(|node| alive(node) == 2), "the stranger is a member");
    assert_eq!(alive(&stranger), 1);
    stop(nodes).await;
    stranger.manager.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_says_that_it_is_who_its_certificate_says() {
    let authority = Authority::new();
    let files = Files::new(authority.folder.path(), "a");
    files.take(&authority, "a");
    files.trust(&[&authority]);
    let mut config = files.config(Vec::new());
    config.node_id = Some(id("b"));
    let refused = NetworkManager::new(config).expect_err("the certificate is a's");
    assert!(matches!(&refused, StartError::Identity { .. }), "{refused}");
    let text = refused.to_string();
    assert!(text.contains("networking.node_id is b") && text.contains("that of a"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gossip_inside_connections_finds_members_and_notices_one_that_goes() {
    let authority = Authority::new();
    let mut nodes = start(&authority, 3, |config| config.gossip.transport = GossipTransport::Stream).await;
    let streamed = |node: &Node| node.manager.control().security().gossip.get("packets_streamed").copied();
    eventually("packets travel inside connections", || nodes.iter().all(|node| streamed(node) > Some(5))).await;
    let udp = nodes[0].manager.control().statistics().membership["packets_sent"];
    assert_eq!(udp, 0, "nothing leaves by UDP");
    let gone = nodes.pop().expect("three");
    gone.manager.shutdown().await;
    eventually("the others know", || nodes.iter().all(|node| alive(node) == 2)).await;
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_quic_gossip_travels_as_datagrams_and_notices_one_that_goes() {
    let authority = Authority::new();
    let mut nodes = start(&authority, 3, |config| {
        config.transport.protocol = TransportProtocol::Quic;
        config.gossip.transport = GossipTransport::Quic;
    })
    .await;
    let counted = |node: &Node, what: &str| node.manager.control().security().gossip.get(what).copied();
    let in_datagrams = |node: &Node| counted(node, "packets_in_datagrams") > Some(20);
    eventually("packets travel as datagrams", || nodes.iter().all(in_datagrams)).await;
    assert_eq!(
        nodes[0].manager.control().statistics().membership["packets_sent"],
        0,
        "nothing leaves by UDP of its own"
    );
    for node in &nodes {
        let (datagrams, streams) = (counted(node, "packets_in_datagrams"), counted(node, "packets_streamed"));
        assert!(datagrams > streams, "{datagrams:?} as datagrams and {streams:?} in streams");
        assert!(counted(node, "packets_received") > Some(10));
    }
    let gone = nodes.pop().expect("three");
    gone.manager.shutdown().await;
    eventually("the others know", || nodes.iter().all(|node| alive(node) == 2)).await;
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_with_quic_and_members_with_tcp_alone_are_one_cluster() {
    let authority = Authority::new();
    let made = AtomicU64::new(0);
    let nodes = start(&authority, 4, |config| {
        // The first two listen for both; the others dial and listen over TCP alone.
        let with_quic = made.fetch_add(1, Ordering::Relaxed) < 2;
        config.transport.protocol = if with_quic { TransportProtocol::Auto } else { TransportProtocol::Tcp };
    })
    .await;
    for (from, to) in [(0, 1), (0, 2), (2, 0), (2, 3), (3, 1)] {
        let target = id(["a", "b", "c", "d"][to]);
        let reply = nodes[from].manager.request(&target, &message(), CallOptions::default()).await;
        reply.unwrap_or_else(|error| panic!("from {from} to {to}: {error}"));
    }
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_node_loses_its_connections_within_five_seconds_and_then_its_place_in_gossip() {
    let authority = Authority::new();
    let crl = authority.folder.path().join("crl.pem");
    std::fs::copy(authority.pki.list_path(), &crl).expect("an empty list");
    let nodes = start(&authority, 3, |config| config.tls.crl_paths = vec![crl.clone()]).await;
    nodes[0].manager.request(&id("c"), &message(), CallOptions::default()).await.expect("an answer");
    let key = nodes[0].manager.control().security().gossip_keys[0].id.clone();
    authority.pki.revoke(&id("c")).expect("revoked");
    std::fs::copy(authority.pki.list_path(), &crl).expect("the new list");
    let begun = Instant::now();
    let cut = |node: &Node| {
        let peers = node.manager.control().statistics().transport.peers;
        peers.get(&id("c")).is_none_or(|peer| peer.active_connections == 0)
    };
    eventually("a and b have no connection to c", || nodes[..2].iter().all(cut)).await;
    println!("MEASURED revoked node cut after: {:.2?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(5));
    let refused =
        nodes[0].manager.request(&id("c"), &message(), CallOptions::timeout(Duration::from_millis(500))).await;
    assert!(refused.is_err(), "c was reached");
    let rest = &nodes[..2];
    eventually("another key seals", || {
        rest.iter().all(|node| node.manager.control().security().gossip_keys[0].id != key)
    })
    .await;
    // Three steps of five seconds each are still to come, if each waits in vain for the revoked node to acknowledge it.
    eventually_within(2 * PATIENCE, "the former key is gone", || {
        rest.iter().all(|node| node.manager.control().security().gossip_keys.len() == 1)
    })
    .await;
    eventually("c is no member any more", || rest.iter().all(|node| alive(node) == 2)).await;
    println!("MEASURED revoked node failed after: {:.1?}", begun.elapsed());
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_was_down_as_a_whole_finds_itself_again_without_seeds() {
    let authority = Authority::new();
    let key = authority.folder.path().join("state.key");
    std::fs::write(&key, "5f".repeat(32)).expect("written");
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("its mode is set");
    let remembers = |config: &mut Config| {
        let files = config.tls.cert_path.clone().expect("set");
        config.state.path = files.parent().map(|folder| folder.join("state"));
        config.state.key_path = Some(key.clone());
    };
    let nodes = start(&authority, 3, remembers).await;
    let saved = |node: &Node| std::fs::read(node.files.path("state/members.state")).unwrap_or_default();
    let ports: Vec<u16> = nodes.iter().map(|node| node.manager.addresses().transport.port()).collect();
    let remembered = |node: &Node, name: &str| {
        let owner = FileOwner::of(&cluster(), &id(name));
        let keys = vec![StoreKey::from_file(&key).expect("the key")];
        let path = node.files.path("state/members.state");
        let file = SealedFile::new(DiskFiles, path, FileKind::MEMBERSHIP, owner, keys, FileConfig::default()).load();
        file.payload.map_or(0, |text| String::from_utf8_lossy(&text).matches("\"alive\"").count())
    };
    eventually("all have saved who is there", || {
        nodes.iter().zip(["a", "b", "c"]).all(|(node, name)| remembered(node, name) == 2)
    })
    .await;
    // Nothing readable is in it.
    assert!(nodes.iter().all(|node| !saved(node).windows(9).any(|text| text == b"127.0.0.1")));
    // As if the power was cut: no farewell is said.
    let files: Vec<Files> = nodes.iter().map(|node| Files(node.files.0.clone())).collect();
    let kept: Vec<Vec<u8>> = nodes.iter().map(saved).collect();
    stop(nodes).await;
    for (files, kept) in files.iter().zip(kept) {
        std::fs::write(files.path("state/members.state"), kept).expect("written");
    }
    let mut again = Vec::new();
    for (files, port) in files.into_iter().zip(ports) {
        let node = start_with(files, Vec::new(), |config| {
            remembers(config);
            config.bind_address = NodeAddress::new("127.0.0.1", port).expect("legal");
        });
        again.push(node.await);
    }
    let took = eventually("all know all again", || again.iter().all(|node| alive(node) == 3)).await;
    println!("MEASURED three nodes agree without seeds after: {took:.2?}");
    stop(again).await;
}

/// How long traffic runs; `RDB_STRESS_SECONDS` says otherwise.
fn traffic_time() -> Duration {
    let seconds = std::env::var("RDB_STRESS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    Duration::from_secs(seconds)
}

/// Requests of 64 callers from the first node to the others, until told to stop: how many, and what failed.
fn traffic(manager: &Arc<Node>, stop: &Arc<AtomicBool>, done: &Arc<AtomicU64>) -> tokio::task::JoinSet<Vec<String>> {
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..64 {
        let (node, stop, done) = (Arc::clone(manager), Arc::clone(stop), Arc::clone(done));
        callers.spawn(async move {
            let (target, mut failed) = (id(["b", "c"][caller % 2]), Vec::new());
            while !stop.load(Ordering::Relaxed) {
                match node.manager.request(&target, &message(), CallOptions::default()).await {
                    Ok(_) => _ = done.fetch_add(1, Ordering::Relaxed),
                    Err(error) => failed.push(error.to_string()),
                }
            }
            failed
        });
    }
    callers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_authorities_and_gossip_keys_rotate_three_times_under_load_without_a_failed_request() {
    let mut authorities = vec![Authority::new()];
    let nodes = start(&authorities[0], 3, |_| {}).await;
    let nodes: Vec<Arc<Node>> = nodes.into_iter().map(Arc::new).collect();
    let mut events: Vec<_> = nodes.iter().map(|node| node.manager.events()).collect();
    let (end, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers = traffic(&nodes[0], &end, &done);
    // How long requests run in each state of the files: a load, and no wait for anything.
    let step = traffic_time() / 12;
    let epoch = |node: &Node| node.manager.control().security().epoch;
    for _ in 0..3 {
        authorities.push(Authority::new());
        let [.., former, next] = &authorities[..] else { unreachable!("there are two") };
        let before: Vec<u64> = nodes.iter().map(|node| epoch(node)).collect();
        let are_taken = |sets: u64| nodes.iter().zip(&before).all(|(node, before)| epoch(node) >= before + sets);
        nodes.iter().for_each(|node| node.files.trust(&[former, next]));
        eventually("both authorities are trusted", || are_taken(1)).await;
        tokio::time::sleep(step).await;
        for (node, name) in nodes.iter().zip(["a", "b", "c"]) {
            node.files.take(next, name);
        }
        let key = nodes[0].manager.control().security().gossip_keys[0].id.clone();
        nodes[0].manager.control().rotate_gossip_key().expect("a leads");
        eventually("the new certificates are shown", || are_taken(2)).await;
        tokio::time::sleep(step).await;
        nodes.iter().for_each(|node| node.files.trust(&[next]));
        eventually("the former authority is not trusted", || are_taken(3)).await;
        tokio::time::sleep(step).await;
        eventually("another key seals", || {
            nodes.iter().all(|node| node.manager.control().security().gossip_keys[0].id != key)
        })
        .await;
        tokio::time::sleep(step).await;
    }
    end.store(true, Ordering::Relaxed);
    let failed: Vec<String> = callers.join_all().await.concat();
    println!("MEASURED requests while everything rotated three times: {}", done.load(Ordering::Relaxed));
    assert!(failed.is_empty(), "{} failed: {:?}", failed.len(), failed.iter().take(5).collect::<Vec<_>>());
    for (node, events) in nodes.iter().zip(&mut events) {
        while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(1), events.next()).await {
            if let NetworkEvent::Membership(event) = &event {
                let suspected = matches!(event, MembershipEvent::NodeSuspected(_) | MembershipEvent::NodeFailed(_));
                assert!(!suspected, "{}: {event:?}", node.manager.addresses().transport);
            }
        }
    }
    for node in &nodes {
        node.manager.shutdown().await;
    }
}

/// The port that a packet was sent to, and the packet.
type Heard = (u16, Vec<u8>);

/// So many packets to these UDP ports on loopback, as an eavesdropper sees them, or fewer if no more come in time. `None` where
/// that takes more rights.
fn eavesdrop(ports: Vec<u16>, wanted: usize) -> Option<std::thread::JoinHandle<Vec<Heard>>> {
    // All protocols (`ETH_P_ALL`), in the order of the network.
    let everything = socket2::Protocol::from(i32::from(0x0003_u16.to_be()));
    let socket = socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::DGRAM, Some(everything)).ok()?;
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a time-out");
    Some(std::thread::spawn(move || {
        use std::io::Read;
        let (mut socket, mut buffer, mut heard) = (socket, vec![0; 65_536], Vec::new());
        let begun = Instant::now();
        while heard.len() < wanted && begun.elapsed() < PATIENCE {
            let Ok(length) = socket.read(&mut buffer) else { continue };
            // IPv4 without options, UDP, and what is in it.
            let packet = &buffer[..length];
            let is_udp = length > 28 && packet[0] == 0x45 && packet[9] == 17;
            let port = packet.get(22..24).filter(|_| is_udp).map(|port| u16::from_be_bytes([port[0], port[1]]));
            if let Some(port) = port.filter(|port| ports.contains(port)) {
                heard.push((port, packet[28..].to_vec()));
            }
        }
        heard
    }))
}

/// S15, S16: 100,000 replayed, changed and made-up packets: no change, and no answer to any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn captured_changed_and_foreign_gossip_packets_change_nothing_and_are_not_answered() {
    const PACKETS: usize = 100_000;
    const CAPTURED: usize = 60;
    let authority = Authority::new();
    let nodes = start(&authority, 3, |_| {}).await;
    let gossip: Vec<_> = nodes.iter().map(|node| node.manager.addresses().gossip).collect();
    let ports = gossip.iter().map(|address| address.port()).collect();
    let Some(heard) = eavesdrop(ports, CAPTURED) else {
        return rdb_net_tests::skip("packets on loopback cannot be captured: it takes CAP_NET_RAW");
    };
    let captured = tokio::task::spawn_blocking(|| heard.join()).await.expect("joined").expect("it has ended");
    assert_eq!(captured.len(), CAPTURED, "packets in {PATIENCE:?}");
    for (_, packet) in &captured {
        let is_readable =
            [&b"orders"[..], b"127.0.0.1"].iter().any(|text| packet.windows(text.len()).any(|part| part == *text));
        assert!(!is_readable, "a packet in the clear");
    }

    let view = |node: &Node| {
        let members = node.manager.members();
        members.iter().map(|member| (member.id.clone(), member.state, member.incarnation)).collect::<Vec<_>>()
    };
    let before: Vec<_> = nodes.iter().map(view).collect();
    let counted = |node: &Node| node.manager.control().security().sealed;
    let refused = |node: &Node| {
        counted(node)
            .iter()
            .filter(|(what, _)| !["sealed", "opened"].contains(*what))
            .map(|(_, count)| count)
            .sum::<u64>()
    };
    let counted_before: u64 = nodes.iter().map(refused).sum();
    let stranger = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let mut sent = 0;
    for number in 0..PACKETS {
        let (port, packet) = &captured[number % captured.len()];
        let mut packet = packet.clone();
        match number % 3 {
            0 => {}
            1 => {
                let bit = number / 3 % (packet.len() * 8);
                packet[bit / 8] ^= 1 << (bit % 8);
            }
            _ => packet = b"a packet of somebody who has no key at all, but knows where gossip is".to_vec(),
        }
        stranger.send_to(&packet, ("127.0.0.1", *port)).await.expect("loopback takes it");
        sent += 1;
        if number % 200 == 0 {
            // A pace, and no condition: what the kernel drops from a full buffer is counted by nobody, so it cannot be waited for.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    eventually("what came was counted", || nodes.iter().map(refused).sum::<u64>() > counted_before + sent * 9 / 10)
        .await;
    let counted: u64 = nodes.iter().map(refused).sum::<u64>() - counted_before;
    println!("MEASURED packets of a stranger: {sent} sent, {counted} refused and counted");
    assert_eq!(nodes.iter().map(view).collect::<Vec<_>>(), before, "the members are as before");
    // That nothing comes can only be seen over a time; an answer on loopback would have been here long since.
    let mut answer = [0; 2048];
    let answered = tokio::time::timeout(Duration::from_millis(300), stranger.recv_from(&mut answer)).await;
    assert!(answered.is_err(), "somebody answered: {answered:?}");
    stop(nodes).await;
}
