//! What can be asked of a running node, and done to it: the one set of operations behind REST, the command line and whatever
//! else operates a node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdb_net_session::LatencyHistogram;
use rdb_net_types::{
    BoxFuture, HealthReport, HealthStatus, MembershipEvent, NodeAddress, NodeId, NodeInfo, NodeState, PeerStatistics,
    TransportStatistics,
};

use crate::events::EventSubscription;
use crate::reload::Reloaded;

mod apart;

pub use apart::{PartitionView, SplitBrainView};

/// A node seen from this one.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerView {
    /// The node.
    pub info: Arc<NodeInfo>,
    /// How it is, seen from here.
    pub health: HealthStatus,
    /// For how long membership has held it in its state.
    pub in_state_for: Duration,
    /// Whether a connection to it is up.
    pub connected: bool,
    /// Whether a connection to it is kept without use.
    pub kept: bool,
    /// What its connections have carried.
    pub statistics: PeerStatistics,
}

/// The cluster as this node sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    /// This node.
    pub local: NodeId,
    /// The cluster's name.
    pub cluster: String,
    /// Every member, by ascending id, this node included.
    pub members: Vec<Arc<NodeInfo>>,
    /// To whom a connection is up from here, by ascending id.
    pub links: Vec<NodeId>,
    /// The same number at all nodes that hold the same view.
    pub view_digest: u64,
    /// The members that have vanished together, where many have.
    pub partition: Option<PartitionView>,
    /// What the split-brain strategy says; `None` where there is none.
    pub split_brain: Option<SplitBrainView>,
}

/// What a node has carried and counted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NetworkStatistics {
    /// Connections and messages, by peer.
    pub transport: TransportStatistics,
    /// From request to reply, by peer, since the start.
    pub latencies: BTreeMap<NodeId, LatencyHistogram>,
    /// Failed health checks, by node.
    pub health_check_failures: BTreeMap<NodeId, u64>,
    /// Counters of the membership protocol, by name.
    pub membership: BTreeMap<&'static str, u64>,
    /// The longest that a gossip packet has waited in the socket for this process.
    pub gossip_waited_max: Duration,
    /// How many members have vanished together and are not back: 0 but in a partition.
    pub members_vanished: usize,
    /// Whether a split-brain strategy has decided that this node's side does not go on.
    pub is_withdrawn: bool,
    /// Links of this node's own that carry traffic, and are asked about on an interval.
    pub links_busy: usize,
    /// Things that were dropped at a limit, by what they were.
    pub dropped: BTreeMap<&'static str, u64>,
}

/// Something that ends some day: a certificate, an authority, a revocation list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateView {
    /// What it is: `"certificate"`, for example.
    pub kind: &'static str,
    /// Whose.
    pub name: String,
    /// The SHA-256 of it, in hexadecimal.
    pub fingerprint: String,
    /// When it ends.
    pub not_after: String,
    /// How long it is until then, in seconds; negative after it.
    pub seconds_left: i64,
}

/// A key that seals gossip, without what is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GossipKeyView {
    /// Its name.
    pub id: String,
    /// `"primary"` seals and opens, `"installed"` opens.
    pub state: &'static str,
    /// How long this node has had it.
    pub age: Duration,
    /// Packets that this node sealed with it.
    pub packets_sealed: u64,
    /// Packets of others that it opened.
    pub packets_opened: u64,
}

/// How the node protects what it says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecurityView {
    /// Whether connections are encrypted and nodes prove who they are.
    pub tls: bool,
    /// Whether nodes prove to each other that they know a secret, without encryption of what follows.
    pub shared_secret: bool,
    /// The number of the set of certificates in force: 1 at the start, one more with each that took its place.
    pub epoch: u64,
    /// What ends some day.
    pub certificates: Vec<CertificateView>,
    /// Handshakes, by direction and end: `"accepted"`, `"accepted_unknown_issuer"`, `"dialled"`, …
    pub handshakes: BTreeMap<String, u64>,
    /// Sets of files that took another's place, and that were not taken.
    pub reloads: (u64, u64),
    /// The keys that seal gossip, the one that seals first.
    pub gossip_keys: Vec<GossipKeyView>,
    /// Sealed packets: `"sealed"`, `"opened"`, and what was refused, by reason.
    pub sealed: BTreeMap<&'static str, u64>,
    /// Gossip inside connections: `"packets_in_datagrams"`, `"packets_streamed"`, `"packets_not_streamed"`, `"packets_received"`.
    pub gossip: BTreeMap<&'static str, u64>,
    /// Whether gossip travels inside connections because nothing comes by UDP.
    pub udp_is_silent: bool,
}

/// How far the list of a source can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceState {
    /// The source has not answered yet.
    Never,
    /// The list is what the source says.
    Live,
    /// The list is the last good one, or holds nodes that the source no longer names.
    Stale,
}

impl SourceState {
    /// The state in lower case, as metrics and commands show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Live => "live",
            Self::Stale => "stale",
        }
    }
}

/// A source of discovery.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceView {
    /// Its name: `"etcd"`.
    pub name: String,
    /// How far its list can be trusted.
    pub state: SourceState,
    /// Why it cannot be trusted fully; empty where it can.
    pub cause: String,
    /// How long ago it last answered; `None` where it never has, or does not say.
    pub age: Option<Duration>,
    /// Whom it names, by ascending key.
    pub nodes: Vec<Arc<NodeInfo>>,
    /// Whether nodes register themselves there.
    pub registers: bool,
    /// Whether it names nodes by their ids, and not by addresses.
    pub names_nodes: bool,
    /// How this node stands there; `None` where it is not to be registered.
    pub registration: Option<RegistrationView>,
}

/// How this node stands at a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationView {
    /// `"active"`, `"lost"`, …
    pub state: &'static str,
    /// Whether others find it there.
    pub stands: bool,
    /// Why it does not stand, or what else is to be said of it; may be empty.
    pub detail: String,
}

/// Where the node finds others.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DiscoveryView {
    /// The sources, the one that counts most first.
    pub sources: Vec<SourceView>,
}

/// An operation that had no success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// No member has this id.
    #[error("no member has the node id {0}")]
    UnknownNode(NodeId),
    /// The operation makes no sense in the node's state; the text says why.
    #[error("{0}")]
    Conflict(String),
    /// The operation did not end in time; it goes on.
    #[error("{0}")]
    TimedOut(String),
}

/// Something that happened, for people and programs that follow a node.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum NetworkEvent {
    /// The membership changed.
    Membership(MembershipEvent),
    /// A node is better or worse than it was, seen from here.
    Health {
        /// Which node.
        node: NodeId,
        /// How it was.
        from: HealthStatus,
        /// How it is.
        to: HealthStatus,
    },
    /// A connection came up or ended.
    Connection {
        /// To which node.
        node: NodeId,
        /// Whether it is up.
        up: bool,
        /// Why it ended; empty when it came up.
        reason: String,
    },
    /// This node has joined: it knows the cluster.
    Joined {
        /// How many members it knows.
        members: usize,
    },
    /// A node shares no version of the membership protocol with this one or with another member, and is refused.
    Incompatible {
        /// The node.
        node: NodeId,
        /// What it understands, as far as is known: "versions 2 to 3".
        theirs: String,
        /// What this node, or that other member, understands.
        ours: String,
    },
    /// Many members have failed together: the network has come apart, or this node is cut off. It is degraded, and drops nobody.
    Partitioned {
        /// How many members it reaches, itself included.
        reachable: usize,
        /// How many have vanished.
        unreachable: usize,
    },
    /// Most of those who had vanished together are back.
    Healed {
        /// How many members it reaches, itself included.
        reachable: usize,
        /// How many are still missing.
        unreachable: usize,
    },
    /// The split-brain strategy has decided whether this node's side goes on.
    SplitBrain {
        /// Whether it does not: messages to other nodes are refused until another decision.
        withdraws: bool,
        /// The strategy, what it has seen, and why it decides so.
        reason: String,
    },
    /// No seed answers; retries go on.
    SeedsUnreachable {
        /// How often each was tried.
        attempts: u32,
    },
    /// Another live process in the cluster uses this node's id; this node stops.
    DuplicateNode {
        /// Where the other process is.
        address: String,
    },
    /// Certificates, authorities or revocation lists were changed, and are in force.
    CertificatesReloaded {
        /// When this node's certificate ends.
        not_after: String,
    },
    /// They were changed and are not taken: the former ones stay in force.
    CertificatesKept {
        /// The file at fault and what is wrong.
        problem: String,
    },
    /// A certificate or list ends soon, or has ended.
    CertificateExpires {
        /// Which, and when.
        warning: String,
    },
    /// This subscriber was too slow. Events were dropped; the members as they are now stand here instead.
    Lagged {
        /// How many events were dropped.
        missed: u64,
        /// The members as they are now.
        members: Vec<Arc<NodeInfo>>,
    },
}

/// A node, as its operator holds it.
pub trait ControlPlane: Send + Sync {
    /// This node.
    fn local(&self) -> Arc<NodeInfo>;

    /// Whether this node has joined its cluster.
    fn is_joined(&self) -> bool;

    /// How this node is, with what that is made of.
    fn health(&self) -> HealthReport;

    /// Every other member, by ascending id.
    fn peers(&self) -> Vec<PeerView>;

    /// The cluster as this node sees it.
    fn topology(&self) -> Topology;

    /// What was carried and counted.
    fn statistics(&self) -> NetworkStatistics;

    /// How the node protects what it says, secrets left out.
    fn security(&self) -> SecurityView;

    /// Where the node finds others, and how it stands there.
    fn discovery(&self) -> DiscoveryView;

    /// Reads certificates, authorities and revocation lists now, changed or not.
    ///
    /// # Errors
    ///
    /// [`ControlError::Conflict`] names the file at fault, and the former ones stay in force; or TLS is off.
    fn reload_certificates(&self) -> BoxFuture<'_, Result<(), ControlError>>;

    /// Puts another key in the place of the one that seals gossip, in the background.
    ///
    /// # Errors
    ///
    /// [`ControlError::Conflict`] where TLS is off, or another node leads: it is named. A key that follows from a shared secret
    /// has none in its place.
    fn rotate_gossip_key(&self) -> Result<(), ControlError>;

    /// How long the node has been running.
    fn uptime(&self) -> Duration;

    /// The effective configuration as commented TOML, secrets left out.
    fn configuration(&self) -> String;

    /// Reads the configuration again, and takes what a running node can: it says what, and what waits for the next start.
    ///
    /// # Errors
    ///
    /// [`ControlError::Conflict`] says what is wrong with it, and the former one stays in force.
    fn reload_configuration(&self) -> BoxFuture<'_, Result<Reloaded, ControlError>>;

    /// Events from here on.
    fn events(&self) -> EventSubscription;

    /// Joins the cluster of these seeds.
    ///
    /// # Errors
    ///
    /// [`ControlError::TimedOut`] when no seed answered yet; retries go on.
    fn join(&self, seeds: Vec<NodeAddress>) -> BoxFuture<'_, Result<(), ControlError>>;

    /// Says farewell to the cluster. The node stays up and answers; it is no member any more.
    ///
    /// # Errors
    ///
    /// [`ControlError::TimedOut`] when too few members acknowledged the farewell in time.
    fn leave(&self) -> BoxFuture<'_, Result<(), ControlError>>;

    /// Asks membership to hold a member in another state: a request that a living member refutes.
    ///
    /// # Errors
    ///
    /// [`ControlError::UnknownNode`], or [`ControlError::Conflict`] for a state that cannot be asked for.
    fn request_state(&self, node: &NodeId, state: NodeState) -> Result<(), ControlError>;

    /// Forgets a failed or left member for good.
    ///
    /// # Errors
    ///
    /// [`ControlError::UnknownNode`], or [`ControlError::Conflict`] when the member is alive.
    fn forget(&self, node: &NodeId) -> Result<(), ControlError>;
}
