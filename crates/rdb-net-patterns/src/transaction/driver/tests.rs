//! What a driver keeps for those who wait, and tells its operator.

use std::sync::Arc;
use std::time::Duration;

use rdb_net_manager::NetworkManager;
use rdb_net_manager::config::Loader;
use rdb_net_types::{BoxFuture, NodeId, Payload, TransactionId, Vote};

use super::{Decision, Prepared, Record, Resource, TransactionManager, TransactionOptions};
use crate::storage::MemoryDisk;
use crate::transaction::{Life, ParticipantAction};
use crate::warned::warned_of;

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

#[tokio::test]
async fn a_coordinator_that_tells_what_is_over_again_and_again_is_one_warning() {
    let config = Loader::new().overrides(["networking.bind_address=127.0.0.1:0"]).load().expect("legal");
    let network = Arc::new(NetworkManager::new(config).expect("it has a transport"));
    let (log, _) = MemoryDisk::new().open(&mut |_| {}).expect("it is empty");
    let (node, options): (NodeId, _) = ("a".parse().expect("legal"), TransactionOptions::default());
    let transactions =
        TransactionManager::open(network, node, Box::new(log), &[], Arc::new(Nothing), options).expect("legal");
    let shared = &transactions.shared;
    let tell = |coordinator: &str| {
        let coordinator: NodeId = coordinator.parse().expect("legal");
        let txn = Life::new(&coordinator, 1).transaction(1);
        shared.with(|machines, _| shared.participate(machines, ParticipantAction::AckPresumed { txn, coordinator }));
    };
    let warnings = warned_of("presumption", || {
        (0..1000).for_each(|_| tell("b"));
        tell("c");
    });
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("coordinator=b") && warnings[1].contains("coordinator=c"), "{warnings:?}");
    transactions.shutdown().await;
}

/// As with what else an operator decides: a node that writes nothing more forgets nothing.
#[tokio::test]
async fn a_node_whose_log_has_failed_forgets_nothing_of_what_was_resolved_by_hand() {
    let config = Loader::new().overrides(["networking.bind_address=127.0.0.1:0"]).load().expect("legal");
    let network = Arc::new(NetworkManager::new(config).expect("it has a transport"));
    let (log, _) = MemoryDisk::new().open(&mut |_| {}).expect("it is empty");
    let (node, coordinator): (NodeId, NodeId) = ("a".parse().expect("legal"), "b".parse().expect("legal"));
    let txn = Life::new(&coordinator, 1).transaction(1);
    let records = [Record::Resolved { txn, coordinator, decision: Decision::Abort }.encode()];
    let (resource, options) = (Arc::new(Nothing), TransactionOptions::default());
    let transactions =
        TransactionManager::open(network, node, Box::new(log), &records, resource, options).expect("legal");
    transactions.shared.cancel();
    assert!(!transactions.forget_resolved(txn));
    assert_eq!(transactions.resolved_by_hand().len(), 1);
    transactions.shutdown().await;
}
