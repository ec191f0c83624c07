//! What a kill leaves in doubt, by the log of the node that was killed, and whether it is resolved later.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rdb_net_patterns::storage::FileLog;
use rdb_net_patterns::transaction::{Decision, Event, History, Occurrence, Record};
use rdb_net_types::{NodeId, TransactionId, Vote};

use crate::exit::Failure;

/// What a node that was killed finds in its log when it comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Doubt {
    /// Who was killed.
    pub(super) node: NodeId,
    /// When, in microseconds since 1970.
    pub(super) killed_us: u64,
    /// As a participant: voted for, without an outcome.
    pub(super) prepared: BTreeSet<TransactionId>,
    /// As a coordinator: decided, without an end; and who has to hear of it.
    pub(super) decided: BTreeMap<TransactionId, Vec<NodeId>>,
}

impl Doubt {
    /// Reads the log of a node that does not run.
    pub(super) fn read(node: NodeId, killed_us: u64, log: &Path) -> Result<Self, Failure> {
        // By a copy: the end may be torn, and opening cuts it off.
        let copy = log.with_extension("copy");
        std::fs::copy(log, &copy).map_err(Failure::other)?;
        let mut records = Vec::new();
        FileLog::open(&copy, &mut |record| records.push(Record::decode(record))).map_err(Failure::other)?;
        let records = records.into_iter().collect::<Result<Vec<_>, _>>().map_err(Failure::other)?;
        Ok(Self::of(node, killed_us, records))
    }

    fn of(node: NodeId, killed_us: u64, records: Vec<Record>) -> Self {
        let mut doubt = Self { node, killed_us, prepared: BTreeSet::new(), decided: BTreeMap::new() };
        for record in records {
            match record {
                Record::Prepared { txn, .. } => {
                    doubt.prepared.insert(txn);
                }
                Record::Committed { txn } | Record::Aborted { txn } => {
                    doubt.prepared.remove(&txn);
                }
                Record::Decided { txn, participants } => {
                    doubt.decided.insert(txn, participants);
                }
                Record::Ended { txn } => {
                    doubt.decided.remove(&txn);
                }
                _ => {}
            }
        }
        doubt
    }

    /// How many transactions the node's next life takes up.
    pub(super) fn count(&self) -> u64 {
        (self.prepared.len() + self.decided.len()) as u64
    }

    /// What of it nobody has resolved: not done by the node itself since the kill, or not by all who had to hear of a commit.
    pub(super) fn unresolved(&self, history: &History) -> Vec<String> {
        let is_applied = |txn: TransactionId, node: &NodeId, since_us: u64, wanted: Option<Decision>| {
            history.events().iter().any(|Event { at_us, node: by, what }| {
                matches!(what, Occurrence::Applied { txn: of, decision }
                    if *of == txn && by == node && *at_us >= since_us && wanted.is_none_or(|wanted| wanted == *decision))
            })
        };
        let at_node = self.prepared.iter().filter(|txn| !is_applied(**txn, &self.node, self.killed_us, None));
        let mut unresolved: Vec<String> =
            at_node.map(|txn| format!("{:032x} is not resolved at {}", txn.0, self.node)).collect();
        for (txn, participants) in &self.decided {
            let missing = participants.iter().filter(|node| !is_applied(*txn, node, 0, Some(Decision::Commit)));
            unresolved.extend(missing.map(|node| format!("{:032x} is not committed at {node}", txn.0)));
        }
        unresolved
    }
}

/// The transactions, begun after their coordinator's own vote was held back, for which all of these have voted to commit and of which
/// nothing is decided.
pub(super) fn waiting(
    events: &[Event],
    coordinator: &NodeId,
    held_us: u64,
    voters: &[NodeId],
) -> BTreeSet<TransactionId> {
    // What several processes tell comes in no order.
    let begun = events.iter().filter_map(|event| match event.what {
        Occurrence::Begun { txn, .. } if event.node == *coordinator && event.at_us > held_us => Some(txn),
        _ => None,
    });
    let mut waiting: BTreeMap<_, BTreeSet<&NodeId>> = begun.map(|txn| (txn, BTreeSet::new())).collect();
    for event in events {
        match event.what {
            Occurrence::Voted { txn, vote: Vote::Commit } => {
                if let Some(voted) = waiting.get_mut(&txn) {
                    voted.insert(&event.node);
                }
            }
            Occurrence::Decided { txn, .. } | Occurrence::Applying { txn, .. } => {
                waiting.remove(&txn);
            }
            _ => {}
        }
    }
    let is_voted = |voted: &BTreeSet<&NodeId>| voters.iter().all(|voter| voted.contains(voter));
    waiting.into_iter().filter(|(_, voted)| is_voted(voted)).map(|(txn, _)| txn).collect()
}
