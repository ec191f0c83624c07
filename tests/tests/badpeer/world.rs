//! The node under test, with short times and small limits, and its counters.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;
use rdb_net_session::{Config as SessionConfig, Identity};
use rdb_net_tcp::{TcpConfig, TcpTransport};
use rdb_net_transport::{Answer, Config, DoorConfig, HandlerError, HandlerOptions, Handling, Request};
use rdb_net_types::{
    BootId, ClusterId, Incarnation, MessageType, NodeId, ProtocolRange, QueryRequest, TransportStatistics,
};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::case::Counted;

/// Answered with its own body.
pub(crate) const ECHO: MessageType = MessageType(0x8000);
/// Kept by its handler until the case lets go of it.
pub(crate) const HOLD: MessageType = MessageType(0x8001);
/// Answered with [`LARGE_BYTES`].
pub(crate) const LARGE: MessageType = MessageType(0x8002);
/// Answered with replies of [`ITEM_BYTES`] without end.
pub(crate) const COUNT: MessageType = MessageType(0x8003);
/// Nobody handles it.
pub(crate) const UNKNOWN: MessageType = MessageType(0x8fff);

pub(crate) const ITEM_BYTES: usize = 1000;
pub(crate) const LARGE_BYTES: usize = 12 * 1024;
pub(crate) const FRAME_BYTES_MAX: u32 = 16 * 1024;
pub(crate) const CREDIT_BYTES: u64 = 128 * 1024;
pub(crate) const REQUESTS_MAX: u32 = 16;
pub(crate) const HELLO_TIMEOUT: Duration = Duration::from_millis(400);
pub(crate) const KEEP_ALIVE: Duration = Duration::from_millis(500);
pub(crate) const LIVENESS: Duration = Duration::from_millis(500);
pub(crate) const HANDSHAKES_MAX: usize = 32;
/// One large message of a peer, and a part of another.
pub(crate) const PEER_MEMORY_BYTES_MAX: u64 = 72 * 1024 * 1024;
/// Less than three peers may take.
pub(crate) const MEMORY_BYTES_MAX: u64 = 200 * 1024 * 1024;
/// How long an event is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// The boot of the node under test.
pub(crate) const BOOT: BootId = BootId(1);

/// The node and what it runs on.
pub(crate) struct World {
    pub(crate) runtime: Runtime,
    pub(crate) node: TcpTransport,
    /// Lets handlers of [`HOLD`] end.
    released: watch::Sender<bool>,
    /// How many handlers of [`COUNT`] are at work.
    counting: Arc<AtomicUsize>,
}

/// Replies without end.
struct Endless(Arc<AtomicUsize>);

impl Endless {
    fn begin(counting: &Arc<AtomicUsize>) -> Self {
        counting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counting))
    }
}

impl Stream for Endless {
    type Item = Result<Answer, HandlerError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(Some(Ok(Answer::Payload(vec![7; ITEM_BYTES].into()))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(crate) fn identity(name: &str, boot: BootId) -> Identity {
    Identity {
        cluster: ClusterId::new("rustydb").expect("legal"),
        node: NodeId::new(name).expect("legal"),
        incarnation: Incarnation::first_of(1),
        boot,
        address: "127.0.0.1:0".parse().expect("legal"),
        protocol: ProtocolRange::CURRENT,
        software: String::new(),
        token: Vec::new(),
    }
}

fn config(name: &str) -> Config {
    let mut config = Config::new(identity(name, BOOT));
    config.bind = Some("127.0.0.1:0".parse().expect("legal"));
    config.door = DoorConfig {
        handshakes_max: HANDSHAKES_MAX,
        handshakes_reserved: 0,
        handshakes_per_address_max: HANDSHAKES_MAX,
        connections_per_address_second: u32::MAX,
    };
    config.reply_backlog_bytes = 128 * 1024;
    (config.memory_bytes_max, config.peer_memory_bytes_max) = (MEMORY_BYTES_MAX, PEER_MEMORY_BYTES_MAX);
    // A stranger that the node has dialled is not dialled again before the case forgets it.
    let never = Duration::from_secs(60);
    (config.peer.backoff.shortest, config.peer.backoff.longest) = (never, never);
    config.session = SessionConfig {
        frame_bytes_max: FRAME_BYTES_MAX,
        requests_max: REQUESTS_MAX,
        lane_credit_bytes: [CREDIT_BYTES; 4],
        batch_bytes: 32 * 1024,
        hello_timeout: HELLO_TIMEOUT,
        keep_alive_idle: KEEP_ALIVE,
        keep_alive_busy: KEEP_ALIVE,
        liveness: LIVENESS,
        ..SessionConfig::default()
    };
    config
}

impl World {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let (released, counting) = (watch::Sender::new(false), Arc::default());
        let node = start_node(&runtime, "n1", &released, &counting);
        Self { runtime, node, released, counting }
    }

    /// Another node like it, for a case that ends it.
    pub(crate) fn another(&self) -> TcpTransport {
        start_node(&self.runtime, "n2", &self.released, &self.counting)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.node.local_address().expect("it listens")
    }

    /// Ends every handler that holds a message, and those that begin until the case has ended.
    pub(crate) fn release(&self) {
        self.released.send_replace(true);
    }

    /// Lets handlers hold messages again.
    pub(crate) fn hold(&self) {
        self.released.send_replace(false);
    }

    pub(crate) fn counters(&self) -> Counters {
        let (_, dropped) = self.node.dropped();
        Counters { statistics: self.node.statistics(), dropped }
    }

    /// How many bytes peers have made the node reserve.
    pub(crate) fn reserved_bytes(&self) -> u64 {
        self.node.memory().0
    }

    /// Waits until this holds.
    pub(crate) fn wait(&self, what: &str, holds: impl Fn(&Self) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            if Instant::now() > deadline {
                return Err(format!("not in time: {what}"));
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        Ok(())
    }

    /// How many handlers write replies without end.
    pub(crate) fn counting(&self) -> usize {
        self.counting.load(Ordering::Relaxed)
    }

    /// Waits until exactly these counters have moved; they do when a connection's task has ended, just behind its last byte.
    pub(crate) fn wait_counted(&self, before: &Counters, counted: &Counted) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let problem = match self.counters().since(before, counted) {
                Ok(()) => return Ok(()),
                Err(problem) => problem,
            };
            if Instant::now() > deadline {
                return Err(problem);
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    pub(crate) fn stop(self) {
        self.release();
        assert!(self.runtime.block_on(self.node.shutdown()), "everything ends in time");
    }
}

fn start_node(
    runtime: &Runtime,
    name: &str,
    released: &watch::Sender<bool>,
    counting: &Arc<AtomicUsize>,
) -> TcpTransport {
    let node = TcpTransport::new(config(name), TcpConfig::default());
    let echo = |_: &NodeId, request: Request| Handling::Ready(Ok(Answer::Payload(request.into_payload())));
    node.handle(ECHO, Arc::new(echo), HandlerOptions::default());
    let released = released.subscribe();
    let hold = move |_: &NodeId, request: Request| {
        let mut released = released.clone();
        Handling::Later(Box::pin(async move {
            // An error says that the test has ended.
            let _ended = released.wait_for(|released| *released).await.is_err();
            drop(request);
            Ok(Answer::Empty)
        }))
    };
    node.handle(HOLD, Arc::new(hold), HandlerOptions::default());
    let large = |_: &NodeId, _: Request| Handling::Ready(Ok(Answer::Payload(vec![7; LARGE_BYTES].into())));
    node.handle(LARGE, Arc::new(large), HandlerOptions::default());
    let counting = Arc::clone(counting);
    let count = move |_: &NodeId, _: Request| Handling::Stream(Box::pin(Endless::begin(&counting)));
    node.handle(COUNT, Arc::new(count), HandlerOptions::default());
    let query = |_: &NodeId, request: Request| {
        let query = request.decode::<QueryRequest>();
        Handling::Ready(query.map(|_| Answer::Empty).map_err(Into::into))
    };
    node.handle(MessageType::QUERY_REQUEST, Arc::new(query), HandlerOptions::default());
    runtime.block_on(node.start()).expect("loopback has a free port");
    node
}

/// What the node has counted.
pub(crate) struct Counters {
    statistics: TransportStatistics,
    dropped: u64,
}

impl Counters {
    fn errors(&self) -> std::collections::BTreeMap<&'static str, u64> {
        let mut sums = self.statistics.unidentified_errors.clone();
        for peer in self.statistics.peers.values() {
            peer.errors.iter().for_each(|(name, count)| *sums.entry(*name).or_default() += count);
        }
        sums
    }

    fn late_replies(&self) -> u64 {
        self.statistics.peers.values().map(|peer| peer.late_replies).sum()
    }

    fn received(&self, message_type: MessageType) -> u64 {
        let stranger = NodeId::new("stranger").expect("legal");
        let peer = self.statistics.peers.get(&stranger);
        peer.and_then(|peer| peer.received.get(&message_type)).copied().unwrap_or(0)
    }

    /// Whether exactly this was counted since then.
    fn since(&self, before: &Self, counted: &Counted) -> Result<(), String> {
        let (mut errors, old) = (self.errors(), before.errors());
        errors.iter_mut().for_each(|(name, count)| *count -= old.get(name).unwrap_or(&0));
        errors.retain(|_, count| *count > 0);
        let wanted = counted.error.into_iter().collect();
        if errors != wanted {
            return Err(format!("errors {errors:?} instead of {wanted:?} are counted"));
        }
        let late = self.late_replies() - before.late_replies();
        if late != counted.late_replies {
            return Err(format!("{late} late replies instead of {}", counted.late_replies));
        }
        let dropped = self.dropped - before.dropped;
        if dropped != counted.dropped {
            return Err(format!("{dropped} unhandled messages instead of {}", counted.dropped));
        }
        if let Some((message_type, count)) = counted.received {
            let received = self.received(message_type) - before.received(message_type);
            if received < count {
                return Err(format!("{received} of {message_type} instead of {count} were received"));
            }
        }
        Ok(())
    }
}
