//! The UDP driver of a membership machine: `rdb-swim` alone, or a whole engine.
//!
//! A [`Gossip`] holds the machine behind a short lock; one task moves packets and time between it and a socket, and decides
//! nothing. Received packets are handed over before what is due by the clock, so that a process that was paused hears the
//! others before it judges them; and it is told how long they have waited.

mod driver;
mod ingress;
mod machine;
mod passage;
mod socket;

pub use driver::{Gossip, GossipStatistics};
pub use machine::PacketMachine;
pub use passage::{InTheClear, Passage};
pub use socket::{BindError, bind};

#[cfg(test)]
mod tests;
