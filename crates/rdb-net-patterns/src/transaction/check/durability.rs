//! A commit that the application was told of is done by all who voted for it, whatever crashed since: done to its end, not begun.
//!
//! "Once a transaction has been completed and has committed its results, the system must guarantee that these results survive any
//! subsequent malfunctions" (Härder, Reuter: "Principles of Transaction-Oriented Database Recovery", ACM Computing Surveys 15(4),
//! 1983).

use std::collections::{BTreeMap, BTreeSet};

use rdb_net_types::{NodeId, TransactionId, Vote};

use super::Violation;
use crate::transaction::{Decision, History, Occurrence};

/// Finds commits that were told and are not done everywhere. The run must have been healed before its end.
pub fn check(history: &History) -> Vec<Violation> {
    let mut told: BTreeSet<TransactionId> = BTreeSet::new();
    let mut bound: BTreeMap<TransactionId, BTreeSet<&NodeId>> = BTreeMap::new();
    let mut done: BTreeMap<TransactionId, BTreeSet<&NodeId>> = BTreeMap::new();
    for event in history.events() {
        match event.what {
            Occurrence::Decided { txn, decision: Decision::Commit } => {
                told.insert(txn);
            }
            Occurrence::Voted { txn, vote: Vote::Commit } => {
                bound.entry(txn).or_default().insert(&event.node);
            }
            Occurrence::Applied { txn, decision: Decision::Commit } => {
                done.entry(txn).or_default().insert(&event.node);
            }
            // A resource that undoes what it had done has lost it.
            Occurrence::Applied { txn, decision: Decision::Abort } => {
                done.entry(txn).or_default().remove(&event.node);
            }
            _ => {}
        }
    }
    let (nobody, mut found) = (BTreeSet::new(), Vec::new());
    for txn in told {
        let (bound, done) = (bound.get(&txn).unwrap_or(&nobody), done.get(&txn).unwrap_or(&nobody));
        let lost: Vec<&str> = bound.difference(done).map(|node| node.as_str()).collect();
        if !lost.is_empty() {
            let what = format!("its commit was told, and is not done on {}", lost.join(", "));
            found.push(Violation { check: "durability", txn, what });
        }
    }
    found
}
