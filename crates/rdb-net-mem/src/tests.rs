//! Networks in memory, in virtual time where nothing but the network runs.

mod dials;
mod lanes;
mod streams;
mod transports;

use std::future::Future;
use std::time::Duration;

use rdb_net_transport::{Backend, Connection, Listener};
use rdb_net_types::NodeAddress;
use tokio::time::Instant;

use crate::{LinkFaults, MemoryConfig, MemoryNetwork};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn at(address: &str) -> NodeAddress {
    address.parse().expect("legal")
}

fn network(link: LinkFaults) -> MemoryNetwork {
    MemoryNetwork::new(MemoryConfig { link, seed: 1, ..MemoryConfig::default() })
}

async fn listen(network: &MemoryNetwork, address: &str) -> Box<dyn Listener> {
    network.backend(&at(address)).listen(&at(address)).await.expect("free")
}

/// A connection from `a:1` to `b:1`: the ends of both.
async fn connection(network: &MemoryNetwork) -> (Box<dyn Connection>, Box<dyn Connection>) {
    let mut listener = listen(network, "b:1").await;
    let near = network.backend(&at("a:1")).dial(&at("b:1")).await.expect("b listens");
    (near, listener.accept().await.expect("a has dialled").establish().await.expect("no handshake"))
}

/// What it gives, and how long it took.
async fn timed<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let begun = Instant::now();
    let given = future.await;
    (given, begun.elapsed())
}
