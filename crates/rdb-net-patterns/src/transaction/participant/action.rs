//! What the owner of a participant has to do.

use std::time::Duration;

use rdb_net_types::{NodeId, Payload, TransactionAck, TransactionId, TransactionVote};

use super::Refusal;
use crate::transaction::{Decision, Record, Ticket};

/// Which of the messages that wait for an answer; its owner numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// An answer to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParticipantAnswer {
    /// To a prepare.
    Vote(TransactionVote),
    /// To a commit or an abort.
    Ack(TransactionAck),
    /// Nothing was done.
    Refused(Refusal),
}

/// What the owner of a participant has to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum ParticipantAction {
    /// Answer a message.
    Answer {
        /// Which.
        call: CallId,
        /// With what.
        answer: ParticipantAnswer,
    },
    /// Let the resource prepare a transaction's work, and give its vote to [`handle_worked`](super::Participant::handle_worked).
    Work {
        /// Which transaction.
        txn: TransactionId,
        /// What is to be done.
        work: Payload,
    },
    /// Let the resource take back what a former life had prepared. A decision follows.
    Restore {
        /// Which transaction.
        txn: TransactionId,
        /// What was to be done.
        work: Payload,
    },
    /// Put a record into the log, and where there is a ticket give it to [`handle_synced`](super::Participant::handle_synced) when it is durable.
    Append {
        /// What.
        record: Record,
        /// Whether something waits for it.
        forced: Option<Ticket>,
    },
    /// Let the resource commit or abort, and tell [`handle_applied`](super::Participant::handle_applied) when it is done, or
    /// [`handle_apply_failed`](super::Participant::handle_apply_failed) when it is not. After that, and after a restart, it comes again.
    Apply {
        /// Which transaction.
        txn: TransactionId,
        /// What was decided.
        decision: Decision,
    },
    /// Tell the application that what was resolved by hand is durable.
    Resolved {
        /// Which transaction.
        txn: TransactionId,
        /// How.
        decision: Decision,
    },
    /// Tell the operator that the coordinator has decided against what was resolved by hand: the transaction is mixed.
    Contradicted {
        /// Which transaction.
        txn: TransactionId,
        /// Who decided.
        coordinator: NodeId,
        /// How it was resolved here.
        resolved: Decision,
    },
    /// Tell the operator that a commit is acknowledged of a transaction that is over by presumption alone: of an older life of its coordinator,
    /// 4,096 numbers back, or from before its window was closed. Nothing is kept that tells whether it was done here. Where this node's log has
    /// lost its end, look whether its part is there.
    AckPresumed {
        /// Which transaction.
        txn: TransactionId,
        /// Who told of the commit.
        coordinator: NodeId,
    },
    /// Ask the coordinator what it has decided, and give the answer to [`handle_verdict`](super::Participant::handle_verdict).
    Ask {
        /// Whom.
        coordinator: NodeId,
        /// The vote, once more; after an abort by hand, one to abort.
        message: TransactionVote,
        /// How long to wait.
        timeout: Duration,
    },
}
