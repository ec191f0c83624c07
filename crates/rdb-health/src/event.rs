//! What the machine tells: changes of status with their cause, and counters.

use std::fmt;
use std::time::Duration;

use rdb_net_types::{EvidenceKind, HealthStatus, NodeId, NodeState, Reason};

/// Why a status is what it is: the last input that changed it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// Nothing was heard yet.
    Nothing,
    /// A ping was answered.
    Pong,
    /// A ping failed.
    PingFailed(Reason),
    /// A ping was not answered in time.
    PingTimedOut,
    /// Something was seen of the node besides pings.
    Evidence(EvidenceKind),
    /// An application check spoke.
    Application {
        /// The check.
        check: String,
    },
    /// Membership holds the node in another state.
    Membership(NodeState),
    /// The node is no longer followed.
    Unwatched,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing was heard of it yet"),
            Self::Pong => f.write_str("it answered a ping"),
            Self::PingFailed(reason) => write!(f, "a ping failed: {reason}"),
            Self::PingTimedOut => f.write_str("a ping was not answered in time"),
            Self::Evidence(EvidenceKind::Alive { .. }) => f.write_str("it was heard of"),
            Self::Evidence(EvidenceKind::Refused) => f.write_str("its address refuses connections"),
            Self::Evidence(EvidenceKind::Reset) => f.write_str("a connection was reset"),
            Self::Evidence(EvidenceKind::Silent) => f.write_str("a connection fell silent"),
            Self::Evidence(_) => f.write_str("its heartbeats are late"),
            Self::Application { check } => write!(f, "the application check {check:?}"),
            Self::Membership(state) => write!(f, "membership holds it for {state}"),
            Self::Unwatched => f.write_str("it is no longer followed"),
        }
    }
}

/// A node's status has changed. Applying the events in order to `Unknown` gives [`Health::status`](crate::Health::status).
///
/// Changes that nobody polled in between are told as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthEvent {
    /// Whose.
    pub node: NodeId,
    /// What was told last.
    pub from: HealthStatus,
    /// What it is.
    pub to: HealthStatus,
    /// The last input that changed it.
    pub cause: Cause,
    /// The last measured round trip, once there was one.
    pub round_trip: Option<Duration>,
}

/// What the machine has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Pings handed out.
    pub pings: u64,
    /// Pings answered in time.
    pub pongs: u64,
    /// Answers and failures of pings that were over already, or never were.
    pub late: u64,
    /// Pings that failed, by word of the driver.
    pub pings_failed: u64,
    /// Pings that were not answered in time.
    pub pings_timed_out: u64,
    /// Pings that never left this process, for want of memory or because it is stopping. They say nothing of the node.
    pub pings_unsent: u64,
    /// Pieces of evidence taken in.
    pub evidence: u64,
    /// Inputs about nodes that are not known.
    pub ignored: u64,
    /// Times that this process itself was late, and forgave the pings in flight.
    pub pauses: u64,
    /// Nodes not taken in because there were `nodes_max`.
    pub nodes_refused: u64,
    /// Application checks not taken in because the node had `checks_per_node_max`.
    pub checks_refused: u64,
    /// Last events of nodes that are gone, dropped because `nodes_max` events were waiting to be polled.
    pub events_dropped: u64,
}
