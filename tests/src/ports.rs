//! Loopback ports that the kernel chose.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// Where a node will be, known before it starts: others name it as a seed, and it comes back there.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its transport.
    pub transport: SocketAddr,
    /// Its gossip socket.
    pub gossip: SocketAddr,
}

impl Place {
    /// Free ports. They are free again until the node takes them; the kernel chooses at random among tens of thousands, so
    /// nobody else gets them meanwhile.
    ///
    /// # Panics
    ///
    /// When the machine has none.
    pub fn reserve() -> Self {
        let gossip = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
        Self { transport: closed_port(), gossip: gossip.expect("loopback has a free port") }
    }
}

/// An address on which nobody listens.
///
/// # Panics
///
/// When the machine has no free port.
pub fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address")
}
