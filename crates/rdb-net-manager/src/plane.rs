//! The control plane over a running node.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rdb_net_types::{BoxFuture, HealthReport, HealthStatus, NodeAddress, NodeId, NodeInfo, NodeState};

use crate::control::{ControlError, ControlPlane, DiscoveryView, NetworkStatistics, PeerView, SecurityView, Topology};
use crate::events::{EventBus, EventSubscription};
use crate::node::Node;

const TLS_OFF: &str = "TLS is off (networking.tls.enabled)";
/// How long an operator's join waits for a seed.
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an operator's leave waits for acknowledgements.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct Plane {
    pub(crate) node: Arc<OnceLock<Arc<Node>>>,
    pub(crate) bus: Arc<EventBus>,
    /// This node, before its start.
    pub(crate) fallback: Arc<NodeInfo>,
}

impl Plane {
    fn running(&self) -> Result<&Arc<Node>, ControlError> {
        self.node.get().ok_or_else(|| ControlError::Conflict("the node is not started".to_owned()))
    }

    fn find(&self, node: &NodeId) -> Result<(&Arc<Node>, Arc<NodeInfo>), ControlError> {
        let running = self.running()?;
        let member = running.gossip.look(|driven, _| driven.0.member(node).cloned());
        member.map(|member| (running, member)).ok_or_else(|| ControlError::UnknownNode(node.clone()))
    }
}

impl ControlPlane for Plane {
    fn local(&self) -> Arc<NodeInfo> {
        let local = self.node.get().map(|node| node.gossip.look(|driven, _| Arc::clone(driven.0.local())));
        local.unwrap_or_else(|| Arc::clone(&self.fallback))
    }

    fn is_joined(&self) -> bool {
        self.node.get().is_some_and(|node| node.gossip.look(|driven, _| driven.0.is_joined()))
    }

    fn health(&self) -> HealthReport {
        let not_started =
            || HealthReport::of(vec![("node".to_owned(), HealthStatus::Unhealthy, "not started".to_owned())]);
        self.node.get().map_or_else(not_started, |node| {
            let mut parts = node.gossip.look(|driven, _| driven.0.report()).parts;
            parts.extend(crate::following::health(&node.sources));
            HealthReport::of(parts)
        })
    }

    fn peers(&self) -> Vec<PeerView> {
        let Some(node) = self.node.get() else { return Vec::new() };
        let mut statistics = node.transport.statistics().peers;
        let (members, kept) = node.gossip.look(|driven, _| {
            let engine = &driven.0;
            let members = engine.members().into_iter().map(|member| (engine.health(&member.id), member));
            (members.collect::<Vec<_>>(), engine.kept_links())
        });
        let others = members.into_iter().filter(|(_, member)| member.id != node.id);
        let view = |(health, info): (HealthStatus, Arc<NodeInfo>)| {
            let statistics = statistics.remove(&info.id).unwrap_or_default();
            PeerView {
                health,
                in_state_for: node.in_state_for(&info.id),
                connected: statistics.active_connections > 0,
                kept: kept.contains(&info.id),
                statistics,
                info,
            }
        };
        others.map(view).collect()
    }

    fn topology(&self) -> Topology {
        let Some(node) = self.node.get() else {
            let local = self.fallback.id.clone();
            let members = vec![Arc::clone(&self.fallback)];
            return Topology { local, cluster: String::new(), members, links: Vec::new(), view_digest: 0 };
        };
        let statistics = node.transport.statistics().peers;
        let links = statistics.into_iter().filter(|(_, peer)| peer.active_connections > 0).map(|(id, _)| id).collect();
        let (members, view_digest) = node.gossip.look(|driven, _| (driven.0.members(), driven.0.view_digest()));
        Topology { local: node.id.clone(), cluster: node.cluster.clone(), members, links, view_digest }
    }

    fn statistics(&self) -> NetworkStatistics {
        let Some(node) = self.node.get() else { return NetworkStatistics::default() };
        let (engine, failures, partition) = node.gossip.look(|driven, _| {
            let engine = &driven.0;
            let failures = engine.members().into_iter().filter_map(|member| {
                let failures = engine.node_health(&member.id)?.failures;
                (failures > 0).then(|| (member.id.clone(), failures))
            });
            (engine.statistics(), failures.collect::<BTreeMap<_, _>>(), engine.partition())
        });
        let gossip = node.gossip.statistics();
        let swim = &engine.swim;
        let membership = BTreeMap::from([
            ("packets_sent", gossip.packets_sent),
            ("packets_received", gossip.packets_received),
            ("bytes_sent", gossip.bytes_sent),
            ("bytes_received", gossip.bytes_received),
            ("probes_started", swim.probes_started),
            ("probes_failed", swim.probes_failed),
            ("probes_indirect", swim.probes_indirect),
            ("suspicions_raised", swim.suspicions_raised),
            ("failures_declared", swim.failures_declared),
            ("failures_by_refusal", swim.failures_by_refusal),
            ("refutations", swim.refutations),
            ("local_pauses", swim.local_pauses),
            ("links_lost", engine.engine.links_lost),
            ("refusals_seen", engine.engine.refusals_seen),
            ("phi_crossed", engine.engine.phi_crossed),
        ]);
        let (peer_events, unhandled) = node.transport.dropped();
        let dropped = BTreeMap::from([
            ("peer_events", peer_events),
            ("unhandled_messages", unhandled),
            ("gossip_socket_errors", gossip.errors),
            ("gossip_malformed", swim.dropped_malformed),
            ("gossip_other_cluster", swim.dropped_cluster),
        ]);
        NetworkStatistics {
            transport: node.transport.statistics(),
            latencies: node.transport.latencies(),
            health_check_failures: failures,
            membership,
            gossip_waited_max: std::time::Duration::from_micros(gossip.waited_us_max),
            members_vanished: partition.map_or(0, |partition| partition.unreachable),
            links_busy: engine.links_busy,
            dropped,
        }
    }

    fn security(&self) -> SecurityView {
        let Some(node) = self.node.get() else { return SecurityView::default() };
        #[cfg(feature = "secure")]
        let view = crate::security::view(node);
        #[cfg(not(feature = "secure"))]
        let view = SecurityView::default();
        let (counters, now) = (&node.streams.counters, node.transport.clock().now());
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SecurityView {
            gossip: BTreeMap::from([
                ("packets_in_datagrams", read(&counters.in_datagrams)),
                ("packets_streamed", read(&counters.streamed)),
                ("packets_not_streamed", read(&counters.not_streamed)),
                ("packets_received", read(&counters.received)),
            ]),
            udp_is_silent: node.streams.is_udp_silent(now),
            ..view
        }
    }

    fn discovery(&self) -> DiscoveryView {
        self.node.get().map(|node| crate::following::view(&node.sources)).unwrap_or_default()
    }

    fn reload_certificates(&self) -> BoxFuture<'_, Result<(), ControlError>> {
        Box::pin(async move {
            let node = self.running()?;
            #[cfg(feature = "secure")]
            if node.tls.is_some() {
                return crate::security::reload(node).await.map_err(ControlError::Conflict);
            }
            let _running = node;
            Err(ControlError::Conflict(TLS_OFF.to_owned()))
        })
    }

    fn rotate_gossip_key(&self) -> Result<(), ControlError> {
        let node = self.running()?;
        #[cfg(feature = "secure")]
        if let Some(keys) = &node.keys {
            return keys.want_rotation(node).map_err(ControlError::Conflict);
        }
        let _running = node;
        Err(ControlError::Conflict(TLS_OFF.to_owned()))
    }

    fn uptime(&self) -> Duration {
        self.node.get().map_or(Duration::ZERO, |node| node.started.elapsed())
    }

    fn configuration(&self) -> String {
        self.node.get().map(|node| node.configuration.to_toml()).unwrap_or_default()
    }

    fn events(&self) -> EventSubscription {
        self.bus.subscribe()
    }

    fn join(&self, seeds: Vec<NodeAddress>) -> BoxFuture<'_, Result<(), ControlError>> {
        Box::pin(async move {
            let node = self.running()?;
            node.joined.send_replace(false);
            node.gossip.with(|driven, now| driven.0.join(now, seeds));
            if self.is_joined() {
                return Ok(());
            }
            let mut joined = node.joined.subscribe();
            let waited = tokio::time::timeout(JOIN_TIMEOUT, joined.wait_for(|joined| *joined)).await;
            waited.map(drop).map_err(|_| ControlError::TimedOut("no seed has answered yet, trying on".to_owned()))
        })
    }

    fn leave(&self) -> BoxFuture<'_, Result<(), ControlError>> {
        Box::pin(async move {
            if self.running()?.leave(LEAVE_TIMEOUT).await {
                return Ok(());
            }
            Err(ControlError::TimedOut("too few members acknowledged the farewell".to_owned()))
        })
    }

    fn request_state(&self, node: &NodeId, state: NodeState) -> Result<(), ControlError> {
        let (running, member) = self.find(node)?;
        match state {
            NodeState::Suspect | NodeState::Failed => {
                running.gossip.with(|driven, now| driven.0.suspect(now, &member.id));
                Ok(())
            }
            NodeState::Alive | NodeState::Left => {
                Err(ControlError::Conflict(format!("only node {node} itself can say that it is {state}")))
            }
        }
    }

    fn forget(&self, node: &NodeId) -> Result<(), ControlError> {
        let (running, member) = self.find(node)?;
        if running.gossip.with(|driven, now| driven.0.forget(now, &member.id)) {
            return Ok(());
        }
        Err(ControlError::Conflict(format!(
            "member {node} is {}: only failed and left members are forgotten",
            member.state
        )))
    }
}
