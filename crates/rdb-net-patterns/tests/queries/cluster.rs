//! Nodes of one process that are asked, and what their handlers see.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use rdb_net_manager::config::Loader;
use rdb_net_manager::{HandlerError, HandlerOptions, NetworkManager};
use rdb_net_patterns::query::{Gathered, Options, Outcome, Part, QueryExecutor, RowStream, serve};
use rdb_net_types::{NodeId, QueryRequest, Tuple};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

pub(crate) const LIMIT: Duration = Duration::from_secs(20);
pub(crate) const ROW_BYTES: usize = 8 * 1024;

/// What a node's handler has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) begun: AtomicUsize,
    pub(crate) ended: AtomicUsize,
    pub(crate) rows: AtomicUsize,
    pub(crate) budgets: Mutex<Vec<Duration>>,
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
    /// Messages without rows, always at once.
    Empty,
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
            End::Empty => Poll::Ready(Some(Ok(Vec::new()))),
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
        (rows, "empty") => (rows, End::Empty),
        (rows, "fails") => (rows, End::Fails),
        (rows, "slow") => (rows, End::Slow(Duration::from_millis(100))),
        (rows, _) => (rows, End::Fine),
    };
    let left = rows.parse().map_err(|_| HandlerError::not_started("no number"))?;
    seen.begun.fetch_add(1, Ordering::SeqCst);
    Ok(Box::pin(Produced { seen: Arc::clone(seen), left, end, pause: None }))
}

pub(crate) struct Cluster {
    pub(crate) managers: Vec<Arc<NetworkManager>>,
    pub(crate) seen: Vec<Arc<Seen>>,
    pub(crate) ids: Vec<NodeId>,
    pub(crate) executor: QueryExecutor,
}

/// Starts a node of this number.
async fn start(number: usize, seed: Option<String>) -> (Arc<NetworkManager>, Arc<Seen>) {
    let seeds = seed.map(|seed| format!("networking.service_discovery.seeds=[\"{seed}\"]"));
    let name = format!("n{number}");
    let config = Loader::new()
        .overrides([format!("networking.node_id={name}"), "networking.bind_address=127.0.0.1:0".to_owned()])
        .overrides(seeds)
        .load()
        .expect("a configuration");
    let manager = Arc::new(NetworkManager::new(config).expect("a node"));
    let seen = Arc::new(Seen::default());
    let handler_seen = Arc::clone(&seen);
    let rows = move |_: &NodeId, query: QueryRequest, budget: Option<Duration>| {
        handler_seen.budgets.lock().expect("no panic").extend(budget);
        answer(&handler_seen, &name, &query)
    };
    serve(&manager, rows, HandlerOptions::default());
    manager.start().await.expect("it starts");
    manager.wait_joined().await;
    (manager, seen)
}

/// A runtime of one thread for a node that is to stand still, or to die when this is dropped, without a word to the others.
pub(crate) struct Apart(Option<Runtime>);

impl Apart {
    pub(crate) fn new() -> Self {
        Self(Some(Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")))
    }

    fn runtime(&self) -> &Runtime {
        self.0.as_ref().expect("it is taken when this is dropped")
    }

    /// Everything of it stands still until what is returned is dropped; its sockets stay open.
    pub(crate) fn freeze(&self) -> Sender<()> {
        let (release, frozen) = channel::<()>();
        let (stands, still) = channel();
        self.runtime().spawn(async move {
            stands.send(()).expect("the test waits");
            let _released = frozen.recv();
        });
        still.recv_timeout(LIMIT).expect("it stands still");
        release
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

impl Cluster {
    pub(crate) async fn start(count: usize) -> Self {
        Self::start_with(count, &[]).await
    }

    /// With the last nodes on these runtimes.
    pub(crate) async fn start_with(count: usize, apart: &[&Apart]) -> Self {
        let (mut managers, mut seen_by, mut ids) = (Vec::<Arc<NetworkManager>>::new(), Vec::new(), Vec::new());
        for number in 1..=count {
            let seed = managers.first().map(|first| first.addresses().transport.to_string());
            let of_its_own = (number + apart.len()).checked_sub(count + 1).map(|place| apart[place]);
            let (manager, seen) = match of_its_own {
                Some(apart) => apart.runtime().spawn(start(number, seed)).await.expect("no panic"),
                None => start(number, seed).await,
            };
            ids.push(NodeId::new(&format!("n{number}")).expect("legal"));
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

    pub(crate) fn parts(&self, query: &str) -> Vec<Part> {
        Part::for_each(self.ids.clone(), query)
    }

    pub(crate) async fn gather(&self, query: &str, options: Options) -> Gathered {
        let gathered = self.executor.gather(self.parts(query), options);
        timeout(LIMIT, gathered).await.expect("in time").expect("the plan is fine")
    }

    pub(crate) fn complete(&self, place: usize) -> Outcome {
        Outcome::Complete { node: self.ids[place].clone() }
    }

    /// Every handler that has begun has ended.
    pub(crate) async fn check_all_ended(&self) {
        let ended = async {
            for seen in &self.seen {
                while seen.ended.load(Ordering::SeqCst) < seen.begun.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        };
        timeout(LIMIT, ended).await.expect("every handler is told");
    }

    pub(crate) fn begun(&self) -> Vec<usize> {
        self.seen.iter().map(|seen| seen.begun.load(Ordering::SeqCst)).collect()
    }

    pub(crate) async fn shut_down(self) {
        for manager in self.managers.iter().rev() {
            manager.shutdown().await;
        }
    }
}

pub(crate) fn lengths(gathered: &Gathered) -> Vec<usize> {
    gathered.rows.iter().map(Vec::len).collect()
}
