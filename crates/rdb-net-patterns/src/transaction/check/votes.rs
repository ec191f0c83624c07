//! A commit follows votes for it of every participant.
//!
//! "The commit decision can only be reached if all processes voted yes" (Bernstein, Hadzilacos, Goodman 1987, §7.3, AC3).

use std::collections::{BTreeMap, BTreeSet};

use rdb_net_types::{NodeId, TransactionId, Vote};

use super::Violation;
use crate::transaction::{Decision, History, Occurrence};

/// Finds commits that a participant had not voted for.
pub fn check(history: &History) -> Vec<Violation> {
    let mut participants: BTreeMap<TransactionId, &[NodeId]> = BTreeMap::new();
    let mut agreed: BTreeMap<TransactionId, BTreeSet<&NodeId>> = BTreeMap::new();
    let mut found: BTreeMap<TransactionId, Violation> = BTreeMap::new();
    for event in history.events() {
        match &event.what {
            Occurrence::Begun { txn, participants: named } => {
                participants.insert(*txn, named);
            }
            Occurrence::Voted { txn, vote: Vote::Commit | Vote::ReadOnly } => {
                agreed.entry(*txn).or_default().insert(&event.node);
            }
            Occurrence::Decided { txn, decision: Decision::Commit }
            | Occurrence::Applying { txn, decision: Decision::Commit }
            | Occurrence::Applied { txn, decision: Decision::Commit } => {
                let agreed = agreed.get(txn);
                let missing = participants.get(txn).map(|named| {
                    named.iter().filter(|node| agreed.is_none_or(|agreed| !agreed.contains(node))).collect::<Vec<_>>()
                });
                let what = match missing {
                    None => "committed, and nobody had begun it".to_owned(),
                    Some(missing) if missing.is_empty() => continue,
                    Some(missing) => {
                        let missing: Vec<&str> = missing.into_iter().map(NodeId::as_str).collect();
                        format!("committed on {} without the vote of {}", event.node, missing.join(", "))
                    }
                };
                found.entry(*txn).or_insert(Violation { check: "votes", txn: *txn, what });
            }
            _ => {}
        }
    }
    found.into_values().collect()
}
