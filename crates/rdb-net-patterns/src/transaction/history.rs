//! What happened to transactions, as their nodes tell it: the same of a simulated run and of a real one.

use rdb_net_types::{NodeId, TransactionId, Vote};
use serde::{Deserialize, Serialize};

use super::Decision;

/// Something that happened on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When: microseconds, on a clock that all nodes of the run share.
    pub at_us: u64,
    /// On which node.
    pub node: NodeId,
    /// What.
    pub what: Occurrence,
}

/// What happened. Each is told before its effect leaves the node, and what has been done when it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Occurrence {
    /// A life of the node began.
    Started,
    /// The coordinator began a transaction.
    Begun {
        /// Which.
        #[serde(with = "hexadecimal")]
        txn: TransactionId,
        /// Over whom.
        participants: Vec<NodeId>,
    },
    /// A participant gave its vote.
    Voted {
        /// On which transaction.
        #[serde(with = "hexadecimal")]
        txn: TransactionId,
        /// The vote.
        vote: Vote,
    },
    /// The coordinator told the application what was decided.
    Decided {
        /// Of which transaction.
        #[serde(with = "hexadecimal")]
        txn: TransactionId,
        /// What.
        decision: Decision,
    },
    /// A participant's resource was told to commit or to abort.
    Applying {
        /// Which transaction.
        #[serde(with = "hexadecimal")]
        txn: TransactionId,
        /// What.
        decision: Decision,
    },
    /// It has done so, a commit durably.
    Applied {
        /// Which transaction.
        #[serde(with = "hexadecimal")]
        txn: TransactionId,
        /// What it did.
        decision: Decision,
    },
    /// An operator decided about a transaction in doubt. That may break every rule but this: that it is told.
    Resolved {
        /// Which transaction.
        #[serde(with = "hexadecimal")]
        txn: TransactionId,
        /// How.
        decision: Decision,
    },
    /// At the end of the run: a transaction was still open on this node, whether as its coordinator or as a participant.
    LeftOpen {
        /// Which.
        #[serde(with = "hexadecimal")]
        txn: TransactionId,
    },
}

/// A run: its events in the order of their times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    events: Vec<Event>,
}

impl History {
    /// The events in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Adds an event that happened after all others.
    pub fn push(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Every transaction that was begun, with its coordinator and its participants.
    pub fn begun(&self) -> impl Iterator<Item = (TransactionId, &NodeId, &[NodeId])> {
        self.events.iter().filter_map(|event| match &event.what {
            Occurrence::Begun { txn, participants } => Some((*txn, &event.node, participants.as_slice())),
            _ => None,
        })
    }
}

impl FromIterator<Event> for History {
    /// Sorts events that several nodes have told; those of one time keep their order.
    fn from_iter<I: IntoIterator<Item = Event>>(events: I) -> Self {
        let mut events: Vec<Event> = events.into_iter().collect();
        events.sort_by_key(|event| event.at_us);
        Self { events }
    }
}

/// Ids as text, in 32 digits: no number of JSON is as long.
mod hexadecimal {
    use rdb_net_types::TransactionId;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(txn: &TransactionId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", txn.0))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TransactionId, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(TransactionId).map_err(D::Error::custom)
    }
}
