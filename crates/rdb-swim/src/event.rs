//! What a member tells its application.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rdb_net_types::{BootId, Incarnation, NodeId, NodeState};

use crate::partition::Partition;
use crate::sync::SyncId;
use crate::versions::Versions;

/// A member as it stood at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRecord {
    /// Its id.
    pub id: NodeId,
    /// Which process of it.
    pub boot: BootId,
    /// The newest incarnation heard of.
    pub incarnation: Incarnation,
    /// Where its gossip socket listens.
    pub address: SocketAddr,
    /// The state in which it is held.
    pub state: NodeState,
    /// What it tells of itself.
    pub meta: Bytes,
    /// Which versions of the protocol it understands.
    pub versions: Versions,
}

/// Something the application may want to act on.
///
/// The first eight speak of other members, never of this one. Each transition is told once and in order: putting each record
/// into a map by id, and taking it out at `Forgotten`, gives the member list without this node. Only incarnations may be
/// newer in the list than in the last event, because newer evidence for a known state is no transition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A node that was not known, or had left, is a member.
    Joined(MemberRecord),
    /// A member said farewell.
    Left(MemberRecord),
    /// A member is unroutable. It is kept and called on, and may come back.
    Failed(MemberRecord),
    /// A failed member is back: the same process by refuting, or another one of the same id.
    Recovered(MemberRecord),
    /// A member changed its address or metadata, or its versions were learned, in whatever state it is; or, of one that is gone, a
    /// later life's were heard of.
    Updated(MemberRecord),
    /// Somebody could not reach a member; it may still refute.
    Suspected(MemberRecord),
    /// A suspected member has refuted.
    Trusted(MemberRecord),
    /// A member that had failed or left is no longer held.
    Forgotten(MemberRecord),
    /// Others held this node for suspect, failed or an older life, and it has raised its incarnation.
    SelfRefuted {
        /// The raised incarnation.
        incarnation: Incarnation,
    },
    /// Another member's application tells something; see [`Swim::broadcast`](crate::Swim::broadcast). Dropped where too many
    /// events wait.
    Broadcast {
        /// Whose word it is.
        origin: NodeId,
        /// What it says.
        payload: Bytes,
    },
    /// Two living processes claim one id. An operator must stop one of them.
    Conflict {
        /// The id that both claim.
        id: NodeId,
        /// Gossip address of the process that is not the member held here; of the newcomer, where that one was refused.
        address: SocketAddr,
        /// Boot id of that process.
        boot: BootId,
    },
    /// A node shares no version of the protocol with this one, or with another member of this one's cluster, and is refused:
    /// one of the two must be brought to a release that understands the other. Told once in a minute for each node.
    Incompatible {
        /// The node.
        node: NodeId,
        /// What it understands, as far as is known: of a packet that cannot be read, its version.
        theirs: Versions,
        /// What this node, or that other member, understands.
        ours: Versions,
    },
    /// It is time to exchange views with this member: send it [`Swim::sync_request`](crate::Swim::sync_request).
    SyncWanted {
        /// The member.
        node: NodeId,
    },
    /// Many members have failed together: the network has come apart, or this member is cut off. None of them is dropped.
    Partitioned(Partition),
    /// Most of those who had vanished are back. Who is still missing may be so for reasons of his own.
    Healed(Partition),
    /// The answer to a request that was pending.
    SyncAnswered {
        /// The request.
        id: SyncId,
        /// What to send back.
        reply: Vec<u8>,
    },
    /// The farewell is over: nothing more is sent until a rejoin.
    Farewell {
        /// How many members have acknowledged it.
        acknowledged: usize,
    },
    /// A member has not answered a ping yet. Whoever has a connection to it, or can make one, may ask over that whether it is
    /// there, and tell an answer that comes in time by
    /// [`Swim::handle_stream_pong`](crate::Swim::handle_stream_pong).
    StreamPingWanted {
        /// The member.
        node: NodeId,
        /// To be given back with the answer.
        sequence: u32,
        /// For so long the answer is waited for.
        timeout: Duration,
    },
    /// A member answered a direct ping.
    RoundTrip {
        /// The member.
        node: NodeId,
        /// From the ping to its ack.
        round_trip: Duration,
    },
    /// A member answered neither a direct nor an indirect ping. Suspicion follows.
    ProbeFailed {
        /// The member.
        node: NodeId,
    },
}
