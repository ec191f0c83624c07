//! The fault model of a network: what becomes of what is sent, by link and seed.
//!
//! A [`Network`] says when a datagram's copies arrive, if any does, and how long a piece of a stream takes. Each directed link
//! has its [`LinkFaults`], a default where none were set, and may be cut. A [`Pipe`] is one direction of a stream over such a
//! link: in order, and held across a cut.
//!
//! There is one model, so that a simulated cluster and a user's test in memory mean the same by "5 % loss". It is pure: time is
//! a parameter, nothing is carried here, and equal seeds and calls give equal answers.
//!
//! ```
//! use std::time::Duration;
//! use rdb_net_faults::{LinkFaults, Network};
//!
//! let mut network = Network::new(LinkFaults::lan(), 7);
//! network.set_link("a", "b", LinkFaults { loss: 1.0, ..LinkFaults::lan() });
//! assert!(network.datagram(Duration::ZERO, &"a", &"b", 100).is_empty());
//! assert_eq!(network.datagram(Duration::ZERO, &"b", &"a", 100).len(), 1);
//!
//! network.cut("b", "a");
//! assert!(network.datagram(Duration::ZERO, &"b", &"a", 100).is_empty());
//! ```

mod link;
mod network;
mod pipe;

#[cfg(test)]
mod tests;

pub use link::LinkFaults;
pub use network::Network;
pub use pipe::{Pipe, Sent};
