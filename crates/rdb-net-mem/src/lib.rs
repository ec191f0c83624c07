//! The transport in memory, for tests: many nodes of one process on a network without sockets.
//!
//! A [`MemoryNetwork`] is what sockets and wires are to TCP. Transports join it by address, and everything above dial and accept
//! is what runs in production. The network has the fault model of `rdb-net-faults`: over a stream of bytes, latency and jitter
//! delay bytes in order, a loss shows as the delay of a retransmission, a cut holds bytes until it is mended, and
//! [`MemoryNetwork::reset`] ends connections. A dial to an address where nobody listens is refused, one across a cut times out.
//!
//! Lanes are shuffled: nothing is promised across lanes, so whole frames of different lanes that wait at the same time are
//! handed out in an order that the seed draws. A test that relies on an order between lanes is found out here, and not in
//! production. Frames of one lane keep their order, and the protocol's own frames on the System lane keep their place among all.
//!
//! Time is the runtime's: under a paused clock, latencies pass in no time and dials time out at once. Deadlines and keep-alives
//! go by the same clock.
//!
//! ```
//! use rdb_net_mem::{MemoryConfig, MemoryNetwork};
//! use rdb_net_transport::Backend;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
//! # runtime.block_on(async {
//! let network = MemoryNetwork::new(MemoryConfig { seed: 7, ..MemoryConfig::default() });
//! let (a, b) = ("a:7000".parse().expect("legal"), "b:7000".parse().expect("legal"));
//! let mut listener = network.backend(&b).listen(&b).await.expect("free");
//! let mut near = network.backend(&a).dial(&b).await.expect("b listens");
//! let mut far = listener.accept().await.expect("a has dialled").establish().await.expect("no handshake");
//! near.write_all(b"hello").await.expect("open");
//! let mut said = [0; 5];
//! far.read_exact(&mut said).await.expect("open");
//! assert_eq!(&said, b"hello");
//!
//! network.reset(&a, &b);
//! assert!(near.write_all(b"more").await.is_err());
//! # });
//! ```

mod arrived;
mod backend;
mod cable;
mod config;
mod connection;
mod direction;
mod network;

#[cfg(test)]
mod tests;

pub use backend::MemoryBackend;
pub use config::MemoryConfig;
pub use network::MemoryNetwork;
pub use rdb_net_faults::LinkFaults;
