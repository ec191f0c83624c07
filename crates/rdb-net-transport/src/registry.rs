//! The peers and connections of a transport, and what they have carried.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use rdb_net_peer::{Peer, PeerConfig, State};
use rdb_net_session::{CloseReason, LatencyHistogram};
use rdb_net_types::{NodeAddress, NodeId, PeerStatistics, TransportStatistics};
use tokio::sync::Notify;

use crate::link::Link;
use rdb_net_peer::LinkSide;

/// How many peers are counted by themselves that have no connection any more.
const ENDED_PEERS_MAX: usize = 20_000;

const LOCKED: &str = "no code panics while it holds this lock";

/// One peer that this node dials.
#[derive(Debug)]
pub(crate) struct PeerShared {
    /// Who is meant; `None` for a seed, until its hello.
    pub(crate) target: Option<NodeId>,
    pub(crate) address: ArcSwap<NodeAddress>,
    /// The connection that messages take.
    pub(crate) link: ArcSwapOption<Link>,
    pub(crate) dialing: Mutex<Dialing>,
    /// Something about the connection has changed, for callers who wait for it.
    pub(crate) changed: Notify,
    /// Something about what is wanted has changed, for the task that dials.
    pub(crate) dial_changed: Notify,
}

/// The machine that decides when to dial, and whether a task carries out what it says.
#[derive(Debug)]
pub(crate) struct Dialing {
    pub(crate) machine: Peer,
    pub(crate) has_task: bool,
    /// The connection whose end the machine waits for, by number. One that was replaced while it drained is none of its
    /// concern any more.
    pub(crate) link: Option<u64>,
    /// The transport forgot the peer: handles that are left make no connection.
    pub(crate) forgotten: bool,
}

impl PeerShared {
    pub(crate) fn new(target: Option<NodeId>, address: NodeAddress, config: PeerConfig, seed: u64) -> Self {
        Self {
            target,
            address: ArcSwap::from_pointee(address),
            link: ArcSwapOption::empty(),
            dialing: Mutex::new(Dialing {
                machine: Peer::new(config, seed),
                has_task: false,
                link: None,
                forgotten: false,
            }),
            changed: Notify::new(),
            dial_changed: Notify::new(),
        }
    }

    pub(crate) fn with_machine<T>(&self, change: impl FnOnce(&mut Peer) -> T) -> T {
        change(&mut self.lock_dialing().machine)
    }

    pub(crate) fn lock_dialing(&self) -> MutexGuard<'_, Dialing> {
        self.dialing.lock().expect(LOCKED)
    }

    /// This connection takes no more messages. The machine is told, if it is the one that it counts on.
    pub(crate) fn ended(&self, link: &Arc<Link>, reason: CloseReason) {
        self.retire(link);
        let mut dialing = self.lock_dialing();
        if dialing.link == Some(link.number) {
            dialing.link = None;
            dialing.machine.handle_ended(link.clock.now(), reason);
        }
        drop(dialing);
        self.changed.notify_waiters();
    }

    /// Stops giving this connection to callers, if it is the one they get.
    pub(crate) fn retire(&self, link: &Arc<Link>) {
        link.retire();
        let current = self.link.load();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, link)) {
            self.link.compare_and_swap(&current, None);
        }
    }
}

/// What is known of a peer's connection, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSnapshot {
    /// Who, once known.
    pub node: Option<NodeId>,
    /// Where.
    pub address: NodeAddress,
    /// Where the dialing stands.
    pub state: State,
    /// Whether the connection is kept without use.
    pub kept: bool,
    /// Requests in flight.
    pub requests_in_flight: usize,
}

/// Sums over connections that have ended, and errors of those that never were.
#[derive(Debug, Default)]
struct Ended {
    statistics: TransportStatistics,
    latencies: BTreeMap<NodeId, LatencyHistogram>,
}

#[derive(Debug, Default)]
struct Links {
    open: BTreeMap<u64, Arc<Link>>,
    stopping: bool,
}

/// Why a connection has no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// There are as many as there may be.
    Full,
    /// The transport stops.
    Stopping,
}

/// Peers and connections.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    by_node: Mutex<BTreeMap<NodeId, Arc<PeerShared>>>,
    by_address: Mutex<BTreeMap<NodeAddress, Arc<PeerShared>>>,
    links: Mutex<Links>,
    ended: Mutex<Ended>,
}

impl Registry {
    pub(crate) fn node(&self, node: &NodeId, create: impl FnOnce() -> PeerShared) -> Arc<PeerShared> {
        let mut peers = self.by_node.lock().expect(LOCKED);
        Arc::clone(peers.entry(node.clone()).or_insert_with(|| Arc::new(create())))
    }

    pub(crate) fn find_node(&self, node: &NodeId) -> Option<Arc<PeerShared>> {
        self.by_node.lock().expect(LOCKED).get(node).cloned()
    }

    pub(crate) fn seed(&self, address: &NodeAddress, create: impl FnOnce() -> PeerShared) -> Arc<PeerShared> {
        let mut peers = self.by_address.lock().expect(LOCKED);
        Arc::clone(peers.entry(address.clone()).or_insert_with(|| Arc::new(create())))
    }

    pub(crate) fn forget_node(&self, node: &NodeId) -> Option<Arc<PeerShared>> {
        self.by_node.lock().expect(LOCKED).remove(node)
    }

    pub(crate) fn forget_seed(&self, address: &NodeAddress) -> Option<Arc<PeerShared>> {
        self.by_address.lock().expect(LOCKED).remove(address)
    }

    pub(crate) fn peers(&self) -> Vec<Arc<PeerShared>> {
        let mut peers: Vec<_> = self.by_node.lock().expect(LOCKED).values().cloned().collect();
        peers.extend(self.by_address.lock().expect(LOCKED).values().cloned());
        peers
    }

    /// Counts a connection, where there is a place for it.
    pub(crate) fn insert_link(&self, link: &Arc<Link>, connections_max: usize) -> Result<(), NoPlace> {
        let mut links = self.links.lock().expect(LOCKED);
        if links.stopping {
            return Err(NoPlace::Stopping);
        }
        if links.open.len() >= connections_max {
            return Err(NoPlace::Full);
        }
        links.open.insert(link.number, Arc::clone(link));
        Ok(())
    }

    /// Takes no more connections. Those that it returns are all that there will be.
    pub(crate) fn stop(&self) -> Vec<Arc<Link>> {
        self.links.lock().expect(LOCKED).stopping = true;
        self.links()
    }

    pub(crate) fn find_link(&self, number: u64) -> Option<Arc<Link>> {
        self.links.lock().expect(LOCKED).open.get(&number).cloned()
    }

    /// Takes an ended connection out and adds what it carried to its peer's sums.
    pub(crate) fn remove_link(&self, link: &Link, reason: CloseReason) {
        self.links.lock().expect(LOCKED).open.remove(&link.number);
        let (mut statistics, _) = link.statistics();
        // What waited has ended with it.
        statistics.lanes.iter_mut().for_each(|lane| (lane.queued_bytes, lane.held_bytes) = (0, 0));
        let mut ended = self.ended.lock().expect(LOCKED);
        let known = ended.statistics.peers.len() < ENDED_PEERS_MAX;
        match link.node() {
            Some(node) if known || ended.statistics.peers.contains_key(node) => {
                let peer = ended.statistics.peers.entry(node.clone()).or_default();
                add(peer, &statistics);
                if !reason.is_orderly() {
                    *peer.errors.entry(reason.name()).or_default() += 1;
                }
                ended.latencies.entry(node.clone()).or_default().merge(&statistics.latency);
            }
            _ if !reason.is_orderly() => *ended.statistics.unidentified_errors.entry(reason.name()).or_default() += 1,
            _ => {}
        }
    }

    /// Counts an error of a connection that never was.
    pub(crate) fn count_error(&self, node: Option<&NodeId>, name: &'static str) {
        let mut ended = self.ended.lock().expect(LOCKED);
        let errors = match node {
            Some(node) if ended.statistics.peers.len() < ENDED_PEERS_MAX => {
                &mut ended.statistics.peers.entry(node.clone()).or_default().errors
            }
            _ => &mut ended.statistics.unidentified_errors,
        };
        *errors.entry(name).or_default() += 1;
    }

    pub(crate) fn count_outcome(&self, node: &NodeId, name: &'static str) {
        let mut ended = self.ended.lock().expect(LOCKED);
        if ended.statistics.peers.len() < ENDED_PEERS_MAX {
            let peer = ended.statistics.peers.entry(node.clone()).or_default();
            *peer.outcomes.entry(name).or_default() += 1;
        }
    }

    pub(crate) fn links(&self) -> Vec<Arc<Link>> {
        self.links.lock().expect(LOCKED).open.values().cloned().collect()
    }

    /// Everything that was carried so far.
    pub(crate) fn statistics(&self) -> TransportStatistics {
        let mut sums = self.ended.lock().expect(LOCKED).statistics.clone();
        for link in self.links() {
            if let Some(node) = link.node() {
                let peer = sums.peers.entry(node.clone()).or_default();
                let (statistics, _) = link.statistics();
                add(peer, &statistics);
                peer.active_connections += 1;
                if link.side == LinkSide::Dialer {
                    peer.round_trip = statistics.round_trip.or(peer.round_trip);
                    peer.clock_offset = statistics.clock_offset.or(peer.clock_offset);
                }
            }
        }
        sums
    }

    /// Request latencies so far, by peer.
    pub(crate) fn latencies(&self) -> BTreeMap<NodeId, LatencyHistogram> {
        let mut sums = self.ended.lock().expect(LOCKED).latencies.clone();
        for link in self.links().iter().filter(|link| link.side == LinkSide::Dialer) {
            if let Some(node) = link.node() {
                sums.entry(node.clone()).or_default().merge(&link.statistics().0.latency);
            }
        }
        sums
    }

    pub(crate) fn snapshots(&self) -> Vec<PeerSnapshot> {
        let snapshot = |peer: &Arc<PeerShared>| {
            let link = peer.link.load_full();
            let node = peer.target.clone().or_else(|| link.as_ref().and_then(|link| link.node().cloned()));
            let (state, kept) = peer.with_machine(|machine| (machine.state(), machine.is_kept()));
            let requests_in_flight = link.map_or(0, |link| link.lock().session.requests_in_flight());
            let address = NodeAddress::clone(&peer.address.load());
            PeerSnapshot { node, address, state, kept, requests_in_flight }
        };
        self.peers().iter().map(snapshot).collect()
    }
}

fn add(peer: &mut PeerStatistics, session: &rdb_net_session::SessionStatistics) {
    peer.bytes_sent += session.bytes_sent;
    peer.bytes_received += session.bytes_received;
    peer.late_replies += session.late_replies;
    if session.replies > 0 {
        *peer.outcomes.entry("ok").or_default() += session.replies;
    }
    peer.out_of_memory += session.out_of_memory;
    peer.compressed.0 += session.compressed.0;
    peer.compressed.1 += session.compressed.1;
    for (sum, lane) in peer.lanes.iter_mut().zip(&session.lanes) {
        sum.messages_sent += lane.messages_sent;
        sum.messages_received += lane.messages_received;
        sum.bytes_sent += lane.bytes_sent;
        sum.bytes_received += lane.bytes_received;
        sum.queued_bytes += lane.queued_bytes;
        sum.held_bytes += lane.held_bytes;
    }
    session.sent.add_to(&mut peer.sent);
    session.received.add_to(&mut peer.received);
}

/// The longest a caller waits for a connection in one go; it then looks again.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(1);
