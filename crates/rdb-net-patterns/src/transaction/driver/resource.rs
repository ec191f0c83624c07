//! What a database does with transactions: the part that is its own.

use rdb_net_types::{BoxFuture, Payload, TransactionId, Vote};

use super::super::Decision;

/// A resource's vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The vote.
    pub vote: Vote,
    /// Why, for people; empty where it is clear.
    pub reason: String,
}

impl From<Vote> for Prepared {
    fn from(vote: Vote) -> Self {
        Self { vote, reason: String::new() }
    }
}

/// The database's part of a participant: what is locked, changed and released.
///
/// What it prepares lives in its memory. The work itself is in the transactions' log, which gives it back after a restart; a
/// resource writes nothing durable of its own before the commit.
pub trait Resource: Send + Sync {
    /// Makes the work ready, so that a commit cannot fail: checks it, and takes the locks. With another vote than
    /// [`Vote::Commit`] nothing is held.
    ///
    /// A panic counts as a vote to abort. Nothing more is said of the transaction: what it has taken by then it gives back as it unwinds.
    fn prepare(&self, txn: TransactionId, work: Payload) -> BoxFuture<'static, Prepared>;

    /// Takes back, while the transactions are opened, what a former life had prepared: the same locks. A decision follows. It must not call
    /// the transactions. With a panic they are not opened.
    fn restore(&self, txn: TransactionId, work: Payload);

    /// Does or undoes what was prepared, and releases it. Resolves when a commit is durable in the resource. After a restart a commit may
    /// come a second time, and after a panic the same comes again: the transaction stays open here until it is done.
    fn apply(&self, txn: TransactionId, decision: Decision) -> BoxFuture<'static, ()>;
}
