//! A rolling upgrade: three nodes of the previous release under load, each in turn stopped with a farewell and started with
//! today's binary on the same configuration; then the same way back.
//!
//! The load is queries through each node's manager, which asks every living member over its connections, so every pair of
//! versions talks in both directions: hello, requests, replies, heartbeats, membership by UDP and by connection, drain. A query
//! is a read, hence idempotent: its client asks again, at another node if its own has gone, and fails when no answer was whole
//! for three seconds. What is small here is not covered: credits that run out, large messages. Those are in `versions`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdb_net_tests::{Asker, Place, Rdbnet, Reply};

const NODES: usize = 3;
/// How long a client tries; a query that is not answered whole by then has failed.
const CALL: Duration = Duration::from_secs(3);
/// How long a node waits for the parts of one query, at least.
const TRY: Duration = Duration::from_millis(1500);
/// Between two calls of a client, and before it asks again.
const PACE: Duration = Duration::from_millis(5);
/// How long an event is waited for that has no bound of its own.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many calls are answered in each state of the cluster, at least.
const CALLS: u64 = 200;
/// The rows that each node has.
const ROWS: u64 = 2000;

/// The nodes, for clients and for whoever replaces them.
struct Nodes {
    folder: tempfile::TempDir,
    askers: [Mutex<Option<Arc<Asker>>>; NODES],
    next_query: AtomicU64,
    /// Calls of clients that were answered whole.
    answered: AtomicU64,
}

impl Nodes {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test's files");
        let places = Place::reserve(NODES);
        let seeds: Vec<String> = places.iter().map(|place| format!("\"{}\"", place.transport)).collect();
        for (index, place) in places.iter().enumerate() {
            let text = format!(
                "[networking]\nnode_id = \"n{index}\"\nbind_address = \"{}\"\ngossip_address = \"{}\"\n\n\
                 [networking.service_discovery]\nseeds = [{}]\n\n\
                 [networking.admin]\nbind_address = \"127.0.0.1:0\"\n",
                place.transport,
                place.gossip,
                seeds.join(", ")
            );
            std::fs::write(folder.path().join(format!("n{index}.toml")), text).expect("the folder can be written");
        }
        Self { folder, askers: Default::default(), next_query: AtomicU64::new(0), answered: AtomicU64::new(0) }
    }

    fn file(&self, index: usize, kind: &str) -> PathBuf {
        self.folder.path().join(format!("n{index}.{kind}"))
    }

    fn start(&self, index: usize, rdbnet: &Rdbnet) {
        let asker = Asker::start(rdbnet, &self.file(index, "toml"), &self.file(index, "log"));
        *self.askers[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(asker));
    }

    fn asker(&self, index: usize) -> Option<Arc<Asker>> {
        self.askers[index].lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops a node with a farewell. Clients that wait for it find out that it has gone.
    fn stop(&self, index: usize) {
        let asker = self.asker(index).expect("it runs");
        assert_eq!((asker.leave(), asker.failed_members()), (Some(0), 0), "n{index}: {}", self.log(index));
        *self.askers[index].lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn ask(&self, index: usize) -> Option<Reply> {
        let id = self.next_query.fetch_add(1, Ordering::Relaxed);
        self.asker(index)?.ask(id, "count", TRY)
    }

    /// Waits until every node asks every other one and is answered.
    fn wait_whole(&self) {
        let deadline = Instant::now() + PATIENCE;
        for index in 0..NODES {
            while !self.ask(index).is_some_and(|reply| reply.asked == NODES && is_whole(&reply)) {
                assert!(Instant::now() < deadline, "n{index} does not see all: {}", self.log(index));
            }
        }
    }

    /// Waits until clients have had so many whole answers from the cluster as it is.
    fn wait_calls(&self) {
        let (deadline, until) = (Instant::now() + PATIENCE, self.answered.load(Ordering::Relaxed) + CALLS);
        while self.answered.load(Ordering::Relaxed) < until {
            assert!(Instant::now() < deadline, "the load stands still");
            // One more query, to wait for.
            self.ask(0);
        }
    }

    fn log(&self, index: usize) -> String {
        std::fs::read_to_string(self.file(index, "log")).unwrap_or_default()
    }
}

/// Whether everybody who was asked has answered, and exactly.
fn is_whole(reply: &Reply) -> bool {
    reply.failures.is_empty() && reply.asked >= 2 && reply.number == Some(ROWS * reply.asked as u64)
}

/// What a client has seen.
#[derive(Debug, Default)]
struct Seen {
    calls: u64,
    retries: u64,
    longest: Duration,
    failed: Vec<String>,
}

/// A client that asks its own node first, until its channel is closed.
fn client(nodes: Arc<Nodes>, own: usize, stop: Receiver<()>) -> Seen {
    let mut seen = Seen::default();
    while stop.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
        let begun = Instant::now();
        let (mut asked, mut last) = (own, None);
        seen.calls += 1;
        loop {
            let reply = nodes.ask(asked);
            if reply.as_ref().is_some_and(is_whole) {
                nodes.answered.fetch_add(1, Ordering::Relaxed);
                break;
            }
            seen.retries += 1;
            last = reply.or(last);
            if begun.elapsed() >= CALL {
                seen.failed.push(format!("n{asked} after {:?}: {last:?}", begun.elapsed()));
                break;
            }
            asked = (asked + 1) % NODES;
            if stop.recv_timeout(PACE) != Err(RecvTimeoutError::Timeout) {
                break;
            }
        }
        seen.longest = seen.longest.max(begun.elapsed());
    }
    seen
}

fn clients(nodes: &Arc<Nodes>) -> Vec<(SyncSender<()>, JoinHandle<Seen>)> {
    let start = |own| {
        let (stop, stopped) = sync_channel(0);
        let nodes = Arc::clone(nodes);
        (stop, std::thread::spawn(move || client(nodes, own, stopped)))
    };
    (0..NODES).map(start).collect()
}

#[test]
fn a_rolling_upgrade_and_the_way_back_fail_no_idempotent_call() {
    let (Some(today), Some(previous)) = (Rdbnet::find(), Rdbnet::find_previous()) else { return };
    let begun = Instant::now();
    let nodes = Arc::new(Nodes::new());
    (0..NODES).for_each(|index| nodes.start(index, &previous));
    nodes.wait_whole();
    let clients = clients(&nodes);
    nodes.wait_calls();
    for release in [&today, &previous] {
        for index in 0..NODES {
            nodes.stop(index);
            nodes.start(index, release);
            nodes.wait_whole();
            nodes.wait_calls();
        }
    }
    let (mut calls, mut retries, mut longest) = (0, 0, Duration::ZERO);
    for (stop, client) in clients {
        drop(stop);
        let seen = client.join().expect("a client does not panic");
        assert!(seen.failed.is_empty(), "{seen:#?}");
        (calls, retries, longest) = (calls + seen.calls, retries + seen.retries, longest.max(seen.longest));
    }
    println!(
        "MEASURED rolling upgrade and back: {calls} calls, 0 failed, {retries} tried again, the longest took {longest:?}; {:?} in all",
        begun.elapsed()
    );
    for index in 0..NODES {
        let asker = nodes.asker(index).expect("it runs");
        assert_eq!(asker.failed_members(), 0, "nobody was taken for failed: {}", nodes.log(index));
        nodes.stop(index);
    }
}
