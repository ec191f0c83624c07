//! One node's control logic as a pure state machine: membership, health, discovery, links and the balancer's view, composed.
//!
//! An [`Engine`] takes packets, the answers to what it asked for, what connections show and the time; it gives packets,
//! [`Command`]s and [`EngineEvent`]s. It has no sockets, tasks, clock or entropy. The manager pumps it with real sockets and
//! timers, the simulator with simulated ones: what is proved there is what runs here.
//!
//! ```text
//!   discovery -> seeds ---- Sync ----+                            +--> balancer (which node?)
//!                                    v                            |
//!   packets <------------------> membership <--- evidence --- health <--- pongs
//!                                    |               ^                      ^
//!                                    v               |                      |
//!                            ring of members --> links (up, lost, refused) -+
//! ```
//!
//! What is decided here, and nowhere else:
//!
//! - **Joining.** Every seed is called, three at a time, with jitter from 100 ms to 3 s, until one accepts this node. Who has
//!   no seed but itself is a cluster of one. Afterwards seeds that are no live members are called on for ever, so that a
//!   cluster which has come apart heals.
//! - **Links.** Ids stand on a ring by their hash, and a link is kept to the next three members. A link that breaks without a
//!   farewell is dialled again at once: *refused* tells that the process is gone, and two observers of that are enough.
//! - **Evidence.** Refusals accuse; resets, silence and failed health checks only bring probes forward. A farewell says
//!   nothing, and so does an address that the member has moved away from.
//! - **Probes over connections.** Who answers no ping of membership is pinged over a connection as well. Where only connections
//!   answer, membership is reported as degraded, nobody is suspected, and a crash is found as fast as elsewhere.
//! - **Health** follows members by the round trips of membership's probes, and asks those on an interval with whom traffic flows over a
//!   connection of this node's own; an idle link costs nothing. A probe that neither a packet nor a connection answers is held
//!   against the node here, even where others have reached it. It tells the balancer at once.
//! - **Events** carry each change of membership once and in order; folding them over an earlier list of members gives the
//!   later one.
//! - **Partitions.** Many members that fail together make this node degraded, which it tells; a split-brain strategy may be set,
//!   and is asked which side goes on once the view has come to rest ([`EngineEvent::SplitBrain`]).
//! - **A second process with one id**: the newcomer is told [`EngineEvent::DuplicateNode`] and must stop; all others are told
//!   [`EngineEvent::Conflict`] and go on.
//!
//! Phi accrual (`rdb-phi`) is not part of this version: links without regular traffic give it nothing to learn from. What a
//! driver that runs it for busy links finds comes in by [`Engine::handle_evidence`] as
//! [`EvidenceKind::PhiCrossed`](rdb_net_types::EvidenceKind::PhiCrossed), which brings a probe and a ping forward.
//!
//! # Driving it
//!
//! After each call fetch [`Engine::poll_transmit`], [`Engine::poll_command`] and [`Engine::poll_event`] until each gives
//! `None`. Wait for an input or for [`Engine::poll_timeout`]; hand over everything that has arrived *before* calling
//! [`Engine::handle_timeout`].

mod command;
mod config;
mod engine;
mod flows;
mod links;
mod metadata;
mod peers;
mod phi;
mod report;
mod roster;
mod seeds;
mod settle;
mod split;
mod stream_pings;
mod syncs;

#[cfg(test)]
mod tests;

pub use command::{Command, EngineEvent, SyncAnswer, SyncRefusal, SyncTarget, SyncToken};
pub use config::{EngineConfig, EngineError};
pub use engine::Engine;
pub use phi::PhiConfig;
pub use report::{Counters, EngineStatistics};
pub use roster::Census;
pub use split::SplitBrainConfig;
