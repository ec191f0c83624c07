//! What a transport tells of its peers: the engine's input.

use std::collections::VecDeque;
use std::sync::Mutex;

use rdb_net_peer::DialFailure;
use rdb_net_session::CloseReason;
use rdb_net_types::{BootId, Incarnation, NodeAddress, NodeId};
use tokio::sync::Notify;

/// Which side of a connection this node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkSide {
    /// It made the connection.
    Dialer,
    /// It took the connection.
    Acceptor,
}

/// Something that happened to a peer's connections.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerEvent {
    /// A connection is up: the hello was answered.
    Up {
        /// Who.
        node: NodeId,
        /// Which process.
        boot: BootId,
        /// Its incarnation, as its hello says.
        incarnation: Incarnation,
        /// Where it can be reached.
        address: NodeAddress,
        /// Who made the connection.
        side: LinkSide,
    },
    /// A connection that was up has ended.
    Down {
        /// Who.
        node: NodeId,
        /// Which process.
        boot: BootId,
        /// Who had made the connection.
        side: LinkSide,
        /// Why it ended.
        reason: CloseReason,
    },
    /// A connection could not be made, or its hello had no success.
    DialFailed {
        /// Who was meant, where that is known.
        node: Option<NodeId>,
        /// Where.
        address: NodeAddress,
        /// The socket's failure, or
        failure: Result<CloseReason, DialFailure>,
    },
}

/// How many events wait at most for a slow reader. Beyond it the oldest are dropped and counted.
const EVENTS_MAX: usize = 16 * 1024;

/// The events' queue: any task puts, one takes.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    state: Mutex<(VecDeque<PeerEvent>, u64)>,
    filled: Notify,
}

impl EventQueue {
    pub(crate) fn push(&self, event: PeerEvent) {
        let mut state = self.state.lock().expect("no code panics while it holds this lock");
        if state.0.len() == EVENTS_MAX {
            state.0.pop_front();
            state.1 += 1;
        }
        state.0.push_back(event);
        drop(state);
        self.filled.notify_one();
    }

    pub(crate) async fn next(&self) -> PeerEvent {
        loop {
            let event = self.state.lock().expect("no code panics while it holds this lock").0.pop_front();
            if let Some(event) = event {
                return event;
            }
            self.filled.notified().await;
        }
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.state.lock().expect("no code panics while it holds this lock").1
    }
}
