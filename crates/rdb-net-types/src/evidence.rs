//! What one node has seen of another, by itself: the input of membership and health.

use std::time::Duration;

use crate::{BootId, NodeId};

/// Something seen of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Of whom.
    pub node: NodeId,
    /// Which life of it was seen, where that is known.
    pub boot: Option<BootId>,
    /// What was seen.
    pub kind: EvidenceKind,
}

/// What was seen. Only `Refused` says that a process is gone; the rest only bring probes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EvidenceKind {
    /// It answered.
    Alive {
        /// Time from question to answer.
        round_trip: Duration,
    },
    /// Its advertised address answers "connection refused": nothing listens there.
    Refused,
    /// An established connection was reset or ended without a farewell.
    Reset,
    /// Nothing came over an established connection for longer than its liveness time.
    Silent,
    /// Phi crossed the listener's threshold on a link with regular traffic.
    PhiCrossed,
}
