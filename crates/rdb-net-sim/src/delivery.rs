//! What arrives at the hosts of a [`Simulation`](crate::Simulation), and whose timers there are.

use std::time::Duration;

use rdb_net_session::Loss;
use rdb_net_types::{NodeAddress, NodeId};

/// One connection among all of a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamId(pub(crate) u64);

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum End {
    Dialer,
    Acceptor,
}

impl End {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Acceptor,
            Self::Acceptor => Self::Dialer,
        }
    }
}

/// Whom a node dials.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PeerKey {
    Node(NodeId),
    Seed(NodeAddress),
}

/// What arrives at a host.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// A datagram.
    Packet { from: usize, bytes: Vec<u8> },
    /// Somebody wants a connection.
    Dial { stream: StreamId },
    /// The host has taken a connection for a process that has not looked at it yet.
    Accepted { stream: StreamId },
    /// The answer to a dial: whether somebody listens there.
    DialAnswered { stream: StreamId, is_taken: bool },
    /// A dial has had its time.
    DialTimedOut { stream: StreamId },
    /// Bytes of a connection.
    Segment { stream: StreamId, end: End, bytes: Vec<u8> },
    /// The other end of a connection is gone.
    Ended { stream: StreamId, end: End, loss: Loss },
    /// The bytes that this end has sent since then were not acknowledged.
    Unacknowledged { stream: StreamId, end: End, since: Duration },
}

/// Whose timer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    Engine(usize),
    Session(StreamId, End),
    Peer(usize, PeerKey),
    /// A slow process is done with what it has taken: what its clock says comes before.
    Processing(usize),
}
