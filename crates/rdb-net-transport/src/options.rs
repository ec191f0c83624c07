//! How a message travels.

use std::time::Duration;

use rdb_net_types::Lane;

/// How a message travels. The defaults come from its type's row in the registry and from the transport's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallOptions {
    /// How long the caller waits, for everything: connection, credits and reply. On a connection that is up it counts from when
    /// the connection's task takes the request, which is as soon as the runtime lets it; where the connection ends before the
    /// request was sent, it begins again with another one.
    pub timeout: Option<Duration>,
    /// The lane.
    pub lane: Option<Lane>,
    /// Whether carrying it out twice is the same as once.
    pub idempotent: Option<bool>,
    /// The ordering key: messages of one lane and one key take the same connection, and their handlers start in the order in
    /// which they were sent, as long as its [`epoch`](crate::PeerHandle::epoch) lasts. Default none: one-way messages keep their
    /// order all the same, requests are in no order and spread over the connections that are up.
    pub key: Option<u64>,
}

impl CallOptions {
    /// The defaults, with this time-out.
    pub fn timeout(timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..Self::default() }
    }
}
