//! Queries over real nodes of one process: rows, outcomes, and what the handlers of the nodes see of them.
#![cfg(feature = "manager")]

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use rdb_net_manager::config::Loader;
use rdb_net_manager::{HandlerError, HandlerOptions, NetworkManager};
use rdb_net_patterns::query::{
    Gathered, Options, Outcome, Part, QueryEvent, QueryExecutor, Repeat, RowStream, Wanted, serve,
};
use rdb_net_types::{NodeId, QueryRequest, Reason, Tuple};
use tokio::time::{Instant, timeout};

const LIMIT: Duration = Duration::from_secs(20);
const ROW_BYTES: usize = 8 * 1024;

/// What a node's handler has seen.
#[derive(Debug, Default)]
struct Seen {
    begun: AtomicUsize,
    ended: AtomicUsize,
    rows: AtomicUsize,
    budgets: Mutex<Vec<Duration>>,
}

/// Rows as the query's text wants them: so many, or endless; then the end, silence or an error.
struct Produced {
    seen: Arc<Seen>,
    left: usize,
    end: End,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

#[derive(Clone, Copy)]
enum End {
    Fine,
    Silent,
    Fails,
    /// So long before each row.
    Slow(Duration),
}

impl Stream for Produced {
    type Item = Result<Vec<Tuple>, HandlerError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left > 0 {
            if let End::Slow(pause) = self.end {
                std::task::ready!(
                    self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause))).as_mut().poll(context)
                );
                self.pause = None;
            }
            self.left -= 1;
            self.seen.rows.fetch_add(1, Ordering::SeqCst);
            return Poll::Ready(Some(Ok(vec![Tuple(vec![7; ROW_BYTES].into())])));
        }
        match self.end {
            End::Fine | End::Slow(_) => Poll::Ready(None),
            End::Silent => Poll::Pending,
            End::Fails => Poll::Ready(Some(Err(HandlerError::failed("the disk is gone")))),
        }
    }
}

impl Drop for Produced {
    fn drop(&mut self) {
        self.seen.ended.fetch_add(1, Ordering::SeqCst);
    }
}

/// A query's text: the node's number to what it does, or `*`.
fn answer(seen: &Arc<Seen>, name: &str, query: &QueryRequest) -> Result<RowStream, HandlerError> {
    let orders: BTreeMap<&str, &str> = query.query.split(' ').filter_map(|order| order.split_once('=')).collect();
    let order = orders.get(name).or(orders.get("*")).ok_or_else(|| HandlerError::not_started("not my part"))?;
    let (rows, end) = match order.split_once('-').unwrap_or((order, "")) {
        (rows, "silent") => (rows, End::Silent),
        (rows, "fails") => (rows, End::Fails),
        (rows, "slow") => (rows, End::Slow(Duration::from_millis(100))),
        (rows, _) => (rows, End::Fine),
    };
    let left = rows.parse().map_err(|_| HandlerError::not_started("no number"))?;
    seen.begun.fetch_add(1, Ordering::SeqCst);
    Ok(Box::pin(Produced { seen: Arc::clone(seen), left, end, pause: None }))
}

struct Cluster {
    managers: Vec<Arc<NetworkManager>>,
    seen: Vec<Arc<Seen>>,
    ids: Vec<NodeId>,
    executor: QueryExecutor,
}

impl Cluster {
    async fn start(count: usize) -> Self {
        let (mut managers, mut seen_by, mut ids) = (Vec::<Arc<NetworkManager>>::new(), Vec::new(), Vec::new());
        for number in 1..=count {
            let seeds = managers
                .first()
                .map(|first| format!("networking.service_discovery.seeds=[\"{}\"]", first.addresses().transport));
            let name = format!("n{number}");
            let config = Loader::new()
                .overrides([format!("networking.node_id={name}"), "networking.bind_address=127.0.0.1:0".to_owned()])
                .overrides(seeds)
                .load()
                .expect("a configuration");
            let manager = Arc::new(NetworkManager::new(config).expect("a node"));
            let seen = Arc::new(Seen::default());
            let (handler_seen, handler_name) = (Arc::clone(&seen), name.clone());
            let rows = move |_: &NodeId, query: QueryRequest, budget: Option<Duration>| {
                handler_seen.budgets.lock().expect("no panic").extend(budget);
                answer(&handler_seen, &handler_name, &query)
            };
            serve(&manager, rows, HandlerOptions::default());
            manager.start().await.expect("it starts");
            manager.wait_joined().await;
            ids.push(NodeId::new(&name).expect("legal"));
            managers.push(manager);
            seen_by.push(seen);
        }
        let everybody = async {
            for manager in &managers {
                while manager.members().len() < count {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        };
        timeout(LIMIT, everybody).await.expect("they find each other");
        let executor = QueryExecutor::new(Arc::clone(&managers[0]));
        Self { managers, seen: seen_by, ids, executor }
    }

    fn parts(&self, query: &str) -> Vec<Part> {
        Part::for_each(self.ids.clone(), query)
    }

    async fn gather(&self, query: &str, options: Options) -> Gathered {
        let gathered = self.executor.gather(self.parts(query), options);
        timeout(LIMIT, gathered).await.expect("in time").expect("the plan is fine")
    }

    fn complete(&self, place: usize) -> Outcome {
        Outcome::Complete { node: self.ids[place].clone() }
    }

    /// Every handler that has begun has ended.
    async fn check_all_ended(&self) {
        let ended = async {
            for seen in &self.seen {
                while seen.ended.load(Ordering::SeqCst) < seen.begun.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        };
        timeout(LIMIT, ended).await.expect("every handler is told");
    }

    fn begun(&self) -> Vec<usize> {
        self.seen.iter().map(|seen| seen.begun.load(Ordering::SeqCst)).collect()
    }

    async fn shut_down(self) {
        for manager in self.managers.iter().rev() {
            manager.shutdown().await;
        }
    }
}

fn lengths(gathered: &Gathered) -> Vec<usize> {
    gathered.rows.iter().map(Vec::len).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_parts_are_gathered_each_with_an_outcome() {
    let cluster = Cluster::start(4).await;
    let gathered = cluster.gather("n1=3 n2=100 n3=0 n4=1", Options::default()).await;
    assert_eq!(lengths(&gathered), [3, 100, 0, 1], "the node itself is one of them");
    assert_eq!(gathered.outcomes, [0, 1, 2, 3].map(|place| cluster.complete(place)));
    let gathered = cluster.gather("n1=3 n2=2-fails n4=1", Options::default()).await;
    assert_eq!(lengths(&gathered), [3, 2, 0, 1]);
    assert!(!gathered.is_complete());
    match &gathered.outcomes[1..3] {
        [Outcome::Broken { error, .. }, Outcome::Failed { tried }] => {
            assert_eq!((error.reason, tried.len()), (Reason::HandlerFailed, 1));
            assert!(tried[0].error.is_safe_to_retry() && !error.is_safe_to_retry());
        }
        other => panic!("{other:?}"),
    }
    cluster.check_all_ended().await;
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_come_by_the_deadline_is_given_and_who_is_late_is_told_to_stop() {
    let cluster = Cluster::start(4).await;
    let begun = Instant::now();
    let options = Options::timeout(Duration::from_millis(300));
    let gathered = cluster.gather("n1=1-silent n2=2 n3=0-silent n4=5-silent", options).await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(lengths(&gathered), [1, 2, 0, 5]);
    let late = |place: usize, has_rows| Outcome::Late { node: cluster.ids[place].clone(), has_rows, tried: Vec::new() };
    assert_eq!(gathered.outcomes, [late(0, true), cluster.complete(1), late(2, false), late(3, true)]);
    assert_eq!(cluster.begun(), [1, 1, 1, 1]);
    cluster.check_all_ended().await;
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_that_are_complete_are_enough_and_the_others_are_cancelled() {
    let cluster = Cluster::start(4).await;
    let options = Options { wanted: Wanted::First(2), ..Options::default() };
    let gathered = cluster.gather("n1=0-silent n2=2 n3=3-silent n4=1", options).await;
    let (complete, not_needed) = (|place| cluster.complete(place), Outcome::NotNeeded);
    assert_eq!(gathered.outcomes, [not_needed.clone(), complete(1), not_needed, complete(3)]);
    // A request that never reached its handler has nothing to cancel.
    cluster.check_all_ended().await;
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_slow_stops_every_sender_and_one_that_goes_cancels_every_handler() {
    let cluster = Cluster::start(4).await;
    let options = Options { window_bytes: 64 * 1024, timeout: LIMIT, ..Options::default() };
    let mut stream = cluster.executor.stream(cluster.parts("*=100000000"), options).expect("the plan is fine");
    let mut from = vec![0usize; 4];
    while from.contains(&0) {
        match timeout(LIMIT, stream.next()).await.expect("in time") {
            Some(QueryEvent::Rows { part, rows, .. }) => from[part] += rows.len(),
            other => panic!("{other:?}"),
        }
    }
    // Nobody reads: the senders stop, at most a window and what lies in sockets and queues ahead.
    let produced = || -> Vec<usize> { cluster.seen.iter().map(|seen| seen.rows.load(Ordering::SeqCst)).collect() };
    let mut before = produced();
    let still = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = produced();
            if now == before {
                return;
            }
            before = now;
        }
    };
    timeout(LIMIT, still).await.expect("they stop");
    for (place, (produced, taken)) in produced().into_iter().zip(&from).enumerate() {
        let ahead = (produced - taken) * ROW_BYTES;
        assert!(ahead <= 2 * 64 * 1024, "node {place} is {ahead} bytes ahead");
    }
    // And go on when it reads again.
    for _ in 0..200 {
        assert!(matches!(timeout(LIMIT, stream.next()).await.expect("in time"), Some(QueryEvent::Rows { .. })));
    }
    assert_eq!(cluster.begun(), [1, 1, 1, 1]);
    drop(stream);
    cluster.check_all_ended().await;
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_asked_where_the_first_did_not_begin_and_gets_what_is_left_of_the_time() {
    let cluster = Cluster::start(4).await;
    let gone = NodeId::new("n9").expect("legal");
    let partition = Part {
        fragment: 5,
        nodes: vec![gone.clone(), cluster.ids[1].clone(), cluster.ids[2].clone()],
        query: "n3=7".to_owned(),
        parameters: Default::default(),
    };
    let reserve = Duration::from_secs(2);
    let options = Options { reserve, ..Options::timeout(Duration::from_secs(12)) };
    let gathered = cluster.executor.gather(vec![partition.clone()], options).await.expect("the plan is fine");
    assert_eq!((lengths(&gathered), &gathered.outcomes[0]), (vec![7], &cluster.complete(2)));
    let budget = |place: usize| cluster.seen[place].budgets.lock().expect("no panic")[0].as_secs_f64();
    assert!((9.0..=10.0).contains(&budget(1)), "who begins has what is left: {}", budget(1));
    assert!((9.0..=10.0).contains(&budget(2)), "it is the last one: {}", budget(2));

    let options = Options { repeat: Repeat::Never, ..options };
    let gathered = cluster.executor.gather(vec![partition], options).await.expect("the plan is fine");
    match &gathered.outcomes[0] {
        Outcome::Failed { tried } => assert_eq!((tried.len(), &tried[0].node), (1, &gone)),
        other => panic!("{other:?}"),
    }
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_streams_for_longer_than_its_share_is_not_cut() {
    let cluster = Cluster::start(4).await;
    let partition = Part {
        fragment: 1,
        nodes: cluster.ids[1..].to_vec(),
        query: "n2=20-slow n3=1 n4=1".to_owned(),
        parameters: Default::default(),
    };
    for repeat in [Repeat::NotStarted, Repeat::Always] {
        // Two seconds of rows, and a third of five for each replica.
        let options = Options { repeat, ..Options::timeout(Duration::from_secs(5)) };
        let gathered = cluster.executor.gather(vec![partition.clone()], options).await.expect("the plan is fine");
        assert_eq!((lengths(&gathered), &gathered.outcomes[0]), (vec![20], &cluster.complete(1)), "{repeat:?}");
    }
    assert_eq!(cluster.begun(), [0, 2, 0, 0]);
    cluster.check_all_ended().await;
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gathering_ends_where_rows_are_more_than_may_be() {
    let cluster = Cluster::start(2).await;
    let options = Options { gathered_bytes_max: 100 * ROW_BYTES, timeout: LIMIT, ..Options::default() };
    let gathered = cluster.gather("n1=1 n2=100000000", options).await;
    assert_eq!(gathered.outcomes[1], Outcome::TooMuch);
    assert!((90..200).contains(&gathered.rows[1].len()), "{}", gathered.rows[1].len());
    cluster.check_all_ended().await;
    cluster.shut_down().await;
}
