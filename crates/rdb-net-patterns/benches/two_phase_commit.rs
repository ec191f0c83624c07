//! What a transaction over five nodes costs, beside what it is made of: two network rounds and the syncs, measured in the same run,
//! in turns.
//!
//! ```text
//! cargo bench -p rdb-net-patterns --bench two_phase_commit [-- --plaintext]
//! ```
//!
//! Five nodes in this process talk over loopback, with mTLS; all five take part in each transaction, the coordinator's too. A
//! transaction is measured until its application is told of the commit, and until all participants have acknowledged it. Its parts:
//!
//! | part | what is measured |
//! |---|---|
//! | a network round | requests of the same size to the five nodes at once, until the last reply; twice |
//! | the participants' syncs | a record appended and synced to five logs at once, each by a thread of its own; twice |
//! | the coordinator's sync | the same to one log |
//!
//! Everything shares this machine's processors and its disk, on both sides of the comparison.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rdb_net_manager::config::Loader;
use rdb_net_manager::{Answer, CallOptions, HandlerOptions, Handling, NetworkManager, Request};
use rdb_net_patterns::storage::{FileLog, Log};
use rdb_net_patterns::transaction::{Decision, Prepared, Resource, TransactionManager, TransactionOptions};
use rdb_net_tls::Clock;
use rdb_net_tls::pki::{Issued, Pki, PkiOptions};
use rdb_net_types::{Application, BoxFuture, ClusterId, MessageType, NodeId, Payload, Role, TransactionId, Vote};

const NODES: usize = 5;
const WORK_BYTES: usize = 100;
/// So many turns are not counted: connections are made, memory is found.
const WARM_UP: usize = 50;
const TURNS: usize = 1000;
const TIMEOUT: Duration = Duration::from_secs(5);

type Failure = Box<dyn Error + Send + Sync>;

/// Votes to commit, and has nothing to do.
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

struct Node {
    network: Arc<NetworkManager>,
    transactions: TransactionManager,
}

async fn start(name: &NodeId, seed: Option<String>, pki: Option<&Pki>, folder: &Path) -> Result<Node, Failure> {
    let mut overrides = vec![
        format!("networking.node_id={name}"),
        "networking.cluster_id=bench".to_owned(),
        "networking.bind_address=127.0.0.1:0".to_owned(),
    ];
    overrides.extend(seed.map(|seed| format!("networking.service_discovery.seeds=[\"{seed}\"]")));
    if let Some(pki) = pki {
        let Issued { certificate, key, ca, .. } = pki.issue(name, Role::Node, &[])?;
        let tls = "networking.tls";
        overrides.extend([
            format!("{tls}.enabled=true"),
            format!("{tls}.cert_path=\"{}\"", certificate.display()),
            format!("{tls}.key_path=\"{}\"", key.display()),
            format!("{tls}.ca_cert_path=\"{}\"", ca.display()),
        ]);
    }
    let network = Arc::new(NetworkManager::new(Loader::new().overrides(overrides).load()?)?);
    let echo = |_: &NodeId, request: Request| Handling::Ready(Ok(Answer::Payload(request.into_payload())));
    network.handle(MessageType::FIRST_APPLICATION, Arc::new(echo), HandlerOptions::default());
    let mut records = Vec::new();
    let (log, _) = FileLog::open(folder.join(name.as_str()), &mut |record| records.push(record.to_vec()))?;
    let (net, options) = (Arc::clone(&network), TransactionOptions::default());
    let transactions =
        TransactionManager::open(net, name.clone(), Box::new(log), &records, Arc::new(Nothing), options)?;
    network.start().await?;
    network.wait_joined().await;
    Ok(Node { network, transactions })
}

/// Logs with a thread each, which append and sync when they are told to.
struct Logs {
    begin: Vec<mpsc::SyncSender<()>>,
    done: mpsc::Receiver<()>,
}

impl Logs {
    fn open(folder: &Path, name: &str, count: usize) -> Result<Self, Failure> {
        let (finished, done) = mpsc::sync_channel(NODES);
        let mut begin = Vec::new();
        for number in 0..count {
            let (mut log, _) = FileLog::open(folder.join(format!("{name}-{number}")), &mut |_| {})?;
            let (sender, orders) = mpsc::sync_channel(NODES);
            let finished = finished.clone();
            std::thread::spawn(move || {
                let record = [7; WORK_BYTES + 40];
                while let Ok(()) = orders.recv() {
                    let synced = log.append(&record).and_then(|()| log.sync());
                    synced.expect("there is room for some megabytes");
                    if finished.send(()).is_err() {
                        return;
                    }
                }
            });
            begin.push(sender);
        }
        Ok(Self { begin, done })
    }

    /// Until the last of them is durable.
    fn sync(&self) -> Duration {
        let begun = Instant::now();
        self.begin.iter().for_each(|begin| begin.send(()).expect("the thread waits"));
        self.begin.iter().for_each(|_| self.done.recv().expect("the thread answers"));
        begun.elapsed()
    }
}

/// Times of one kind.
struct Times(Vec<Duration>);

impl Times {
    fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted[(sorted.len() - 1) * percent / 100]
    }

    fn line(&self, name: &str) -> String {
        let us = |percent| self.percentile(percent).as_micros();
        format!("{name:<44} p50 {:>7} µs   p99 {:>7} µs", us(50), us(99))
    }
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays behind is some megabytes among temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "its result")]
async fn main() -> Result<(), Failure> {
    let has = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    // As a test it only shows that it runs.
    let (warm_up, turns) = if has("--bench") { (WARM_UP, TURNS) } else { (2, 10) };
    let folder = Folder(std::env::temp_dir().join(format!("rdb-two-phase-commit-bench-{}", std::process::id())));
    std::fs::create_dir_all(&folder.0)?;
    let pki = match has("--plaintext") {
        true => None,
        false => Some(Pki::init(&folder.0.join("pki"), &PkiOptions::new(ClusterId::new("bench")?), Clock::default())?),
    };
    let names: Vec<NodeId> = (1..=NODES).map(|n| format!("n{n}").parse()).collect::<Result<_, _>>()?;
    let mut nodes: Vec<Node> = Vec::new();
    for name in &names {
        let seed = nodes.first().map(|first| first.network.addresses().transport.to_string());
        nodes.push(start(name, seed, pki.as_ref(), &folder.0).await?);
    }
    let coordinator = &nodes[0];
    while coordinator.network.members().len() < NODES {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let (five, one) = (Logs::open(&folder.0, "five", NODES)?, Logs::open(&folder.0, "one", 1)?);
    let work = Payload::from(vec![7; WORK_BYTES]);
    let round = async || -> Result<Duration, Failure> {
        let message = Application { message_type: MessageType::FIRST_APPLICATION, payload: work.clone() };
        let begun = Instant::now();
        let outcomes = coordinator.network.request_all(&names, message, CallOptions::timeout(TIMEOUT)).await;
        let elapsed = begun.elapsed();
        outcomes.into_iter().try_for_each(|outcome| outcome.result.map(drop))?;
        Ok(elapsed)
    };
    let mut kinds: [Vec<Duration>; 6] = Default::default();
    for turn in 0..warm_up + turns {
        let participants = names.iter().map(|name| (name.clone(), work.clone())).collect();
        let begun = Instant::now();
        let outcome = coordinator.transactions.run(participants, TIMEOUT).await?;
        let decided = begun.elapsed();
        coordinator.transactions.ended(outcome.txn).await;
        let ended = begun.elapsed();
        assert_eq!(outcome.decision, Decision::Commit, "{:?}", outcome.cause);
        let rounds = [round().await?, round().await?];
        let syncs = [five.sync(), one.sync(), five.sync()];
        if turn >= warm_up {
            let sum = rounds.iter().chain(&syncs).sum();
            for (kind, time) in kinds.iter_mut().zip([decided, ended, rounds[0], syncs[0], syncs[1], sum]) {
                kind.push(time);
            }
        }
    }
    let [decided, ended, round, five, one, sum] = kinds.map(Times);
    println!("{turns} transactions over {NODES} nodes, {}", if pki.is_some() { "mTLS" } else { "plain text" });
    for (name, times) in [
        ("a transaction, until the commit is told", &decided),
        ("a transaction, until all have acknowledged", &ended),
        ("one network round", &round),
        ("the participants' syncs, once", &five),
        ("the coordinator's sync", &one),
        ("two rounds and all syncs", &sum),
    ] {
        println!("  {}", times.line(name));
    }
    let ratio = ended.percentile(50).as_secs_f64() / sum.percentile(50).as_secs_f64();
    println!("a transaction, until all have acknowledged: {ratio:.2} × two rounds and all syncs (p50)");
    for node in nodes.into_iter().rev() {
        node.transactions.shutdown().await;
        node.network.shutdown().await;
    }
    Ok(())
}
