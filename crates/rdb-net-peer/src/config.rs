//! What a peer's machine is told before it begins.

use std::time::Duration;

use crate::BackoffConfig;

/// Connections and times of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerConfig {
    /// How many main connections a peer may have, beside the one for bulk. Default 1; from 1 to 16. More let several cores
    /// and several congestion windows work for one peer, and cost sockets and memory at both ends.
    pub connections: u8,
    /// Waits between dials.
    pub backoff: BackoffConfig,
    /// How long a connection must have been up for its loss to count as the first failure of a new series. Default 30 s.
    pub stable_after: Duration,
    /// How long a refused hello is not repeated, where only a change of configuration would help. Default 30 s.
    pub refused_wait: Duration,
    /// How long a connection that is not kept may carry nothing for the application before it is closed. Default 5 min, drawn
    /// from ±20 % for each connection and found out up to a quarter or 15 s later; `None` never. One that has never carried anything
    /// for the application closes after 30 s, if that is shorter. Shorter saves sockets, and makes the next message wait for a
    /// dial.
    pub idle_timeout: Option<Duration>,
    /// How old a connection may become before another takes its place. Default 1 h, drawn from ±20 % for each connection;
    /// `None` never. Renewal spreads connections anew over what stands between the nodes, and lets new certificates and
    /// limits take effect.
    pub age_max: Option<Duration>,
}

impl Default for PeerConfig {
    fn default() -> Self {
        Self {
            connections: 1,
            backoff: BackoffConfig::default(),
            stable_after: Duration::from_secs(30),
            refused_wait: Duration::from_secs(30),
            idle_timeout: Some(Duration::from_secs(300)),
            age_max: Some(Duration::from_secs(3600)),
        }
    }
}
