//! One peer, as a pure state machine: which connections are wanted, when the next dial is due, when a connection has had its
//! time, and what a failure means for those who wait.
//!
//! A peer has slots: main connections and one for bulk. In each slot there is one dial at a time and one connection, and a
//! second only while the first runs out. All slots share the waiting time between dials, and after a failure one dial tries
//! before the others follow, so that a peer which is away costs little and a thousand peers that come back are not stormed. A
//! refusal of the hello is told from a refused connection: the first is an answer, and is not asked again until something
//! changes; the second says that no process listens, which is evidence for membership.

mod backoff;
mod config;
mod event;
mod failure;
mod peer;
mod place;
mod slot;

pub use backoff::{Backoff, BackoffConfig};
pub use config::PeerConfig;
pub use event::{LinkSide, PeerEvent};
pub use failure::{DialFailure, Failure};
pub use peer::{Action, Peer, State};
pub use slot::{CONNECTIONS_MAX, Epoch, Slot};

#[cfg(test)]
mod tests;
