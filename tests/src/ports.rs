//! Loopback ports that the kernel chose, known before anybody listens on them.
//!
//! A port that was looked up and let go can be taken by anybody before the node has it: by an outgoing connection, or by
//! another listener. So each lookup has a loopback address of its own, which no other process uses: what is chosen there is
//! free until the node takes it, and again after the node has been killed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU8, Ordering};

/// Where a node will be: others name it as a seed, and it comes back there.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its transport.
    pub transport: SocketAddr,
    /// Its gossip socket.
    pub gossip: SocketAddr,
}

impl Place {
    /// A place for each of so many nodes.
    ///
    /// # Panics
    ///
    /// When the machine has no free ports.
    pub fn reserve(count: usize) -> Vec<Self> {
        let host = own_address();
        let bind = |_| {
            let transport = TcpListener::bind((host, 0)).expect("loopback has a free port");
            let gossip = UdpSocket::bind((host, 0)).expect("loopback has a free port");
            (transport, gossip)
        };
        // All are held until all are known, so that none is chosen twice.
        let held: Vec<(TcpListener, UdpSocket)> = (0..count).map(bind).collect();
        let place = |(transport, gossip): &(TcpListener, UdpSocket)| Self {
            transport: transport.local_addr().expect("a bound socket has an address"),
            gossip: gossip.local_addr().expect("a bound socket has an address"),
        };
        held.iter().map(place).collect()
    }
}

/// An address on which nobody listens.
///
/// # Panics
///
/// When the machine has no free port.
pub fn closed_port() -> SocketAddr {
    Place::reserve(1)[0].transport
}

/// A loopback address for one use: 127.0.0.0/8 with the process id and a count in it, as far as the system has such addresses
/// (Linux has all of them).
fn own_address() -> IpAddr {
    static USED: AtomicU8 = AtomicU8::new(0);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    // 127.0.0.1, which everybody uses, is not among them.
    let own = Ipv4Addr::new(127, high.max(1), low, USED.fetch_add(1, Ordering::Relaxed));
    let is_there = TcpListener::bind((own, 0)).is_ok();
    IpAddr::V4(if is_there { own } else { Ipv4Addr::LOCALHOST })
}
