//! Three nodes in one process, each with an account: money moves between two of them, or does not move at all.
//!
//! ```text
//! cargo run -p rdb-net-patterns --example two_phase_commit
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdb_net_manager::NetworkManager;
use rdb_net_manager::config::Loader;
use rdb_net_patterns::storage::FileLog;
use rdb_net_patterns::transaction::{Decision, Prepared, Resource, TransactionManager, TransactionOptions};
use rdb_net_types::{BoxFuture, NodeId, Payload, TransactionId, Vote};

/// An account: what is there, and what transactions are about to change.
#[derive(Debug, Default)]
struct Account {
    state: Arc<Mutex<(i64, BTreeMap<TransactionId, i64>)>>,
}

/// The work of a transaction: by how much the balance changes.
fn amount(work: Payload) -> Option<i64> {
    std::str::from_utf8(&work.into_bytes()).ok()?.parse().ok()
}

impl Resource for Account {
    fn prepare(&self, txn: TransactionId, work: Payload) -> BoxFuture<'static, Prepared> {
        let mut state = self.state.lock().expect("not poisoned");
        let (balance, prepared) = &mut *state;
        let vote = match amount(work) {
            // What others have prepared may be committed, so it counts where it takes money away.
            Some(change) if *balance + prepared.values().filter(|change| **change < 0).sum::<i64>() + change >= 0 => {
                prepared.insert(txn, change);
                Vote::Commit.into()
            }
            _ => Prepared { vote: Vote::Abort, reason: "there is not enough money".to_owned() },
        };
        Box::pin(std::future::ready(vote))
    }

    fn restore(&self, txn: TransactionId, work: Payload) {
        let change = amount(work).expect("it was prepared in a former life");
        self.state.lock().expect("not poisoned").1.insert(txn, change);
    }

    fn apply(&self, txn: TransactionId, decision: Decision) -> BoxFuture<'static, ()> {
        let mut state = self.state.lock().expect("not poisoned");
        let change = state.1.remove(&txn).unwrap_or(0);
        state.0 += if decision == Decision::Commit { change } else { 0 };
        Box::pin(std::future::ready(()))
    }
}

struct Node {
    network: Arc<NetworkManager>,
    transactions: TransactionManager,
    account: Arc<Account>,
}

async fn start(name: &str, seed: Option<&str>, folder: &std::path::Path) -> Result<Node, Box<dyn Error>> {
    let seeds = seed.map(|seed| format!("networking.service_discovery.seeds=[\"{seed}\"]"));
    let config = Loader::new()
        .overrides([format!("networking.node_id={name}"), "networking.bind_address=127.0.0.1:0".to_owned()])
        .overrides(seeds)
        .load()?;
    let network = Arc::new(NetworkManager::new(config)?);
    let account = Arc::new(Account::default());
    account.state.lock().expect("not poisoned").0 = 100;

    let mut records = Vec::new();
    let (log, _) = FileLog::open(folder.join(name), &mut |record| records.push(record.to_vec()))?;
    let transactions = TransactionManager::open(
        Arc::clone(&network),
        name.parse()?,
        Box::new(log),
        &records,
        Arc::clone(&account) as Arc<dyn Resource>,
        TransactionOptions::default(),
    )?;
    network.start().await?;
    network.wait_joined().await;
    Ok(Node { network, transactions, account })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("rdb-two-phase-commit-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let alpha = start("alpha", None, &folder).await?;
    let seed = alpha.network.addresses().transport.to_string();
    let beta = start("beta", Some(&seed), &folder).await?;
    let gamma = start("gamma", Some(&seed), &folder).await?;

    let transfer = |amount: i64| -> Result<Vec<(NodeId, Payload)>, Box<dyn Error>> {
        Ok(vec![("beta".parse()?, format!("-{amount}").into()), ("gamma".parse()?, amount.to_string().into())])
    };
    let timeout = Duration::from_secs(2);
    let first = alpha.transactions.run(transfer(70)?, timeout).await?;
    assert_eq!(first.decision, Decision::Commit, "{:?}", first.cause);
    alpha.transactions.ended(first.txn).await;

    let second = alpha.transactions.run(transfer(70)?, timeout).await?;
    let cause = second.cause.expect("an abort has a cause");
    assert_eq!(
        (second.decision, cause.to_string().as_str()),
        (Decision::Abort, "beta voted to abort: there is not enough money")
    );

    for node in [gamma, beta, alpha] {
        let balance = node.account.state.lock().expect("not poisoned").0;
        assert!([30, 170, 100].contains(&balance), "{balance}");
        node.transactions.shutdown().await;
        node.network.shutdown().await;
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
