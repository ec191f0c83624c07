//! How one link is, in one direction.

use std::num::NonZeroU64;
use std::time::Duration;

/// What a directed link does to what is sent over it. Shares are from 0 to 1; one below is as 0, one above as 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LinkFaults {
    /// Least time from one end to the other. Default 0.
    pub latency: Duration,
    /// Most time on top of it, drawn for each packet: of datagrams, later ones may overtake. Default 0.
    pub jitter: Duration,
    /// Share of packets that are lost. A lost piece of a stream is sent again, and so comes later. Default 0.
    pub loss: f64,
    /// Share of datagrams that arrive twice. A stream drops its second copy. Default 0.
    pub duplication: f64,
    /// Share of datagrams that are held up, so that later ones overtake. A stream puts them into order again. Default 0.
    pub reordering: f64,
    /// Most time for which such a datagram is held up. Default 0.
    pub reordering_delay: Duration,
    /// How many bytes pass in a second; what exceeds it waits, and is not dropped. Default `None`, which is without limit.
    pub bytes_per_second: Option<NonZeroU64>,
}

impl LinkFaults {
    /// A link without faults: everything arrives once, in order, and at once.
    pub const NONE: Self = Self {
        latency: Duration::ZERO,
        jitter: Duration::ZERO,
        loss: 0.0,
        duplication: 0.0,
        reordering: 0.0,
        reordering_delay: Duration::ZERO,
        bytes_per_second: None,
    };

    /// A link of a local network: 0.5 to 1.5 ms, nothing is lost.
    pub const fn lan() -> Self {
        Self { latency: Duration::from_micros(500), jitter: Duration::from_millis(1), ..Self::NONE }
    }

    /// A link between distant places: 40 to 60 ms, one packet in a thousand lost, one in a hundred up to 20 ms late.
    pub const fn wan() -> Self {
        Self {
            latency: Duration::from_millis(40),
            jitter: Duration::from_millis(20),
            loss: 0.001,
            reordering: 0.01,
            reordering_delay: Duration::from_millis(20),
            ..Self::NONE
        }
    }
}
