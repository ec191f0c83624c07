//! Service discovery from etcd, version 3.
//!
//! [`EtcdDiscovery`] lists the nodes of a cluster, watches them, and keeps this process's node registered. It speaks through the
//! standard trait [`ServiceDiscovery`](rdb_net_types::ServiceDiscovery) or, in full, through
//! [`DiscoverySource`](rdb_discovery::DiscoverySource).
//!
//! # What stands in etcd
//!
//! One key a node, `PREFIX/CLUSTER/nodes/ID`, with a JSON document that other tools read and write as well
//! (`docs/node-document.schema.json`); fields that they add are kept. `etcdctl get --prefix /rustydb/` shows it. A key that a node
//! has written hangs on a lease of the node's own; one that an operator writes needs none. A value that is no document, or of
//! another node than its key says, stands for no node: it is passed over, told once, and counted.
//!
//! # Registration
//!
//! A transaction writes the key unless another process holds it. An earlier life of the node, at the same address, gives way; a
//! process elsewhere does not, and both sides learn of it ([`RegistrationState::Conflict`](rdb_discovery::RegistrationState)). The lease
//! is renewed three times in its life, and each time it is looked whether the key is there and still this node's. What is gone is
//! written anew.
//!
//! # When etcd is away
//!
//! A start succeeds without it. The last good list stays, and how old it is can be seen. A dead server is noticed by unanswered
//! probes within two of [`EtcdConfig::probe_interval`]. Whatever ended a watch, all nodes are listed anew and the difference is
//! told: after a compaction, which etcd tells by one frame on a stream that then stays silent; after a restore; after the loss of
//! all its data. The loss of most nodes at once is held until etcd confirms it, in which time the living nodes have registered anew.
//!
//! Why a node is gone: `Expired` where its lease has ended, `Deregistered` where the key was deleted under a lease that lives,
//! `Absent` where it went while nobody watched.
//!
//! # Build
//!
//! The client is generated from protobuf files, for which its build needs the program `protoc`: in the path, or named by the
//! environment variable `PROTOC`. `cargo xtask` brings one along. TLS is rustls with aws-lc-rs.

mod config;
mod discovery;
mod entries;
mod link;
mod registrar;
mod watch;

pub use config::{ConfigError, EtcdConfig, EtcdUser};
pub use discovery::{EtcdDiscovery, EtcdStatistics};
