//! Everything that an agent and the network between do to a source: against the agent of this crate, and, where one is named, against
//! a real one.
//!
//! `RDB_CONSUL_BIN` names a program that is started for the tests, `RDB_CONSUL_ADDR` an agent that runs. Without either, what needs a
//! real agent says so and passes.

#[path = "consul/agents.rs"]
mod agents;
#[path = "consul/oracle.rs"]
mod oracle;
#[path = "consul/outages.rs"]
mod outages;
#[path = "consul/raw.rs"]
mod raw;
#[path = "consul/scene.rs"]
mod scene;
#[path = "consul/security.rs"]
mod security;
#[path = "consul/troubles.rs"]
mod troubles;

use rdb_discovery_driver::discovery_conformance;

discovery_conformance! {
    conformance: scene::TestAgents;
    conformance_real: scene::RealAgents;
}
