//! The demo's cluster: its processes, and what they have told so far.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use rdb_net_patterns::transaction::Event;
use rdb_net_types::{NodeId, NodeState};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::cannot;
use super::directory::{Directory, Ports, configuration, free_ports};
use super::holds::HoldOrder;
use super::process::{self, FromNode, Process};
use super::protocol::{Answered, Change, Line, Open, Order, Told, Transacted, unix_ms};
use super::replication::LogTold;
use super::report::{Kept, KeptNode};
use super::security::Security;
use super::table::Partition;
use crate::exit::Failure;

/// How many lines of the nodes wait for the demo; then the nodes wait.
const LINES_MAX: usize = 1024;
/// Through how many nodes the others join.
const SEEDS: usize = 3;

/// A node of the demo.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    ports: Ports,
    pub(crate) partition: Partition,
    config: PathBuf,
    log: PathBuf,
    process: Option<Process>,
    life: u32,
}

/// A change of the membership that a node has told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Who saw it.
    pub(crate) by: NodeId,
    /// When, in milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// What.
    pub(crate) change: Change,
    /// Of whom.
    pub(crate) node: NodeId,
}

/// All nodes.
pub(crate) struct Cluster {
    nodes: Vec<Node>,
    told: mpsc::Receiver<FromNode>,
    teller: mpsc::Sender<FromNode>,
    listeners: JoinSet<()>,
    /// Every change of the membership, in the order in which it was told. A run has few for each pair of nodes.
    seen: Vec<Seen>,
    /// The last member list that each node told, and when.
    members: BTreeMap<NodeId, (u64, BTreeMap<NodeId, NodeState>)>,
    /// What became of queries and is not taken yet.
    answered: Vec<Answered>,
    /// Slow queries that have begun to be answered. A run has two.
    streaming: BTreeSet<u64>,
    /// What was told of replicas and is not taken yet.
    log: Vec<(NodeId, LogTold)>,
    /// What became of transactions and is not taken yet.
    transacted: Vec<Transacted>,
    /// What happened to transactions, in the order in which it was told.
    occurred: Vec<Event>,
    /// Lives of which nothing more comes. A run has few.
    heard_out: BTreeSet<(usize, u32)>,
    /// What each node told last of its open transactions.
    open: BTreeMap<NodeId, Open>,
    /// What was told to be held back, or no more, of the one order that is waited for.
    held: Option<(NodeId, HoldOrder, u64)>,
}

impl Cluster {
    /// Configures so many nodes; none runs yet.
    pub(crate) fn configure(count: usize, directory: &Directory, security: &Security) -> Result<Self, Failure> {
        let ports = free_ports(count).map_err(cannot)?;
        let width = count.to_string().len();
        let node = |place: usize| {
            let name = format!("n{:0width$}", place + 1);
            let id: NodeId = name.parse().expect("a letter and digits are an id");
            let config = directory.path().join(format!("{name}.toml"));
            let text = configuration(&id, ports[place], &ports[..SEEDS], &security.configuration(&id)?);
            std::fs::write(&config, text).map_err(cannot)?;
            let log = directory.path().join(format!("{name}.log"));
            let partition = Partition::new(place + 1, count).expect("places are below the count");
            Ok(Node { id, ports: ports[place], partition, config, log, process: None, life: 0 })
        };
        let nodes = (0..count).map(node).collect::<Result<_, Failure>>()?;
        let (teller, told) = mpsc::channel(LINES_MAX);
        Ok(Self {
            nodes,
            told,
            teller,
            listeners: JoinSet::new(),
            seen: Vec::new(),
            members: BTreeMap::new(),
            answered: Vec::new(),
            streaming: BTreeSet::new(),
            log: Vec::new(),
            transacted: Vec::new(),
            occurred: Vec::new(),
            heard_out: BTreeSet::new(),
            open: BTreeMap::new(),
            held: None,
        })
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Where a node's replica has its log.
    pub(crate) fn replica_file(&self, place: usize) -> PathBuf {
        super::replica::file(&self.nodes[place].config)
    }

    /// Where a node has the log of its transactions.
    pub(crate) fn transactions_file(&self, place: usize) -> PathBuf {
        super::participant::file(&self.nodes[place].config)
    }

    pub(crate) fn id(&self, place: usize) -> &NodeId {
        &self.nodes[place].id
    }

    /// Where a node's transport listens.
    #[cfg(feature = "tls")]
    pub(crate) fn transport(&self, place: usize) -> std::net::SocketAddr {
        self.nodes[place].ports.transport
    }

    /// Every id but this node's.
    pub(crate) fn others(&self, place: usize) -> BTreeSet<NodeId> {
        self.nodes.iter().map(|node| &node.id).filter(|id| *id != self.id(place)).cloned().collect()
    }

    /// Starts a node, again with its old configuration; returns when that was.
    pub(crate) fn start(&mut self, place: usize) -> Result<u64, Failure> {
        let teller = self.teller.clone();
        let node = &mut self.nodes[place];
        node.life += 1;
        let at_ms = unix_ms();
        let started = Process::start(&node.config, &node.log, node.partition);
        let (process, stdout) =
            started.map_err(|error| Failure::Other(format!("cannot start {}: {error}", node.id)))?;
        node.process = Some(process);
        self.listeners.spawn(process::listen(stdout, place, node.life, teller));
        Ok(at_ms)
    }

    /// Kills a node (SIGKILL); returns when that was.
    pub(crate) async fn kill(&mut self, place: usize) -> Result<u64, Failure> {
        let mut process = self.take_process(place)?;
        let at_ms = unix_ms();
        process.kill().await.map_err(Failure::other)?;
        Ok(at_ms)
    }

    /// Asks a node to leave (SIGTERM); returns when that was, and its process.
    pub(crate) fn terminate(&mut self, place: usize) -> Result<(u64, Process), Failure> {
        let process = self.take_process(place)?;
        let at_ms = unix_ms();
        process.terminate().map_err(Failure::other)?;
        Ok((at_ms, process))
    }

    /// From here on the end of the node's process is no surprise.
    fn take_process(&mut self, place: usize) -> Result<Process, Failure> {
        let node = &mut self.nodes[place];
        node.process.take().ok_or_else(|| Failure::Other(format!("{} does not run", node.id)))
    }

    /// Ends all nodes that run, and waits until they are gone.
    pub(crate) async fn end(&mut self) {
        for process in self.nodes.iter_mut().filter_map(|node| node.process.as_mut()) {
            // What has ended already needs no end.
            let _ = process.kill().await;
        }
    }

    /// How to reach the nodes that run.
    pub(crate) fn kept(&self, directory: &Directory) -> Kept {
        let nodes = self.nodes.iter().filter_map(|node| {
            let process_id = node.process.as_ref().and_then(Process::id)?;
            Some(KeptNode { node: node.id.clone(), process_id, admin: node.ports.admin.to_string() })
        });
        Kept { directory: directory.path().display().to_string(), nodes: nodes.collect() }
    }

    /// Lets all nodes live on without the demo.
    pub(crate) async fn release(&mut self) -> Result<(), Failure> {
        for process in self.nodes.iter_mut().filter_map(|node| node.process.as_mut()) {
            process.release().await.map_err(Failure::other)?;
        }
        Ok(())
    }

    pub(crate) async fn order(&mut self, place: usize, order: &Order) -> Result<(), Failure> {
        let node = &mut self.nodes[place];
        let Some(process) = &mut node.process else { return Ok(()) };
        let written = process.order(order).await;
        written.map_err(|error| Failure::Other(format!("{} takes no orders: {error}", node.id)))
    }

    /// Waits for one more line of any node. `false` when there was none until then.
    pub(crate) async fn listen(&mut self, until: Instant) -> Result<bool, Failure> {
        let Ok(told) = timeout_at(until, self.told.recv()).await else { return Ok(false) };
        let FromNode { place, life, line } = told.expect("the cluster holds a sender itself");
        let node = &self.nodes[place];
        match line {
            Some(line) => self.take(place, life, line),
            None if node.process.is_some() && node.life == life => {
                return Err(Failure::Other(format!("{} ended by itself; see {}", node.id, node.log.display())));
            }
            None => {
                self.heard_out.insert((place, life));
            }
        }
        Ok(true)
    }

    fn take(&mut self, place: usize, life: u32, Line { at_ms, told }: Line) {
        let by = self.id(place).clone();
        match told {
            Told::Membership { change, node, .. } => self.seen.push(Seen { by, at_ms, change, node }),
            Told::Members { members } => {
                self.members.insert(by, (at_ms, members));
            }
            Told::Streaming { id } => {
                self.streaming.insert(id);
            }
            Told::Answered(answered) => self.answered.push(answered),
            // What a former life had told is heard out before the next one begins.
            Told::Log(told) if life == self.nodes[place].life => self.log.push((by, told)),
            Told::Transaction { at_us, what } => self.occurred.push(Event { at_us, node: by, what }),
            Told::Transacted(transacted) => self.transacted.push(transacted),
            Told::Held { at_us, order } => self.held = Some((by, order, at_us)),
            Told::Open(open) => {
                self.open.insert(by, open);
            }
            _ => {}
        }
    }

    /// Takes in what a node had told that was killed, to its last line.
    pub(crate) async fn hear_out(&mut self, place: usize, limit: Duration) -> Result<bool, Failure> {
        let life = self.nodes[place].life;
        self.wait(limit, |cluster| cluster.heard_out.contains(&(place, life))).await
    }

    /// Waits until something holds. `false` when it did not within this time.
    pub(crate) async fn wait(&mut self, limit: Duration, holds: impl Fn(&Self) -> bool) -> Result<bool, Failure> {
        let until = Instant::now() + limit;
        while !holds(self) {
            if !self.listen(until).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Asks every running node for its members until all of them tell these states; returns when the last of them did, in
    /// milliseconds since 1970. `None` when they did not in this time.
    pub(crate) async fn agree(
        &mut self,
        limit: Duration,
        expected: &BTreeMap<NodeId, NodeState>,
    ) -> Result<Option<u64>, Failure> {
        const ASK_AGAIN: Duration = Duration::from_millis(10);
        let until = Instant::now() + limit;
        while Instant::now() < until {
            self.members.clear();
            let running: Vec<_> = (0..self.nodes.len()).filter(|place| self.nodes[*place].process.is_some()).collect();
            for place in &running {
                self.order(*place, &Order::Members(true)).await?;
            }
            while self.members.len() < running.len() && self.listen(until).await? {}
            if self.members.len() == running.len() && self.members.values().all(|(_, members)| members == expected) {
                return Ok(self.members.values().map(|(at_ms, _)| *at_ms).max());
            }
            let again = until.min(Instant::now() + ASK_AGAIN);
            while self.listen(again).await? {}
        }
        Ok(None)
    }

    /// Takes what became of queries since the last time.
    pub(crate) fn take_answered(&mut self) -> Vec<Answered> {
        std::mem::take(&mut self.answered)
    }

    /// Whether some rows of every part of this query have come.
    pub(crate) fn is_streaming(&self, id: u64) -> bool {
        self.streaming.contains(&id)
    }

    /// Takes what was told of replicas since the last time.
    pub(crate) fn take_log(&mut self) -> Vec<(NodeId, LogTold)> {
        std::mem::take(&mut self.log)
    }

    /// Takes what became of transactions since the last time.
    pub(crate) fn take_transacted(&mut self) -> Vec<Transacted> {
        std::mem::take(&mut self.transacted)
    }

    /// What happened to transactions.
    pub(crate) fn occurred(&self) -> &[Event] {
        &self.occurred
    }

    /// Has a node hold something back, or let it go on; returns since when it does, in microseconds since 1970.
    pub(crate) async fn hold(&mut self, place: usize, order: HoldOrder, limit: Duration) -> Result<u64, Failure> {
        self.held = None;
        self.order(place, &Order::Hold(order)).await?;
        self.wait(limit, |cluster| cluster.held.is_some()).await?;
        match self.held.take() {
            Some((by, told, at_us)) if by == *self.id(place) && told == order => Ok(at_us),
            _ => Err(Failure::Other(format!("{} does not do so: {order:?}", self.id(place)))),
        }
    }

    /// Asks every node once what it holds of transactions; those that did not answer in this time are missing.
    pub(crate) async fn open(&mut self, limit: Duration) -> Result<&BTreeMap<NodeId, Open>, Failure> {
        self.open.clear();
        for place in 0..self.nodes.len() {
            self.order(place, &Order::Open(true)).await?;
        }
        self.wait(limit, |cluster| cluster.open.len() == cluster.nodes.len()).await?;
        Ok(&self.open)
    }

    /// Every change of the membership that was told.
    pub(crate) fn seen(&self) -> &[Seen] {
        &self.seen
    }

    /// Waits until every other running node has seen this change of a node since then. `false` when one did not within this time.
    pub(crate) async fn wait_noticed(
        &mut self,
        limit: Duration,
        (place, change, since_ms): (usize, Change, u64),
    ) -> Result<bool, Failure> {
        let node = self.id(place).clone();
        let running = self.nodes.iter().filter(|other| other.process.is_some() && other.id != node);
        let others: BTreeSet<NodeId> = running.map(|other| other.id.clone()).collect();
        self.wait(limit, |cluster| {
            cluster.noticed(change, &node, since_ms).into_keys().collect::<BTreeSet<_>>().is_superset(&others)
        })
        .await
    }

    /// Who has seen this change of a node since then, and after how many milliseconds.
    pub(crate) fn noticed(&self, change: Change, node: &NodeId, since_ms: u64) -> BTreeMap<NodeId, u64> {
        let seen =
            self.seen.iter().filter(|seen| seen.change == change && seen.node == *node && seen.at_ms >= since_ms);
        // A later one does not replace the first.
        seen.rev().map(|seen| (seen.by.clone(), seen.at_ms - since_ms)).collect()
    }
}
