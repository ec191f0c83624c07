//! What a replica wants to have done, what has happened to it, and why it refuses.

use rdb_net_types::NodeId;

use super::log::{LogError, Position};
use super::message::{Message, Reply};
use super::replica::EPOCH_MAX;

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    /// Send a request, in order with the others to this node; its outcome comes back with the ticket.
    Send {
        /// To whom.
        to: NodeId,
        /// Which request.
        ticket: u64,
        /// What.
        message: Message,
    },
    /// Nothing that is under way to this node is waited for any more.
    GiveUp {
        /// The node.
        to: NodeId,
    },
    /// Answer a message that came with this ticket.
    Reply {
        /// The ticket that the message came with.
        ticket: u64,
        /// The answer.
        reply: Reply,
    },
    /// Make the log durable, and say [`handle_synced`](super::Replica::handle_synced) with this mark. One at a time.
    Sync {
        /// How much has been written by now.
        mark: u64,
    },
    /// Something that the application may want to know.
    Event(Event),
}

/// What has happened to a replica.
#[derive(Debug)]
pub enum Event {
    /// A quorum follows this node: it leads, and entries may be proposed.
    Leading {
        /// In this epoch.
        epoch: u64,
        /// The entry that it has opened the epoch with. It has no data.
        opened: Position,
    },
    /// This node leads no longer, or could not begin.
    NotLeading {
        /// In this epoch.
        epoch: u64,
        /// Why.
        reason: NotLeading,
    },
    /// The log is committed up to this index: a quorum has it for good.
    Committed {
        /// The index.
        index: u64,
    },
    /// A follower is sent from the storage: it is further behind than the leader's memory reaches.
    CatchingUp {
        /// Who.
        node: NodeId,
        /// What it is sent next.
        from: u64,
    },
    /// A follower is sent from the leader's memory again, or has all there is.
    CaughtUp {
        /// Who.
        node: NodeId,
    },
    /// A follower's log differs from the leader's; it is told to remove what is behind the last common entry.
    Differs {
        /// Who.
        node: NodeId,
        /// The last entry that both have.
        common: u64,
        /// Where the follower's log ended.
        last: Position,
    },
    /// A follower's log differs from the leader's in entries that are committed: one of the two is damaged. It is sent nothing
    /// until another leader begins.
    Damaged {
        /// Who.
        node: NodeId,
    },
    /// This replica has removed the entries behind this index, as its leader told it.
    Cut {
        /// The last entry that it has kept.
        keep: u64,
    },
    /// A follower lacks entries that the leader's log does not hold any more. Give it a copy of the data, and let its replica
    /// [`restore`](super::Replica::restore) the place of that copy. It is asked, and this is told, every
    /// [`retry_max`](super::Config::retry_max) until then.
    OutOfReach {
        /// Who.
        node: NodeId,
        /// Where its log ended.
        last: Position,
        /// The place behind which the leader's begins.
        base: Position,
    },
    /// This replica's log begins behind this place now: what it had was dropped.
    Restored {
        /// The place.
        base: Position,
    },
    /// The storage failed: the replica has stopped.
    Failed(LogError),
}

/// Why a node leads no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotLeading {
    /// There is a newer epoch, or another leader in this one.
    Fenced {
        /// The newer epoch.
        epoch: u64,
    },
    /// So many members know more than this node that no quorum will follow it. Let this one lead.
    Behind {
        /// Who knows most of those that answered.
        node: NodeId,
        /// The end of its log.
        last: Position,
    },
    /// The application wanted it so.
    Resigned,
    /// Its storage failed.
    Failed,
}

/// Why a node cannot lead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeadError {
    /// An epoch has one leader, and begins once: name a higher one.
    #[error("epoch {wanted} is over or taken: the newest one known is {known}; lead in a higher one")]
    Fenced {
        /// What was asked for.
        wanted: u64,
        /// The newest epoch known here.
        known: u64,
    },
    /// No log has such an epoch: after it there would be hardly any, and a promise is for good. The caller's mistake.
    #[error("{wanted} is no epoch: the highest one is {EPOCH_MAX}")]
    NoEpoch {
        /// What was asked for.
        wanted: u64,
    },
    /// The replica's storage has failed.
    #[error("the replica's storage has failed; restart it")]
    Failed,
}

/// Why entries were not taken. Nothing has been written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// This node does not lead. Ask the leader, where one is known.
    #[error("this node does not lead the log")]
    NotLeader {
        /// Whom this node follows, as far as it knows.
        leader: Option<NodeId>,
    },
    /// So much waits for a quorum that no more is taken. Try again when something has been committed.
    #[error("{pending_bytes} bytes wait for a quorum already")]
    Full {
        /// How much waits, at what it costs in memory.
        pending_bytes: usize,
    },
    /// An entry is larger than [`ENTRY_BYTES_MAX`](super::ENTRY_BYTES_MAX).
    #[error("an entry of {bytes} bytes is too large")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// Why nothing was dropped from a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompactError {
    /// What is not committed may still be needed, or cut.
    #[error("entry {up_to} is not known to be committed here: {committed} is the last that is")]
    NotCommitted {
        /// What was asked for.
        up_to: u64,
        /// The last committed entry.
        committed: u64,
    },
    /// The replica's storage has failed.
    #[error("the replica's storage has failed; restart it")]
    Failed,
}

/// Why a replica was not restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// It leads, or wants to: it has everything that is committed.
    #[error("this node leads the log, or wants to: it has nothing to be given")]
    Leads,
    /// The log begins behind a later place: with this copy the entries between the two would be missing. Take a newer copy, or keep the
    /// one that the log was compacted for.
    #[error(
        "the log begins behind entry {base}: with a copy as of {index} the entries between the two are nowhere; take a newer one"
    )]
    Older {
        /// The place of the copy.
        index: u64,
        /// Where the log begins.
        base: u64,
    },
    /// No log has such an index.
    #[error("{index} is no place of a log")]
    NoPlace {
        /// The index.
        index: u64,
    },
    /// The log says something else at this place, and knows it to be committed: one of the two is damaged.
    #[error(
        "the log says something else at entry {index}, which is committed: the copy is of another log, or one of them is damaged"
    )]
    Differs {
        /// Where.
        index: u64,
    },
    /// The replica's storage has failed.
    #[error("the replica's storage has failed; restart it")]
    Failed,
}
