//! How a network in memory is.

use std::time::Duration;

use rdb_net_faults::LinkFaults;

/// A network's seed, links and limits.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryConfig {
    /// Everything random follows from it: faults, and the order of lanes. Default 0.
    pub seed: u64,
    /// How every link is that is not set by itself. Default [`LinkFaults::NONE`].
    pub link: LinkFaults,
    /// Whether whole frames of different lanes that wait at the same time are handed out in an order that the seed draws. Default
    /// true. Off, bytes arrive in the order in which they were written, as over TCP.
    pub shuffle_lanes: bool,
    /// How many bytes of one direction of a connection may be sent and not yet read, before its writer waits. Default 256 KiB; at
    /// least 1.
    pub buffer_bytes: usize,
    /// How long a dial waits for an answer. Default 3 s.
    pub dial_timeout: Duration,
    /// How many connections wait at a listener before further dials do. Default 128; at least 1.
    pub backlog: usize,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            link: LinkFaults::NONE,
            shuffle_lanes: true,
            buffer_bytes: 256 * 1024,
            dial_timeout: Duration::from_secs(3),
            backlog: 128,
        }
    }
}
