//! What a stranger can send to a real process, and what an operator can tell it wrongly: each ends with its own reason, is
//! counted in the metrics, costs a bounded amount of memory, and harms nobody else.

use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdb_net_session::Identity;
use rdb_net_tcp::{TcpConfig, TcpTransport};
use rdb_net_tests::{
    Cluster, End, Node, Rdbnet, Spec, Stranger, closed_port, connection_errors, frame, get_json, hello, resident_bytes,
    skip,
};
use rdb_net_transport::Config;
use rdb_net_types::{BootId, ClusterId, Incarnation, NetworkTransport, NodeId, Payload, ProtocolRange, RefusalReason};
use rdb_net_wire::{CloseCode, Hello, Ping, Raw, control_type};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// Something that a stranger sends, and what must come of it.
struct Case {
    name: &'static str,
    /// Whether a proper hello comes first.
    shaken: bool,
    bytes: Vec<u8>,
    end: End,
    /// Under which name it is counted.
    counted: &'static str,
}

impl Case {
    fn new(name: &'static str, bytes: impl Into<Vec<u8>>, end: End, counted: &'static str) -> Self {
        Self { name, shaken: false, bytes: bytes.into(), end, counted }
    }

    fn refused(name: &'static str, hello: &Hello, reason: RefusalReason) -> Self {
        Self::new(name, frame(hello), End::Rejected(reason.code()), reason.name())
    }

    fn shaken(self) -> Self {
        Self { shaken: true, ..self }
    }

    fn play(&self, address: SocketAddr) -> End {
        let mut stranger = Stranger::connect(address);
        if self.shaken {
            stranger.shake(&hello("stranger"));
        }
        stranger.send(&self.bytes);
        stranger.end()
    }
}

/// A header that promises 4 GiB.
fn lying_size() -> Vec<u8> {
    let mut header = frame(&Ping { token: 1 });
    header[8..12].copy_from_slice(&u32::MAX.to_be_bytes());
    header
}

fn corrupted(mut frame: Vec<u8>) -> Vec<u8> {
    *frame.last_mut().expect("a frame has bytes") ^= 1;
    frame
}

/// One of each kind that is counted under a name of its own; `badpeer` has all the others.
fn cases() -> Vec<Case> {
    let protocol = End::Closed(CloseCode::Protocol);
    let proper = hello("stranger");
    let node = |id: &str| NodeId::new(id).expect("legal");
    let unreadable = Raw { message_type: control_type::HELLO, payload: Payload::from(vec![0xff; 64]) };
    let mut other_version = frame(&proper);
    other_version[5] = 9;
    vec![
        Case::new("garbage", [0x5a; 256], protocol, "bad_magic"),
        Case::new("another version of the frame", other_version, protocol, "bad_version"),
        Case::new("a size of 4 GiB", lying_size(), protocol, "frame_too_large"),
        Case::new("a broken checksum", corrupted(frame(&proper)), protocol, "bad_checksum"),
        Case::new("a ping before the hello", frame(&Ping { token: 1 }), End::Closed(CloseCode::State), "protocol"),
        Case::new(
            "a hello that cannot be read",
            frame(&unreadable),
            End::Rejected(RefusalReason::Malformed.code()),
            "malformed",
        ),
        Case::refused(
            "a hello of another cluster",
            &Hello { cluster: ClusterId::new("other").expect("legal"), ..proper.clone() },
            RefusalReason::Cluster,
        ),
        Case::refused(
            "a hello for another node",
            &Hello { target: Some(node("n9")), ..proper.clone() },
            RefusalReason::TargetNode,
        ),
        Case::refused(
            "a hello of a later protocol",
            &Hello { protocol: ProtocolRange { min: 2, max: 3 }, ..proper.clone() },
            RefusalReason::Version,
        ),
        Case::refused("a hello under the node's own name", &hello("n1"), RefusalReason::DuplicateNode),
        Case::new("garbage behind the hello", [0x5a; 256], protocol, "bad_magic").shaken(),
        Case::new("a second hello", frame(&proper), End::Closed(CloseCode::State), "protocol").shaken(),
    ]
}

/// Waits until the counter is at least this; it moves when the connection's task has ended, just behind its last byte.
#[track_caller]
fn wait_counted(admin: SocketAddr, error_type: &str, count: u64, what: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let counted = connection_errors(admin, error_type);
        if counted >= count {
            assert_eq!(counted, count, "{what}: {error_type} is counted once");
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {error_type} is {counted}, not {count}");
    }
}

#[test]
fn every_bad_connection_ends_with_its_reason_and_is_counted() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let cluster = Cluster::start(&rdbnet, 1);
    let (address, admin) = (cluster.node(0).started().address, cluster.node(0).started().admin);
    for case in cases() {
        let before = connection_errors(admin, case.counted);
        assert_eq!(case.play(address), case.end, "{}", case.name);
        wait_counted(admin, case.counted, before + 1, case.name);
    }
    assert!(!cluster.tell(&[0]).contains("panicked"), "{}", cluster.tell(&[0]));
}

#[test]
fn half_a_header_is_waited_for_until_the_hello_is_due() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let cluster = Cluster::start(&rdbnet, 1);
    let (address, admin) = (cluster.node(0).started().address, cluster.node(0).started().admin);
    let mut silent = Stranger::connect(address);
    let begun = Instant::now();
    silent.send(&frame(&hello("stranger"))[..6]);
    assert_eq!(silent.end(), End::Silent, "a hello that comes too late is not answered");
    // networking.transport.hello_timeout_ms is 3000 by default.
    let waited = begun.elapsed();
    assert!((Duration::from_millis(2900)..Duration::from_millis(4500)).contains(&waited), "{waited:?}");
    wait_counted(admin, "hello_timeout", 1, "half a header");

    let mut gone = Stranger::connect(address);
    gone.send(&frame(&hello("stranger"))[..6]);
    gone.shutdown(Shutdown::Write);
    assert_eq!(gone.end(), End::Silent);
    wait_counted(admin, "eof", 1, "half a header and the end of the stream");
}

/// A transport of this process, to ask a node whether it answers.
fn asker() -> TcpTransport {
    let identity = Identity {
        cluster: ClusterId::new("rustydb").expect("legal"),
        node: NodeId::new("asker").expect("legal"),
        incarnation: Incarnation::first_of(1),
        boot: BootId(1),
        address: "127.0.0.1:9".parse().expect("legal"),
        protocol: ProtocolRange::CURRENT,
        software: String::new(),
        token: Vec::new(),
    };
    TcpTransport::new(Config::new(identity), TcpConfig::default())
}

/// Pings until it is told to stop; every ping must be answered.
async fn ask_until(address: SocketAddr, stop: &AtomicBool) -> (u64, Duration) {
    let (transport, address) = (asker(), address.into());
    let transport: &dyn NetworkTransport = &*transport;
    let (mut count, mut slowest) = (0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let took = transport.ping(&address).await.expect("the node answers its neighbours");
        (count, slowest) = (count + 1, slowest.max(took));
    }
    transport.shutdown().await.expect("nothing is under way");
    (count, slowest)
}

/// Plays a thousand bad connections, fifty at a time, and as many that stop in the middle of their header as fit.
fn flood(address: SocketAddr, cases: &[Case]) {
    const CONNECTIONS: usize = 1000;
    const AT_ONCE: usize = 50;
    for batch in 0..CONNECTIONS / AT_ONCE {
        let cases: Vec<&Case> = (0..AT_ONCE).map(|index| &cases[(batch * AT_ONCE + index) % cases.len()]).collect();
        let mut open: Vec<(Stranger, &Case)> = Vec::new();
        for case in cases {
            let mut stranger = Stranger::connect(address);
            if case.shaken {
                stranger.shake(&hello("stranger"));
            }
            stranger.send(&case.bytes);
            let mut half = Stranger::connect(address);
            half.send(&frame(&hello("stranger"))[..6]);
            open.push((stranger, case));
        }
        for (stranger, case) in open {
            assert_eq!(stranger.end(), case.end, "{}", case.name);
        }
    }
}

/// S13: resident memory of a real process.
#[test]
fn a_thousand_bad_connections_cost_no_memory_and_disturb_nobody() {
    const GROWTH_BYTES_MAX: u64 = 4 * 1024 * 1024;
    let Some(rdbnet) = Rdbnet::find() else { return };
    let mut cluster = Cluster::new(&rdbnet, 2);
    // All come from one address, as fast as they can; what a node does about that is another test's matter.
    cluster.spec_mut(0).set.push("networking.transport.connections_per_address_second=1000000".to_owned());
    (0..cluster.count()).for_each(|index| cluster.spawn(index));
    cluster.wait_agreed();
    let marks = cluster.marks();
    let (address, pid) = (cluster.node(0).started().address, cluster.node(0).pid());
    if resident_bytes(pid).is_none() {
        return skip("this system does not tell the memory of a process in /proc");
    }
    let cases = cases();
    let stop = AtomicBool::new(false);
    let (growth, asked) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(ask_until(address, &stop))
        });
        let flooding = scope.spawn(|| {
            // What is allocated once and kept is there after the first time.
            flood(address, &cases);
            let before = resident_bytes(pid).expect("the process is there");
            flood(address, &cases);
            resident_bytes(pid).expect("the process is there").saturating_sub(before)
        });
        let growth = flooding.join();
        stop.store(true, Ordering::Relaxed);
        (growth.expect("every connection ended as it should"), asking.join().expect("every ping was answered"))
    });
    println!("MEASURED bad connections: memory grew by {growth} bytes; {} pings, slowest {:?}", asked.0, asked.1);
    assert!(growth <= GROWTH_BYTES_MAX, "{growth} bytes");
    assert!(asked.0 > 0 && asked.1 < Duration::from_secs(1), "{asked:?}");
    cluster.never("NodeFailed", &marks);
    cluster.never("NodeSuspected", &marks);
    cluster.wait_settled();
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("rdbnet-").tempdir().expect("a folder for the test's files")
}

/// What a node that cannot run says: its exit code, and the line that tells why.
#[track_caller]
fn end_of(mut node: Node) -> (Option<i32>, String) {
    let status = node.wait_exit();
    let lines = node.log.lines();
    let all = lines.join("\n");
    assert!(!all.contains("panicked"), "{all}");
    let told: Vec<&String> = lines.iter().filter(|line| line.starts_with("rdbnet: ")).collect();
    let [told] = told.as_slice() else { panic!("not one clear error:\n{all}") };
    (status.code(), (*told).clone())
}

#[track_caller]
fn check_refused(rdbnet: &Rdbnet, arguments: &[&str], code: i32, parts: &[&str]) {
    let folder = folder();
    let node = Node::launch(rdbnet, "n1", arguments, folder.path());
    let (ended, line) = end_of(node);
    assert_eq!(ended, Some(code), "{arguments:?}: {line}");
    for part in parts {
        assert!(line.contains(part), "{arguments:?}: {part:?} is not named: {line}");
    }
}

#[test]
fn a_port_in_use_is_named_with_its_key() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let stream = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let datagram = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let (stream, datagram) = (
        (stream.local_addr().expect("bound").to_string(), stream),
        (datagram.local_addr().expect("bound").to_string(), datagram),
    );
    for (key, address) in [
        ("networking.bind_address", &stream.0),
        ("networking.gossip_address", &datagram.0),
        ("networking.admin.bind_address", &stream.0),
    ] {
        let taken = format!("{key}={address}");
        let arguments = ["--set", "networking.bind_address=127.0.0.1:0", "--set", &taken];
        check_refused(&rdbnet, &arguments, 1, &[key, address]);
    }
}

#[test]
fn a_configuration_that_cannot_be_used_is_told_with_the_key() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    for (set, parts) in [
        ("networking.bind_address=nowhere", ["networking.bind_address", "nowhere"]),
        ("networking.advertise_address=127.0.0.1:99999", ["networking.advertise_address", "99999"]),
        ("networking.max_conections=5", ["networking.max_conections", "max_connections"]),
        ("networking.node_id=no spaces", ["networking.node_id", "no spaces"]),
    ] {
        check_refused(&rdbnet, &["--set", set], 6, &parts);
    }
    let tls = ["--set", "networking.tls.cert_path=c", "--set", "networking.tls.key_path=k"];
    let tls = [&["--set", "networking.tls.enabled=true"], tls.as_slice()].concat();
    check_refused(&rdbnet, &tls, 6, &["networking.tls.enabled"]);
}

#[test]
fn a_configuration_file_that_cannot_be_read_is_named() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let folder = folder();
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let write = |name: &str, content: &[u8]| {
        let mut file = std::fs::File::create(folder.path().join(name)).expect("writable");
        file.write_all(content).expect("writable");
        path(name)
    };
    let broken = write("broken.toml", b"[networking\nnode_id = 1");
    for (file, part) in [
        (path("missing.toml"), "missing.toml"),
        (folder.path().to_str().expect("text").to_owned(), folder.path().to_str().expect("text")),
        (write("binary.toml", &[0xff, 0xfe, 0, 1]), "binary.toml"),
        (broken, "broken.toml:1:"),
        (write("unknown.toml", b"[networking]\nbind_adress = '127.0.0.1:0'\n"), "unknown.toml:2:1"),
    ] {
        check_refused(&rdbnet, &["--config", &file], 6, &[part]);
    }
}

#[test]
fn a_second_process_with_a_node_id_ends_and_the_first_goes_on() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let cluster = Cluster::start(&rdbnet, 3);
    let marks = cluster.marks();
    let folder = folder();
    // Through a third node, and through the very node whose name it has.
    for seed in [0, 1] {
        let seeds = vec![cluster.node(seed).started().address];
        let spec = Spec { id: "n2".to_owned(), seeds, ..Spec::default() };
        let (code, line) = end_of(Node::spawn(&rdbnet, &spec, folder.path()));
        assert_eq!(code, Some(1), "{line}");
        assert!(line.contains("n2") && line.contains("networking.node_id"), "{line}");
        if seed == 0 {
            assert!(line.contains(&cluster.node(1).started().gossip.to_string()), "the other one is named: {line}");
        }
    }
    cluster.wait_settled();
    cluster.never("NodeFailed", &marks);
    cluster.never("NodeLeft", &marks);
}

#[test]
fn a_seed_that_is_down_is_named_and_called_on_while_another_lets_the_node_in() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let down = closed_port();
    let folder = folder();
    let spec = |id: &str, seeds: Vec<SocketAddr>| Spec { id: id.to_owned(), seeds, ..Spec::default() };

    let mut alone = Node::spawn(&rdbnet, &spec("alone", vec![down]), folder.path());
    alone.wait_started();
    let said = |lines: &[String]| lines.iter().find(|line| line.contains("no seed answers")).cloned();
    let line = alone.log.wait(Instant::now() + PATIENCE, said).expect("it says so");
    assert!(line.contains(&down.to_string()) && line.contains("networking.service_discovery.seeds"), "{line}");
    let tried = || {
        let metrics = rdb_net_tests::get(alone.started().admin, "/metrics").expect("it answers").1;
        let errors = metrics.lines().filter(|line| line.starts_with("networking_connection_errors_total{"));
        errors.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    let (before, deadline) = (tried(), Instant::now() + PATIENCE);
    while tried() <= before {
        assert!(Instant::now() < deadline, "it has stopped trying after {before}");
    }

    let mut first = Node::spawn(&rdbnet, &spec("first", Vec::new()), folder.path());
    let seeds = vec![down, first.wait_started().address];
    let mut second = Node::spawn(&rdbnet, &spec("second", seeds), folder.path());
    second.wait_started();
    let joined = |lines: &[String]| lines.iter().any(|line| line.contains("joined the cluster")).then_some(());
    second.log.wait(Instant::now() + PATIENCE, joined).expect("one seed is enough");
    let view: rdb_net_admin::views::TopologyView = get_json(second.started().admin, "/api/v1/network/topology");
    assert!(view.members.iter().any(|member| member.node_id.as_str() == "first"), "{view:?}");
}
