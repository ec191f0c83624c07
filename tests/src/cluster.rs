//! Several nodes on this machine, and what they say of each other.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use rdb_net_types::NodeState;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::binary::Rdbnet;
use crate::lab::Lab;
use crate::log::Change;
use crate::node::{Node, Spec};
use crate::ports::Place;

/// How long an event is waited for. Bounds are held against time stamps; this only ends a test that waits in vain.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long it takes at most until a view is asked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How many of the first nodes are everybody's seeds.
const SEEDS: usize = 3;

/// A cluster with the default settings: nodes `n1`, `n2`, …, the first three of which are the seeds of all.
#[derive(Debug)]
pub struct Cluster {
    rdbnet: Rdbnet,
    specs: Vec<Spec>,
    nodes: Vec<Option<Node>>,
    // Behind the nodes: their files are there until they have ended.
    folder: Option<TempDir>,
}

impl Cluster {
    /// A cluster of nodes that are not started.
    ///
    /// # Panics
    ///
    /// When the machine has no room for its files.
    pub fn new(rdbnet: &Rdbnet, count: usize) -> Self {
        Self::at(rdbnet, Place::reserve(count))
    }

    /// The same with the nodes of a laboratory, which trust its network.
    ///
    /// # Panics
    ///
    /// When the machine has no room for its files.
    pub fn in_lab(rdbnet: &Rdbnet, lab: &Lab, count: usize) -> Self {
        let mut cluster = Self::at(rdbnet, (0..count).map(|index| lab.place(index)).collect());
        for (index, spec) in cluster.specs.iter_mut().enumerate() {
            spec.namespace = Some(lab.namespace(index));
            spec.set.push("networking.allow_plaintext=true".to_owned());
        }
        cluster
    }

    fn at(rdbnet: &Rdbnet, places: Vec<Place>) -> Self {
        let count = places.len();
        let seeds: Vec<_> = places.iter().take(SEEDS).map(|place| place.transport).collect();
        let spec = |(index, place): (usize, Place)| {
            let id = format!("n{}", index + 1);
            Spec { id, place: Some(place), seeds: seeds.clone(), ..Spec::default() }
        };
        let folder = tempfile::Builder::new().prefix("rdbnet-").tempdir().expect("a folder for the test's files");
        let specs = places.into_iter().enumerate().map(spec).collect();
        Self { rdbnet: rdbnet.clone(), specs, nodes: (0..count).map(|_| None).collect(), folder: Some(folder) }
    }

    /// A cluster that runs and agrees.
    ///
    /// # Panics
    ///
    /// When it does not come to that.
    pub fn start(rdbnet: &Rdbnet, count: usize) -> Self {
        let mut cluster = Self::new(rdbnet, count);
        (0..count).for_each(|index| cluster.spawn(index));
        cluster.wait_agreed();
        cluster
    }

    /// Starts a node, and does not wait for it. What it was before is killed.
    pub fn spawn(&mut self, index: usize) {
        // Two processes cannot have the same port.
        self.nodes[index] = None;
        let folder = self.folder.as_ref().expect("taken when it is dropped").path();
        self.nodes[index] = Some(Node::spawn(&self.rdbnet, &self.specs[index], folder));
    }

    /// How many nodes there are, running or not.
    pub fn count(&self) -> usize {
        self.specs.len()
    }

    /// A node's id.
    pub fn id(&self, index: usize) -> &str {
        &self.specs[index].id
    }

    /// A node.
    ///
    /// # Panics
    ///
    /// When it is not started.
    pub fn node(&self, index: usize) -> &Node {
        self.nodes[index].as_ref().expect("the node was started")
    }

    /// A node, to wait for it.
    ///
    /// # Panics
    ///
    /// When it is not started.
    pub fn node_mut(&mut self, index: usize) -> &mut Node {
        self.nodes[index].as_mut().expect("the node was started")
    }

    /// What a node is told; changes hold from its next start.
    pub fn spec_mut(&mut self, index: usize) -> &mut Spec {
        &mut self.specs[index]
    }

    /// What a node is told.
    pub fn spec(&self, index: usize) -> &Spec {
        &self.specs[index]
    }

    /// The program that the nodes run.
    pub fn rdbnet(&self) -> &Rdbnet {
        &self.rdbnet
    }

    /// The configuration file of a node that was started.
    ///
    /// # Panics
    ///
    /// While the cluster is being dropped.
    pub fn file(&self, index: usize) -> PathBuf {
        let folder = self.folder.as_ref().expect("taken when it is dropped").path();
        folder.join(format!("{}.toml", self.id(index)))
    }

    /// Everybody but this node.
    pub fn others(&self, index: usize) -> Vec<usize> {
        (0..self.count()).filter(|other| *other != index).collect()
    }

    /// Where each log stands: a later look begins there.
    pub fn marks(&self) -> Vec<usize> {
        self.nodes.iter().map(|node| node.as_ref().map_or(0, |node| node.log.mark())).collect()
    }

    /// Waits until this observer tells this event of that node, after the mark; and when it did.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn wait_change(&self, observer: usize, mark: usize, event: &str, of: usize) -> SystemTime {
        let (log, subject) = (&self.node(observer).log, self.id(of));
        let find = |lines: &[String]| Change::all(&lines[mark..]).into_iter().find(|change| change.is(event, subject));
        let change = log.wait(Instant::now() + PATIENCE, find).unwrap_or_else(|| {
            panic!(
                "{} did not tell {event} of {subject} within {PATIENCE:?}:\n{}",
                self.id(observer),
                self.tell(&[observer])
            )
        });
        change.at
    }

    /// Waits until every node runs and tells that every other one has joined; and when the last did.
    ///
    /// # Panics
    ///
    /// When it does not come to that, or the views differ.
    pub fn wait_agreed(&mut self) -> SystemTime {
        for index in 0..self.count() {
            self.node_mut(index).wait_started();
        }
        let mut last = SystemTime::UNIX_EPOCH;
        for observer in 0..self.count() {
            for of in self.others(observer) {
                last = last.max(self.wait_change(observer, 0, "NodeJoined", of));
            }
        }
        self.wait_settled();
        last
    }

    /// Waits until all nodes hold one view, in which all are alive, and every link that is kept is up.
    ///
    /// # Panics
    ///
    /// When they do not come to that.
    pub fn wait_settled(&self) {
        let deadline = Instant::now() + PATIENCE;
        let all: Vec<usize> = (0..self.count()).collect();
        loop {
            let views: Vec<_> = all.iter().map(|index| self.node(*index).topology()).collect();
            let digests: BTreeSet<&str> = views.iter().map(|view| view.view_digest.as_str()).collect();
            let complete = views.iter().all(|view| {
                let alive = view.members.iter().filter(|member| member.state == NodeState::Alive).count();
                (alive, view.members.len()) == (self.count(), self.count())
            });
            let linked = || {
                let peers = all.iter().flat_map(|index| self.node(*index).peers().peers);
                peers.filter(|peer| peer.kept).all(|peer| peer.member.connected)
            };
            if digests.len() == 1 && complete && linked() {
                return;
            }
            assert!(Instant::now() < deadline, "not settled:\n{views:#?}\n{}", self.tell(&all));
            // Whatever changes a view is logged; how it comes to be the same elsewhere is not.
            self.node(0).log.wait(Instant::now() + LOOK_AGAIN, |_| None::<()>);
        }
    }

    /// Watches for this long that no node tells this event of anybody after its mark.
    ///
    /// # Panics
    ///
    /// As soon as one does.
    pub fn watch_never(&self, duration: Duration, event: &str, marks: &[usize]) {
        let deadline = Instant::now() + duration;
        for (index, node) in self.nodes.iter().enumerate() {
            let Some(node) = node else { continue };
            let told =
                |lines: &[String]| Change::all(&lines[marks[index]..]).into_iter().find(|change| change.event == event);
            if let Some(change) = node.log.wait(deadline, told) {
                panic!("{} told {change:?}:\n{}", self.id(index), self.tell(&(0..self.count()).collect::<Vec<_>>()));
            }
        }
        // Those that were looked at first may have told meanwhile.
        self.never(event, marks);
    }

    /// No node has told this event of anybody after its mark.
    ///
    /// # Panics
    ///
    /// When one has.
    pub fn never(&self, event: &str, marks: &[usize]) {
        for (index, node) in self.nodes.iter().enumerate() {
            let changes = node.as_ref().map(|node| node.log.changes(marks[index])).unwrap_or_default();
            let told: Vec<&Change> = changes.iter().filter(|change| change.event == event).collect();
            assert!(told.is_empty(), "{} told {told:?}:\n{}", self.id(index), self.tell(&[index]));
        }
    }

    /// Sends a signal to a node, and tells when that was.
    pub fn signal(&self, index: usize, signal: Signal) -> SystemTime {
        self.node(index).signal(signal)
    }

    /// The logs of these nodes, for a panic.
    pub fn tell(&self, indexes: &[usize]) -> String {
        let log = |index: &usize| match &self.nodes[*index] {
            Some(node) => format!("--- {}\n{}", node.id, node.log.lines().join("\n")),
            None => format!("--- {} is not started", self.id(*index)),
        };
        indexes.iter().map(log).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Cluster {
    #[expect(clippy::print_stderr, reason = "a test speaks through its output")]
    fn drop(&mut self) {
        self.nodes.clear();
        if let Some(folder) = self.folder.take().filter(|_| std::thread::panicking()) {
            eprintln!("the configurations and logs of the cluster are in {}", folder.keep().display());
        }
    }
}
