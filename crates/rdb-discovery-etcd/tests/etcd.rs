//! etcd itself, started for each test on an address of its own: everything that it and the network between do to a source.
//!
//! Needs the programs `etcd` and `etcdctl`; without them each test says so and passes.

#[path = "etcd/cluster.rs"]
mod cluster;
#[path = "etcd/foreign.rs"]
mod foreign;
#[path = "etcd/members.rs"]
mod members;
#[path = "etcd/outages.rs"]
mod outages;
#[path = "etcd/scene.rs"]
mod scene;
#[path = "etcd/security.rs"]
mod security;
#[path = "etcd/server.rs"]
mod server;

use rdb_discovery_driver::discovery_conformance;

discovery_conformance! {
    conformance: scene::Servers;
}
