//! What a transport is told before it begins.

use std::sync::Arc;
use std::time::Duration;

use rdb_net_peer::PeerConfig;
use rdb_net_session::{Config as SessionConfig, Identity};
use rdb_net_types::{Authenticator, NodeAddress};

/// A transport's identity, addresses, limits and times.
#[derive(Clone)]
pub struct Config {
    /// Who this node is. The address is replaced by the one that the kernel gave, where its port is 0.
    pub identity: Identity,
    /// Where to listen; `None` only dials.
    pub bind: Option<NodeAddress>,
    /// Limits and times of each connection.
    pub session: SessionConfig,
    /// Waits between dials.
    pub peer: PeerConfig,
    /// How long a dial may take. Default 5 s.
    pub dial_timeout: Duration,
    /// How many dials may be under way in the whole process. Default 64.
    pub dials_max: usize,
    /// How many connections there may be, both directions. Default 1,000. At the limit, new ones are refused.
    pub connections_max: usize,
    /// How many accepted connections may be without a hello. Default 256; the oldest others wait in the kernel.
    pub handshakes_max: usize,
    /// How long a request may take that names no deadline of its own. Default 5 s.
    pub request_timeout: Duration,
    /// How many bytes of replies may wait for a connection's socket before its next handlers are held back. Default 1 MiB.
    pub reply_backlog_bytes: usize,
    /// How long a shutdown waits for what is under way. Default 10 s.
    pub shutdown_timeout: Duration,
    /// Decides who a connecting node is; `None` believes the hello, which is for clusters without TLS.
    pub authenticator: Option<Arc<dyn Authenticator>>,
    /// The seed of all jitter.
    pub seed: u64,
}

impl Config {
    /// The defaults, for this identity.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            bind: None,
            session: SessionConfig::default(),
            peer: PeerConfig::default(),
            dial_timeout: Duration::from_secs(5),
            dials_max: 64,
            connections_max: 1000,
            handshakes_max: 256,
            request_timeout: Duration::from_secs(5),
            reply_backlog_bytes: 1024 * 1024,
            shutdown_timeout: Duration::from_secs(10),
            authenticator: None,
            seed: 0,
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").field("node", &self.identity.node).field("bind", &self.bind).finish_non_exhaustive()
    }
}
