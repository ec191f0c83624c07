//! One connection between two nodes, as a pure state machine.
//!
//! The dialer owns a connection: it sends requests and one-way messages; the acceptor answers. A [`Session`] is either side.
//! It takes bytes ([`Session::handle_input`]), time ([`Session::handle_timeout`]) and calls of its owner, and gives frames for
//! the socket ([`Session::take_batch`]), messages for handlers ([`Session::poll_message`]), ended requests
//! ([`Session::drain_completed`]) and events ([`Session::poll_event`]). It has no socket, task, clock or entropy, so the same
//! code runs in production and, many thousands at once, in a simulator.
//!
//! What costs time and needs no session is done beside it, so that those who share one hold it briefly: frames are read and
//! checked by [`Arrivals`], replies are written by [`Replies`], requests by an [`Outbox`] for each thread.
//!
//! ```text
//!            callers                      handlers
//!               | request, one_way            ^ poll_message    | reply, finish
//!        +------v-----------------------------+-----------------v------+
//!        |  request slots      lanes, credits      hello, liveness     |
//!        +------^-----------------------------------------+------------+
//!               | handle_input                            v take_batch
//!             socket                                    socket
//! ```
//!
//! Bounds: requests in flight by the other side's `requests_max`; bytes in flight by its credits, lane by lane; what waits for
//! handlers by our credits and, beyond their first windows, by a [`Budget`] that connections share; what waits for the socket
//! by both, and by 16 MiB and a message a lane whatever the other side promises. The
//! answers that the protocol itself owes (pong, credits) are kept as values and written when a batch is taken, so no flood of
//! questions makes a queue grow.

mod arrivals;
mod batch;
mod budget;
mod close;
mod compression;
mod config;
mod costs;
mod drain;
mod event;
mod hello;
mod inbound;
mod lane;
mod lanes;
mod liveness;
mod outbox;
mod reassembly;
mod replies;
mod requests;
mod session;
mod statistics;
mod streams;
mod terms;

pub use arrivals::Arrivals;
pub use batch::Batch;
pub use budget::{Budget, Reservation};
pub use close::{CloseReason, Loss};
pub use compression::CompressionConfig;
pub use config::{Config, Identity, Secured, Side};
pub use event::{Event, Inbound, InboundId, Outcome, Reply, StreamId};
pub use outbox::Outbox;
pub use replies::{Elsewhere, Replies};
pub use requests::RequestId;
pub use session::{RequestOptions, SendError, Session, StreamNews};
pub use statistics::{LatencyHistogram, SessionStatistics, TypeCounts};
pub use terms::Terms;

#[cfg(test)]
mod tests;
