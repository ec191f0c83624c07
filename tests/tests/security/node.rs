//! Nodes in this process: a transport over TLS each, what it has counted, and how its dials end.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdb_net_peer::Failure;
use rdb_net_quic::{QuicBackend, QuicConfig};
use rdb_net_session::Identity;
use rdb_net_tcp::{TcpBackend, TcpConfig, TlsBackend};
use rdb_net_tls::{Policy, Tls, TlsConfig, TlsOptions};
use rdb_net_transport::{
    Answer, Backend, CallOptions, Config, HandlerOptions, Handling, LinkSide, PeerEvent, PeerHandle, Rechecked,
    Request, Transport,
};
use rdb_net_types::{
    Application, BootId, ClusterId, Incarnation, MessageType, NodeAddress, NodeId, ProtocolRange, RequestError,
};
use tokio::runtime::Runtime;

use crate::mint::{Ca, Files, Leaf};

/// Answered with its own body.
pub(crate) const ECHO: MessageType = MessageType::FIRST_APPLICATION;
/// How long an event is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

thread_local! {
    static OVER_QUIC: Cell<bool> = const { Cell::new(false) };
}

/// Nodes that this test starts from now on have QUIC in the place of TLS over TCP.
pub(crate) fn over_quic() {
    OVER_QUIC.set(true);
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

pub(crate) fn id(text: &str) -> NodeId {
    NodeId::new(text).expect("legal")
}

pub(crate) fn cluster(text: &str) -> ClusterId {
    ClusterId::new(text).expect("legal")
}

/// Waits until this holds.
#[track_caller]
pub(crate) fn wait(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// With what a node is started.
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) tls: TlsConfig,
    pub(crate) options: TlsOptions,
    /// Without, its sockets are bare.
    pub(crate) is_secured: bool,
    /// How long a TLS handshake may take.
    pub(crate) handshake_timeout: Duration,
}

/// A node.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) boot: BootId,
    pub(crate) transport: Transport,
    pub(crate) tls: Option<Tls>,
    pub(crate) files: Files,
    handled: Arc<AtomicU64>,
}

/// Starts a node of this CA.
#[track_caller]
pub(crate) fn start(runtime: &Runtime, name: &str, ca: &Ca, change: impl FnOnce(&mut Settings)) -> Node {
    start_with(runtime, name, Files::write(&ca.pem(), &ca.node(name)), change)
}

/// Starts a node with a certificate of this CA that is not the usual one.
#[track_caller]
pub(crate) fn start_as(
    runtime: &Runtime,
    name: &str,
    ca: &Ca,
    leaf: &Leaf,
    change: impl FnOnce(&mut Settings),
) -> Node {
    start_with(runtime, name, Files::write(&ca.pem(), leaf), change)
}

/// Starts a node with these files.
#[track_caller]
pub(crate) fn start_with(runtime: &Runtime, name: &str, files: Files, change: impl FnOnce(&mut Settings)) -> Node {
    static BOOTS: AtomicU64 = AtomicU64::new(1);
    let mut config = Config::new(Identity {
        cluster: cluster("rustydb"),
        node: id(name),
        incarnation: Incarnation::first_of(1),
        boot: BootId(BOOTS.fetch_add(1, Ordering::Relaxed)),
        address: "127.0.0.1:0".parse().expect("legal"),
        protocol: ProtocolRange::CURRENT,
        software: String::new(),
        token: Vec::new(),
    });
    config.bind = Some("127.0.0.1:0".parse().expect("legal"));
    // One dial, unless the test wants more.
    let never = Duration::from_secs(60);
    (config.peer.backoff.shortest, config.peer.backoff.longest) = (never, never);
    let mut settings = Settings {
        config,
        tls: files.config(),
        options: TlsOptions::new(Policy::new(cluster("rustydb"))),
        is_secured: true,
        handshake_timeout: Duration::from_secs(5),
    };
    change(&mut settings);
    let Settings { config, tls, options, is_secured, handshake_timeout } = settings;
    let boot = config.identity.boot;
    let tcp = TcpBackend::new(TcpConfig::default());
    let tls = is_secured.then(|| Tls::load(tls, options).expect("the files are good"));
    let backend: Arc<dyn Backend> = match &tls {
        Some(tls) if OVER_QUIC.get() => {
            let quic = QuicConfig { handshake_timeout, ..QuicConfig::default() };
            Arc::new(QuicBackend::new(quic, tls.clone()))
        }
        Some(tls) => Arc::new(TlsBackend::new(tcp, tls.clone(), handshake_timeout)),
        None => Arc::new(tcp),
    };
    let transport = Transport::new(config, backend);
    let handled = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&handled);
    let echo = move |_: &NodeId, request: Request| {
        count.fetch_add(1, Ordering::SeqCst);
        Handling::Ready(Ok(Answer::Payload(request.into_payload())))
    };
    transport.handle(ECHO, Arc::new(echo), HandlerOptions::default());
    runtime.block_on(transport.start()).expect("loopback has a free port");
    Node { id: id(name), boot, transport, tls, files, handled }
}

impl Node {
    pub(crate) fn address(&self) -> SocketAddr {
        self.transport.local_address().expect("it listens")
    }

    /// How many requests have reached a handler.
    pub(crate) fn handled(&self) -> u64 {
        self.handled.load(Ordering::SeqCst)
    }

    /// Every error that was counted, of whomever.
    pub(crate) fn errors(&self) -> BTreeMap<&'static str, u64> {
        let statistics = self.transport.statistics();
        let mut sums = statistics.unidentified_errors;
        for peer in statistics.peers.values() {
            peer.errors.iter().for_each(|(name, count)| *sums.entry(*name).or_default() += count);
        }
        sums
    }

    /// The connections with others that are up.
    pub(crate) fn connections(&self) -> u64 {
        self.transport.statistics().peers.values().map(|peer| peer.active_connections).sum()
    }

    /// A handle to this node, as it is called.
    pub(crate) fn peer(&self, other: &Node) -> PeerHandle {
        self.transport.peer(&other.id, &NodeAddress::from(other.address()))
    }

    /// The next thing that becomes of a dial: `up`, or what failed.
    pub(crate) async fn dialled(&self, peer: &PeerHandle) -> String {
        peer.keep(true);
        let next = async {
            loop {
                match self.transport.next_event().await {
                    PeerEvent::Up { side: LinkSide::Dialer, .. } => return "up".to_owned(),
                    PeerEvent::DialFailed { failure, .. } => return named(failure),
                    _ => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.unwrap_or_else(|_| "nothing".to_owned())
    }

    /// Takes the files as they are now, and ends or renews the connections that they do not allow. Returns how many.
    pub(crate) fn reload(&self, runtime: &Runtime) -> Rechecked {
        let tls = self.tls.as_ref().expect("it has files");
        tls.reloader().reload().expect("the files are good");
        self.recheck(runtime)
    }

    /// Ends or renews the connections that are not allowed any more. Returns how many.
    pub(crate) fn recheck(&self, runtime: &Runtime) -> Rechecked {
        let _entered = runtime.enter();
        self.transport.recheck_trust()
    }

    #[track_caller]
    pub(crate) fn stop(self, runtime: &Runtime) {
        assert!(runtime.block_on(self.transport.shutdown()), "{}: everything ends in time", self.id);
    }
}

/// Asks for an echo.
pub(crate) async fn ask(peer: &PeerHandle) -> Result<(), RequestError> {
    let echo = Application { message_type: ECHO, payload: "hello".into() };
    let reply = peer.request(&echo, CallOptions::timeout(PATIENCE)).await?;
    assert_eq!(reply.body.into_bytes(), "hello", "an echo");
    Ok(())
}

fn named(failure: Failure) -> String {
    match failure {
        Failure::Dial(failure) => failure.name().to_owned(),
        Failure::Hello(refusal) => format!("refused: {refusal}"),
        Failure::Ended(reason) => format!("ended: {}", reason.name()),
    }
}
