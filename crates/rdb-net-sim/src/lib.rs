//! Many nodes on a simulated network, on one thread, from one seed.
//!
//! Every node is what runs in production: an [`Engine`](rdb_net_engine::Engine), its
//! [`Peer`](rdb_net_peer::Peer)s, and a pair of [`Session`](rdb_net_session::Session)s at each connection, exchanging real
//! frames. Simulated are the hosts, whose kernels take and refuse connections and hold what a stopped process does not read;
//! the network, by the fault model of `rdb-net-faults`; and the clock. Equal settings and seeds give equal runs, which
//! [`Simulation::trace`] proves.
//!
//! What must hold of any run is checked while it runs, by one rule per file in `invariant/`. What must come of a particular
//! misfortune is a [`Scenario`]; the binary `rdb-net-sim` runs scenarios over many seeds and prints, for one that fails, the
//! command that replays it.
//!
//! ```
//! use std::time::Duration;
//! use rdb_net_sim::{Config, Simulation};
//!
//! let mut simulation = Simulation::new(Config::lan(5, 7));
//! for node in 0..5 {
//!     simulation.start(node).expect("legal settings");
//! }
//! let took = simulation.run_until(Duration::from_secs(2), |simulation| simulation.agrees(5));
//! assert!(took.is_some());
//! ```
//!
//! A process can be killed, paused and slow ([`Simulation::set_processing`]), a host lose its power, and each link be as it wants
//! ([`Simulation::set_link`]) or cut. A protocol that is none of this project's runs in a [`world`]: any state machine, the same faults, and
//! besides them a clock for each host that is off and drifts.
//!
//! What the membership protocol does at sizes beyond that, and beside the figures of the literature, is an
//! [`experiment`] over a [`fleet`]: members alone, ten thousand of them on one core.
//!
//! Departures from real networks: a connection has no window, so a sender whose acknowledgements are cut off goes on; pieces
//! of a connection that a loss hits come late instead of being sent twice; names are not resolved.

mod config;
mod connection;
mod delivery;
mod dialing;
pub mod experiment;
pub mod fleet;
mod host;
mod invariant;
mod kernel;
mod operations;
mod process;
mod queue;
pub mod report;
pub mod scenario;
mod simulation;
mod slow;
pub mod storm;
mod stream;
mod trace;
mod view;
pub mod world;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use host::Life;
pub use invariant::Violation;
pub use scenario::{Outcome, Scenario};
pub use simulation::{Simulation, node_id};
