//! Service discovery from DNS.
//!
//! [`DnsDiscovery`] asks for SRV records, or for addresses where nodes share a port, and asks again when the records age. It speaks
//! through the standard trait [`ServiceDiscovery`](rdb_net_types::ServiceDiscovery) or, in full, through
//! [`DiscoverySource`](rdb_discovery::DiscoverySource). DNS knows no node ids: each node is a seed, whose name comes with the first
//! contact. Nodes cannot register themselves.
//!
//! # What an answer means
//!
//! | answer | meaning |
//! |---|---|
//! | records | these are the nodes, until the shortest time to live of all records has passed |
//! | the name does not exist (NXDOMAIN), or has no such records | there is no node; believed when it is confirmed |
//! | SERVFAIL and other failures | no answer: the last good list stays, with the reason |
//! | REFUSED | no answer, and an operator must act |
//! | silence | no answer |
//! | an answer that is cut (TC) | asked again by TCP; never half a list |
//! | a host of a service that does not exist | the service's other hosts count |
//! | a host of a service whose server fails | its last address stays |
//! | a service with the root for a host | decidedly no node (RFC 2782) |
//!
//! Of several names, those that answer are new and those that fail stay as they were.
//!
//! # When it is asked
//!
//! When the first record ages, up to a tenth sooner, and not more often than [`DnsConfig::interval_min`]. Where there are no
//! records, when the SOA record of the zone says so, and not more often than [`DnsConfig::negative_min`]: many servers say nothing of it.
//! After failures at intervals that grow from 1 s to 30 s. A change is told within the time to live and a second.
//!
//! # Kubernetes
//!
//! A headless service has an address for each ready pod ([`Records::Addresses`]), and SRV records for its named ports
//! (`_PORT._tcp.SERVICE.NAMESPACE.svc.cluster.local`, [`Records::Srv`]). A cluster whose nodes are only ready once they have found each
//! other needs `publishNotReadyAddresses: true`.

mod answer;
mod config;
mod discovery;
mod questions;
mod schedule;

pub use config::{ConfigError, DnsConfig, DnsName, Family, Records};
pub use discovery::{DnsDiscovery, DnsStatistics};
