//! What the listener answers and takes, as JSON: names in `snake_case`, stable within `/api/v1`.
//!
//! Fields are added, never renamed or given another meaning; a reader ignores those that it does not know. Durations are
//! seconds with a fraction. Numbers that JavaScript cannot hold exactly (incarnations, digests) are text.

mod discovery;
mod partition;
mod reload;
mod security;

use std::collections::BTreeMap;

use rdb_net_manager::{ControlPlane, PeerView as Peer};
use rdb_net_types::{Capability, HealthReport, HealthStatus, MessageType, NodeAddress, NodeId, NodeInfo, NodeState};
use serde::{Deserialize, Serialize};

use crate::metrics::type_label;

pub use discovery::{DiscoveryView, ListedView, RegistrationView, SourceView};
pub use partition::{PartitionView, SplitBrainView};
pub use reload::{ChangeView, ReloadedView};
pub use security::{CertificateView, GossipKeyView, SecurityView};

/// How the node is, and what that is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealthView {
    /// The worst of the parts: `healthy`, `unknown`, `degraded` or `unhealthy`.
    pub status: HealthStatus,
    /// Whether the node has joined its cluster.
    pub joined: bool,
    /// What the status is made of, worst first.
    pub parts: Vec<HealthPartView>,
}

/// One part of a node's health.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealthPartView {
    /// The part's name.
    pub name: String,
    /// How it is.
    pub status: HealthStatus,
    /// Why; empty where there is nothing to tell.
    pub reason: String,
}

/// A member of the cluster, as this node sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberView {
    /// Its name, proved by its hello unless `provisional`.
    pub node_id: NodeId,
    /// Whether the name was made from the address of a seed that has not answered yet.
    pub provisional: bool,
    /// `alive`, `suspect`, `failed` or `left`.
    pub state: NodeState,
    /// How it is, seen from here; of the answering node itself, how it is.
    pub health: HealthStatus,
    /// For how long membership has held it in its state, in seconds. `null` for the answering node itself.
    pub in_state_seconds: Option<f64>,
    /// Whether a connection to it is up.
    pub connected: bool,
    /// Where its transport listens, `host:port`.
    pub address: NodeAddress,
    /// Where its gossip socket listens, once known.
    pub gossip_address: Option<NodeAddress>,
    /// Where its admin listener is, if others may reach it.
    pub admin_address: Option<NodeAddress>,
    /// Version of its software.
    pub version: String,
    /// The newest incarnation heard of, `generation.counter`.
    pub incarnation: String,
    /// Which process it is, sixteen hexadecimal digits; zeros while unknown.
    pub boot: String,
    /// Region, such as `eu-west`; empty where nobody told.
    pub region: String,
    /// Zone within the region; empty where nobody told.
    pub zone: String,
    /// Rack within the zone; empty where nobody told.
    pub rack: String,
    /// Its configured share of traffic.
    pub weight: f64,
    /// What it can do: `read`, `write`, `analytics`, or names of the application's own.
    pub capabilities: Vec<String>,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
}

/// The cluster as this node sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopologyView {
    /// The answering node.
    pub node_id: NodeId,
    /// The cluster's name.
    pub cluster: String,
    /// The same text at all nodes that hold the same view; sixteen hexadecimal digits.
    pub view_digest: String,
    /// Every member, by ascending id, the answering node included.
    pub members: Vec<MemberView>,
    /// To whom a connection is up from here, by ascending id.
    pub links: Vec<NodeId>,
    /// The members that have vanished together, where many have; `null` otherwise.
    #[serde(default)]
    pub partition: Option<PartitionView>,
    /// What the split-brain strategy says; `null` where there is none.
    #[serde(default)]
    pub split_brain: Option<SplitBrainView>,
}

/// The other members, with what was carried to and from them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeersView {
    /// The answering node.
    pub node_id: NodeId,
    /// Every other member, by ascending id.
    pub peers: Vec<PeerView>,
}

/// Another member, with what was carried to and from it since the answering process started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerView {
    /// The member; its fields stand beside the others.
    #[serde(flatten)]
    pub member: MemberView,
    /// Whether a connection to it is kept without use.
    pub kept: bool,
    /// Connections that are up, both directions.
    pub active_connections: u64,
    /// Bytes given to sockets.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Messages given to sockets, by type.
    pub messages_sent: BTreeMap<String, u64>,
    /// Messages received, by type.
    pub messages_received: BTreeMap<String, u64>,
    /// Connection errors, by what went wrong.
    pub connection_errors: BTreeMap<String, u64>,
    /// Requests that ended, by reason; `ok` for replies.
    pub request_outcomes: BTreeMap<String, u64>,
    /// Replies that came after their request had ended.
    pub late_replies: u64,
    /// Smoothed round-trip time of the keep-alive in seconds, once measured.
    pub round_trip_seconds: Option<f64>,
}

/// The answering node in one screen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    /// The node.
    pub node_id: NodeId,
    /// The cluster's name.
    pub cluster: String,
    /// Version of its software.
    pub version: String,
    /// Where its transport listens.
    pub address: NodeAddress,
    /// Where its gossip socket listens.
    pub gossip_address: Option<NodeAddress>,
    /// How long it has been running, in seconds.
    pub uptime_seconds: f64,
    /// How it is, and whether it has joined.
    pub health: HealthView,
    /// How many members there are, by state, the node itself included; every state is present.
    pub members: BTreeMap<NodeState, u64>,
    /// Connections that are up, both directions, over all peers.
    pub active_connections: u64,
    /// Bytes given to sockets, over all peers.
    pub bytes_sent: u64,
    /// Bytes received, over all peers.
    pub bytes_received: u64,
}

/// A probe's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeView {
    /// Whether the answer is yes.
    pub ok: bool,
    /// Which check failed and why; empty where the answer is yes.
    pub reason: String,
}

/// Asks the node to join the cluster of these seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// `host:port` of nodes of the cluster, 1 to 64.
    pub seeds: Vec<NodeAddress>,
}

/// Asks the node to say farewell. It has no field yet.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaveRequest {}

/// Asks the node to forget a failed or left member for good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForgetRequest {
    /// Which member.
    pub node: NodeId,
}

/// An operation that had success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoneView {
    /// `join`, `leave` or `forget`.
    pub operation: String,
    /// Whether the node is joined afterwards.
    pub joined: bool,
}

/// A request that had no success (RFC 9457; its `type` is always `about:blank` and left out).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemView {
    /// The status of the response.
    pub status: u16,
    /// The status in words.
    pub title: String,
    /// What went wrong in this request, and what to do.
    pub detail: String,
}

impl HealthView {
    /// The health of a node.
    pub fn of(control: &dyn ControlPlane) -> Self {
        Self::from_report(control.health(), control.is_joined())
    }

    fn from_report(report: HealthReport, joined: bool) -> Self {
        let part = |(name, status, reason)| HealthPartView { name, status, reason };
        Self { status: report.status, joined, parts: report.parts.into_iter().map(part).collect() }
    }
}

impl MemberView {
    fn of(info: &NodeInfo, health: HealthStatus) -> Self {
        Self {
            node_id: info.id.clone(),
            provisional: info.provisional,
            state: info.state,
            health,
            in_state_seconds: None,
            connected: false,
            address: info.address.clone(),
            gossip_address: info.gossip_address.clone(),
            admin_address: info.admin_address.clone(),
            version: info.version.clone(),
            incarnation: info.incarnation.to_string(),
            boot: info.boot.to_string(),
            region: info.locality.region.clone(),
            zone: info.locality.zone.clone(),
            rack: info.locality.rack.clone(),
            weight: info.weight.value(),
            capabilities: info.capabilities.iter().map(capability_name).collect(),
            labels: info.labels.clone(),
        }
    }

    fn of_peer(peer: &Peer) -> Self {
        Self {
            in_state_seconds: Some(peer.in_state_for.as_secs_f64()),
            connected: peer.connected,
            ..Self::of(&peer.info, peer.health)
        }
    }
}

impl TopologyView {
    /// The cluster as a node sees it.
    pub fn of(control: &dyn ControlPlane) -> Self {
        let topology = control.topology();
        let peers: BTreeMap<NodeId, Peer> =
            control.peers().into_iter().map(|peer| (peer.info.id.clone(), peer)).collect();
        let member = |info: &NodeInfo| match peers.get(&info.id) {
            Some(peer) => MemberView { state: info.state, ..MemberView::of_peer(peer) },
            None if info.id == topology.local => MemberView::of(info, control.health().status),
            None => MemberView::of(info, HealthStatus::Unknown),
        };
        Self {
            members: topology.members.iter().map(|info| member(info)).collect(),
            node_id: topology.local,
            cluster: topology.cluster,
            view_digest: format!("{:016x}", topology.view_digest),
            links: topology.links,
            partition: topology.partition.map(PartitionView::from),
            split_brain: topology.split_brain.map(SplitBrainView::from),
        }
    }
}

/// Like the serialised form, without the detour: a capability that this version does not know yet shows its Rust name.
fn capability_name(capability: &Capability) -> String {
    match capability {
        Capability::Read => "read".to_owned(),
        Capability::Write => "write".to_owned(),
        Capability::Analytics => "analytics".to_owned(),
        Capability::Custom(name) => name.clone(),
        other => format!("{other:?}").to_ascii_lowercase(),
    }
}

fn by_type(counts: &BTreeMap<MessageType, u64>) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for (message_type, count) in counts {
        *sums.entry(type_label(*message_type).into_owned()).or_default() += count;
    }
    sums
}

fn by_name(counts: &BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

impl PeerView {
    /// A peer, as the control plane tells of it.
    pub fn of(peer: &Peer) -> Self {
        let statistics = &peer.statistics;
        Self {
            member: MemberView::of_peer(peer),
            kept: peer.kept,
            active_connections: statistics.active_connections,
            bytes_sent: statistics.bytes_sent,
            bytes_received: statistics.bytes_received,
            messages_sent: by_type(&statistics.sent),
            messages_received: by_type(&statistics.received),
            connection_errors: by_name(&statistics.errors),
            request_outcomes: by_name(&statistics.outcomes),
            late_replies: statistics.late_replies,
            round_trip_seconds: statistics.round_trip.map(|duration| duration.as_secs_f64()),
        }
    }
}

impl PeersView {
    /// The peers of a node.
    pub fn of(control: &dyn ControlPlane) -> Self {
        let peers = control.peers();
        Self { node_id: control.local().id.clone(), peers: peers.iter().map(PeerView::of).collect() }
    }
}

impl StatusView {
    /// A node in one screen.
    pub fn of(control: &dyn ControlPlane) -> Self {
        let (local, topology, peers) = (control.local(), control.topology(), control.peers());
        let mut members: BTreeMap<NodeState, u64> =
            [NodeState::Alive, NodeState::Suspect, NodeState::Failed, NodeState::Left].map(|state| (state, 0)).into();
        topology.members.iter().for_each(|member| *members.entry(member.state).or_default() += 1);
        let sum = |of: fn(&Peer) -> u64| peers.iter().map(of).fold(0, u64::saturating_add);
        Self {
            node_id: local.id.clone(),
            cluster: topology.cluster,
            version: local.version.clone(),
            address: local.address.clone(),
            gossip_address: local.gossip_address.clone(),
            uptime_seconds: control.uptime().as_secs_f64(),
            health: HealthView::of(control),
            members,
            active_connections: sum(|peer| peer.statistics.active_connections),
            bytes_sent: sum(|peer| peer.statistics.bytes_sent),
            bytes_received: sum(|peer| peer.statistics.bytes_received),
        }
    }
}

/// The body of an operation that takes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoArguments {}
