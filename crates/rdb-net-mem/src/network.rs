//! The network: who listens where, which connections there are, and what the links do to them.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use rdb_net_faults::{LinkFaults, Network};
use rdb_net_transport::{Config, Transport};
use rdb_net_types::{NodeAddress, SeededRandom};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::arrived::Arrived;
use crate::backend::MemoryBackend;
use crate::cable::{Cable, Side};
use crate::config::MemoryConfig;
use crate::connection::MemoryConnection;
use crate::direction::Direction;

pub(crate) const LOCKED: &str = "no code panics while it holds this lock";

/// Where ports begin that are given to those who ask for port 0 (RFC 6335, section 6).
const FREE_PORTS_FROM: u16 = 49152;

/// A network in memory. Clones are the same network.
///
/// An address is a name: it leads to whoever listens at exactly this host and port, and is resolved nowhere. A link is a pair of
/// addresses in one direction. A node's address is the one that it listens on; one that does not listen has the address that its
/// [backend](Self::backend) was made with.
#[derive(Debug, Clone)]
pub struct MemoryNetwork {
    shared: Arc<Shared>,
}

/// What the network's parts share.
#[derive(Debug)]
pub(crate) struct Shared {
    config: MemoryConfig,
    /// The origin of the links' time, by the runtime's clock.
    origin: Instant,
    state: Mutex<State>,
    /// A link was mended: dials that wait look again.
    mended: Notify,
}

#[derive(Debug)]
struct State {
    links: Network<NodeAddress>,
    listeners: BTreeMap<NodeAddress, mpsc::Sender<MemoryConnection>>,
    cables: Vec<Weak<Cable>>,
    /// Names that were turned into numbers, in the order in which they came up.
    hosts: Vec<String>,
    random: SeededRandom,
}

impl MemoryNetwork {
    /// A network on which nobody is yet. Its time is that of the runtime in which its connections are used.
    pub fn new(config: MemoryConfig) -> Self {
        let mut random = SeededRandom::new(config.seed);
        let state = State {
            links: Network::new(config.link, random.next_u64()),
            listeners: BTreeMap::new(),
            cables: Vec::new(),
            hosts: Vec::new(),
            random,
        };
        let shared = Shared { config, origin: Instant::now(), state: Mutex::new(state), mended: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    /// What a node dials and listens with whose address is this one.
    pub fn backend(&self, address: &NodeAddress) -> MemoryBackend {
        MemoryBackend::new(Arc::clone(&self.shared), address)
    }

    /// A transport on this network, at its identity's address. Nothing listens or dials yet.
    pub fn transport(&self, config: Config) -> Transport {
        let backend = self.backend(&config.identity.address);
        Transport::new(config, Arc::new(backend))
    }

    /// Sets how the link from one address to another is, in this direction. What is under way keeps its time.
    pub fn set_link(&self, from: &NodeAddress, to: &NodeAddress, faults: LinkFaults) {
        self.shared.lock().links.set_link(from.clone(), to.clone(), faults);
    }

    /// Sets how all links are that were not set by themselves.
    pub fn set_default_link(&self, faults: LinkFaults) {
        *self.shared.lock().links.default_link() = faults;
    }

    /// Cuts the link from one address to another, in this direction: what is sent from here on is held, and a dial waits.
    pub fn cut_one_way(&self, from: &NodeAddress, to: &NodeAddress) {
        self.shared.lock().links.cut(from.clone(), to.clone());
    }

    /// Cuts the links between two addresses, both ways.
    pub fn cut(&self, a: &NodeAddress, b: &NodeAddress) {
        self.cut_one_way(a, b);
        self.cut_one_way(b, a);
    }

    /// Mends the links between two addresses, both ways. What was held goes on, in order.
    pub fn mend(&self, a: &NodeAddress, b: &NodeAddress) {
        let mut state = self.shared.lock();
        state.links.mend(a.clone(), b.clone());
        state.links.mend(b.clone(), a.clone());
        drop(state);
        self.shared.mended.notify_waiters();
        self.between(a, b).for_each(|cable| cable.release());
    }

    /// Resets the connections between two addresses: at both ends, at once, with what is under way.
    pub fn reset(&self, a: &NodeAddress, b: &NodeAddress) {
        self.between(a, b).for_each(|cable| cable.reset());
    }

    /// How many connections there are of which at least one end is held.
    pub fn connections(&self) -> usize {
        self.shared.cables().len()
    }

    fn between(&self, a: &NodeAddress, b: &NodeAddress) -> impl Iterator<Item = Arc<Cable>> {
        self.shared.cables().into_iter().filter(|cable| cable.connects(a, b))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(LOCKED)
    }

    fn cables(&self) -> Vec<Arc<Cable>> {
        self.lock().cables.iter().filter_map(Weak::upgrade).collect()
    }

    /// The time since the network's origin.
    pub(crate) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    pub(crate) fn instant(&self, at: Duration) -> Instant {
        self.origin + at
    }

    pub(crate) fn buffer_bytes(&self) -> usize {
        self.config.buffer_bytes.max(1)
    }

    pub(crate) fn dial_timeout(&self) -> Duration {
        self.config.dial_timeout
    }

    pub(crate) fn passes(&self, from: &NodeAddress, to: &NodeAddress) -> bool {
        self.lock().links.passes(from, to)
    }

    /// How long a piece takes, and whether it passes at all.
    pub(crate) fn segment(&self, from: &NodeAddress, to: &NodeAddress, bytes: usize) -> (Duration, bool) {
        let now = self.now();
        let mut state = self.lock();
        (state.links.segment(now, from, to, bytes), state.links.passes(from, to))
    }

    /// Crosses a link with something of no size, once it passes.
    pub(crate) async fn cross(&self, from: &NodeAddress, to: &NodeAddress) {
        loop {
            let mended = self.mended.notified();
            tokio::pin!(mended);
            // Listening begins before the look, so that a mending between the two is not missed.
            mended.as_mut().enable();
            let (delay, passes) = self.segment(from, to, 0);
            if passes {
                // The runtime's timer rounds up, and a link without latency is to have none.
                if delay > Duration::ZERO {
                    tokio::time::sleep(delay).await;
                }
                return;
            }
            mended.await;
        }
    }

    pub(crate) fn listener(&self, address: &NodeAddress) -> Option<mpsc::Sender<MemoryConnection>> {
        self.lock().listeners.get(address).cloned()
    }

    /// Opens an address for dials; a free port of the host, where port 0 is asked for.
    pub(crate) fn open(
        &self,
        address: &NodeAddress,
    ) -> io::Result<(NodeAddress, SocketAddr, mpsc::Receiver<MemoryConnection>)> {
        let mut state = self.lock();
        let address = if address.port() == 0 {
            let free = (FREE_PORTS_FROM..=u16::MAX)
                .map(|port| address.with_port(port))
                .find(|address| !state.listeners.contains_key(address));
            free.ok_or(io::ErrorKind::AddrNotAvailable)?
        } else {
            address.clone()
        };
        if state.listeners.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let (dialled, incoming) = mpsc::channel(self.config.backlog.max(1));
        state.listeners.insert(address.clone(), dialled);
        let local = state.socket_address(&address);
        Ok((address, local, incoming))
    }

    pub(crate) fn close(&self, address: &NodeAddress) {
        self.lock().listeners.remove(address);
    }

    /// A connection from one address to another: the dialer's end, and the acceptor's.
    pub(crate) fn connect(
        self: &Arc<Self>,
        from: &NodeAddress,
        to: &NodeAddress,
    ) -> (MemoryConnection, MemoryConnection) {
        let mut state = self.lock();
        let directions =
            Side::BOTH.map(|_| Direction::new(Arrived::new(self.config.shuffle_lanes, state.random.fork())));
        let cable = Arc::new(Cable::new(Arc::clone(self), [from.clone(), to.clone()], directions));
        state.cables.retain(|cable| cable.strong_count() > 0);
        state.cables.push(Arc::downgrade(&cable));
        let (near, far) = (state.socket_address(from), state.socket_address(to));
        (
            MemoryConnection::new(Arc::clone(&cable), Side::Dialer, far),
            MemoryConnection::new(cable, Side::Acceptor, near),
        )
    }
}

impl State {
    /// The address that stands for this one in logs: a name's number is made up, in 10.0.0.0/8.
    fn socket_address(&mut self, address: &NodeAddress) -> SocketAddr {
        if let Some(known) = address.to_socket_addr() {
            return known;
        }
        let number = self.hosts.iter().position(|host| host == address.host()).unwrap_or_else(|| {
            self.hosts.push(address.host().to_owned());
            self.hosts.len() - 1
        });
        let [_, a, b, c] = (number as u32 + 1).to_be_bytes();
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, a, b, c)), address.port())
    }
}
