//! TLS between nodes: who may speak with whom, proved by certificates, and files that change while nodes run.
//!
//! [`Tls::load`] reads a node's certificate, key, CAs and revocation lists. Its [`Connector`] and [`Acceptor`] put TLS 1.3 over
//! any stream, within a deadline and a number of bytes, and give the stream back together with the [`PeerIdentity`] that the
//! peer has proved and the [`ChannelBinding`] that ties the hello to this connection; or a [`TlsRefusal`] that says why not and
//! what to do. A transport that carries its handshakes out by itself, as QUIC does, begins them with [`Tls::dialing`] and
//! [`Tls::accepting`].
//!
//! ```no_run
//! use std::time::Duration;
//! use rdb_net_tls::{Expected, Policy, Tls, TlsConfig, TlsOptions};
//! use rdb_net_types::{ClusterId, NodeId};
//!
//! # async fn dial(socket: tokio::io::DuplexStream) -> Result<(), Box<dyn std::error::Error>> {
//! let config = TlsConfig {
//!     enabled: true,
//!     cert_path: "/etc/rustydb/cert.pem".into(),
//!     key_path: "/etc/rustydb/key.pem".into(),
//!     ca_cert_path: Some("/etc/rustydb/ca.pem".into()),
//!     ..TlsConfig::default()
//! };
//! let tls = Tls::load(config, TlsOptions::new(Policy::new(ClusterId::new("orders")?)))?;
//! let expected = Expected::Node(NodeId::new("node2")?);
//! let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
//! let dialed = tls.connector().connect(socket, &expected, deadline).await?;
//! assert_eq!(dialed.peer.node, NodeId::new("node2")?);
//! # Ok(()) }
//! ```
//!
//! What is believed: a chain of certificates to a CA in `ca_cert_path`, every one in its time, none revoked by a list in
//! `crl_paths`, with exactly one identity ([`IdentityPattern`]) of this cluster and of a role that the [`Policy`] lets in. A CA
//! without a list has revoked nothing; a list whose time is over is no list, and nobody below its CA is let in until there is
//! another.
//!
//! What is not: TLS below 1.3, a peer without the protocol `rustydb/1`, tickets, resumption, early data. Each connection is
//! judged by itself. Nothing here ends a connection that is open: whoever owns it asks [`TlsEpoch::is_still_trusted`] after a
//! reload, and bounds its age.
//!
//! For clusters without certificates there is [`secret`]: a shared secret that both sides prove to know.

mod authenticator;
mod binding;
mod certificate;
mod config;
mod epoch;
mod expiry;
mod failure;
mod files;
mod guard;
mod handed;
mod handshake;
mod identity;
mod look;
mod parts;
#[cfg(any(test, feature = "pki"))]
pub mod pki;
mod provider;
mod refusal;
mod reload;
pub mod secret;
mod time;
mod tls;
mod trust;
mod verifier;

#[cfg(test)]
mod tests;

pub use authenticator::CertificateAuthenticator;
pub use binding::ChannelBinding;
pub use certificate::{CertificateName, Fingerprint};
pub use config::{ConfigError, TlsConfig, TlsVersion, UnknownVersion};
pub use epoch::{ALPN, TlsEpoch};
pub use expiry::{Expiring, ExpiringKind, ExpiryWarning};
pub use files::LoadError;
pub use guard::Guarded;
pub use handed::{Handed, HandedFailure};
pub use handshake::{Accepted, Acceptor, Connector, Dialed, HandshakeLimits, TlsStream};
pub use identity::{Identity, IdentityPattern, PatternError, Policy};
pub use refusal::{Beginning, Purpose, TlsRefusal};
pub use reload::{CHECK_INTERVAL_DEFAULT, Reloader, TlsEvent};
pub use time::{Clock, UnixSeconds};
pub use tls::{HandshakeStatistics, Tls, TlsOptions, TlsStatistics};
pub use trust::{Expected, PeerIdentity, PeerSide};
