//! Service discovery from Consul.
//!
//! [`ConsulDiscovery`] lists the nodes of a cluster, follows them, and keeps this process's node registered. It speaks through the
//! standard trait [`ServiceDiscovery`](rdb_net_types::ServiceDiscovery) or, in full, through
//! [`DiscoverySource`](rdb_discovery::DiscoverySource).
//!
//! # What stands in Consul
//!
//! One service a cluster, `rdb-CLUSTER`, and one instance of it a node, `CLUSTER-ID`, with the node's address and port. Its meta data
//! hold the node's JSON document (`docs/node-document.schema.json`) in `rdb_json_0` and on, each of at most 512 bytes, and beside it,
//! for people and filters, `rdb_id`, `rdb_boot`, `rdb_version`, `rdb_region`, `rdb_zone`, `rdb_rack` and `rdb_weight`. Fields that others
//! add to the document are kept. An instance that an operator registers with an address and no document is a seed. One whose document
//! makes no sense, or is of another node than its id says, stands for no node: it is passed over, told once, and counted.
//!
//! # Registration
//!
//! The instance has a check that passes as long as the node says so, three times in its time to live. An agent that was restarted
//! without its data does not know the check any more, and is told of the node anew. An earlier life of the node, at the same address,
//! gives way; a process elsewhere does not, and both sides learn of it
//! ([`RegistrationState::Conflict`](rdb_discovery::RegistrationState)). Consul has no condition on a registration: two processes that
//! register one name within the same moment are found when they next renew.
//!
//! # One agent
//!
//! Everything goes to one agent, and a host name with several addresses is pinned to one of them: a check that one agent has taken
//! cannot be kept alive at another.
//!
//! # When Consul is away
//!
//! A start succeeds without it. The last good list stays, and how old it is can be seen. A dead agent is noticed by an unanswered
//! probe, servers without a leader by its answer. After whatever broke the questions, and after an index that went back, all nodes are
//! listed anew and the difference is told.
//!
//! Why a node is gone: `Expired` where its check has failed, `Deregistered` where it vanished while its check passed or an operator
//! took it out, `Absent` where it went while nobody watched, or vanished together with most of the others: that is more often an agent
//! without its data than a farewell, and is held until it is confirmed.
//!
//! # Build
//!
//! The client library is consulrs 0.1, of 2021, and with it come an HTTP and a TLS library of that time and OpenSSL's headers, which a
//! build needs though nothing here uses them. The README says what is done about it.

mod agent;
mod by_consulrs;
mod config;
mod discovery;
mod http;
mod index;
mod instances;
mod meta;
mod registrar;
#[cfg(feature = "test-agent")]
pub mod test_agent;
mod watch;

pub use config::{ConfigError, ConsulConfig, ConsulToken};
pub use discovery::{ConsulDiscovery, ConsulStatistics};
