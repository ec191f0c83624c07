//! Service discovery from configuration: a list of seeds, a file that reloads, or both.
//!
//! [`StaticDiscovery`] reads the file when it starts, watches the directory that holds it, and compares its content every few
//! seconds besides, so that an edit, a rename over it, and the symlink swap of a mounted Kubernetes ConfigMap are all seen.
//! What changed is told within a second, as [`MembershipEvent`](rdb_net_types::MembershipEvent)s through the standard trait
//! [`ServiceDiscovery`](rdb_net_types::ServiceDiscovery) or in full through [`StaticDiscovery::watch_events`].
//!
//! # The file
//!
//! At most 4 MiB, JSON where its name ends in `.json` and TOML otherwise. Seeds are addresses whose nodes tell their names when they
//! are dialled; nodes are named here.
//!
//! ```toml
//! seeds = ["node1:7000", "[2001:db8::7]:7000"]
//!
//! [[nodes]]
//! id = "n3"                        # required: 1 to 64 of A-Z a-z 0-9 . _ -
//! address = "node3:7000"           # required
//! gossip_address = "node3:7001"
//! admin_address = "node3:7002"
//! version = "1.4.2"
//! region = "eu-west"
//! zone = "eu-west-1a"
//! rack = "r7"
//! weight = 2.0                     # 0 to 65536, default 1; 0 drains the node
//! capabilities = ["read", "write"] # or "analytics", or a name of your own
//! labels = { disk = "nvme" }
//! resources = { cpu_millicores = 8000, memory_bytes = 34359738368, disk_bytes = 1000000000000 }
//! ```
//!
//! The same keys make the same list in JSON:
//!
//! ```json
//! {
//!   "seeds": ["node1:7000"],
//!   "nodes": [{"id": "n3", "address": "node3:7000", "labels": {"disk": "nvme"}}]
//! }
//! ```
//!
//! A file is taken whole or not at all. A key that is not in this list, an id or address that stands twice, a port 0 and
//! whatever is neither TOML nor JSON refuse it, with file, line, column and key, and with the key that was probably meant
//! ([`FileError`]). A file with neither `seeds` nor
//! `nodes` is refused too, because that is how a file looks that somebody is about to write; an empty list of `seeds` says that there
//! is no node.
//! An address that stands both in the file and in [`StaticConfig::seeds`] is the file's.
//!
//! # When the file is bad
//!
//! At the start it is an error: the file is configuration, and a wrong path must not become a cluster of one. Later it is
//! not: the last good list stays, [`health_check`](rdb_net_types::Component::health_check) is `Degraded`, the cause is told
//! once, and both end when the file is good again. The same holds for a file that is deleted or cannot be read.
//!
//! An editor that writes in place shows half a file for a moment. Changes are told when the file has rested for 200 ms
//! ([`StaticConfig::debounce`]); who writes slower should write another file and rename it over this one.

mod config;
mod discovery;
mod driver;
mod file;
mod source;
mod syntax;
mod watch;

pub use config::{ConfigError, StaticConfig};
pub use discovery::{StaticDiscovery, StaticStatistics};
pub use file::{FileError, Position, parse_nodes};
