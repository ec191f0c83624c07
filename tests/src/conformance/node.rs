//! A node of a conformance case: a transport with a handler of each kind, in a runtime of its own.

use std::sync::{Arc, Mutex};

use rdb_net_session::{Identity, Reply};
use rdb_net_transport::{Answer, CallOptions, Config, HandlerOptions, Handling, PeerHandle, Request, Transport};
use rdb_net_types::{
    Application, BootId, ClusterId, Incarnation, MessageType, NodeAddress, NodeId, Payload, ProtocolRange,
    QueryRequest, QueryResponse, RequestError, Tuple,
};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};

use super::{Kind, PATIENCE, soon};

/// Is answered with its own bytes.
pub const ECHO: MessageType = MessageType::FIRST_APPLICATION;
/// Is never answered.
pub const NEVER: MessageType = MessageType(0x8001);
/// Is answered with its own bytes when the node's gate has a permit.
pub const GATED: MessageType = MessageType(0x8002);
/// As [`GATED`], one at a time.
pub const NARROW: MessageType = MessageType(0x8003);
/// Its number is noted.
pub const NOTE: MessageType = MessageType(0x8004);
/// Its handler panics.
pub const PANICS: MessageType = MessageType(0x8005);

/// How many handlers that wait have begun, and how many have ended in whatever way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Started {
    /// Begun.
    pub begun: usize,
    /// Ended.
    pub ended: usize,
}

/// What a node's handlers share with its case. It outlives the node.
#[derive(Debug, Clone)]
struct Handlers {
    notes: watch::Sender<Vec<u32>>,
    started: watch::Sender<Started>,
    gate: Arc<Semaphore>,
}

/// A node. Dropping it kills it.
#[derive(Debug)]
pub struct Node {
    /// Its transport.
    pub transport: Transport,
    id: NodeId,
    address: NodeAddress,
    handlers: Handlers,
    /// Gone once the node was killed.
    runtime: Mutex<Option<Runtime>>,
}

impl Node {
    /// A node of this name in the cluster `test`.
    ///
    /// # Panics
    ///
    /// When it cannot listen.
    pub async fn start(kind: &Arc<dyn Kind>, name: &str) -> Self {
        Self::start_with(kind, name, |_| {}).await
    }

    /// As [`start`](Self::start), with another configuration.
    ///
    /// # Panics
    ///
    /// When it cannot listen.
    pub async fn start_with(kind: &Arc<dyn Kind>, name: &str, change: impl FnOnce(&mut Config)) -> Self {
        Self::start_at(kind, name, kind.address(name), change).await
    }

    /// As [`start_with`](Self::start_with), at an address where a node was before.
    ///
    /// # Panics
    ///
    /// When it cannot listen.
    pub async fn start_at(
        kind: &Arc<dyn Kind>,
        name: &str,
        address: NodeAddress,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let id = id(name);
        let mut config = Config::new(identity(&id, &address));
        config.bind = Some(address.clone());
        change(&mut config);
        let transport = Transport::new(config, kind.backend(&id, &address));
        let handlers = Handlers {
            notes: watch::Sender::default(),
            started: watch::Sender::default(),
            gate: Arc::new(Semaphore::new(0)),
        };
        handlers.register(&transport);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let starts = transport.clone();
        let started = soon("a start", runtime.spawn(async move { starts.start().await })).await;
        started.expect("no panic").expect("the address is free");
        Self { transport, id, address, handlers, runtime: Mutex::new(Some(runtime)) }
    }

    /// Its id.
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// Where it listens.
    pub fn address(&self) -> &NodeAddress {
        &self.address
    }

    /// A handle to another node.
    pub fn to(&self, other: &Self) -> PeerHandle {
        self.transport.peer(&other.id, &other.address)
    }

    /// Lets so many gated requests be answered.
    pub fn open_gate(&self, permits: usize) {
        self.handlers.gate.add_permits(permits);
    }

    /// The numbers that were noted so far.
    pub fn notes(&self) -> Vec<u32> {
        self.handlers.notes.borrow().clone()
    }

    /// Waits until so many numbers were noted.
    ///
    /// # Panics
    ///
    /// When they are not.
    pub async fn wait_notes(&self, count: usize) -> Vec<u32> {
        let mut notes = self.handlers.notes.subscribe();
        let noted = soon("notes", notes.wait_for(|notes| notes.len() >= count)).await;
        noted.expect("the sender is in this node").clone()
    }

    /// Waits for what handlers that wait have come to.
    ///
    /// # Panics
    ///
    /// When they do not come to it.
    pub async fn wait_started(&self, what: &str, holds: impl Fn(Started) -> bool) {
        let mut started = self.handlers.started.subscribe();
        soon(what, started.wait_for(|started| holds(*started))).await.expect("the sender is in this node");
    }

    /// How many tasks live in its runtime; 0 once it was killed.
    pub fn tasks(&self) -> usize {
        let runtime = self.runtime.lock().expect("no panic");
        runtime.as_ref().map_or(0, |runtime| runtime.metrics().num_alive_tasks())
    }

    /// Ends it as a process is killed: its tasks are dropped where they are, its connections and listener close without a word.
    ///
    /// # Panics
    ///
    /// When its runtime does not end.
    pub async fn kill(&self) {
        let runtime = self.runtime.lock().expect("no panic").take();
        let ends = tokio::task::spawn_blocking(move || runtime.map(|runtime| runtime.shutdown_timeout(PATIENCE)));
        soon("the end of a runtime", ends).await.expect("no panic");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A runtime may not be waited for where futures run.
        if let Some(runtime) = self.runtime.get_mut().ok().and_then(Option::take) {
            runtime.shutdown_background();
        }
    }
}

impl Handlers {
    fn register(&self, transport: &Transport) {
        let echo = |_: &NodeId, request: Request| Handling::Ready(Ok(Answer::Payload(request.into_payload())));
        transport.handle(ECHO, Arc::new(echo), HandlerOptions::default());
        let panics = |_: &NodeId, _: Request| -> Handling { panic!("planted") };
        transport.handle(PANICS, Arc::new(panics), HandlerOptions::default());
        let rows = |_: &NodeId, request: Request| {
            Handling::Ready(request.decode::<QueryRequest>().map_err(Into::into).map(|query| {
                let result = vec![Tuple(query.parameters.into_bytes())];
                QueryResponse { query_id: query.query_id, fragment: query.fragment, result, more: false }.into()
            }))
        };
        transport.handle(MessageType::QUERY_REQUEST, Arc::new(rows), HandlerOptions::default());
        let notes = self.notes.clone();
        let note = move |_: &NodeId, request: Request| {
            let number = request.body.structure().first_chunk().map_or(u32::MAX, |bytes| u32::from_be_bytes(*bytes));
            notes.send_modify(|notes| notes.push(number));
            Handling::Ready(Ok(Answer::Empty))
        };
        transport.handle(NOTE, Arc::new(note), HandlerOptions::default());
        let never = self.clone();
        let never = move |_: &NodeId, _: Request| {
            let running = never.begin();
            Handling::Later(Box::pin(async move {
                let _running = running;
                std::future::pending().await
            }))
        };
        transport.handle(NEVER, Arc::new(never), HandlerOptions::default());
        let gated = Arc::new(self.gated());
        transport.handle(GATED, gated.clone(), HandlerOptions::default());
        transport.handle(NARROW, gated, HandlerOptions { concurrency_max: 1 });
    }

    fn gated(&self) -> impl Fn(&NodeId, Request) -> Handling + use<> {
        let handlers = self.clone();
        move |_, request| {
            let (running, gate) = (handlers.begin(), Arc::clone(&handlers.gate));
            Handling::Later(Box::pin(async move {
                let _running = running;
                gate.acquire().await.expect("never closed").forget();
                Ok(Answer::Payload(request.into_payload()))
            }))
        }
    }

    fn begin(&self) -> Running {
        self.started.send_modify(|started| started.begun += 1);
        Running(self.started.clone())
    }
}

/// A handler that waits; dropped with it.
struct Running(watch::Sender<Started>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|started| started.ended += 1);
    }
}

/// A node's id.
pub(super) fn id(name: &str) -> NodeId {
    NodeId::new(name).expect("legal")
}

/// The id of a cluster.
pub(super) fn cluster(name: &str) -> ClusterId {
    ClusterId::new(name).expect("legal")
}

fn identity(id: &NodeId, address: &NodeAddress) -> Identity {
    Identity {
        cluster: cluster("test"),
        node: id.clone(),
        incarnation: Incarnation::first_of(1),
        boot: BootId(id.as_str().bytes().map(u64::from).sum()),
        address: address.clone(),
        protocol: ProtocolRange::CURRENT,
        software: String::new(),
        token: Vec::new(),
    }
}

/// A message of this type.
pub(super) fn message(message_type: MessageType, payload: impl Into<Payload>) -> Application {
    Application { message_type, payload: payload.into() }
}

/// A number to be noted.
pub(super) fn note(number: u32) -> Application {
    message(NOTE, number.to_be_bytes().to_vec())
}

/// Options that wait for longer than any case does, so that no deadline ends what a case waits for.
pub(super) fn patient() -> CallOptions {
    CallOptions::timeout(10 * PATIENCE)
}

/// One request and its answer.
pub(super) async fn echo(peer: &PeerHandle) -> Result<Reply, RequestError> {
    peer.request(&message(ECHO, "x"), patient()).await
}
