//! What coordinator and participant write down.

use rdb_net_types::{NodeId, TransactionId};
use serde::{Deserialize, Serialize};

use super::{Decision, Life};

/// A record of the node's log. New kinds are added at the end: the number of a kind is its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Record {
    /// Coordinator: a life begins.
    Started {
        /// Which.
        epoch: u32,
    },
    /// Coordinator: the decision to commit. An abort has none.
    Decided {
        /// Which transaction.
        txn: TransactionId,
        /// Who voted to commit and has to hear of it.
        participants: Vec<NodeId>,
    },
    /// Coordinator: everybody has heard.
    Ended {
        /// Which transaction.
        txn: TransactionId,
    },
    /// Participant: ready, and bound to what the coordinator decides.
    Prepared {
        /// Which transaction.
        txn: TransactionId,
        /// Who decides.
        coordinator: NodeId,
        /// What is to be done, for the resource of the next life.
        work: Vec<u8>,
    },
    /// Participant: the decision was to commit.
    Committed {
        /// Which transaction.
        txn: TransactionId,
    },
    /// Participant: the decision was to abort.
    Aborted {
        /// Which transaction.
        txn: TransactionId,
    },
    /// Participant: the resource has committed.
    Applied {
        /// Which transaction.
        txn: TransactionId,
    },
    /// Participant: which transactions of a coordinator are over, in a log that no longer holds them.
    Over {
        /// The coordinator's newest life.
        life: Life,
        /// The highest number of it that is over.
        highest: u32,
        /// A bit for each number that is over, at its place in the window; without bits all up to the highest are.
        bits: Vec<u64>,
    },
    /// Participant: an operator decided what was in doubt.
    Resolved {
        /// Which transaction.
        txn: TransactionId,
        /// Who should have decided.
        coordinator: NodeId,
        /// What is done here.
        decision: Decision,
    },
    /// Participant: the coordinator has decided the same, or an operator wants to hear no more of it.
    ResolvedForgotten {
        /// Which transaction.
        txn: TransactionId,
    },
    /// Coordinator: a participant is given up that does not come back. It is not waited for, and what it asks about transactions up to this
    /// one is not answered by a presumption.
    GivenUp {
        /// Who.
        node: NodeId,
        /// The newest transaction at that time.
        newest: TransactionId,
        /// The commits that do without it, those of earlier such records included.
        transactions: Vec<TransactionId>,
    },
}

/// A record that cannot be read: a newer version has written it, or another program. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the log holds a record that this version cannot read; it was written by a newer one, or is not of transactions"
)]
pub struct RecordError;

impl Record {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("a record has no part that cannot be written")
    }

    /// Reads its bytes.
    ///
    /// # Errors
    ///
    /// [`RecordError`] where they are no record.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        match postcard::take_from_bytes(bytes) {
            Ok((record, [])) => Ok(record),
            _ => Err(RecordError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let (txn, node) = (TransactionId(1 << 100 | 5), NodeId::new("n1").expect("legal"));
        let records = [
            Record::Started { epoch: 3 },
            Record::Decided { txn, participants: vec![node.clone()] },
            Record::Ended { txn },
            Record::Prepared { txn, coordinator: node.clone(), work: vec![1, 2, 3] },
            Record::Committed { txn },
            Record::Aborted { txn },
            Record::Applied { txn },
            Record::Over { life: Life::of(txn), highest: 5, bits: vec![u64::MAX] },
            Record::Resolved { txn, coordinator: node.clone(), decision: Decision::Abort },
            Record::ResolvedForgotten { txn },
            Record::GivenUp { node, newest: txn, transactions: vec![txn] },
        ];
        for (kind, record) in records.into_iter().enumerate() {
            let bytes = record.encode();
            assert_eq!(usize::from(bytes[0]), kind, "a kind keeps its number: old logs are read by it");
            assert_eq!(Record::decode(&bytes), Ok(record));
            assert_eq!(Record::decode(&bytes[..bytes.len() - 1]), Err(RecordError));
            assert_eq!(Record::decode(&[&bytes[..], &[0]].concat()), Err(RecordError));
        }
        assert_eq!(Record::decode(&[200]), Err(RecordError));
    }
}
