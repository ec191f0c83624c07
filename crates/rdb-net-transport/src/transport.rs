//! The transport of a node: its listener, its peers, its handlers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use rdb_net_peer::PeerEvent;
use rdb_net_session::{CloseReason, Identity, LatencyHistogram};
use rdb_net_types::{MessageType, NodeAddress, NodeId, SeededRandom, TransportStatistics};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backend::{Backend, ListenError, Listener};
use crate::budgets::Budgets;
use crate::clock::Clock;
use crate::config::{Config, HelloError, check_hello};
use crate::datagrams::DatagramTable;
use crate::door::Door;
use crate::driver::FAREWELL_TIMEOUT;
use crate::duty::Duty;
use crate::event::EventQueue;
use crate::handle::PeerHandle;
use crate::handler::{Handler, HandlerOptions, HandlerSnapshot, HandlerTable, Request};
use crate::input::keep_freed_memory;
use crate::link::Link;
use crate::pool::PeerShared;
use crate::registry::{PeerSnapshot, Registry};
use crate::sparse::SparseLog;

/// How many unhandled messages wait for [`NetworkTransport::receive`](rdb_net_types::NetworkTransport::receive).
const UNHANDLED_MAX: usize = 1024;

/// A message that nobody registered for, and the duty to end it once it is taken.
pub(crate) struct Unhandled {
    pub(crate) address: NodeAddress,
    pub(crate) request: Request,
    pub(crate) duty: Duty,
}

/// What every part of a transport shares.
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) handlers: HandlerTable,
    pub(crate) registry: Registry,
    pub(crate) budgets: Budgets,
    pub(crate) events: EventQueue,
    pub(crate) datagrams: DatagramTable,
    /// The connections' tasks, which end when their connections have ended.
    pub(crate) links: TaskTracker,
    /// All others.
    pub(crate) tasks: TaskTracker,
    /// Where tasks run that code outside of any runtime gives rise to.
    runtime: OnceLock<tokio::runtime::Handle>,
    /// Ends accepting and dialing.
    pub(crate) stopping: CancellationToken,
    /// Ends every task at once.
    pub(crate) cancel: CancellationToken,
    pub(crate) dials: Semaphore,
    pub(crate) door: Door,
    /// What is written of connections that are not taken or not let in.
    pub(crate) refusals: SparseLog,
    identity: Mutex<Identity>,
    local_address: OnceLock<std::net::SocketAddr>,
    started: AtomicBool,
    links_made: AtomicU64,
    random: Mutex<SeededRandom>,
    unhandled: mpsc::Sender<Unhandled>,
    pub(crate) unhandled_taken: tokio::sync::Mutex<mpsc::Receiver<Unhandled>>,
    pub(crate) is_receiving: AtomicBool,
    unhandled_dropped: AtomicU64,
}

/// How long ended tasks are waited for. Only one that blocks its thread takes longer.
const JOIN_TIMEOUT: Duration = Duration::from_secs(1);

const LOCKED: &str = "no code panics while it holds this lock";

impl Inner {
    pub(crate) fn identity(&self) -> Identity {
        self.identity.lock().expect(LOCKED).clone()
    }

    pub(crate) fn next_link_number(&self) -> u64 {
        self.links_made.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whether the hello of the present identity can be sent at all.
    pub(crate) fn check_hello(&self) -> Result<(), HelloError> {
        check_hello(&self.identity.lock().expect(LOCKED))
    }

    /// The peer of this id, which is at this address unless it is known already.
    pub(crate) fn named_peer(&self, node: &NodeId, address: &NodeAddress) -> Arc<PeerShared> {
        self.registry.node(node, || self.new_peer(Some(node.clone()), address))
    }

    fn new_peer(&self, target: Option<NodeId>, address: &NodeAddress) -> PeerShared {
        let seed = self.random.lock().expect(LOCKED).next_u64();
        PeerShared::new(target, address.clone(), self.config.peer, seed)
    }

    /// The runtime of whoever asks, or the one in which the transport was made or started.
    pub(crate) fn runtime(&self) -> Option<tokio::runtime::Handle> {
        tokio::runtime::Handle::try_current().ok().or_else(|| self.runtime.get().cloned())
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Keeps a message for whoever asks for unhandled ones. Until somebody has asked, they are dropped and counted.
    pub(crate) fn keep_unhandled(&self, link: &Arc<Link>, id: rdb_net_session::InboundId, request: Request) {
        let duty = Duty::new(Arc::clone(link), id);
        let address = link.hello().map(|hello| hello.address.clone());
        let kept = match address {
            Some(address) if self.is_receiving.load(Ordering::Relaxed) => {
                self.unhandled.try_send(Unhandled { address, request, duty }).is_ok()
            }
            _ => false,
        };
        if !kept {
            self.unhandled_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The transport of a node. Cloning shares it.
#[derive(Clone)]
pub struct Transport {
    pub(crate) inner: Arc<Inner>,
}

impl Transport {
    /// A transport over this backend. Nothing listens or dials yet. The first one of a process makes glibc keep up to 32 MiB of freed
    /// memory.
    pub fn new(config: Config, backend: Arc<dyn Backend>) -> Self {
        keep_freed_memory();
        let (unhandled, unhandled_taken) = mpsc::channel(UNHANDLED_MAX);
        let clock = Clock::start();
        let inner = Inner {
            clock,
            backend,
            handlers: HandlerTable::default(),
            registry: Registry::default(),
            budgets: Budgets::new(config.memory_bytes_max, config.peer_memory_bytes_max),
            events: EventQueue::default(),
            datagrams: DatagramTable::default(),
            links: TaskTracker::new(),
            tasks: TaskTracker::new(),
            runtime: tokio::runtime::Handle::try_current().map(OnceLock::from).unwrap_or_default(),
            stopping: CancellationToken::new(),
            cancel: CancellationToken::new(),
            dials: Semaphore::new(config.dials_max),
            door: Door::new(config.door, clock),
            refusals: SparseLog::default(),
            identity: Mutex::new(config.identity.clone()),
            local_address: OnceLock::new(),
            started: AtomicBool::new(false),
            links_made: AtomicU64::new(0),
            random: Mutex::new(SeededRandom::new(config.seed)),
            unhandled,
            unhandled_taken: tokio::sync::Mutex::new(unhandled_taken),
            is_receiving: AtomicBool::new(false),
            unhandled_dropped: AtomicU64::new(0),
            config,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Starts to listen, where an address to listen on is configured. Starting again changes nothing.
    ///
    /// # Errors
    ///
    /// [`ListenError`] names the address and what is wrong with it; its source is a [`HelloError`] where the configured
    /// identity does not fit a hello. Nothing is left running.
    pub async fn start(&self) -> Result<(), ListenError> {
        if self.inner.started.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        self.inner.runtime.get_or_init(tokio::runtime::Handle::current);
        let Some(bind) = &self.inner.config.bind else { return Ok(()) };
        let listener = match self.listen(bind).await {
            Ok(listener) => listener,
            Err(error) => {
                self.inner.started.store(false, Ordering::SeqCst);
                return Err(error);
            }
        };
        let local = listener.local_address();
        self.inner.local_address.get_or_init(|| local);
        let mut identity = self.inner.identity.lock().expect(LOCKED);
        if identity.address.port() == 0 {
            identity.address = identity.address.with_port(local.port());
        }
        drop(identity);
        self.inner.tasks.spawn(Arc::clone(&self.inner).accept_loop(listener));
        Ok(())
    }

    async fn listen(&self, bind: &NodeAddress) -> Result<Box<dyn Listener>, ListenError> {
        let unfit = |error| ListenError { address: bind.clone(), source: std::io::Error::other(error) };
        self.inner.check_hello().map_err(unfit)?;
        self.inner.backend.listen(bind).await
    }

    /// Takes no new connections, lets everything under way end, and closes. Stopping again changes nothing. Returns whether
    /// everything ended before the shutdown's time was over; if not, it was cut off.
    pub async fn shutdown(&self) -> bool {
        let inner = &self.inner;
        inner.stopping.cancel();
        inner.registry.peers().iter().for_each(|peer| peer.with_machine(|machine| machine.give_up()));
        inner.registry.stop().iter().for_each(|link| link.drain());
        inner.links.close();
        inner.tasks.close();
        let ended = || async {
            inner.links.wait().await;
            inner.tasks.wait().await;
        };
        let in_time = timeout(inner.config.shutdown_timeout, ended()).await.is_ok();
        if !in_time {
            inner.registry.links().iter().for_each(|link| link.close(CloseReason::Local));
            // Their farewells may still leave; whoever does not take them is cut off.
            let _left = timeout(2 * FAREWELL_TIMEOUT, inner.links.wait()).await;
        }
        inner.cancel.cancel();
        let joined = async {
            inner.links.wait().await;
            inner.tasks.wait().await;
        };
        let joined = timeout(JOIN_TIMEOUT, joined).await.is_ok();
        if !joined {
            tracing::error!(
                tasks = inner.links.len() + inner.tasks.len(),
                "tasks that block their threads were left behind"
            );
        }
        in_time && joined
    }

    /// Ends every connection at once, as an operator's or a test's act; peers that are wanted are dialled again.
    pub fn close_connections(&self) {
        self.inner.registry.links().iter().for_each(|link| link.close(CloseReason::Local));
    }

    /// The address that others reach this node at; the kernel's port, where port 0 was configured.
    pub fn advertised_address(&self) -> NodeAddress {
        self.inner.identity().address
    }

    /// Where the transport listens.
    pub fn local_address(&self) -> Option<std::net::SocketAddr> {
        self.inner.local_address.get().copied()
    }

    /// The clock of deadlines and events.
    pub fn clock(&self) -> Clock {
        self.inner.clock
    }

    /// Changes what later hellos say of this node.
    pub fn set_identity(&self, change: impl FnOnce(&mut Identity)) {
        change(&mut self.inner.identity.lock().expect(LOCKED));
    }

    /// Registers who answers a message type; a former handler of the type is replaced, and ends what it has begun.
    pub fn handle(&self, message_type: MessageType, handler: Arc<dyn Handler>, options: HandlerOptions) {
        self.inner.handlers.register(message_type, handler, options);
    }

    /// A handle to this node at this address. Nothing is dialled until it is used.
    pub fn peer(&self, node: &NodeId, address: &NodeAddress) -> PeerHandle {
        let peer = self.inner.named_peer(node, address);
        if **peer.address.load() != *address {
            peer.address.store(Arc::new(address.clone()));
            peer.hurry(self.inner.clock.now());
            self.inner.drive_peer(&peer);
        }
        PeerHandle::new(Arc::clone(&self.inner), peer)
    }

    /// A handle to this node, if it is a peer already.
    pub fn find_peer(&self, node: &NodeId) -> Option<PeerHandle> {
        self.inner.registry.find_node(node).map(|peer| PeerHandle::new(Arc::clone(&self.inner), peer))
    }

    /// A handle to whichever node is at this address.
    pub fn seed(&self, address: &NodeAddress) -> PeerHandle {
        let peer = self.inner.registry.seed(address, || self.inner.new_peer(None, address));
        PeerHandle::new(Arc::clone(&self.inner), peer)
    }

    /// Closes the connections to a node that is no longer a peer, and forgets it.
    pub fn forget(&self, node: &NodeId) {
        if let Some(peer) = self.inner.registry.forget_node(node) {
            self.stop_peer(&peer);
        }
    }

    /// Closes the connection to a seed, and forgets it.
    pub fn forget_seed(&self, address: &NodeAddress) {
        if let Some(peer) = self.inner.registry.forget_seed(address) {
            self.stop_peer(&peer);
        }
    }

    fn stop_peer(&self, peer: &PeerShared) {
        let mut pool = peer.lock_pool();
        pool.forgotten = true;
        pool.machine.give_up();
        pool.due = None;
        let links = pool.take_all();
        drop(pool);
        for link in links {
            peer.retire(&link);
            link.drain();
        }
        peer.due_changed.notify_one();
        peer.changed.notify_waiters();
    }

    /// The next event of a peer. One reader only.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no event.
    pub async fn next_event(&self) -> PeerEvent {
        self.inner.events.next().await
    }

    /// What was carried so far.
    pub fn statistics(&self) -> TransportStatistics {
        self.inner.registry.statistics()
    }

    /// What the handlers have done so far, by message type.
    pub fn handlers(&self) -> Vec<HandlerSnapshot> {
        self.inner.handlers.snapshots()
    }

    /// Request latencies so far, by peer.
    pub fn latencies(&self) -> std::collections::BTreeMap<NodeId, LatencyHistogram> {
        self.inner.registry.latencies()
    }

    /// How many bytes peers make this process hold beyond each connection's first windows, and how many they may.
    pub fn memory(&self) -> (u64, u64) {
        let process = self.inner.budgets.process();
        (process.reserved_bytes(), process.limit_bytes())
    }

    /// The peers that this node dials.
    pub fn peers(&self) -> Vec<PeerSnapshot> {
        self.inner.registry.snapshots()
    }

    /// Events that were dropped because nobody took them, and messages because nobody handles their type.
    pub fn dropped(&self) -> (u64, u64) {
        (self.inner.events.dropped(), self.inner.unhandled_dropped.load(Ordering::Relaxed))
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").field("config", &self.inner.config).finish_non_exhaustive()
    }
}
