//! A node that is nothing but what a test says of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdb_net_manager::config::{Change, Reload};
use rdb_net_manager::{
    CertificateView, ControlError, ControlPlane, DiscoveryView, EventSubscription, GossipKeyView, NetworkStatistics,
    PartitionView, PeerView, RegistrationView, Reloaded, SecurityView, SourceState, SourceView, SplitBrainView,
    Topology,
};
use rdb_net_session::LatencyHistogram;
use rdb_net_types::{
    BoxFuture, HealthReport, HealthStatus, MessageType, NodeAddress, NodeId, NodeInfo, NodeState, PeerStatistics,
};
use tokio::sync::Semaphore;

pub(crate) fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("legal")
}

fn info(name: &str, port: u16, state: NodeState) -> Arc<NodeInfo> {
    let address = NodeAddress::new("127.0.0.1", port).expect("legal");
    Arc::new(NodeInfo { version: "1.2.3".to_owned(), state, ..NodeInfo::new(node(name), address) })
}

pub(crate) fn histogram(durations_ms: impl IntoIterator<Item = u64>) -> LatencyHistogram {
    let mut histogram = LatencyHistogram::default();
    durations_ms.into_iter().for_each(|ms| histogram.record(Duration::from_millis(ms)));
    histogram
}

fn peer(name: &str, port: u16, state: NodeState) -> PeerView {
    let alive = state == NodeState::Alive;
    let statistics = PeerStatistics {
        active_connections: if alive { 2 } else { 0 },
        bytes_sent: 1000,
        bytes_received: 2000,
        sent: [(MessageType::QUERY_REQUEST, 7), (MessageType(0x8001), 3), (MessageType(0x0003), 1)].into(),
        received: [(MessageType::QUERY_RESPONSE, 6)].into(),
        errors: [("refused", 4)].into(),
        outcomes: [("ok", 6), ("expired", 1)].into(),
        late_replies: 1,
        round_trip: Some(Duration::from_micros(250)),
        ..PeerStatistics::default()
    };
    PeerView {
        info: info(name, port, state),
        health: if alive { HealthStatus::Healthy } else { HealthStatus::Unhealthy },
        in_state_for: Duration::from_millis(1500),
        connected: alive,
        kept: alive,
        statistics,
    }
}

/// Node `n1` of a cluster of three: `n2` is alive, `n3` has failed.
#[derive(Debug)]
pub(crate) struct Fake {
    pub(crate) joined: AtomicBool,
    pub(crate) health: Mutex<HealthReport>,
    pub(crate) statistics: Mutex<NetworkStatistics>,
    pub(crate) calls: Mutex<Vec<String>>,
    pub(crate) partition: Mutex<Option<PartitionView>>,
    pub(crate) split_brain: Mutex<Option<SplitBrainView>>,
    /// `leave` takes a permit before it does anything.
    pub(crate) leave_permits: Semaphore,
    pub(crate) leave_begun: AtomicBool,
    /// `reload_configuration` waits until there is one.
    pub(crate) reload_permits: Semaphore,
    peers: Vec<PeerView>,
}

impl Default for Fake {
    fn default() -> Self {
        let peers = vec![peer("n2", 7010, NodeState::Alive), peer("n3", 7020, NodeState::Failed)];
        let mut statistics = NetworkStatistics::default();
        for peer in &peers {
            statistics.transport.peers.insert(peer.info.id.clone(), peer.statistics.clone());
        }
        statistics.transport.unidentified_errors = [("version", 5)].into();
        statistics.latencies = [(node("n2"), histogram(1..=100)), (node("n3"), histogram([]))].into();
        statistics.health_check_failures = [(node("n3"), 9)].into();
        statistics.membership = [("probes_started", 11)].into();
        statistics.gossip_waited_max = Duration::from_micros(2500);
        statistics.is_withdrawn = true;
        (statistics.members_vanished, statistics.links_busy) = (3, 2);
        statistics.dropped = [("events", 2)].into();
        let parts = vec![("transport".to_owned(), HealthStatus::Healthy, String::new())];
        Self {
            joined: AtomicBool::new(true),
            health: Mutex::new(HealthReport::of(parts)),
            statistics: Mutex::new(statistics),
            calls: Mutex::default(),
            partition: Mutex::default(),
            split_brain: Mutex::default(),
            leave_permits: Semaphore::new(1),
            leave_begun: AtomicBool::new(false),
            reload_permits: Semaphore::new(1),
            peers,
        }
    }
}

impl Fake {
    fn called(&self, call: String) {
        self.calls.lock().expect("not poisoned").push(call);
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().expect("not poisoned").clone()
    }
}

impl ControlPlane for Fake {
    fn local(&self) -> Arc<NodeInfo> {
        info("n1", 7000, NodeState::Alive)
    }

    fn is_joined(&self) -> bool {
        self.joined.load(Ordering::Relaxed)
    }

    fn health(&self) -> HealthReport {
        self.health.lock().expect("not poisoned").clone()
    }

    fn peers(&self) -> Vec<PeerView> {
        self.peers.clone()
    }

    fn topology(&self) -> Topology {
        let peers: BTreeMap<_, _> = self.peers.iter().map(|peer| (peer.info.id.clone(), &peer.info)).collect();
        Topology {
            local: node("n1"),
            cluster: "test".to_owned(),
            members: [self.local()].into_iter().chain(peers.into_values().cloned()).collect(),
            links: vec![node("n2")],
            view_digest: u64::MAX,
            partition: self.partition.lock().expect("not poisoned").to_owned(),
            split_brain: self.split_brain.lock().expect("not poisoned").clone(),
        }
    }

    fn statistics(&self) -> NetworkStatistics {
        self.statistics.lock().expect("not poisoned").clone()
    }

    fn discovery(&self) -> DiscoveryView {
        let seed = NodeInfo::seed(NodeAddress::new("n4.example", 7000).expect("legal"));
        let source = SourceView {
            name: "etcd".to_owned(),
            state: SourceState::Stale,
            cause: "the source cannot be reached: refused".to_owned(),
            age: Some(Duration::from_millis(2500)),
            nodes: vec![info("n2", 7001, NodeState::Alive), Arc::new(seed)],
            registers: true,
            names_nodes: true,
            registration: Some(RegistrationView { state: "lost", stands: false, detail: "refused".to_owned() }),
        };
        let silent = SourceView {
            name: "dns".to_owned(),
            state: SourceState::Never,
            cause: String::new(),
            age: None,
            nodes: Vec::new(),
            registers: false,
            names_nodes: false,
            registration: None,
        };
        DiscoveryView { sources: vec![source, silent] }
    }

    fn security(&self) -> SecurityView {
        let certificate = CertificateView {
            kind: "certificate",
            name: "node1".to_owned(),
            fingerprint: "ab".repeat(32),
            not_after: "2030-01-01T00:00:00Z".to_owned(),
            seconds_left: 86_400,
        };
        let key = GossipKeyView {
            id: "0a0b0c0d".to_owned(),
            state: "primary",
            age: Duration::from_secs(60),
            packets_sealed: 7,
            packets_opened: 8,
        };
        SecurityView {
            tls: true,
            shared_secret: false,
            epoch: 2,
            certificates: vec![certificate],
            handshakes: BTreeMap::from([("accepted".to_owned(), 3), ("accepted_unknown_issuer".to_owned(), 1)]),
            reloads: (1, 0),
            gossip_keys: vec![key],
            sealed: BTreeMap::from([("sealed", 7), ("replayed", 1)]),
            gossip: BTreeMap::from([("packets_streamed", 0)]),
            udp_is_silent: false,
        }
    }

    fn reload_certificates(&self) -> BoxFuture<'_, Result<(), ControlError>> {
        Box::pin(async { Err(ControlError::Conflict("TLS is off".to_owned())) })
    }

    fn rotate_gossip_key(&self) -> Result<(), ControlError> {
        Err(ControlError::Conflict("TLS is off".to_owned()))
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(90_500)
    }

    fn configuration(&self) -> String {
        String::new()
    }

    fn reload_configuration(&self) -> BoxFuture<'_, Result<Reloaded, ControlError>> {
        let change = |key, class| Change { key, class, old: Some("1".to_owned()), new: None };
        let taken = vec![change("networking.gossip.fanout", Reload::Hot)];
        let waiting = vec![change("networking.node_id", Reload::Restart)];
        Box::pin(async {
            let _permit = self.reload_permits.acquire().await.expect("never closed");
            self.called("reload_configuration".to_owned());
            Ok(Reloaded { taken, waiting })
        })
    }

    fn events(&self) -> EventSubscription {
        unreachable!("nothing here follows events")
    }

    fn join(&self, seeds: Vec<NodeAddress>) -> BoxFuture<'_, Result<(), ControlError>> {
        self.called(format!("join {seeds:?}"));
        Box::pin(async { Err(ControlError::TimedOut("no seed answered yet; retries go on".to_owned())) })
    }

    fn leave(&self) -> BoxFuture<'_, Result<(), ControlError>> {
        Box::pin(async {
            self.leave_begun.store(true, Ordering::Relaxed);
            self.leave_permits.acquire().await.expect("never closed").forget();
            self.joined.store(false, Ordering::Relaxed);
            self.called("leave".to_owned());
            Ok(())
        })
    }

    fn request_state(&self, node: &NodeId, _state: NodeState) -> Result<(), ControlError> {
        Err(ControlError::UnknownNode(node.clone()))
    }

    fn forget(&self, id: &NodeId) -> Result<(), ControlError> {
        self.called(format!("forget {id}"));
        match self.peers.iter().find(|peer| peer.info.id == *id) {
            None => Err(ControlError::UnknownNode(id.clone())),
            Some(peer) if peer.info.state == NodeState::Alive => Err(ControlError::Conflict(format!("{id} is alive"))),
            Some(_) => Ok(()),
        }
    }
}
