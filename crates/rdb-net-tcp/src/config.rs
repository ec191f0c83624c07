//! Options of sockets.

use std::time::Duration;

/// Options of every socket. `TCP_NODELAY` is always on: batching is the session's, and Nagle's algorithm would hold back a
/// batch's last segment until the other side acknowledges, which it may put off for 40 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpConfig {
    /// How long sent bytes may stay unacknowledged before the connection counts as lost (`TCP_USER_TIMEOUT`, RFC 5482).
    /// Default 15 s: three times the default liveness time of a session, which finds a silent peer before; from 1 ms to some
    /// 24 days. It finds a host that is gone even while nobody reads; shorter also ends connections over short outages that
    /// they would survive.
    pub user_timeout: Duration,
    /// How many bytes may wait unsent in the kernel before the socket takes no more (`TCP_NOTSENT_LOWAT`). Default 128 KiB;
    /// `None` leaves it to the kernel, which takes megabytes. What waits in the kernel can be overtaken by no urgent frame and
    /// given up by no caller; too few starve a fast link between two writes.
    pub unsent_bytes_max: Option<u32>,
    /// Whether and when the kernel asks for a sign of life on a connection that carries nothing (`SO_KEEPALIVE`). Default
    /// after 2 min; `None` never. The session asks by itself; this keeps state in middle boxes alive, and finds a host that is
    /// gone when this process itself stands still.
    pub keep_alive: Option<KeepAlive>,
    /// How many connections may wait in the kernel to be accepted. Default 1,024; at least 1, cut at the system's limit
    /// (`net.core.somaxconn`). More lets a larger crowd come back at once; beyond it dials are repeated after a second.
    pub backlog: i32,
}

/// When the kernel asks for a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive {
    /// After how long without a packet it asks first (`TCP_KEEPIDLE`). Default 2 min; whole seconds, less than one is one.
    pub idle: Duration,
    /// How long it waits before it asks again (`TCP_KEEPINTVL`). Default 5 s; whole seconds, less than one
    /// is one.
    pub interval: Duration,
    /// After how many questions without an answer the connection is lost (`TCP_KEEPCNT`). Default 3. With a user time-out
    /// set, that decides instead.
    pub retries: u32,
}

impl KeepAlive {
    /// Asks first after this time, then as often as by default.
    pub fn after(idle: Duration) -> Self {
        Self { idle, ..Self::default() }
    }
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self { idle: Duration::from_secs(120), interval: Duration::from_secs(5), retries: 3 }
    }
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self {
            user_timeout: Duration::from_secs(15),
            unsent_bytes_max: Some(128 * 1024),
            keep_alive: Some(KeepAlive::default()),
            backlog: 1024,
        }
    }
}
