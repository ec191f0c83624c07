//! The peers and connections of a transport, and what they have carried.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdb_net_peer::{LinkSide, State};
use rdb_net_session::{CloseReason, LatencyHistogram};
use rdb_net_types::{NodeAddress, NodeId, PeerStatistics, TransportStatistics};
use tokio::sync::Notify;

use crate::backend::PathProbe;
use crate::link::Link;
use crate::pool::PeerShared;

/// How many peers are counted by themselves that have no connection any more.
const ENDED_PEERS_MAX: usize = 20_000;

const LOCKED: &str = "no code panics while it holds this lock";

/// What is known of a peer's connections, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSnapshot {
    /// Who, once known.
    pub node: Option<NodeId>,
    /// Where.
    pub address: NodeAddress,
    /// Where the dialing stands.
    pub state: State,
    /// Whether the first connection is kept without use.
    pub kept: bool,
    /// Requests in flight, over all connections.
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
    open: BTreeMap<u64, Open>,
    stopping: bool,
}

/// A connection that is counted.
#[derive(Debug, Clone)]
struct Open {
    link: Arc<Link>,
    /// Tells how its path is doing.
    path: Option<Arc<dyn PathProbe>>,
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
    /// A place for a connection is free.
    pub(crate) freed: Notify,
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
    pub(crate) fn insert_link(
        &self,
        link: &Arc<Link>,
        path: Option<Arc<dyn PathProbe>>,
        connections_max: usize,
    ) -> Result<(), NoPlace> {
        let mut links = self.links.lock().expect(LOCKED);
        if links.stopping {
            return Err(NoPlace::Stopping);
        }
        if links.open.len() >= connections_max {
            return Err(NoPlace::Full);
        }
        links.open.insert(link.number, Open { link: Arc::clone(link), path });
        Ok(())
    }

    /// Whether there are as many connections as there may be.
    pub(crate) fn is_full(&self, connections_max: usize) -> bool {
        self.links.lock().expect(LOCKED).open.len() >= connections_max
    }

    /// Takes no more connections. Those that it returns are all that there will be.
    pub(crate) fn stop(&self) -> Vec<Arc<Link>> {
        self.links.lock().expect(LOCKED).stopping = true;
        self.links()
    }

    /// Takes an ended connection out and adds what it carried to its peer's sums.
    pub(crate) fn remove_link(&self, link: &Link, reason: CloseReason) {
        self.links.lock().expect(LOCKED).open.remove(&link.number);
        self.freed.notify_waiters();
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
        self.links.lock().expect(LOCKED).open.values().map(|open| Arc::clone(&open.link)).collect()
    }

    /// Everything that was carried so far.
    pub(crate) fn statistics(&self) -> TransportStatistics {
        let mut sums = self.ended.lock().expect(LOCKED).statistics.clone();
        let open: Vec<Open> = self.links.lock().expect(LOCKED).open.values().cloned().collect();
        // What this node dialled itself comes last, and so wins where there is room for one connection only.
        let (accepted, dialled): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|open| open.link.side == LinkSide::Acceptor);
        for Open { link, path } in accepted.into_iter().chain(dialled) {
            let Some(node) = link.node() else { continue };
            let peer = sums.peers.entry(node.clone()).or_default();
            let (statistics, _) = link.statistics();
            add(peer, &statistics);
            peer.active_connections += 1;
            if link.side == LinkSide::Dialer {
                peer.round_trip = statistics.round_trip.or(peer.round_trip);
                peer.clock_offset = statistics.clock_offset.or(peer.clock_offset);
            }
            peer.path = path.and_then(|path| path.statistics()).or(peer.path);
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
            let node = peer.target.clone().or_else(|| peer.any_link().and_then(|link| link.node().cloned()));
            let address = NodeAddress::clone(&peer.address.load());
            let pool = peer.lock_pool();
            let (state, kept) = (pool.machine.state(), pool.machine.is_kept());
            PeerSnapshot { node, address, state, kept, requests_in_flight: pool.requests_in_flight() }
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
