//! The one async driver of sessions and peers.
//!
//! A [`Transport`] owns the connections of a node. Callers hold a [`PeerHandle`]; a request is encoded into an outbox that few
//! threads share, and its caller sleeps on a waker there. One task per connection does the socket and the timers: it takes what
//! is in the outboxes into the session, wakes the callers whose replies one read brought, lets them run, and writes what they
//! wrote meanwhile in one call. Handlers run on that task as long as they are ready at once, and get a task of their own when they are not.
//!
//! What a backend adds is dial and accept ([`Backend`]): TCP, QUIC and memory share everything else.

mod backend;
mod blocked;
mod budgets;
mod callers;
mod clock;
mod config;
mod connect;
mod datagrams;
mod dispatch;
mod door;
mod driver;
mod duty;
mod event;
mod exchange;
mod facade;
mod fallback;
mod flow;
mod guarded;
mod handle;
mod handler;
mod input;
mod large;
mod link;
mod listen;
mod local;
mod options;
mod owner;
mod places;
mod pool;
mod registry;
mod shard;
mod sparse;
mod stream;
mod transport;
mod trust;

pub use backend::{
    Arrival, Backend, Connection, Datagrams, DialError, Distrust, HandshakeError, LaneStreams, ListenError, Listener,
    PathProbe, Proof,
};
pub use clock::Clock;
pub use config::{Config, HelloError, SOFTWARE_BYTES_MAX, TOKEN_BYTES_MAX};
pub use datagrams::{DatagramError, DatagramReceiver};
pub use door::DoorConfig;
pub use exchange::Call;
pub use fallback::{FallbackBackend, FallbackConfig};
pub use handle::PeerHandle;
pub use handler::{Answer, AnswerStream, Handler, HandlerError, HandlerOptions, HandlerSnapshot, Handling, Request};
pub use options::CallOptions;
pub use rdb_net_peer::{Epoch, LinkSide, PeerEvent, Slot};
pub use rdb_net_session::Reply;
pub use registry::PeerSnapshot;
pub use stream::{ReplyStream, StreamOptions};
pub use transport::Transport;
pub use trust::Rechecked;

#[cfg(test)]
mod tests;
