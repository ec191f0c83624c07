//! Transactions over real nodes, on loopback.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rdb_net_manager::NetworkManager;
use rdb_net_manager::config::Loader;
use rdb_net_patterns::storage::{Log, LogError, MemoryDisk, MemoryLog};
use rdb_net_patterns::transaction::{
    AbortCause, BeginError, Decision, OpenError, Prepared, Record, ResolveError, Resource, TransactionError,
    TransactionManager, TransactionOptions, Untold,
};
use rdb_net_types::{BoxFuture, Effect, NodeId, Payload, SeededRandom, TransactionId, Vote};

const TIMEOUT: Duration = Duration::from_secs(5);
/// How long anything may take before it counts as not happening.
const LIMIT: Duration = Duration::from_secs(20);

/// Votes to commit, and keeps count.
#[derive(Debug, Default)]
struct Counter {
    prepared: Mutex<BTreeMap<TransactionId, Payload>>,
    applied: Mutex<Vec<(TransactionId, Decision)>>,
    changed: tokio::sync::Notify,
}

impl Counter {
    async fn wait_applied(&self, count: usize) -> Vec<(TransactionId, Decision)> {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                let applied = self.applied.lock().expect("not poisoned").clone();
                if applied.len() >= count {
                    return applied;
                }
                changed.await;
            }
        };
        tokio::time::timeout(LIMIT, wait).await.expect("it is applied in time")
    }
}

impl Resource for Counter {
    fn prepare(&self, txn: TransactionId, work: Payload) -> BoxFuture<'static, Prepared> {
        self.prepared.lock().expect("not poisoned").insert(txn, work);
        Box::pin(std::future::ready(Vote::Commit.into()))
    }

    fn restore(&self, txn: TransactionId, work: Payload) {
        self.prepared.lock().expect("not poisoned").insert(txn, work);
    }

    fn apply(&self, txn: TransactionId, decision: Decision) -> BoxFuture<'static, ()> {
        self.prepared.lock().expect("not poisoned").remove(&txn);
        self.applied.lock().expect("not poisoned").push((txn, decision));
        self.changed.notify_one();
        Box::pin(std::future::ready(()))
    }
}

struct Node {
    network: Arc<NetworkManager>,
    transactions: TransactionManager,
    counter: Arc<Counter>,
}

impl Node {
    async fn start(name: &str, seed: Option<&Self>, disk: &MemoryDisk, options: TransactionOptions) -> Self {
        let (log, records) = open(disk);
        Self::over(name, seed, Box::new(log), &records, options).await
    }

    async fn over(
        name: &str,
        seed: Option<&Self>,
        log: Box<dyn Log>,
        records: &[Vec<u8>],
        options: TransactionOptions,
    ) -> Self {
        let seed = seed.map(|seed| seed.network.addresses().transport);
        let seeds = seed.map(|seed| format!("networking.service_discovery.seeds=[\"{seed}\"]"));
        let overrides = [format!("networking.node_id={name}"), "networking.bind_address=127.0.0.1:0".to_owned()];
        let config = Loader::new().overrides(overrides).overrides(seeds).load().expect("legal");
        let network = Arc::new(NetworkManager::new(config).expect("it has a transport"));
        let counter = Arc::new(Counter::default());
        let resource = Arc::clone(&counter) as Arc<dyn Resource>;
        let transactions = TransactionManager::open(Arc::clone(&network), id(name), log, records, resource, options);
        let transactions = transactions.expect("the log can be read");
        network.start().await.expect("loopback has ports");
        tokio::time::timeout(LIMIT, network.wait_joined()).await.expect("it joins");
        Self { network, transactions, counter }
    }

    async fn stop(self) {
        self.transactions.shutdown().await;
        self.network.shutdown().await;
    }
}

/// A log whose syncs take so long that what comes meanwhile waits for the next one, as on a disk.
#[derive(Debug)]
struct SlowSyncs(MemoryLog);

impl Log for SlowSyncs {
    fn append(&mut self, record: &[u8]) -> Result<(), LogError> {
        self.0.append(record)
    }

    fn sync(&mut self) -> Result<(), LogError> {
        std::thread::sleep(Duration::from_millis(20));
        self.0.sync()
    }

    fn replace(&mut self, records: &mut dyn Iterator<Item = Bytes>) -> Result<(), LogError> {
        self.0.replace(records)
    }

    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }
}

fn open(disk: &MemoryDisk) -> (MemoryLog, Vec<Vec<u8>>) {
    let mut records = Vec::new();
    let (log, _) = disk.open(&mut |record| records.push(record.to_vec())).expect("nothing is damaged");
    (log, records)
}

fn id(name: &str) -> NodeId {
    name.parse().expect("legal")
}

fn parts(names: &[&str]) -> Vec<(NodeId, Payload)> {
    names.iter().map(|name| (id(name), Payload::from("work"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_at_once_share_syncs() {
    let disks = [MemoryDisk::new(), MemoryDisk::new()];
    let a = Node::start("a", None, &disks[0], TransactionOptions::default()).await;
    let (log, records) = open(&disks[1]);
    let b = Node::over("b", Some(&a), Box::new(SlowSyncs(log)), &records, TransactionOptions::default()).await;
    let begun: Vec<_> =
        (0..200).map(|_| a.transactions.begin(parts(&["a", "b"]), TIMEOUT).expect("there is room")).collect();
    for begun in begun {
        let outcome = begun.decided().await.expect("it runs");
        assert_eq!(outcome.decision, Decision::Commit, "{:?}", outcome.cause);
    }
    assert_eq!(b.counter.wait_applied(200).await.len(), 200);
    let forced = 2 * 200 + 1;
    assert!(b.transactions.syncs() < forced / 2, "{} syncs for {forced} records", b.transactions.syncs());
    b.stop().await;
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_there_aborts_at_once() {
    let a = Node::start("a", None, &MemoryDisk::new(), TransactionOptions::default()).await;
    let outcome = a.transactions.run(parts(&["a", "nobody"]), TIMEOUT).await.expect("it runs");
    assert_eq!(outcome.decision, Decision::Abort);
    let cause = outcome.cause.expect("an abort has a cause");
    assert!(
        matches!(&cause, AbortCause::NotReached { node, effect: Effect::NotSent, .. } if node.as_str() == "nobody")
    );
    let prepared = a.counter.prepared.lock().expect("not poisoned").len();
    assert!(prepared == 0 || a.counter.wait_applied(1).await == [(outcome.txn, Decision::Abort)]);
    a.stop().await;
}

/// A log of a participant in doubt, and one of a coordinator that had decided: what each finds at its start, the other ends.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_open_ends_after_the_restart() {
    let (coordinator, participant) = (MemoryDisk::new(), MemoryDisk::new());
    let former = rdb_net_patterns::transaction::Life::new(&id("a"), 1);
    let (decided, forgotten) = (former.transaction(1), former.transaction(2));
    append(
        &coordinator,
        &[Record::Started { epoch: 1 }, Record::Decided { txn: decided, participants: vec![id("b")] }],
    );
    let prepared = |txn| Record::Prepared { txn, coordinator: id("a"), work: b"work".to_vec() };
    append(&participant, &[prepared(decided), prepared(forgotten)]);

    let a = Node::start("a", None, &coordinator, TransactionOptions::default()).await;
    let b = Node::start("b", Some(&a), &participant, TransactionOptions::default()).await;
    let mut applied = b.counter.wait_applied(2).await;
    applied.sort_unstable();
    assert_eq!(applied, [(decided, Decision::Commit), (forgotten, Decision::Abort)]);
    tokio::time::timeout(LIMIT, a.transactions.ended(decided)).await.expect("the coordinator hears of it");
    assert_eq!(a.transactions.open_transactions(), []);
    b.stop().await;
    a.stop().await;
}

fn append(disk: &MemoryDisk, records: &[Record]) {
    use rdb_net_patterns::storage::Log;
    let (mut log, _) = open(disk);
    records.iter().for_each(|record| log.append(&record.encode()).expect("in memory"));
    log.sync().expect("in memory");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_fails_ends_all_promises() {
    let disk = MemoryDisk::new();
    let a = Node::start("a", None, &disk, TransactionOptions::default()).await;
    disk.fail_syncs(true);
    let failed = a.transactions.run(parts(&["a"]), TIMEOUT).await;
    assert_eq!(failed, Err(TransactionError::Stopped));
    let after = a.transactions.run(parts(&["a"]), TIMEOUT).await;
    assert_eq!(after, Err(TransactionError::Stopped));
    assert_eq!(a.counter.applied.lock().expect("not poisoned").len(), 0);
    a.stop().await;
}

/// A log with a bug, from when it is told on.
#[derive(Debug)]
struct Buggy {
    log: MemoryLog,
    step: &'static str,
    is_told: Arc<AtomicBool>,
}

impl Buggy {
    fn take(&self, step: &str) {
        if self.step == step && self.is_told.load(Ordering::Relaxed) {
            bug()
        }
    }
}

impl Log for Buggy {
    fn append(&mut self, record: &[u8]) -> Result<(), LogError> {
        self.take("append");
        self.log.append(record)
    }

    fn sync(&mut self) -> Result<(), LogError> {
        self.take("sync");
        self.log.sync()
    }

    fn replace(&mut self, records: &mut dyn Iterator<Item = Bytes>) -> Result<(), LogError> {
        self.take("replace");
        self.log.replace(records)
    }

    fn size_bytes(&self) -> u64 {
        self.log.size_bytes()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_panics_ends_all_promises_as_one_that_fails() {
    for step in ["append", "sync", "replace"] {
        let (disk, is_told) = (MemoryDisk::new(), Arc::default());
        let (log, records) = open(&disk);
        let log = Box::new(Buggy { log, step, is_told: Arc::clone(&is_told) });
        // It is replaced after each write.
        let options = TransactionOptions { log_bytes_max: 0, ..TransactionOptions::default() };
        let a = Node::over("a", None, log, &records, options).await;
        is_told.store(true, Ordering::Relaxed);
        let begun = a.transactions.begin(parts(&["a"]), TIMEOUT).expect("its log is whole");
        let decided = tokio::time::timeout(LIMIT, begun.decided()).await;
        assert_eq!(decided.expect("nobody waits for ever"), Err(TransactionError::Stopped), "{step}");
        assert!(matches!(a.transactions.begin(parts(&["a"]), TIMEOUT), Err(TransactionError::Stopped)), "{step}");
        a.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_panics_while_it_is_opened_opens_no_transactions() {
    let (log, _) = open(&MemoryDisk::new());
    let log = Box::new(Buggy { log, step: "sync", is_told: Arc::new(AtomicBool::new(true)) });
    let (resource, options) = (Arc::new(Counter::default()), TransactionOptions::default());
    let opened = TransactionManager::open(network("a"), id("a"), log, &[], resource, options);
    let error = opened.expect_err("its log has a bug").to_string();
    assert!(error.ends_with("it panicked"), "{error}");
}

/// Its vote, and then its acknowledgement, wait for a sync that fails: neither is given.
#[tokio::test(flavor = "multi_thread")]
async fn a_participant_whose_sync_fails_promises_nothing_and_keeps_its_former_word() {
    let disks = [MemoryDisk::new(), MemoryDisk::new()];
    let a = Node::start("a", None, &disks[0], TransactionOptions::default()).await;
    let b = Node::start("b", Some(&a), &disks[1], TransactionOptions::default()).await;
    disks[1].fail_syncs(true);
    let outcome = a.transactions.run(parts(&["a", "b"]), Duration::from_secs(1)).await.expect("it runs");
    assert_eq!(outcome.decision, Decision::Abort, "no vote was given");
    assert_eq!(b.counter.applied.lock().expect("not poisoned").len(), 0);
    b.stop().await;

    // A log that holds a vote, and whose sync of the commit fails.
    disks[1].fail_syncs(false);
    disks[1].crash(&mut SeededRandom::new(1));
    let own = rdb_net_patterns::transaction::Life::new(&id("a"), 1).transaction(1);
    append(&disks[1], &[Record::Prepared { txn: own, coordinator: id("a"), work: b"work".to_vec() }]);
    a.stop().await;
    append(&disks[0], &[Record::Decided { txn: own, participants: vec![id("b")] }]);
    let b = Node::start("b", None, &disks[1], TransactionOptions::default()).await;
    disks[1].fail_syncs(true);
    let a = Node::start("a", Some(&b), &disks[0], TransactionOptions::default()).await;
    let asked = async {
        // Without participants nothing begins.
        while !matches!(b.transactions.begin(Vec::new(), TIMEOUT), Err(TransactionError::Stopped)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, asked).await.expect("its log has failed");
    assert_eq!(a.transactions.untold(), [Untold { txn: own, nodes: vec![id("b")] }], "nothing is acknowledged");
    assert!(!b.counter.applied.lock().expect("not poisoned").contains(&(own, Decision::Commit)));
    b.stop().await;

    disks[1].fail_syncs(false);
    disks[1].crash(&mut SeededRandom::new(2));
    let b = Node::start("b", Some(&a), &disks[1], TransactionOptions::default()).await;
    tokio::time::timeout(LIMIT, a.transactions.ended(own)).await.expect("it is acknowledged now");
    assert_eq!(b.counter.wait_applied(1).await, [(own, Decision::Commit)], "its vote was durable");
    b.stop().await;
    a.stop().await;
}

/// The rows of the last table of outcomes in `docs/patterns.md`.
#[tokio::test(flavor = "multi_thread")]
async fn the_application_is_told_commit_abort_with_its_cause_not_begun_or_stopped() {
    let disk = MemoryDisk::new();
    let a = Node::start("a", None, &disk, TransactionOptions::default()).await;
    let run = |names: &[&str]| a.transactions.run(parts(names), TIMEOUT);
    let committed = run(&["a"]).await.expect("it runs");
    assert_eq!((committed.decision, committed.cause), (Decision::Commit, None));
    let aborted = run(&["a", "nobody"]).await.expect("it runs");
    assert_eq!(aborted.decision, Decision::Abort);
    assert!(
        matches!(aborted.cause, Some(AbortCause::NotReached { effect: Effect::NotSent, .. })),
        "{:?}",
        aborted.cause
    );
    assert_eq!(run(&[]).await, Err(TransactionError::NotBegun(BeginError::NoParticipant)));
    disk.fail_syncs(true);
    assert_eq!(run(&["a"]).await, Err(TransactionError::Stopped));
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_stays_short_and_a_restart_goes_on_from_it() {
    let disk = MemoryDisk::new();
    let options = TransactionOptions { log_bytes_max: 4096, ..TransactionOptions::default() };
    let a = Node::start("a", None, &disk, options.clone()).await;
    let mut last = None;
    for _ in 0..300 {
        let outcome = a.transactions.run(parts(&["a"]), TIMEOUT).await.expect("it runs");
        assert_eq!(outcome.decision, Decision::Commit, "{:?}", outcome.cause);
        last = Some(outcome.txn);
    }
    a.counter.wait_applied(300).await;
    a.stop().await;
    disk.crash(&mut SeededRandom::new(1));
    let (_, records) = open(&disk);
    assert!(records.len() < 200, "{} records of 300 transactions", records.len());
    let again = Node::start("a", None, &disk, options).await;
    let next = again.transactions.run(parts(&["a"]), TIMEOUT).await.expect("it runs");
    assert!(Some(next.txn) > last, "ids are not used twice");
    assert_eq!(next.decision, Decision::Commit);
    again.stop().await;
}

/// Panics at its first call of each kind, where it is told to, and is a [`Counter`] otherwise.
#[derive(Debug, Default)]
struct Brittle {
    counter: Counter,
    prepares: std::sync::atomic::AtomicU32,
    applies: std::sync::atomic::AtomicU32,
}

/// A bug of the database.
fn bug<T>() -> T {
    std::panic::resume_unwind(Box::new("a bug of the database"))
}

impl Resource for Brittle {
    fn prepare(&self, txn: TransactionId, work: Payload) -> BoxFuture<'static, Prepared> {
        match self.prepares.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 => bug(),
            1 => Box::pin(async { bug() }),
            _ => self.counter.prepare(txn, work),
        }
    }

    fn restore(&self, _: TransactionId, _: Payload) {
        bug()
    }

    fn apply(&self, txn: TransactionId, decision: Decision) -> BoxFuture<'static, ()> {
        match self.applies.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 => bug(),
            1 => Box::pin(async { bug() }),
            _ => self.counter.apply(txn, decision),
        }
    }
}

fn network(name: &str) -> Arc<NetworkManager> {
    let overrides = [format!("networking.node_id={name}"), "networking.bind_address=127.0.0.1:0".to_owned()];
    Arc::new(
        NetworkManager::new(Loader::new().overrides(overrides).load().expect("legal")).expect("it has a transport"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_panics_votes_to_abort_and_still_owes_its_commits() {
    let (network, brittle) = (network("a"), Arc::new(Brittle::default()));
    let (log, records) = open(&MemoryDisk::new());
    let mut options = TransactionOptions::default();
    options.participant.apply_again = Duration::from_millis(1);
    let resource = Arc::clone(&brittle) as Arc<dyn Resource>;
    let transactions =
        TransactionManager::open(Arc::clone(&network), id("a"), Box::new(log), &records, resource, options)
            .expect("the log is empty");
    network.start().await.expect("loopback has ports");
    for _ in 0..2 {
        let outcome = transactions.run(parts(&["a"]), TIMEOUT).await.expect("it runs");
        let cause = outcome.cause.expect("an abort has a cause");
        assert!(matches!(&cause, AbortCause::Vote { reason, .. } if reason.contains("panicked")), "{cause}");
        assert_eq!(transactions.open_transactions(), [], "nothing is held of it");
    }
    let outcome = transactions.run(parts(&["a"]), TIMEOUT).await.expect("it runs");
    assert_eq!(outcome.decision, Decision::Commit, "{:?}", outcome.cause);
    assert_eq!(brittle.counter.wait_applied(1).await, [(outcome.txn, Decision::Commit)]);
    let (_, stats) = transactions.stats();
    assert_eq!((stats.not_prepared, stats.applies_failed), (2, 2));
    transactions.shutdown().await;
    network.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_cannot_take_back_what_it_prepared_keeps_the_transactions_closed() {
    let disk = MemoryDisk::new();
    let txn = rdb_net_patterns::transaction::Life::new(&id("b"), 1).transaction(1);
    append(&disk, &[Record::Prepared { txn, coordinator: id("b"), work: b"work".to_vec() }]);
    let (log, records) = open(&disk);
    let (network, resource) = (network("a"), Arc::new(Brittle::default()));
    let options = TransactionOptions::default();
    let opened = TransactionManager::open(network, id("a"), Box::new(log), &records, resource, options);
    assert!(matches!(opened, Err(OpenError::Restore { txn: lost }) if lost == txn), "{opened:?}");
}

/// A participant whose coordinator is gone, and a coordinator whose participant is.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_resolves_what_a_lost_node_left_open_and_the_next_life_knows() {
    let disk = MemoryDisk::new();
    let gone = rdb_net_patterns::transaction::Life::new(&id("gone"), 1).transaction(1);
    let own = rdb_net_patterns::transaction::Life::new(&id("a"), 1).transaction(1);
    append(
        &disk,
        &[
            Record::Prepared { txn: gone, coordinator: id("gone"), work: b"work".to_vec() },
            Record::Decided { txn: own, participants: vec![id("gone")] },
        ],
    );
    let a = Node::start("a", None, &disk, TransactionOptions::default()).await;
    let listed: Vec<_> = a.transactions.in_doubt().into_iter().map(|doubt| (doubt.txn, doubt.coordinator)).collect();
    assert_eq!(listed, [(gone, id("gone"))]);
    a.transactions.resolve(gone, Decision::Commit).await.expect("it is in doubt");
    assert!(matches!(a.transactions.resolve(gone, Decision::Abort).await, Err(ResolveError::NotInDoubt { .. })));
    assert_eq!(a.counter.wait_applied(1).await, [(gone, Decision::Commit)]);
    assert_eq!(a.transactions.untold(), [Untold { txn: own, nodes: vec![id("gone")] }]);
    assert_eq!(a.transactions.give_up(&id("gone")).await, Ok(vec![own]));
    tokio::time::timeout(LIMIT, a.transactions.ended(own)).await.expect("nobody is waited for");
    a.stop().await;

    disk.crash(&mut SeededRandom::new(1));
    let a = Node::start("a", None, &disk, TransactionOptions::default()).await;
    let kept = a.transactions.resolved_by_hand();
    assert!(matches!(kept.as_slice(), [kept] if kept.txn == gone && !kept.is_contradicted), "{kept:?}");
    assert_eq!((a.transactions.in_doubt(), a.transactions.untold()), (Vec::new(), Vec::new()));
    let listed: Vec<_> = a.transactions.given_up().into_iter().map(|given_up| given_up.transactions).collect();
    assert_eq!(listed, [[own]], "what is to be done should it come back can still be looked up");
    assert!(a.transactions.forget_resolved(gone));
    a.stop().await;
}
