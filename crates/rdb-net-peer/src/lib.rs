//! One peer, as a pure state machine: whether a connection is wanted, when the next dial is due, and what a failure means for
//! those who wait.
//!
//! There is one dial at a time and one waiting time between dials, so that a peer which is away costs little and a thousand
//! peers that come back are not stormed. A refusal of the hello is told from a refused connection: the first is an answer, and
//! is not asked again until something changes; the second says that no process listens, which is evidence for membership.

mod backoff;
mod event;
mod peer;

pub use backoff::{Backoff, BackoffConfig};
pub use event::{LinkSide, PeerEvent};
pub use peer::{Action, DialFailure, Failure, Peer, PeerConfig, State};

#[cfg(test)]
mod tests;
