//! Whole clusters of machines on a simulated network, in virtual time.

mod broadcast;
mod chaos;
mod crash;
mod drop;
mod gossip;
mod hearsay;
mod identity;
mod inquiry;
mod join;
mod leave;
mod lifeguard;
mod machine;
pub(crate) mod network;
mod partition;
mod reconfigure;
mod refusal;
mod round_trip;
mod scale;
mod settings;
mod traitor;
mod unverified;
mod versions;
