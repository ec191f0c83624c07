//! When all faults are repaired, no transaction stays open.
//!
//! "If all existing failures are repaired and no new failures occur for sufficiently long, then all processes will eventually reach
//! a decision" (Bernstein, Hadzilacos, Goodman 1987, §7.3, AC5).

use std::collections::BTreeMap;

use rdb_net_types::{NodeId, TransactionId};

use super::Violation;
use crate::transaction::{History, Occurrence};

/// Finds transactions that are open at the end, and those whose application was never told although its node went on. The run
/// must have been healed long enough before its end.
pub fn check(history: &History) -> Vec<Violation> {
    let violation = |txn, what| Violation { check: "progress", txn, what };
    let mut found = Vec::new();
    // Whose application waits for an answer.
    let mut untold: BTreeMap<TransactionId, &NodeId> = BTreeMap::new();
    for event in history.events() {
        match event.what {
            // Whoever waited on the former life waits no more.
            Occurrence::Started => untold.retain(|_, coordinator| **coordinator != event.node),
            Occurrence::Begun { txn, .. } => {
                untold.insert(txn, &event.node);
            }
            Occurrence::Decided { txn, .. } => {
                untold.remove(&txn);
            }
            Occurrence::LeftOpen { txn } => found.push(violation(txn, format!("still open on {}", event.node))),
            _ => {}
        }
    }
    let untold = untold.into_iter();
    found.extend(
        untold.map(|(txn, node)| violation(txn, format!("begun on {node}, which never told what became of it"))),
    );
    found
}
