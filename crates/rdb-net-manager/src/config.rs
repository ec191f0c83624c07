//! The configuration of a node: one table of keys, four layers, typed values that know where they came from.
//!
//! A configuration is TOML under `[networking]`. Defaults give way to the file, the file to environment variables
//! (`RUSTYDB_NETWORKING__TLS__CERT_PATH`), those to overrides (`networking.tls.cert_path=/etc/cert.pem`). Everything that is
//! wrong is told at once, each thing with file, line, column and key.
//!
//! ```
//! use rdb_net_manager::config::{Loader, Origin};
//!
//! let config = Loader::new()
//!     .text("node.toml", "[networking]\nbind_address = '127.0.0.1:0'\n")
//!     .overrides(["networking.max_connections=50"])
//!     .load()?;
//! assert_eq!(config.bind_address.port(), 0);
//! assert_eq!(config.max_connections, 50);
//! assert!(matches!(config.origin("networking.bind_address"), Some(Origin::File { line: 2, .. })));
//!
//! let errors = Loader::new().text("node.toml", "[networking]\nmax_conections = 50\n").load().expect_err("a typing mistake");
//! assert_eq!(
//!     errors.to_string(),
//!     "node.toml:2:1: there is no key networking.max_conections; did you mean networking.max_connections?"
//! );
//! # Ok::<(), rdb_net_manager::config::ConfigErrors>(())
//! ```
//!
//! [`KEYS`] is the only list of keys. Parsing, ranges, defaults in writing ([`Config::to_toml`]), the reference
//! ([`reference_markdown`]) and the difference of two configurations ([`Config::diff`]) all come from it. [`Loader::load`]
//! accepts what a configuration may say; whether this build can run it is told by [`Config::check_runnable`].

mod backends;
mod connections;
mod conversions;
mod diff;
mod discovery;
mod entry;
mod entry_types;
mod error;
mod input;
mod key;
mod keys;
mod loader;
mod reference;
mod rules;
#[cfg(any(feature = "etcd", feature = "consul"))]
mod secret;
mod settings;
mod sources;

pub use connections::{QuicCongestion, Transport, TransportProtocol};
pub use diff::Change;
pub(crate) use diff::is_of_membership;
pub use discovery::{
    AddressFamily, ClientTls, ConsulSource, DiscoveryKind, DnsRecords, DnsSource, EtcdSource, ServiceDiscovery,
};
pub use error::{ConfigError, ConfigErrors, Origin};
pub use key::{Key, Range, Reload};
pub use keys::KEYS;
pub use loader::Loader;
pub use reference::reference_markdown;
pub use settings::{
    Admin, Compression, Config, Gossip, GossipProfile, GossipTransport, LoadBalancing, Node, SharedSecret, SplitBrain,
    SplitBrainStrategy, State, Tls,
};

#[cfg(test)]
mod tests;
