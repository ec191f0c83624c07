//! What an application holds of a replica.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rdb_net_types::{LogEntry, NodeId};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::task::TaskTracker;

use crate::replication::proposed::Proposed;
use crate::replication::{
    CompactError, ENTRY_BYTES_MAX, Event, LeadError, LogError, NotLeading, Piece, Position, RestoreError, Status,
};

/// A node leads: since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed {
    /// In which epoch.
    pub epoch: u64,
    /// The entry that it has opened the epoch with.
    pub opened: Position,
}

/// A node does not lead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeadFailed {
    /// It was not tried.
    #[error(transparent)]
    Refused(#[from] LeadError),
    /// No quorum follows: the reason says what to do about it.
    #[error("no quorum follows this node: {0:?}")]
    NotLeading(NotLeading),
    /// The replica was closed.
    #[error("the replica is closed")]
    Closed,
}

/// Entries were not committed, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Nothing was written: this node does not lead. Ask the leader, where one is known.
    #[error("this node does not lead the log")]
    NotLeader {
        /// Whom it follows.
        leader: Option<NodeId>,
    },
    /// Nothing was written: an entry is too large.
    #[error("an entry of {bytes} bytes is too large")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The entries were written, and then the node stopped leading. The next leader may keep them or not: look for them in its log
    /// before they are appended again.
    #[error("the node stopped leading in epoch {epoch} before the entries were committed: {reason:?}")]
    Undecided {
        /// The epoch in which they were written.
        epoch: u64,
        /// Why it stopped.
        reason: NotLeading,
    },
    /// The replica was closed; whether entries that were written get committed is not known.
    #[error("the replica is closed")]
    Closed,
}

/// Entries that a leader has taken.
#[derive(Debug)]
#[must_use = "an entry is committed when `committed` says so"]
pub struct Proposal {
    /// Their indexes.
    pub indexes: RangeInclusive<u64>,
    /// The leader's epoch.
    pub epoch: u64,
    pub(super) committed: oneshot::Receiver<Result<(), AppendError>>,
}

impl Proposal {
    /// Waits until a quorum has them for good.
    ///
    /// # Errors
    ///
    /// [`AppendError::Undecided`] where the node stopped leading first.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing: the entries are in the log.
    pub async fn committed(self) -> Result<(), AppendError> {
        self.committed.await.unwrap_or(Err(AppendError::Closed))
    }
}

/// Entries on their way to the replica.
#[derive(Debug)]
pub(super) struct Proposing {
    pub(super) entries: Proposed,
    pub(super) taken: oneshot::Sender<Result<Proposal, AppendError>>,
}

/// Something that the application wants of the replica.
#[derive(Debug)]
pub(super) enum Order {
    Lead { epoch: u64, done: oneshot::Sender<Result<Claimed, LeadFailed>> },
    Resign,
    Status(oneshot::Sender<Status>),
    Close,
    Compact { up_to: u64, compacted: oneshot::Sender<Result<Position, CompactError>> },
    Restore { base: Position, restored: oneshot::Sender<Result<(), RestoreError>> },
    Read { from: u64, bytes_max: usize, entries: oneshot::Sender<Result<Vec<LogEntry>, LogError>> },
}

/// A replica, as its application holds it. Cloning shares it; it ends with the last one.
#[derive(Debug, Clone)]
pub struct ReplicaHandle {
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) proposals: mpsc::Sender<Proposing>,
    pub(super) committed: watch::Receiver<u64>,
    pub(super) events: Arc<broadcast::Sender<Arc<Event>>>,
    pub(super) strangers: Arc<AtomicU64>,
    /// The replica's task.
    pub(super) tasks: TaskTracker,
}

impl ReplicaHandle {
    /// Leads in this epoch, and waits until a quorum follows.
    ///
    /// # Errors
    ///
    /// [`LeadFailed`]: [`NotLeading::Behind`] names who may lead instead.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not take it back; [`resign`](Self::resign) does.
    pub async fn lead(&self, epoch: u64) -> Result<Claimed, LeadFailed> {
        let (done, claimed) = oneshot::channel();
        self.orders.send(Order::Lead { epoch, done }).await.map_err(|_| LeadFailed::Closed)?;
        claimed.await.unwrap_or(Err(LeadFailed::Closed))
    }

    /// Leads no longer.
    pub async fn resign(&self) {
        // A replica that is closed does not lead either.
        let _closed = self.orders.send(Order::Resign).await;
    }

    /// Gives entries to this node as the leader, and waits until they are in its log. They are in the order of the calls, and are
    /// committed later: several proposals may be under way. Waits while too much waits for a quorum. No entries are committed as soon as
    /// it is their turn, and their indexes are an empty range.
    ///
    /// # Errors
    ///
    /// [`AppendError`].
    ///
    /// # Cancel safety
    ///
    /// Once it was polled, dropping the future does not take the entries back.
    pub async fn propose(&self, entries: Vec<Bytes>) -> Result<Proposal, AppendError> {
        self.propose_all(entries.into()).await
    }

    /// As [`propose`](Self::propose), of entries that are in one piece.
    ///
    /// # Errors
    ///
    /// [`AppendError`].
    ///
    /// # Cancel safety
    ///
    /// Once it was polled, dropping the future does not take the entries back.
    pub async fn propose_piece(&self, piece: Piece) -> Result<Proposal, AppendError> {
        self.propose_all(piece.into()).await
    }

    async fn propose_all(&self, entries: Proposed) -> Result<Proposal, AppendError> {
        if entries.largest() > ENTRY_BYTES_MAX {
            return Err(AppendError::TooLarge { bytes: entries.largest() });
        }
        let (taken, proposal) = oneshot::channel();
        self.proposals.send(Proposing { entries, taken }).await.map_err(|_| AppendError::Closed)?;
        proposal.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Appends entries, as the leader, and waits until a quorum has them for good; returns their indexes.
    ///
    /// # Errors
    ///
    /// [`AppendError`]: only after [`AppendError::Undecided`] and [`AppendError::Closed`] they may be in the log.
    ///
    /// # Cancel safety
    ///
    /// Once it was polled, dropping the future does not take the entries back.
    pub async fn append(&self, entries: Vec<Bytes>) -> Result<RangeInclusive<u64>, AppendError> {
        let proposal = self.propose(entries).await?;
        let indexes = proposal.indexes.clone();
        proposal.committed().await?;
        Ok(indexes)
    }

    /// Up to where the log is committed, as far as is known here, and from here on.
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.committed.clone()
    }

    /// What happens, from here on. Who is slow misses the oldest, and is told how many.
    pub fn events(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }

    /// How the replica stands; `None` when it is closed.
    pub async fn status(&self) -> Option<Status> {
        let (sender, status) = oneshot::channel();
        self.orders.send(Order::Status(sender)).await.ok()?;
        status.await.ok()
    }

    /// How many messages were refused because their sender is none of the log's members, since the replica was opened. More than none
    /// means that nodes have different configurations.
    pub fn strangers(&self) -> u64 {
        self.strangers.load(Ordering::Relaxed)
    }

    /// Entries from this index on, or from the first that was not dropped, committed or not, as many as fit into so many bytes and at least one; `None` when the replica
    /// is closed. What opens an epoch has no data.
    ///
    /// # Errors
    ///
    /// [`LogError`] of the storage.
    pub async fn read(&self, from: u64, bytes_max: usize) -> Option<Result<Vec<LogEntry>, LogError>> {
        let (entries, read) = oneshot::channel();
        self.orders.send(Order::Read { from, bytes_max, entries }).await.ok()?;
        read.await.ok()
    }

    /// Drops the entries up to this index, which must be committed and which the application needs no more; returns the place behind
    /// which the log begins now; `None` when the replica is closed. A copy of the data as of that place, and the place itself, are what
    /// a replica needs that lacks the entries.
    ///
    /// # Errors
    ///
    /// [`CompactError`]; nothing was dropped.
    pub async fn compact(&self, up_to: u64) -> Option<Result<Position, CompactError>> {
        let (compacted, done) = oneshot::channel();
        self.orders.send(Order::Compact { up_to, compacted }).await.ok()?;
        done.await.ok()
    }

    /// The application has got a copy of the data as of this place: the log goes on behind it. `None` when the replica is closed.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]; nothing has changed.
    pub async fn restore(&self, base: Position) -> Option<Result<(), RestoreError>> {
        let (restored, done) = oneshot::channel();
        self.orders.send(Order::Restore { base, restored }).await.ok()?;
        done.await.ok()
    }

    /// Ends the replica, whoever holds it, and waits until its log is closed.
    pub async fn close(&self) {
        // What is closed already needs no order.
        let _closed = self.orders.send(Order::Close).await;
        self.tasks.wait().await;
    }
}
