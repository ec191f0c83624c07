//! What happens next: deliveries in the order of their times, and one timer for each machine.

use std::collections::{BTreeMap, BTreeSet};
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
}

/// What is next.
pub(crate) enum Next {
    Delivery(usize, Delivery),
    Timer(Timer),
}

/// All that is to happen, in order; of two things at one time what arrives comes before what is due.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    serial: u64,
    deliveries: BTreeMap<(Duration, u64), (usize, Delivery)>,
    timers: BTreeSet<(Duration, Timer)>,
    armed: BTreeMap<Timer, Duration>,
}

impl Queue {
    pub(crate) fn deliver(&mut self, at: Duration, host: usize, delivery: Delivery) {
        self.serial += 1;
        self.deliveries.insert((at, self.serial), (host, delivery));
    }

    /// Sets a timer or, with `None`, takes it off.
    pub(crate) fn arm(&mut self, timer: Timer, at: Option<Duration>) {
        let former = self.armed.get(&timer).copied();
        if former == at {
            return;
        }
        if let Some(former) = former {
            self.timers.remove(&(former, timer.clone()));
        }
        match at {
            Some(at) => {
                self.timers.insert((at, timer.clone()));
                self.armed.insert(timer, at);
            }
            None => {
                self.armed.remove(&timer);
            }
        }
    }

    /// The next thing that happens up to `end`, and when.
    pub(crate) fn pop(&mut self, end: Duration) -> Option<(Duration, Next)> {
        let delivery = self.deliveries.first_key_value().map(|((at, _), _)| *at);
        let timer = self.timers.first().map(|(at, _)| *at);
        let at = [delivery, timer].into_iter().flatten().min().filter(|at| *at <= end)?;
        if delivery == Some(at) {
            let (_, (host, delivery)) = self.deliveries.pop_first()?;
            return Some((at, Next::Delivery(host, delivery)));
        }
        let (_, timer) = self.timers.pop_first()?;
        self.armed.remove(&timer);
        Some((at, Next::Timer(timer)))
    }
}
