//! What a transport is told before it begins.

use std::sync::Arc;
use std::time::Duration;

use rdb_net_peer::PeerConfig;
use rdb_net_session::{Config as SessionConfig, Identity};
use rdb_net_types::{Authenticator, NodeAddress};

use crate::door::DoorConfig;

/// A transport's identity, addresses, limits and times.
#[derive(Clone)]
pub struct Config {
    /// Who this node is. Its token has at most [`TOKEN_BYTES_MAX`], its software version [`SOFTWARE_BYTES_MAX`] bytes. The address is replaced by the one that the kernel gave, where its port is 0.
    pub identity: Identity,
    /// Where to listen; `None` only dials.
    pub bind: Option<NodeAddress>,
    /// Limits and times of each connection.
    pub session: SessionConfig,
    /// Connections of each peer, their recycling, and waits between dials.
    pub peer: PeerConfig,
    /// How long a dial may take, once its turn has come. Default 5 s.
    pub dial_timeout: Duration,
    /// How many dials may be under way in the whole process. Default 64.
    pub dials_max: usize,
    /// How many connections there may be, both directions. Default 1,000; at least 1. At the limit a dial closes the unused
    /// connection that this node made and that was not used for longest, and a connection that another node makes is refused
    /// with the reason `ConnectionLimit`. Each costs a file descriptor and the buffers of two sockets.
    pub connections_max: usize,
    /// Whom the listener begins with.
    pub door: DoorConfig,
    /// How long a request may take that names no deadline of its own. Default 5 s.
    pub request_timeout: Duration,
    /// How many bytes of replies may wait for a connection's socket before its next handlers are held back. Default 1 MiB.
    pub reply_backlog_bytes: usize,
    /// How many bytes peers may make this process hold beyond each connection's first windows: wider windows, large messages,
    /// large replies. Default 512 MiB. At the limit, messages are refused with an overload that says so.
    pub memory_bytes_max: u64,
    /// How many of these bytes one peer may take. Default 128 MiB; at least the largest message.
    pub peer_memory_bytes_max: u64,
    /// How long a shutdown waits for what is under way. Default 10 s.
    pub shutdown_timeout: Duration,
    /// How long a connection whose certificate or authority is outdated may go on while another is made to take its place.
    /// Default 10 s; a revoked certificate has none.
    pub outdated_grace: Duration,
    /// Decides who a connecting node is; `None` believes the hello, which is for clusters without TLS.
    pub authenticator: Option<Arc<dyn Authenticator>>,
    /// The seed of all jitter.
    pub seed: u64,
}

/// The longest token of an identity, in bytes. With the longest names and address the hello stays below the 8 KiB that a
/// stranger may send.
pub const TOKEN_BYTES_MAX: usize = 4096;
/// The longest software version of an identity, in bytes.
pub const SOFTWARE_BYTES_MAX: usize = 1024;

/// An identity that does not fit a hello. Whoever configured it is at fault; nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HelloError {
    /// The authenticator's token is too long.
    #[error("the identity's token has {bytes} bytes, more than {TOKEN_BYTES_MAX}")]
    TokenTooLong {
        /// How long it is.
        bytes: usize,
    },
    /// The software version is too long.
    #[error("the identity's software version has {bytes} bytes, more than {SOFTWARE_BYTES_MAX}")]
    SoftwareTooLong {
        /// How long it is.
        bytes: usize,
    },
}

pub(crate) fn check_hello(identity: &Identity) -> Result<(), HelloError> {
    match (identity.token.len(), identity.software.len()) {
        (bytes, _) if bytes > TOKEN_BYTES_MAX => Err(HelloError::TokenTooLong { bytes }),
        (_, bytes) if bytes > SOFTWARE_BYTES_MAX => Err(HelloError::SoftwareTooLong { bytes }),
        _ => Ok(()),
    }
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
            door: DoorConfig::default(),
            request_timeout: Duration::from_secs(5),
            reply_backlog_bytes: 1024 * 1024,
            memory_bytes_max: 512 * 1024 * 1024,
            peer_memory_bytes_max: 128 * 1024 * 1024,
            shutdown_timeout: Duration::from_secs(10),
            outdated_grace: Duration::from_secs(10),
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
