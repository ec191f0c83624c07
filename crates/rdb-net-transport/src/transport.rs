//! The transport of a node: its listener, its peers, its handlers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use rdb_net_session::{CloseReason, Event, Identity, LatencyHistogram};
use rdb_net_types::{Credentials, MessageType, NodeAddress, NodeId, RefusalReason, SeededRandom, TransportStatistics};
use rdb_net_wire::Hello;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backend::{Backend, ListenError};
use crate::clock::Clock;
use crate::config::Config;
use crate::dispatch::Duty;
use crate::event::EventQueue;
use crate::handle::PeerHandle;
use crate::handler::{Handler, HandlerOptions, HandlerTable, Request};
use crate::link::Link;
use crate::registry::{PeerShared, PeerSnapshot, Registry};
use rdb_net_peer::{Failure, LinkSide, PeerEvent};

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
    pub(crate) events: EventQueue,
    pub(crate) tasks: TaskTracker,
    /// Ends every task at once.
    pub(crate) cancel: CancellationToken,
    pub(crate) stop_accepting: CancellationToken,
    pub(crate) dials: Semaphore,
    pub(crate) handshakes: Arc<Semaphore>,
    identity: Mutex<Identity>,
    local_address: OnceLock<std::net::SocketAddr>,
    started: AtomicBool,
    draining: AtomicBool,
    links_made: AtomicU64,
    random: Mutex<SeededRandom>,
    unhandled: mpsc::Sender<Unhandled>,
    pub(crate) unhandled_taken: tokio::sync::Mutex<mpsc::Receiver<Unhandled>>,
    pub(crate) is_receiving: AtomicBool,
    unhandled_dropped: AtomicU64,
}

const LOCKED: &str = "no code panics while it holds this lock";

impl Inner {
    pub(crate) fn identity(&self) -> Identity {
        self.identity.lock().expect(LOCKED).clone()
    }

    pub(crate) fn next_link_number(&self) -> u64 {
        self.links_made.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn new_peer(&self, target: Option<NodeId>, address: &NodeAddress) -> PeerShared {
        let seed = self.random.lock().expect(LOCKED).next_u64();
        PeerShared::new(target, address.clone(), self.config.peer, seed)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.draining.load(Ordering::Relaxed) || self.cancel.is_cancelled()
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

/// On whose behalf a connection runs.
pub(crate) struct Owner {
    inner: Arc<Inner>,
    kind: OwnerKind,
}

enum OwnerKind {
    Dialer(Arc<PeerShared>),
    Acceptor { place: Option<OwnedSemaphorePermit>, certificate: Option<Vec<u8>>, has_room: bool },
}

impl Owner {
    pub(crate) fn dialer(inner: Arc<Inner>, peer: Arc<PeerShared>) -> Self {
        Self { inner, kind: OwnerKind::Dialer(peer) }
    }

    pub(crate) fn acceptor(
        inner: Arc<Inner>,
        place: OwnedSemaphorePermit,
        certificate: Option<Vec<u8>>,
        has_room: bool,
    ) -> Self {
        Self { inner, kind: OwnerKind::Acceptor { place: Some(place), certificate, has_room } }
    }

    /// What the session tells, as far as it is not for callers and handlers.
    pub(crate) fn event(&mut self, link: &Arc<Link>, event: &Event) {
        match event {
            Event::Hello(hello) => self.decide(link, hello),
            Event::Up(hello) => self.dialled_up(link, hello),
            Event::GoAway => {
                if let OwnerKind::Dialer(peer) = &self.kind {
                    peer.retire(link);
                    peer.with_machine(|machine| {
                        machine.handle_ended(link.clock.now(), CloseReason::Local);
                    });
                    self.inner.drive_peer(peer);
                }
            }
            _ => {}
        }
    }

    /// Whether the dialer is let in.
    fn decide(&mut self, link: &Arc<Link>, hello: &Hello) {
        let OwnerKind::Acceptor { place, certificate, has_room } = &mut self.kind else { return };
        // The hello is here: its place is free for the next one.
        *place = None;
        let refusal = if self.inner.is_stopping() {
            Some(RefusalReason::Draining)
        } else if !*has_room {
            Some(RefusalReason::ConnectionLimit)
        } else {
            authenticate(&self.inner, hello, certificate.as_deref())
        };
        let mut core = link.lock();
        match refusal {
            Some(reason) => core.session.reject(reason),
            None => core.session.accept(link.clock.now()),
        }
        drop(core);
        if refusal.is_none() {
            link.set_hello(hello.clone());
            self.tell_up(hello, LinkSide::Acceptor);
        }
    }

    fn dialled_up(&self, link: &Arc<Link>, hello: &Hello) {
        let OwnerKind::Dialer(peer) = &self.kind else { return };
        link.set_hello(hello.clone());
        peer.with_machine(|machine| machine.handle_up(link.clock.now()));
        peer.link.store(Some(Arc::clone(link)));
        if peer.target.is_none() {
            // A seed has told its name: messages to that node need no second connection.
            let named =
                self.inner.registry.node(&hello.node, || self.inner.new_peer(Some(hello.node.clone()), &hello.address));
            if named.link.load().is_none() {
                named.with_machine(|machine| machine.handle_up(link.clock.now()));
                named.link.store(Some(Arc::clone(link)));
                named.changed.notify_waiters();
            }
        }
        peer.changed.notify_waiters();
        self.tell_up(hello, LinkSide::Dialer);
    }

    fn tell_up(&self, hello: &Hello, side: LinkSide) {
        self.inner.events.push(PeerEvent::Up {
            node: hello.node.clone(),
            boot: hello.boot,
            incarnation: hello.incarnation,
            address: hello.address.clone(),
            side,
        });
    }

    /// The connection has ended.
    pub(crate) fn closed(&mut self, link: &Arc<Link>, reason: CloseReason) {
        tracing::debug!(peer = ?link.node(), side = ?link.side, %reason, "connection ended");
        self.inner.registry.remove_link(link, reason);
        let ended = link.hello().map(|hello| PeerEvent::Down {
            node: hello.node.clone(),
            boot: hello.boot,
            side: link.side,
            reason,
        });
        if let OwnerKind::Dialer(peer) = &self.kind {
            if let Some(named) = link.node().and_then(|node| self.inner.registry.find_node(node))
                && !Arc::ptr_eq(&named, peer)
                && named.link.load().as_ref().is_some_and(|current| Arc::ptr_eq(current, link))
            {
                self.inner.dialled_ended(&named, link, reason);
            }
            self.inner.dialled_ended(peer, link, reason);
        }
        match (ended, &self.kind) {
            (Some(event), _) => self.inner.events.push(event),
            (None, OwnerKind::Dialer(peer)) => {
                let address = (**peer.address.load()).clone();
                let failure = match reason {
                    CloseReason::Refused(refusal) | CloseReason::Rejected(refusal) => Failure::Hello(refusal),
                    reason => Failure::Ended(reason),
                };
                let event = PeerEvent::DialFailed { node: peer.target.clone(), address, failure };
                self.inner.events.push(event);
            }
            (None, OwnerKind::Acceptor { .. }) => {}
        }
    }
}

fn authenticate(inner: &Inner, hello: &Hello, certificate: Option<&[u8]>) -> Option<RefusalReason> {
    let authenticator = inner.config.authenticator.as_ref()?;
    let credentials = Credentials { certificate, cluster: &hello.cluster, claimed: &hello.node, token: &hello.token };
    match authenticator.authenticate(&credentials) {
        Ok(principal) if principal.node == hello.node => None,
        Ok(principal) => {
            tracing::warn!(claimed = %hello.node, proved = %principal.node, "a peer claims another node's id");
            Some(RefusalReason::Identity)
        }
        Err(refusal) => {
            tracing::warn!(claimed = %hello.node, %refusal, "a peer was not let in");
            Some(refusal.reason)
        }
    }
}

/// The transport of a node. Cloning shares it.
#[derive(Clone)]
pub struct Transport {
    pub(crate) inner: Arc<Inner>,
}

impl Transport {
    /// A transport over this backend. Nothing listens or dials yet.
    pub fn new(config: Config, backend: Arc<dyn Backend>) -> Self {
        let (unhandled, unhandled_taken) = mpsc::channel(UNHANDLED_MAX);
        let inner = Inner {
            clock: Clock::start(),
            backend,
            handlers: HandlerTable::default(),
            registry: Registry::default(),
            events: EventQueue::default(),
            tasks: TaskTracker::new(),
            cancel: CancellationToken::new(),
            stop_accepting: CancellationToken::new(),
            dials: Semaphore::new(config.dials_max),
            handshakes: Arc::new(Semaphore::new(config.handshakes_max)),
            identity: Mutex::new(config.identity.clone()),
            local_address: OnceLock::new(),
            started: AtomicBool::new(false),
            draining: AtomicBool::new(false),
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
    /// [`ListenError`] names the address and what is wrong with it; nothing is left running.
    pub async fn start(&self) -> Result<(), ListenError> {
        if self.inner.started.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let Some(bind) = &self.inner.config.bind else { return Ok(()) };
        let listener = match self.inner.backend.listen(bind).await {
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

    /// Takes no new connections, lets everything under way end, and closes. Stopping again changes nothing. Returns whether
    /// everything ended before the shutdown's time was over; if not, it was cut off.
    pub async fn shutdown(&self) -> bool {
        let inner = &self.inner;
        inner.draining.store(true, Ordering::SeqCst);
        inner.stop_accepting.cancel();
        for peer in inner.registry.peers() {
            peer.with_machine(|machine| machine.keep(false));
        }
        inner.registry.links().iter().for_each(|link| link.drain());
        inner.tasks.close();
        let drained = async {
            while !inner.registry.links().is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(inner.config.shutdown_timeout, drained).await.is_ok();
        inner.registry.links().iter().for_each(|link| link.close(CloseReason::Local));
        inner.cancel.cancel();
        inner.tasks.wait().await;
        in_time
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
        let peer = self.inner.registry.node(node, || self.inner.new_peer(Some(node.clone()), address));
        if **peer.address.load() != *address {
            peer.address.store(Arc::new(address.clone()));
            peer.with_machine(|machine| machine.hurry(self.inner.clock.now()));
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

    /// Closes the connection to a node that is no longer a peer, and forgets it.
    pub fn forget(&self, node: &NodeId) {
        if let Some(peer) = self.inner.registry.forget_node(node) {
            stop_peer(&peer);
        }
    }

    /// Closes the connection to a seed, and forgets it.
    pub fn forget_seed(&self, address: &NodeAddress) {
        if let Some(peer) = self.inner.registry.forget_seed(address) {
            stop_peer(&peer);
        }
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

    /// Request latencies so far, by peer.
    pub fn latencies(&self) -> std::collections::BTreeMap<NodeId, LatencyHistogram> {
        self.inner.registry.latencies()
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

fn stop_peer(peer: &PeerShared) {
    peer.with_machine(|machine| machine.keep(false));
    if let Some(link) = peer.link.swap(None) {
        link.drain();
    }
    peer.changed.notify_waiters();
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").field("config", &self.inner.config).finish_non_exhaustive()
    }
}
