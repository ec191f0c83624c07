//! No transaction is committed in one place and aborted in another.
//!
//! "All processes that reach a decision reach the same one" and "a process cannot reverse its decision after it has reached one"
//! (Bernstein, Hadzilacos, Goodman 1987, §7.3, AC1 and AC2).

use std::collections::BTreeMap;

use rdb_net_types::TransactionId;

use super::Violation;
use crate::transaction::{Decision, Event, History, Occurrence};

/// Finds transactions with two outcomes.
pub fn check(history: &History) -> Vec<Violation> {
    let mut outcomes: BTreeMap<TransactionId, BTreeMap<Decision, &Event>> = BTreeMap::new();
    for event in history.events() {
        // What was begun counts as well: nobody knows how much of it was seen.
        if let Occurrence::Decided { txn, decision }
        | Occurrence::Applying { txn, decision }
        | Occurrence::Applied { txn, decision } = event.what
        {
            outcomes.entry(txn).or_default().entry(decision).or_insert(event);
        }
    }
    let mixed = outcomes.into_iter().filter_map(|(txn, outcomes)| {
        let (commit, abort) = (outcomes.get(&Decision::Commit)?, outcomes.get(&Decision::Abort)?);
        let what = format!(
            "committed on {} at {} µs and aborted on {} at {} µs",
            commit.node, commit.at_us, abort.node, abort.at_us
        );
        Some(Violation { check: "atomicity", txn, what })
    });
    mixed.collect()
}
