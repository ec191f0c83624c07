//! A configuration as the settings of the parts.

use rdb_net_session::{CompressionConfig, Identity};
use rdb_net_types::{BootId, Incarnation, NodeAddress, NodeId, NodeInfo, ProtocolRange};
use rdb_swim::Strategy;

#[cfg(feature = "secure")]
use super::settings::Tls;
use super::settings::{Config, SplitBrainStrategy};

const THIS_VERSION: &str = env!("CARGO_PKG_VERSION");

impl Config {
    /// Where others reach the transport, which listens on this port.
    pub fn advertised(&self, port: u16) -> NodeAddress {
        match &self.advertise_address {
            Some(address) if address.port() != 0 => address.clone(),
            Some(address) => address.with_port(port),
            None => self.bind_address.with_port(port),
        }
    }

    /// The node's name: the one that was set, else made from where others reach it.
    pub fn effective_node_id(&self, advertised: &NodeAddress) -> NodeId {
        self.node_id.clone().unwrap_or_else(|| NodeInfo::seed(advertised.clone()).id)
    }

    /// Where to open the gossip socket. Port 0 means that the system picks one.
    pub fn gossip_bind(&self) -> NodeAddress {
        let derived = || self.bind_address.with_port(self.port_above(1));
        self.gossip_address.clone().unwrap_or_else(derived)
    }

    /// Where the admin listener listens; `None` when there is none.
    pub fn admin_bind(&self) -> Option<NodeAddress> {
        let derived = || NodeAddress::new("127.0.0.1", self.port_above(2)).expect("an IP address is a legal host");
        self.admin.enabled.then(|| self.admin.bind_address.clone().unwrap_or_else(derived))
    }

    /// The port of the transport plus an offset, or 0 where that is 0 or there is none.
    fn port_above(&self, offset: u16) -> u16 {
        match self.bind_address.port() {
            0 => 0,
            port => port.checked_add(offset).unwrap_or(0),
        }
    }

    /// What this node's hello says, when it is reached at this address.
    pub fn identity(&self, advertised: &NodeAddress, incarnation: Incarnation, boot: BootId) -> Identity {
        Identity {
            cluster: self.cluster_id.clone(),
            node: self.effective_node_id(advertised),
            incarnation,
            boot,
            address: advertised.clone(),
            protocol: ProtocolRange::CURRENT,
            software: self.software_version().to_owned(),
            token: Vec::new(),
        }
    }

    /// What is configured of this node, when it is reached at this address. Incarnation, boot id and the other addresses
    /// are for who knows them.
    pub fn node_info(&self, advertised: &NodeAddress) -> NodeInfo {
        let node = &self.node;
        NodeInfo {
            version: self.software_version().to_owned(),
            capabilities: node.capabilities.clone(),
            resources: node.resources,
            locality: node.locality.clone(),
            weight: node.weight,
            labels: node.labels.clone(),
            ..NodeInfo::new(self.effective_node_id(advertised), advertised.clone())
        }
    }

    fn software_version(&self) -> &str {
        self.node.version.as_deref().unwrap_or(THIS_VERSION)
    }

    /// Limits and times of each connection. The System lane takes at least one frame.
    pub fn session(&self) -> rdb_net_session::Config {
        let mut session = self.transport.session.clone();
        let [system, ..] = &mut session.lane_credit_bytes;
        *system = (*system).max(u64::from(session.frame_bytes_max));
        session.compression = match self.compression.enabled {
            true => CompressionConfig {
                codecs: self.compression.codecs.clone(),
                above_bytes: u32::try_from(self.compression.threshold_bytes).unwrap_or(u32::MAX),
                types: Vec::new(),
            },
            false => CompressionConfig::off(),
        };
        session
    }

    /// The transport of a node with this identity, listening at `bind_address`. The seed is that of all jitter.
    pub fn transport(&self, identity: Identity, seed: u64) -> rdb_net_transport::Config {
        rdb_net_transport::Config {
            bind: Some(self.bind_address.clone()),
            session: self.session(),
            peer: rdb_net_peer::PeerConfig {
                connections: self.connections_per_peer,
                idle_timeout: unless_zero(self.transport.idle_timeout),
                age_max: unless_zero(self.transport.age_max),
                ..self.transport.peer
            },
            dial_timeout: self.connection_timeout,
            dials_max: self.transport.dials_max,
            connections_max: self.max_connections,
            door: self.transport.door,
            request_timeout: self.request_timeout,
            reply_backlog_bytes: self.transport.reply_backlog_bytes,
            memory_bytes_max: self.transport.memory_bytes_max,
            peer_memory_bytes_max: self.transport.peer_memory_bytes_max,
            shutdown_timeout: self.shutdown_timeout,
            seed,
            ..rdb_net_transport::Config::new(identity)
        }
    }

    /// The options of TCP sockets.
    #[cfg(feature = "tcp")]
    pub fn tcp(&self) -> rdb_net_tcp::TcpConfig {
        let transport = &self.transport;
        rdb_net_tcp::TcpConfig {
            user_timeout: transport.tcp_user_timeout.unwrap_or(transport.session.liveness * 3),
            unsent_bytes_max: (transport.tcp_unsent_bytes_max > 0).then_some(transport.tcp_unsent_bytes_max),
            keep_alive: unless_zero(transport.tcp_keep_alive).map(rdb_net_tcp::KeepAlive::after),
            backlog: transport.tcp_backlog,
        }
    }

    /// The options of QUIC.
    #[cfg(feature = "quic")]
    pub fn quic(&self) -> rdb_net_quic::QuicConfig {
        let transport = &self.transport;
        rdb_net_quic::QuicConfig {
            idle_timeout: transport.quic_idle_timeout.unwrap_or(transport.session.liveness * 3),
            keep_alive_interval: transport.quic_keep_alive,
            handshake_timeout: transport.session.hello_timeout,
            congestion_control: match transport.quic_congestion_control {
                super::QuicCongestion::Cubic => rdb_net_quic::CongestionControl::Cubic,
                super::QuicCongestion::Bbr => rdb_net_quic::CongestionControl::Bbr,
            },
            lane_window_bytes: transport.quic_lane_window_bytes,
            mtu_bytes_max: transport.quic_mtu_bytes_max,
            migration: transport.quic_migration,
            retry_from_handshakes: transport.quic_retry_from_handshakes,
            ..rdb_net_quic::QuicConfig::default()
        }
    }

    /// TLS, its policy apart from its files.
    ///
    /// # Errors
    ///
    /// The pattern of identities cannot be followed; [`check_runnable`](Self::check_runnable) says so too.
    #[cfg(feature = "secure")]
    pub(crate) fn tls_policy(&self) -> Result<rdb_net_tls::Policy, rdb_net_tls::PatternError> {
        let policy = rdb_net_tls::Policy::new(self.cluster_id.clone());
        Ok(rdb_net_tls::Policy { identity: self.tls.identity.parse()?, ..policy })
    }

    /// Membership. Packets leave room for their seal, where there is one.
    pub fn swim(&self) -> rdb_swim::Config {
        let swim = self.gossip.swim.clone();
        #[cfg(feature = "secure")]
        if self.tls.enabled || self.shared_secret.is_set() {
            let packet_bytes_max = rdb_net_seal::plaintext_bytes_max(swim.packet_bytes_max);
            return rdb_swim::Config { packet_bytes_max, ..swim };
        }
        swim
    }

    /// Which side of a partition goes on.
    pub fn split_brain(&self) -> rdb_net_engine::SplitBrainConfig {
        let strategy = match self.split_brain.strategy {
            SplitBrainStrategy::None => None,
            SplitBrainStrategy::StaticQuorum => Some(Strategy::StaticQuorum { members: self.split_brain.members }),
            SplitBrainStrategy::KeepMajority => Some(Strategy::KeepMajority),
            SplitBrainStrategy::KeepOldest => Some(Strategy::KeepOldest),
        };
        rdb_net_engine::SplitBrainConfig { strategy, stable_after: self.split_brain.stable_after }
    }

    /// Health checks.
    pub fn health(&self) -> rdb_health::Config {
        self.health_check
    }

    /// The balancer.
    pub fn balancer(&self) -> rdb_balance::Config {
        self.load_balancing.balancer
    }
}

/// A time that zero stands for never in.
fn unless_zero(time: std::time::Duration) -> Option<std::time::Duration> {
    (!time.is_zero()).then_some(time)
}

#[cfg(feature = "secure")]
impl Tls {
    /// As the TLS crate takes it.
    ///
    /// # Errors
    ///
    /// The version has a name that none has.
    pub(crate) fn files(&self) -> Result<rdb_net_tls::TlsConfig, rdb_net_tls::UnknownVersion> {
        Ok(rdb_net_tls::TlsConfig {
            enabled: self.enabled,
            cert_path: self.cert_path.clone().unwrap_or_default(),
            key_path: self.key_path.clone().unwrap_or_default(),
            ca_cert_path: self.ca_cert_path.clone(),
            verify_client: self.verify_client,
            min_protocol_version: self.min_protocol_version.as_deref().unwrap_or("1.3").parse()?,
            cipher_suites: self.cipher_suites.clone(),
            key_exchange_groups: self.key_exchange_groups.clone(),
            crl_paths: self.crl_paths.clone(),
        })
    }

    /// Whether everything that it names is known, apart from files: the key at fault and what is wrong.
    pub(super) fn names(&self) -> Result<(), (&'static str, String)> {
        let files = self.files().map_err(|error| ("networking.tls.min_protocol_version", error.to_string()))?;
        let identity = self.identity.parse::<rdb_net_tls::IdentityPattern>();
        identity.map_err(|error| ("networking.tls.identity", error.to_string()))?;
        match files.validate() {
            // Said by the rule on what TLS needs.
            Ok(()) | Err(rdb_net_tls::ConfigError::Missing { .. }) => Ok(()),
            Err(error) => Err((error.key(), error.to_string())),
        }
    }
}
