//! What must hold of any history of transactions, simulated or real: one file each.
//!
//! | check | what it says | whose it is |
//! |---|---|---|
//! | [`atomicity`] | no transaction is committed in one place and aborted in another | Bernstein, Hadzilacos, Goodman: "Concurrency Control and Recovery in Database Systems", 1987, §7.3, AC1 and AC2 |
//! | [`votes`] | a commit follows votes for it of every participant | the same, AC3 |
//! | [`durability`] | a commit that the application was told of is done by all who voted for it | Härder, Reuter: "Principles of Transaction-Oriented Database Recovery", 1983: the D |
//! | [`progress`] | when all faults are repaired, no transaction stays open | Bernstein et al., AC5 |
//!
//! The last two are of a run that came to its end with everything healed.

pub mod atomicity;
pub mod durability;
pub mod progress;
pub mod votes;

use rdb_net_types::TransactionId;

use super::History;

/// Something that must hold and did not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{check}: transaction {:032x}: {what}", txn.0)]
pub struct Violation {
    /// Which check found it.
    pub check: &'static str,
    /// Of which transaction.
    pub txn: TransactionId,
    /// What is wrong.
    pub what: String,
}

/// Every violation in a run that was healed before its end.
pub fn all(history: &History) -> Vec<Violation> {
    [atomicity::check, votes::check, durability::check, progress::check]
        .iter()
        .flat_map(|check| check(history))
        .collect()
}
