//! The protocol's steps, one by one: what is sent, written, answered and refused.

mod coordinating;
mod giving_up;
mod outcomes;
mod participating;
mod presuming;
mod resolving;

use std::time::Duration;

use rdb_net_types::{NodeId, TransactionId, TransactionVote, Vote};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("legal")
}

fn vote(txn: TransactionId, vote: Vote) -> TransactionVote {
    TransactionVote { txn_id: txn, vote, reason: String::new() }
}
