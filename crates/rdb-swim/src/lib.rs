//! Cluster membership by SWIM, as a pure state machine.
//!
//! A [`Swim`] holds one node's view of the members of its cluster: who is alive, suspected, failed, or has left. It takes
//! packets, evidence and the time, and gives packets, events and the time of its next timer. It has no sockets, tasks, clock or
//! entropy: the same code runs over UDP and, thousands at once, in a simulator where one seed replays one run.
//!
//! - SWIM (Das, Gupta, Motivala: "SWIM: Scalable Weakly-consistent Infection-style Process Group Membership Protocol", DSN
//!   2002): shuffled round-robin probes, indirect probes, suspicion with refutation, piggybacked dissemination.
//! - Lifeguard (Dadgar, Phillips, Currey; arXiv 1707.00788): a member that seems slow to itself asks less often and waits
//!   longer, a suspect has long unless others confirm, it is told first (buddy system), relays answer with nacks, and a pause
//!   of this process convicts nobody. Each part can be switched off: [`Lifeguard`].
//! - *Where datagrams do not pass*, members are asked over connections of the driver's
//!   ([`Event::StreamPingWanted`]): who answers there is not suspected, and nobody is ill or waits for confirmations that
//!   cannot come.
//! - *Failed is not forgotten*: a failed member is kept and called on, and comes back by refuting or with a new life, so
//!   partitions heal by themselves and detection may be fast without being final.
//! - *Partitions*: many members that fail together are told of as one [`Partition`]; a [`Strategy`] says which side goes on, and
//!   a [`Snapshot`] lets a cluster that was stopped as a whole find together again.
//! - *Versions*: each member says which versions of the protocol it understands, packets go out in one that their receiver
//!   understands, and who shares none is refused by name ([`Event::Incompatible`]).
//! - *Refusals*: two members whose connections a third one's address refuses are enough for a verdict within a fraction of a
//!   second, unless the third answers a ping.
//!
//! # Driving it
//!
//! After each call fetch packets with [`Swim::poll_transmit`] and events with [`Swim::poll_event`] until both give `None`. Wait
//! for a packet or for [`Swim::poll_timeout`]; then hand over every packet that has arrived *before* calling
//! [`Swim::handle_timeout`], so that an answer which came in time is not judged as missing.
//!
//! Joining and the exchange of whole views are a request and a reply over a reliable stream of the driver's: send the bytes of
//! [`Swim::sync_request`] to a member, answer with [`Swim::handle_sync_request`], hand the answer to
//! [`Swim::handle_sync_reply`].

mod apply;
mod broadcast;
mod config;
mod doubt;
mod entry;
mod event;
mod evidence;
mod forget;
mod gossip;
mod health;
mod hearsay;
mod inquiry;
mod leave;
mod lifeguard;
mod merge;
mod mutation;
mod packet;
mod partition;
mod passage;
mod pause;
mod probe;
mod profile;
mod reconfigure;
mod refusal;
mod ring;
mod round_trip;
mod schedule;
mod snapshot;
mod split_brain;
mod stats;
mod summary;
mod swim;
mod sync;
mod table;
mod tombstone;
mod transmit;
mod unverified;
mod verify;
mod versions;
mod wire;

#[cfg(test)]
mod tests;

pub use broadcast::BroadcastRefused;
pub use config::{Config, ConfigError};
pub use entry::Member;
pub use event::{Event, MemberRecord};
pub use lifeguard::Lifeguard;
pub use merge::GENERATION_MAX;
#[cfg(feature = "mutations")]
pub use mutation::Mutation;
pub use partition::Partition;
pub use profile::Profile;
pub use reconfigure::ReconfigureError;
pub use snapshot::Snapshot;
pub use split_brain::{Decision, Seat, Strategy, Verdict, Why};
pub use stats::Statistics;
pub use swim::{DropReason, LocalNode, MetaTooLong, Swim};
pub use sync::{SyncAnswer, SyncId, SyncOutcome};
pub use versions::Versions;
pub use wire::DecodeError;
