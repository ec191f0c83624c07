//! The typed values of a configuration, nested by area; where a crate below has settings of its own, they stand here as they
//! are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use rdb_net_types::{Capability, ClusterId, Locality, NodeAddress, NodeId, Resources, Weight};
use rdb_net_wire::Codec;

use super::connections::Transport;
use super::discovery::ServiceDiscovery;
use super::error::Origin;
use super::key::Key;

/// The configuration of a node. Every key of [`KEYS`](super::KEYS) is one value in here.
///
/// Two configurations are equal when their values are, wherever these came from. Whoever builds one without a
/// [`Loader`](super::Loader) should ask [`Config::check_runnable`] before using it; a start does so too.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Name of the cluster.
    pub cluster_id: ClusterId,
    /// Name of the node, where one was set; [`Config::effective_node_id`] has the rule for where not.
    pub node_id: Option<NodeId>,
    /// Where the transport listens.
    pub bind_address: NodeAddress,
    /// Where others reach the transport, where that was set; see [`Config::advertised`].
    pub advertise_address: Option<NodeAddress>,
    /// Where the gossip socket is, where that was set; see [`Config::gossip_bind`].
    pub gossip_address: Option<NodeAddress>,
    /// Connections at most, both directions.
    pub max_connections: usize,
    /// Main connections to each peer.
    pub connections_per_peer: u8,
    /// How long a dial may take.
    pub connection_timeout: Duration,
    /// How long a request may take that names no deadline.
    pub request_timeout: Duration,
    /// How long a shutdown waits.
    pub shutdown_timeout: Duration,
    /// Compression of messages.
    pub compression: Compression,
    /// TLS between nodes.
    pub tls: Tls,
    /// What nodes prove to each other where they have no certificates.
    pub shared_secret: SharedSecret,
    /// Whether the node may listen beyond loopback without TLS.
    pub allow_plaintext: bool,
    /// Health checks.
    pub health_check: rdb_health::Config,
    /// When the silence of a link with traffic becomes suspicious.
    pub failure_detector: rdb_net_engine::PhiConfig,
    /// Choosing a node.
    pub load_balancing: LoadBalancing,
    /// Where nodes are found.
    pub service_discovery: ServiceDiscovery,
    /// The admin listener.
    pub admin: Admin,
    /// Membership.
    pub gossip: Gossip,
    /// Which side of a partition goes on.
    pub split_brain: SplitBrain,
    /// What this node tells of itself.
    pub node: Node,
    /// What it remembers over a restart.
    pub state: State,
    /// Connections in detail.
    pub transport: Transport,
    pub(super) origins: Origins,
}

/// Compression of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compression {
    /// Whether messages may be compressed.
    pub enabled: bool,
    /// Smaller messages never are, in bytes.
    pub threshold_bytes: usize,
    /// How, the preferred way first.
    pub codecs: Vec<Codec>,
}

/// TLS between nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Whether it is on.
    pub enabled: bool,
    /// The node's certificate chain, PEM.
    pub cert_path: Option<PathBuf>,
    /// Its private key, PEM.
    pub key_path: Option<PathBuf>,
    /// The certificates that sign those of other nodes, PEM.
    pub ca_cert_path: Option<PathBuf>,
    /// Whether who connects must show a certificate.
    pub verify_client: bool,
    /// The oldest version that is spoken; 1.3 where it is not set.
    pub min_protocol_version: Option<String>,
    /// Cipher suites, the preferred first; none for all of TLS 1.3.
    pub cipher_suites: Vec<String>,
    /// Key exchange groups, the preferred first; none for the usual ones.
    pub key_exchange_groups: Vec<String>,
    /// Lists of revoked certificates.
    pub crl_paths: Vec<PathBuf>,
    /// Where in a certificate the name of its node stands.
    pub identity: String,
    /// How often the files are looked at.
    pub reload_interval: Duration,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            enabled: false,
            cert_path: None,
            key_path: None,
            ca_cert_path: None,
            verify_client: true,
            min_protocol_version: None,
            cipher_suites: Vec::new(),
            key_exchange_groups: Vec::new(),
            crl_paths: Vec::new(),
            identity: String::from("spiffe://*/.../{role}/{node}"),
            reload_interval: Duration::from_secs(2),
        }
    }
}

/// Where the secret is that nodes prove to each other where they have no certificates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SharedSecret {
    /// The file with the secret.
    pub path: Option<PathBuf>,
    /// The environment variable with it.
    pub variable: Option<String>,
}

impl SharedSecret {
    /// Whether there is to be one.
    pub fn is_set(&self) -> bool {
        self.path.is_some() || self.variable.is_some()
    }
}

/// What a node remembers over a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// The folder; nothing is remembered where there is none.
    pub path: Option<PathBuf>,
    /// The file with the key that seals what is remembered.
    pub key_path: Option<PathBuf>,
    /// The environment variable with that key.
    pub key_variable: Option<String>,
}

/// On which way gossip travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum GossipTransport {
    /// As datagrams of the QUIC connections that are up; by UDP where there is none, and in the streams of connections where UDP
    /// does not pass.
    #[default]
    Auto,
    /// UDP alone.
    Udp,
    /// In the streams of connections alone.
    Stream,
    /// Inside the connections alone: as datagrams where they carry such, and otherwise in their streams.
    Quic,
}

/// Choosing a node.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LoadBalancing {
    /// The strategy, and what it does when nothing healthy is left.
    pub balancer: rdb_balance::Config,
    /// Weights that this node gives to others, whatever they say of themselves.
    pub weights: BTreeMap<NodeId, Weight>,
}

/// The admin listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Whether there is one.
    pub enabled: bool,
    /// Where it is, where that was set; see [`Config::admin_bind`].
    pub bind_address: Option<NodeAddress>,
}

/// For which distances the times of the membership protocol are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum GossipProfile {
    /// One data centre.
    #[default]
    Lan,
    /// Several continents.
    Wan,
    /// One host.
    Local,
}

/// Membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gossip {
    /// From which preset the settings come that were not set themselves.
    pub profile: GossipProfile,
    /// All of them.
    pub swim: rdb_swim::Config,
    /// On which way it travels.
    pub transport: GossipTransport,
    /// How long a key seals gossip before another takes its place; zero is for ever.
    pub key_rotation: Duration,
}

impl Gossip {
    /// The preset of a profile.
    pub const fn new(profile: GossipProfile) -> Self {
        let swim = match profile {
            GossipProfile::Lan => rdb_swim::Config::lan(),
            GossipProfile::Wan => rdb_swim::Config::wan(),
            GossipProfile::Local => rdb_swim::Config::local(),
        };
        Self { profile, swim, transport: GossipTransport::Auto, key_rotation: Duration::from_secs(86_400) }
    }
}

/// How a node decides which side of a partition goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SplitBrainStrategy {
    /// Not at all.
    #[default]
    None,
    /// A side with enough members goes on.
    StaticQuorum,
    /// The larger side goes on.
    KeepMajority,
    /// The side with the oldest member goes on.
    KeepOldest,
}

/// Which side of a partition goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitBrain {
    /// How that is decided.
    pub strategy: SplitBrainStrategy,
    /// How many members are enough, where that is the strategy; 0 elsewhere.
    pub members: usize,
    /// How long the view must have been at rest.
    pub stable_after: Duration,
}

impl Default for SplitBrain {
    fn default() -> Self {
        let stable_after = rdb_net_engine::SplitBrainConfig::default().stable_after;
        Self { strategy: SplitBrainStrategy::None, members: 0, stable_after }
    }
}

/// What a node tells of itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Node {
    /// What it can do.
    pub capabilities: BTreeSet<Capability>,
    /// Where it stands.
    pub locality: Locality,
    /// Its share of traffic.
    pub weight: Weight,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// Version of its software, where one was set.
    pub version: Option<String>,
    /// What it has to give.
    pub resources: Resources,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cluster_id: ClusterId::new("rustydb").expect("a legal id"),
            node_id: None,
            bind_address: NodeAddress::new("127.0.0.1", 7000).expect("a legal host"),
            advertise_address: None,
            gossip_address: None,
            max_connections: 1000,
            connections_per_peer: 1,
            connection_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
            shutdown_timeout: Duration::from_secs(10),
            compression: Compression { enabled: false, threshold_bytes: 1024, codecs: vec![Codec::Lz4] },
            tls: Tls::default(),
            shared_secret: SharedSecret::default(),
            allow_plaintext: false,
            health_check: rdb_health::Config::default(),
            failure_detector: rdb_net_engine::PhiConfig::default(),
            load_balancing: LoadBalancing::default(),
            service_discovery: ServiceDiscovery::default(),
            admin: Admin { enabled: true, bind_address: None },
            gossip: Gossip::new(GossipProfile::Lan),
            split_brain: SplitBrain::default(),
            node: Node::default(),
            state: State::default(),
            transport: Transport::default(),
            origins: Origins::default(),
        }
    }
}

impl Config {
    /// Where the value of a key came from; `None` when there is no such key. A setting that follows from the gossip profile
    /// counts as a default.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        Key::find(key).map(|key| self.origins.0.get(key.path).unwrap_or(&Origin::Default))
    }

    /// The value of a key as TOML; `None` when it is not set, or there is no such key.
    pub fn value(&self, key: &str) -> Option<String> {
        Key::find(key)?.value(self)
    }
}

/// Where the values came from that somebody set.
#[derive(Debug, Clone, Default)]
pub(super) struct Origins(pub(super) BTreeMap<&'static str, Origin>);

/// No part of a configuration's equality.
impl PartialEq for Origins {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
