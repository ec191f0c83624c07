//! The TCP transport: dial and accept. Everything else is `rdb-net-transport`'s.
//!
//! Sockets have `TCP_NODELAY` (batching is the session's), `TCP_USER_TIMEOUT` (a peer whose host is gone is found although
//! data waits unacknowledged), `TCP_NOTSENT_LOWAT` (what waits, waits where urgent frames can still overtake it), and
//! keep-alive. What the kernel knows of a connection's path shows in the transport's statistics.

mod backend;
mod config;
mod facade;
mod path;
#[cfg(feature = "tls")]
mod secret;
#[cfg(feature = "tls")]
mod tls;

#[cfg(test)]
mod tests;

use std::ops::Deref;
use std::sync::Arc;

use rdb_net_transport::{Config, Transport};

pub use backend::TcpBackend;
pub use config::{KeepAlive, TcpConfig};
#[cfg(feature = "tls")]
pub use secret::SecretBackend;
#[cfg(feature = "tls")]
pub use tls::TlsBackend;

/// A transport over TCP. It is a [`Transport`] in every respect.
#[derive(Debug, Clone)]
pub struct TcpTransport(Transport);

impl TcpTransport {
    /// A transport with these limits and socket options. Nothing listens or dials yet.
    pub fn new(config: Config, tcp: TcpConfig) -> Self {
        Self(Transport::new(config, Arc::new(TcpBackend::new(tcp))))
    }

    /// The transport itself.
    pub fn into_inner(self) -> Transport {
        self.0
    }
}

impl Deref for TcpTransport {
    type Target = Transport;

    fn deref(&self) -> &Transport {
        &self.0
    }
}
