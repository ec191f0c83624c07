//! Where nodes are found, as a configuration says it: which kinds of source, and what each of them is told.
//!
//! The keys of every kind are there in every build; whether the build can run a kind is told by
//! [`Config::check_runnable`](super::Config::check_runnable).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rdb_net_types::NodeAddress;

/// A kind of source in which nodes are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum DiscoveryKind {
    /// A list of seeds and a file.
    #[default]
    Static,
    /// Records of names.
    Dns,
    /// Keys in etcd.
    Etcd,
    /// Services at a Consul agent.
    Consul,
    /// Nowhere: the node waits for others, or is told by an operator whom to join.
    Nowhere,
}

impl DiscoveryKind {
    pub(super) const ALL: [Self; 5] = [Self::Static, Self::Dns, Self::Etcd, Self::Consul, Self::Nowhere];

    /// The name in the configuration file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Dns => "dns",
            Self::Etcd => "etcd",
            Self::Consul => "consul",
            Self::Nowhere => "none",
        }
    }

    /// The cargo feature that brings it, and whether this build has it.
    pub(super) const fn feature(self) -> (&'static str, bool) {
        match self {
            Self::Static => ("discovery-static", cfg!(feature = "discovery-static")),
            Self::Dns => ("dns", cfg!(feature = "dns")),
            Self::Etcd => ("etcd", cfg!(feature = "etcd")),
            Self::Consul => ("consul", cfg!(feature = "consul")),
            Self::Nowhere => ("", true),
        }
    }
}

/// Where nodes are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceDiscovery {
    /// The kinds of source, the one that counts most first; at least one, none twice.
    pub kinds: Vec<DiscoveryKind>,
    /// Nodes to join, none twice.
    pub seeds: Vec<NodeAddress>,
    /// A file with more nodes, which reloads.
    pub file: Option<PathBuf>,
    /// How often the file is looked at whatever its watch says.
    pub poll_interval: Duration,
    /// The longest wait between two tries to reach a seed.
    pub retry_max: Duration,
    /// Whether this node is registered where nodes register themselves.
    pub register: bool,
    /// How many nodes the sources must name before this one joins any of them; none where 0.
    pub wait_for_nodes: usize,
    /// For how long they must name the same ones.
    pub stable_margin: Duration,
    /// After how long it joins whoever is there.
    pub wait_max: Duration,
    /// How old a list of the former life may be that is used while a source is away; none is kept where zero.
    pub last_good_age_max: Duration,
    /// DNS.
    pub dns: DnsSource,
    /// etcd.
    pub etcd: EtcdSource,
    /// Consul.
    pub consul: ConsulSource,
}

impl ServiceDiscovery {
    /// Whether this kind is among those that are used.
    pub fn uses(&self, kind: DiscoveryKind) -> bool {
        self.kinds.contains(&kind)
    }

    /// Whether there is anything for the static kind to look at.
    pub(crate) fn has_list(&self) -> bool {
        !self.seeds.is_empty() || self.file.is_some()
    }

    /// Whether any source can name a node.
    pub(crate) fn has_source(&self) -> bool {
        self.kinds.iter().any(|kind| match kind {
            DiscoveryKind::Static => self.has_list(),
            DiscoveryKind::Nowhere => false,
            DiscoveryKind::Dns | DiscoveryKind::Etcd | DiscoveryKind::Consul => true,
        })
    }
}

impl Default for ServiceDiscovery {
    fn default() -> Self {
        Self {
            kinds: vec![DiscoveryKind::Static],
            seeds: Vec::new(),
            file: None,
            poll_interval: Duration::from_secs(5),
            retry_max: Duration::from_secs(3),
            register: true,
            wait_for_nodes: 0,
            stable_margin: Duration::from_secs(2),
            wait_max: Duration::from_secs(30),
            last_good_age_max: Duration::from_secs(86_400),
            dns: DnsSource::default(),
            etcd: EtcdSource::default(),
            consul: ConsulSource::default(),
        }
    }
}

/// What names are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DnsRecords {
    /// SRV records.
    #[default]
    Srv,
    /// Addresses.
    Addresses,
    /// SRV records, and addresses where a name has none.
    SrvThenAddresses,
}

/// Which addresses of a host are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AddressFamily {
    /// Those of IPv4; where there are none, those of IPv6.
    #[default]
    Either,
    /// Those of IPv4.
    V4,
    /// Those of IPv6.
    V6,
}

/// What a DNS source is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsSource {
    /// The names.
    pub names: Vec<String>,
    /// What they are asked for.
    pub records: DnsRecords,
    /// Where nodes listen that only addresses name.
    pub port: Option<u16>,
    /// The name servers; those of the system where there are none.
    pub servers: Vec<SocketAddr>,
    /// Which addresses of a host are used.
    pub family: AddressFamily,
    /// How long a name server may take.
    pub timeout: Duration,
    /// The shortest time between two questions.
    pub interval_min: Duration,
    /// The longest.
    pub interval_max: Duration,
    /// The shortest time between two questions for a name without records.
    pub negative_min: Duration,
}

impl Default for DnsSource {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            records: DnsRecords::Srv,
            port: None,
            servers: Vec::new(),
            family: AddressFamily::Either,
            timeout: Duration::from_secs(2),
            interval_min: Duration::from_secs(1),
            interval_max: Duration::from_secs(300),
            negative_min: Duration::from_secs(5),
        }
    }
}

/// Where TLS to a server of discovery takes its files from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientTls {
    /// The certificates that sign those of the servers, PEM.
    pub ca_cert_path: Option<PathBuf>,
    /// This process's certificate, PEM.
    pub cert_path: Option<PathBuf>,
    /// Its key, PEM.
    pub key_path: Option<PathBuf>,
    /// The name that the servers' certificates carry, where it is not their host.
    pub server_name: Option<String>,
}

#[cfg(any(feature = "etcd", feature = "consul"))]
impl ClientTls {
    /// The files as a backend takes them; none where nobody's signature is trusted.
    pub(super) fn files(&self) -> Option<rdb_discovery_driver::TlsFiles> {
        self.ca_cert_path.clone().map(|ca| rdb_discovery_driver::TlsFiles {
            ca,
            certificate: self.cert_path.clone(),
            key: self.key_path.clone(),
            server_name: self.server_name.clone(),
        })
    }
}

/// What an etcd source is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdSource {
    /// Where the members of the etcd cluster listen.
    pub endpoints: Vec<String>,
    /// What all keys begin with.
    pub prefix: String,
    /// The name of the user, where etcd asks for one.
    pub username: Option<String>,
    /// The file with the user's password.
    pub password_path: Option<PathBuf>,
    /// The environment variable with it.
    pub password_variable: Option<String>,
    /// TLS.
    pub tls: ClientTls,
    /// How long the node stays registered without a word from it.
    pub lease_ttl: Duration,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// How often the connection is probed.
    pub probe_interval: Duration,
    /// The longest wait after a failure.
    pub retry_max: Duration,
}

impl Default for EtcdSource {
    fn default() -> Self {
        Self {
            endpoints: vec![String::from("http://127.0.0.1:2379")],
            prefix: String::from("/rustydb"),
            username: None,
            password_path: None,
            password_variable: None,
            tls: ClientTls::default(),
            lease_ttl: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(3),
            probe_interval: Duration::from_secs(2),
            retry_max: Duration::from_secs(5),
        }
    }
}

/// What a Consul source is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsulSource {
    /// Where the agent listens.
    pub agent: String,
    /// The name of the service, where one was set.
    pub service: Option<String>,
    /// The file with the ACL token.
    pub token_path: Option<PathBuf>,
    /// The environment variable with it.
    pub token_variable: Option<String>,
    /// TLS.
    pub tls: ClientTls,
    /// How long the node's check passes without a word from it.
    pub check_ttl: Duration,
    /// When the agent throws away a node whose check has failed.
    pub deregister_after: Duration,
    /// How long a blocking query waits for a change.
    pub wait: Duration,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// How often the agent is probed.
    pub probe_interval: Duration,
    /// The longest wait after a failure.
    pub retry_max: Duration,
}

impl Default for ConsulSource {
    fn default() -> Self {
        Self {
            agent: String::from("http://127.0.0.1:8500"),
            service: None,
            token_path: None,
            token_variable: None,
            tls: ClientTls::default(),
            check_ttl: Duration::from_secs(15),
            deregister_after: Duration::from_secs(1_800),
            wait: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(3),
            probe_interval: Duration::from_secs(2),
            retry_max: Duration::from_secs(5),
        }
    }
}
