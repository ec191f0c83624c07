//! What a world is made of, and what it has counted.

use rdb_net_faults::LinkFaults;

/// A world's settings. Equal settings, factories and calls give equal runs.
#[derive(Debug, Clone, PartialEq)]
pub struct WorldConfig {
    /// Hosts. Their machines are started one by one.
    pub hosts: usize,
    /// Everything random follows from it.
    pub seed: u64,
    /// Every link that is not set by itself.
    pub network: LinkFaults,
    /// Bytes of packets that a host holds for a machine that does not take them, as a socket's buffer does. Default 208 KiB.
    pub buffer_bytes: usize,
}

impl WorldConfig {
    /// So many hosts on a local network.
    pub fn lan(hosts: usize, seed: u64) -> Self {
        Self { hosts, seed, network: LinkFaults::lan(), buffer_bytes: 208 * 1024 }
    }
}

/// What became of what was sent so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Traffic {
    /// Packets that machines have sent.
    pub packets: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Packets that machines have taken, second copies included.
    pub taken: u64,
    /// Packets that the network has lost, cuts included.
    pub lost: u64,
    /// Packets that have arrived where no machine was, or were sent to a host that there is not.
    pub unheard: u64,
    /// Packets that no buffer had room for.
    pub overflowed: u64,
}
