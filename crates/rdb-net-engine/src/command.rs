//! What goes in and out of an engine besides packets: commands for its driver, events for its owner.

use std::net::SocketAddr;
use std::time::Duration;

use rdb_health::PingId;
use rdb_net_types::{BootId, MembershipEvent, NodeAddress, NodeId};
use rdb_swim::{DecodeError, SyncId};

/// Names one exchange of views among all that this engine has asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SyncToken(pub u64);

/// With whom views are exchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyncTarget {
    /// A member.
    Node {
        /// Its id.
        node: NodeId,
        /// Where its transport listens.
        address: NodeAddress,
    },
    /// Whoever is at this address.
    Seed(NodeAddress),
}

/// Something for the driver to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Keep a connection to this node, and dial it again whenever it is lost. A second one for the same node brings a new
    /// address.
    KeepLink {
        /// Whom.
        node: NodeId,
        /// Where.
        address: NodeAddress,
    },
    /// Keep the connection no longer. It may stay for as long as it is used.
    DropLink {
        /// To whom.
        node: NodeId,
    },
    /// A connection with this node was lost: do not wait with the next dial.
    Hurry {
        /// Whom to dial.
        node: NodeId,
    },
    /// Send this request of type `MEMBERSHIP_SYNC` and give the reply to
    /// [`handle_sync_reply`](crate::Engine::handle_sync_reply). Dial at once, whatever earlier dials of the address have met:
    /// the engine paces itself.
    Sync {
        /// To be given back with the reply.
        token: SyncToken,
        /// To whom.
        to: SyncTarget,
        /// The request's body.
        request: Vec<u8>,
        /// After this time the engine no longer waits.
        timeout: Duration,
    },
    /// Ask the node whether it answers, over a connection, and tell [`handle_pong`](crate::Engine::handle_pong).
    Ping {
        /// To be given back with the answer.
        id: PingId,
        /// Whom.
        node: NodeId,
        /// Where.
        address: NodeAddress,
        /// After this time the engine no longer waits.
        timeout: Duration,
    },
    /// The reply to a request that was [`SyncAnswer::Pending`].
    AnswerSync {
        /// Which request.
        id: SyncId,
        /// The reply's body.
        reply: Vec<u8>,
    },
    /// The node is no member any more: what is held for it can go.
    ForgetPeer {
        /// Which.
        node: NodeId,
    },
    /// The address is no seed any more.
    ForgetSeed {
        /// Which.
        address: NodeAddress,
    },
}

/// What to do about another node's request for an exchange of views.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyncAnswer {
    /// Send this back.
    Ready(Vec<u8>),
    /// Wait for [`Command::AnswerSync`] with this id; it comes within the membership's probe time-out.
    Pending(SyncId),
    /// Answer with an error, without a view.
    Refused(SyncRefusal),
}

/// Why a request for an exchange of views is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SyncRefusal {
    /// The bytes are no request of this version and cluster.
    #[error("the request cannot be read: {0}")]
    Malformed(#[from] DecodeError),
    /// The request speaks for another node than the one that the connection has proved.
    #[error("the request speaks for {claimed}, but the connection is of {proved}")]
    OtherNode {
        /// Whom the request speaks for.
        claimed: NodeId,
        /// Whose connection it is.
        proved: NodeId,
    },
}

/// Something for the owner to know.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EngineEvent {
    /// The membership has changed.
    Membership(MembershipEvent),
    /// The health of a node has changed.
    Health(rdb_health::HealthEvent),
    /// The node belongs to its cluster: a seed has accepted it, another node has joined through it, or there is no seed
    /// but itself. Told once, and again after a leave and a new join.
    ClusterJoined {
        /// How many members are known, this node included.
        members: usize,
    },
    /// Every seed was called in vain, and the calls go on. Told once in a series, and again when the seeds have changed.
    SeedsUnreachable {
        /// Calls in this series.
        attempts: u64,
        /// The seeds.
        seeds: Vec<NodeAddress>,
    },
    /// The cluster has a living member with this node's id, and this process is the newcomer: it must stop.
    DuplicateNode {
        /// Gossip address of the other process; unknown where only a connection has told.
        address: Option<SocketAddr>,
    },
    /// Two living processes claim one id. An operator must stop one of them; this node goes on.
    Conflict {
        /// The id, perhaps this node's own.
        node: NodeId,
        /// Gossip address of the process that is not the known member.
        address: SocketAddr,
        /// Its boot id.
        boot: BootId,
    },
    /// A node shares no version of the membership protocol with this one or with another member, and is refused: one of the
    /// two must be brought to another release.
    Incompatible {
        /// The node.
        node: NodeId,
        /// What it understands, as far as is known.
        theirs: rdb_swim::Versions,
        /// What this node, or that other member, understands.
        ours: rdb_swim::Versions,
    },
    /// Many members have failed together: the network has come apart, or this node is cut off. It is degraded, and drops
    /// nobody.
    Partitioned(rdb_swim::Partition),
    /// Most of those who had vanished are back. Who is still missing may be so for reasons of his own.
    Healed(rdb_swim::Partition),
    /// The split-brain strategy has decided whether this node's side goes on: after somebody has failed, and again when that is
    /// over.
    SplitBrain(rdb_swim::Verdict),
    /// No strategy decides any more: what the last one has said holds no longer.
    SplitBrainEnded,
    /// The farewell is over: nothing is sent any more.
    LeaveFinished {
        /// How many members have acknowledged it.
        acknowledged: usize,
    },
}
