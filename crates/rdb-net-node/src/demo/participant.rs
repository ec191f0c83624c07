//! A node's part in transactions: it counts what it commits, and tells everything that happens.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdb_net_manager::NetworkManager;
use rdb_net_patterns::storage::FileLog;
use rdb_net_patterns::transaction::{Decision, Occurrence, Prepared, Resource, TransactionManager, TransactionOptions};
use rdb_net_types::{BoxFuture, NodeId, Payload, TransactionId, Vote};

use super::holds::{HeldLog, Holds};
use super::node::tell;
use super::protocol::{Open, Told, TransactOrder, Transacted, unix_us};
use crate::exit::Failure;

/// How long votes are waited for.
const VOTE_TIMEOUT: Duration = Duration::from_secs(1);

/// What the node locks and has done.
#[derive(Debug, Default)]
struct Ledger {
    /// By their numbers; one number is locked by one transaction.
    locked: BTreeSet<u64>,
    prepared: std::collections::BTreeMap<TransactionId, u64>,
}

/// The demo's resource. A transaction's work is its number, on which the vote depends: most are committed; of thirteen, one node
/// votes against one, and has nothing to do with another.
#[derive(Debug)]
struct Numbers {
    node: NodeId,
    ledger: Mutex<Ledger>,
    holds: Arc<Holds>,
}

const LOCKED: &str = "no code panics while it holds this lock";

fn number(work: Payload) -> Option<u64> {
    std::str::from_utf8(&work.into_bytes()).ok()?.parse().ok()
}

impl Resource for Numbers {
    fn prepare(&self, txn: TransactionId, work: Payload) -> BoxFuture<'static, Prepared> {
        let refused = |reason: &str| Prepared { vote: Vote::Abort, reason: reason.to_owned() };
        let prepared = match number(work) {
            None => refused("the work is no number"),
            Some(number) if number % 13 == 5 && self.node.as_str().ends_with('1') => refused("an unlucky number"),
            Some(number) if number % 13 == 7 && self.node.as_str().ends_with('1') => Vote::ReadOnly.into(),
            Some(number) => {
                let mut ledger = self.ledger.lock().expect(LOCKED);
                if ledger.locked.insert(number) {
                    ledger.prepared.insert(txn, number);
                    Vote::Commit.into()
                } else {
                    refused("the number is locked by another transaction")
                }
            }
        };
        let holds = Arc::clone(&self.holds);
        Box::pin(async move {
            holds.vote().await;
            prepared
        })
    }

    fn restore(&self, txn: TransactionId, work: Payload) {
        let mut ledger = self.ledger.lock().expect(LOCKED);
        if let Some(number) = number(work) {
            ledger.locked.insert(number);
            ledger.prepared.insert(txn, number);
        }
    }

    fn apply(&self, txn: TransactionId, _: Decision) -> BoxFuture<'static, ()> {
        let mut ledger = self.ledger.lock().expect(LOCKED);
        if let Some(number) = ledger.prepared.remove(&txn) {
            ledger.locked.remove(&number);
        }
        Box::pin(std::future::ready(()))
    }
}

/// Where a node with this configuration has the log of its transactions.
pub(super) fn file(config: &Path) -> PathBuf {
    config.with_extension("transactions")
}

/// Opens the node's transactions, whose log lies beside its configuration.
pub(super) fn open(
    network: &Arc<NetworkManager>,
    config: &Path,
    holds: &Arc<Holds>,
) -> Result<TransactionManager, Failure> {
    let Some(node) = network.config().node_id.clone() else {
        return Err(Failure::other("a node of the demo has a name in its configuration"));
    };
    let mut records = Vec::new();
    let opened = FileLog::open(file(config), &mut |record| records.push(record.to_vec()));
    let (log, _) = opened.map_err(Failure::other)?;
    let resource = Arc::new(Numbers { node: node.clone(), ledger: Mutex::default(), holds: Arc::clone(holds) });
    let log = HeldLog { log, holds: Arc::clone(holds) };
    let witness = |what: Occurrence| {
        // That nobody reads it any more is no failure, and no other is possible.
        let _ = tell(Told::Transaction { at_us: unix_us(), what });
    };
    let options = TransactionOptions { witness: Some(Arc::new(witness)), ..TransactionOptions::default() };
    TransactionManager::open(Arc::clone(network), node, Box::new(log), &records, resource, options)
        .map_err(Failure::other)
}

/// Begins a transaction and waits for its end.
pub(super) async fn transact(transactions: &TransactionManager, order: TransactOrder) -> Transacted {
    let TransactOrder { number, participants } = order;
    let work = |node| (node, Payload::from(number.to_string()));
    match transactions.run(participants.into_iter().map(work).collect(), VOTE_TIMEOUT).await {
        Ok(outcome) => {
            let cause = outcome.cause.map(|cause| cause.to_string());
            Transacted { number, decision: Some(outcome.decision), cause }
        }
        Err(error) => Transacted { number, decision: None, cause: Some(error.to_string()) },
    }
}

/// What this node holds of transactions.
pub(super) fn open_transactions(transactions: &TransactionManager) -> Open {
    let open = transactions.open_transactions();
    let (coordinator, participant) = transactions.stats();
    Open {
        transactions: open.iter().map(|txn| format!("{:032x}", txn.0)).collect(),
        recovered: coordinator.recovered + participant.recovered,
        syncs: transactions.syncs(),
    }
}
