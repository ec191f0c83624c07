//! What a driver keeps for those who wait.

use std::sync::Arc;
use std::time::Duration;

use rdb_net_manager::NetworkManager;
use rdb_net_manager::config::Loader;
use rdb_net_types::{BoxFuture, NodeId, Payload, TransactionId, Vote};

use super::{Decision, Prepared, Record, Resource, TransactionManager, TransactionOptions};
use crate::storage::MemoryDisk;
use crate::transaction::Life;

/// Votes to commit and does nothing.
struct Nothing;

impl Resource for Nothing {
    fn prepare(&self, _: TransactionId, _: Payload) -> BoxFuture<'static, Prepared> {
        Box::pin(std::future::ready(Vote::Commit.into()))
    }

    fn restore(&self, _: TransactionId, _: Payload) {}

    fn apply(&self, _: TransactionId, _: Decision) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn who_has_stopped_waiting_for_an_end_takes_no_memory() {
    let node: NodeId = "a".parse().expect("legal");
    let config = Loader::new().overrides(["networking.bind_address=127.0.0.1:0"]).load().expect("legal");
    let network = Arc::new(NetworkManager::new(config).expect("it has a transport"));
    let (log, _) = MemoryDisk::new().open(&mut |_| {}).expect("it is empty");
    let txn = Life::new(&node, 1).transaction(1);
    // A commit that its participant never hears of.
    let decided = Record::Decided { txn, participants: vec!["away".parse().expect("legal")] };
    let (records, resource) = ([decided.encode()], Arc::new(Nothing));
    let options = TransactionOptions::default();
    let transactions =
        TransactionManager::open(network, node, Box::new(log), &records, resource, options).expect("legal");
    for _ in 0..1000 {
        let waited = tokio::time::timeout(Duration::ZERO, transactions.ended(txn)).await;
        assert!(waited.is_err(), "it has not ended");
    }
    assert_eq!(transactions.shared.waiting_for_end(txn), 1);
    transactions.shutdown().await;
}
