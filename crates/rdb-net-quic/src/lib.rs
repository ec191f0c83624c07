//! The QUIC transport (RFC 9000): dial and accept over UDP, inside TLS 1.3 (RFC 9001). Everything else is `rdb-net-transport`'s:
//! it is no second protocol, only another way for its bytes.
//!
//! A connection carries one long-lived stream for each lane, so that a lost packet of one lane holds up no other. Identity,
//! refusals, reload and the tie between hello and handshake are those of TLS over TCP, by the same certificates. Every window,
//! buffer and count has a bound of its own; early data is never sent or taken, because it could be replayed (RFC 9001, section
//! 9.2).
//!
//! The protocol is the state machine of quinn. Whoever has a connection moves its packets, in passes: what has come is taken in, the
//! streams are read and written, and what is to be sent leaves. Nobody else touches it, so nothing of it is locked; a listener's task hands
//! connections that were taken their packets.
//!
//! A killed process sends no reset over UDP. Its kernel answers that nobody listens on the port (ICMP, RFC 792), which the
//! system tells a connected socket: so each connection that this node makes has a socket of its own, and sees it at once.

mod backend;
mod config;
mod connection;
mod crypto;
mod datagrams;
mod engine;
mod error;
mod hub;
mod listener;
mod path;
mod refusals;
mod socket;
mod streams;

#[cfg(test)]
mod tests;

pub use backend::QuicBackend;
pub use config::{CongestionControl, QuicConfig};
