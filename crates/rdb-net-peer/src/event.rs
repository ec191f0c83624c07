//! What happens to a peer's connections: what the transport and the simulator tell the engine.

use rdb_net_session::CloseReason;
use rdb_net_types::{BootId, Incarnation, NodeAddress, NodeId};

use crate::{Epoch, Failure, Slot};

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
        /// Where this node made the connection: the slot that it serves, and its epoch there. `None` where nobody sends on
        /// it, and where the peer made it, who counts the epochs of its own connections.
        place: Option<(Slot, Epoch)>,
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
    /// A connection that is up has carried something for the application, in either direction. Told at most once a second and
    /// connection.
    Traffic {
        /// Who.
        node: NodeId,
        /// Who had made the connection.
        side: LinkSide,
    },
    /// A connection could not be made, or its hello had no success.
    DialFailed {
        /// Who was meant, where that is known.
        node: Option<NodeId>,
        /// Where.
        address: NodeAddress,
        /// What went wrong.
        failure: Failure,
    },
}
