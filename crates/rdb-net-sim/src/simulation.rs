//! The simulation: hosts, connections and the network between them, run from one thing to the next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use rdb_net_engine::{Engine, EngineError};
use rdb_net_session::{CloseReason, Identity, Loss};
use rdb_net_types::{
    BootId, ClusterId, Incarnation, NodeAddress, NodeId, NodeInfo, NodeState, ProtocolRange, SeededRandom,
};

use crate::config::Config;
use crate::host::{Host, Life, Process};
use crate::invariant::{Violation, Watch};
use crate::network::Network;
use crate::queue::{Delivery, End, Next, Queue, StreamId, Timer};
use crate::stream::Stream;
use crate::trace::Trace;

/// A condition is looked at again at most this often while things happen: what is measured is exact to it.
const RESOLUTION: Duration = Duration::from_millis(1);

/// Unix time at the origin of the simulated clock, in seconds: generations begin here.
const ORIGIN_UNIX_SECONDS: u32 = 1_700_000_000;

/// Many nodes on a simulated network, on one thread. Equal settings and seeds give equal runs.
#[derive(Debug)]
pub struct Simulation {
    pub(crate) config: Config,
    pub(crate) now: Duration,
    pub(crate) random: SeededRandom,
    pub(crate) network: Network,
    pub(crate) queue: Queue,
    pub(crate) hosts: Vec<Host>,
    pub(crate) streams: BTreeMap<StreamId, Stream>,
    pub(crate) streams_made: u64,
    pub(crate) trace: Trace,
    pub(crate) watch: Watch,
    /// Processes whose engine may have something to say.
    pub(crate) talkative: BTreeSet<usize>,
    /// Sessions that may have something to say.
    pub(crate) busy: BTreeSet<(StreamId, End)>,
    pub(crate) by_gossip: BTreeMap<SocketAddr, usize>,
    pub(crate) by_address: BTreeMap<NodeAddress, usize>,
    pub(crate) packets: u64,
    pub(crate) packet_bytes: u64,
    pub(crate) segments: u64,
    pub(crate) dials: u64,
    pub(crate) datagrams_overflowed: u64,
}

/// The id of a simulated node.
pub fn node_id(node: usize) -> NodeId {
    NodeId::new(&format!("node-{node:04}")).expect("letters and digits")
}

fn ip_of(node: usize) -> [u8; 4] {
    let number = node as u32 + 1;
    [10, (number >> 16) as u8, (number >> 8) as u8, number as u8]
}

impl Simulation {
    /// Hosts without processes.
    pub fn new(config: Config) -> Self {
        let mut random = SeededRandom::new(config.seed);
        let hosts: Vec<Host> = (0..config.nodes)
            .map(|node| Host {
                id: node_id(node),
                address: NodeAddress::from(SocketAddr::from((ip_of(node), 7000))),
                gossip: SocketAddr::from((ip_of(node), 7001)),
                life: Life::Idle,
                lives: 0,
                process: None,
                backlog: VecDeque::new(),
                backlog_bytes: 0,
            })
            .collect();
        Self {
            now: Duration::from_secs(1),
            network: Network::new(config.network, random.fork()),
            random,
            queue: Queue::default(),
            by_gossip: hosts.iter().enumerate().map(|(node, host)| (host.gossip, node)).collect(),
            by_address: hosts.iter().enumerate().map(|(node, host)| (host.address.clone(), node)).collect(),
            watch: Watch::new(hosts.iter().map(|host| host.id.clone()).collect()),
            hosts,
            streams: BTreeMap::new(),
            streams_made: 0,
            trace: Trace::new(config.seed),
            talkative: BTreeSet::new(),
            busy: BTreeSet::new(),
            packets: 0,
            packet_bytes: 0,
            segments: 0,
            dials: 0,
            datagrams_overflowed: 0,
            config,
        }
    }

    /// Starts a process on a host that has none: the first one, or a later life.
    ///
    /// # Errors
    ///
    /// [`EngineError`] where the settings are out of range.
    ///
    /// # Panics
    ///
    /// Where the host has a process.
    pub fn start(&mut self, node: usize) -> Result<(), EngineError> {
        assert!(self.hosts[node].process.is_none(), "the host has a process");
        let (boot, seed) = (BootId(self.random.next_u64()), self.random.next_u64());
        let host = &mut self.hosts[node];
        // A node's clock has passed at least a second between two of its starts, or it takes its stored generation + 1.
        let generation = ORIGIN_UNIX_SECONDS + self.now.as_secs() as u32 + host.lives;
        host.lives += 1;
        host.life = Life::Running;
        let mut info = NodeInfo::new(host.id.clone(), host.address.clone());
        info.boot = boot;
        info.incarnation = Incarnation::first_of(generation);
        info.version = "0.1.0".to_owned();
        let cluster = ClusterId::new("simulated").expect("letters");
        let identity = Identity {
            cluster: cluster.clone(),
            node: host.id.clone(),
            incarnation: info.incarnation,
            boot,
            address: host.address.clone(),
            protocol: ProtocolRange::CURRENT,
            software: info.version.clone(),
            token: Vec::new(),
        };
        let gossip = host.gossip;
        let mut engine = Engine::new(self.config.engine.clone(), cluster, info, gossip, seed, self.now)?;
        self.watch.started(node, &engine);
        let seeds: Vec<NodeAddress> = self.hosts[..self.config.seeds].iter().map(|host| host.address.clone()).collect();
        engine.join(self.now, seeds);
        self.hosts[node].process = Some(Process {
            engine,
            identity,
            boot,
            peers: BTreeMap::new(),
            streams: BTreeSet::new(),
            pending: BTreeMap::new(),
            peers_made: 0,
        });
        self.trace.bytes(self.now, node, 1, &boot.0.to_le_bytes());
        self.talkative.insert(node);
        self.pump();
        Ok(())
    }

    /// Kills the process: its connections are reset or end, and the host refuses new ones.
    pub fn crash(&mut self, node: usize) {
        self.watch.excuse(node);
        self.end_process(node, Life::Crashed);
        let streams: Vec<StreamId> =
            self.streams.iter().filter(|(_, stream)| stream.dialer == node || stream.acceptor == node).map(|(id, _)| *id).collect();
        for id in streams {
            for end in [End::Dialer, End::Acceptor] {
                let Some(stream) = self.streams.get_mut(&id) else { continue };
                if stream.host(end) == node && stream.socket(end).take().is_some() {
                    // Unread bytes make the kernel reset the connection; without them it ends it.
                    let loss = if self.network.flip() { Loss::Reset } else { Loss::Eof };
                    self.send_end(id, end, loss);
                }
            }
            self.drop_stream_if_gone(id);
        }
    }

    /// Takes the power: nothing answers, and nobody is told.
    pub fn power_off(&mut self, node: usize) {
        self.watch.excuse(node);
        self.end_process(node, Life::Off);
        for stream in self.streams.values_mut() {
            for end in [End::Dialer, End::Acceptor] {
                if stream.host(end) == node {
                    *stream.socket(end) = None;
                }
            }
        }
        self.streams.retain(|_, stream| !stream.is_gone());
    }

    /// Stops the process as SIGSTOP does: the host goes on taking what arrives.
    pub fn pause(&mut self, node: usize) {
        if self.hosts[node].life == Life::Running {
            self.hosts[node].life = Life::Paused;
        }
    }

    /// Lets the process go on: first with what has arrived, then with what is due.
    pub fn wake(&mut self, node: usize) {
        if self.hosts[node].life != Life::Paused {
            return;
        }
        self.hosts[node].life = Life::Running;
        self.hosts[node].backlog_bytes = 0;
        for delivery in std::mem::take(&mut self.hosts[node].backlog) {
            self.deliver(node, delivery);
            self.pump();
        }
        self.wake_timers(node);
        self.pump();
    }

    /// Kills the process and starts another one on the host.
    ///
    /// # Errors
    ///
    /// [`EngineError`] where the settings are out of range.
    pub fn restart(&mut self, node: usize) -> Result<(), EngineError> {
        if self.hosts[node].process.is_some() {
            self.crash(node);
        }
        self.start(node)
    }

    /// Lets the node leave the cluster; its process ends when the farewell is over.
    pub fn leave(&mut self, node: usize) {
        let now = self.now;
        if let Some(process) = &mut self.hosts[node].process {
            process.engine.leave(now);
            self.talkative.insert(node);
            self.pump();
        }
    }

    /// Ends the process without a farewell to the cluster, but with one on every connection.
    pub fn stop(&mut self, node: usize) {
        self.watch.excuse(node);
        self.close_all(node);
        self.pump();
        self.end_process(node, Life::Stopped);
    }

    pub(crate) fn close_all(&mut self, node: usize) {
        let ends: Vec<(StreamId, End)> = self.ends_of(node);
        for (id, end) in ends {
            if let Some(socket) = self.streams.get_mut(&id).and_then(|stream| stream.socket(end).as_mut()) {
                socket.session.close(CloseReason::Local);
                self.busy.insert((id, end));
            }
        }
    }

    pub(crate) fn ends_of(&self, node: usize) -> Vec<(StreamId, End)> {
        let Some(process) = &self.hosts[node].process else { return Vec::new() };
        let ends = |id: &StreamId| {
            let stream = self.streams.get(id)?;
            Some((*id, if stream.dialer == node { End::Dialer } else { End::Acceptor }))
        };
        process.streams.iter().filter_map(ends).collect()
    }

    pub(crate) fn end_process(&mut self, node: usize, life: Life) {
        let host = &mut self.hosts[node];
        host.life = life;
        host.backlog.clear();
        host.backlog_bytes = 0;
        self.trace.bytes(self.now, node, 2, &[life as u8]);
        self.queue.arm(Timer::Engine(node), None);
        self.talkative.remove(&node);
        if let Some(process) = host.process.take() {
            for key in process.peers.into_keys() {
                self.queue.arm(Timer::Peer(node, key), None);
            }
            for id in process.streams {
                for end in [End::Dialer, End::Acceptor] {
                    if self.streams.get(&id).is_some_and(|stream| stream.host(end) == node) {
                        self.queue.arm(Timer::Session(id, end), None);
                        self.busy.remove(&(id, end));
                    }
                }
            }
        }
    }

    /// Cuts the link from one node to another, one way.
    pub fn cut_one_way(&mut self, from: usize, to: usize) {
        self.network.cut(from, to);
    }

    /// Cuts every link between the two groups, both ways.
    pub fn cut(&mut self, left: &[usize], right: &[usize]) {
        for (a, b) in pairs(left, right) {
            self.network.cut(a, b);
            self.network.cut(b, a);
        }
    }

    /// Mends every link between the two groups, both ways. What the connections have held arrives.
    pub fn mend(&mut self, left: &[usize], right: &[usize]) {
        for (a, b) in pairs(left, right) {
            self.network.mend(a, b);
            self.network.mend(b, a);
        }
        self.release_held();
        self.pump();
    }

    /// From here on this share of datagrams is lost.
    pub fn set_loss(&mut self, loss: f64) {
        self.network.set_loss(loss);
    }

    /// A failure of this node that others tell of is no violation from here on: the scenario gives them reason.
    pub fn excuse(&mut self, node: usize) {
        self.watch.excuse(node);
    }

    /// Runs for this time.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until the condition holds, and gives how long that took; `None` where it did not within the limit. The condition
    /// is looked at when something was told, at most once a millisecond.
    pub fn run_until(&mut self, limit: Duration, holds: impl Fn(&Self) -> bool) -> Option<Duration> {
        let (start, end) = (self.now, self.now + limit);
        let (mut told, mut looked) = (u64::MAX, Duration::ZERO);
        loop {
            if self.watch.told() != told && self.now >= looked + RESOLUTION {
                (told, looked) = (self.watch.told(), self.now);
                if holds(self) {
                    return Some(self.now - start);
                }
            }
            if !self.step(end) {
                self.now = end;
                return holds(self).then_some(limit);
            }
        }
    }

    fn step(&mut self, end: Duration) -> bool {
        let Some((at, next)) = self.queue.pop(end) else { return false };
        self.now = self.now.max(at);
        match next {
            Next::Delivery(host, delivery) => self.arrive(host, delivery),
            Next::Timer(timer) => self.fire(timer),
        }
        self.pump();
        true
    }

    /// The simulated time since the origin.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// How many hosts there are.
    pub fn nodes(&self) -> usize {
        self.hosts.len()
    }

    /// What a host does.
    pub fn life(&self, node: usize) -> Life {
        self.hosts[node].life
    }

    /// The engine of the process on this host.
    pub fn engine(&self, node: usize) -> Option<&Engine> {
        self.hosts[node].process.as_ref().map(|process| &process.engine)
    }

    /// The boot id of the process on this host.
    pub fn boot(&self, node: usize) -> Option<BootId> {
        self.hosts[node].process.as_ref().map(|process| process.boot)
    }

    /// Hosts whose process runs.
    pub fn running(&self) -> impl Iterator<Item = (usize, &Engine)> {
        let running = self.hosts.iter().enumerate().filter(|(_, host)| host.life == Life::Running);
        running.filter_map(|(node, host)| host.process.as_ref().map(|process| (node, &process.engine)))
    }

    /// Whether every running process but the subject's own holds it in this state.
    pub fn all_hold(&self, subject: usize, state: NodeState) -> bool {
        let id = &self.hosts[subject].id;
        self.running()
            .filter(|(node, _)| *node != subject)
            .all(|(_, engine)| engine.member(id).is_some_and(|member| member.state == state))
    }

    /// Whether all running processes have the same view, with so many routable members.
    pub fn agrees(&self, members: usize) -> bool {
        let mut digest = None;
        self.running().all(|(_, engine)| {
            let seen = engine.view_digest();
            *digest.get_or_insert(seen) == seen
                && engine.census().alive == members
        })
    }

    /// How many events of this name were told of this node, by all others together.
    pub fn count(&self, event: &str, subject: usize) -> u64 {
        self.watch.count(event, &self.hosts[subject].id)
    }

    /// How many events of this name were told of all nodes.
    pub fn count_all(&self, event: &str) -> u64 {
        self.watch.count_all(event)
    }

    /// What has gone against an invariant.
    pub fn violations(&self) -> &[Violation] {
        self.watch.violations()
    }

    /// Checks what holds whenever the cluster has come to rest.
    pub fn check_at_rest(&mut self) {
        let mut watch = std::mem::take(&mut self.watch);
        watch.at_rest(self);
        self.watch = watch;
    }

    /// The hash of everything that was delivered and told so far.
    pub fn trace(&self) -> u64 {
        self.trace.value()
    }

    /// Datagrams delivered, their bytes, pieces of streams delivered, and dials.
    pub fn traffic(&self) -> (u64, u64, u64, u64) {
        (self.packets, self.packet_bytes, self.segments, self.dials)
    }

    pub(crate) fn drop_stream_if_gone(&mut self, id: StreamId) {
        if self.streams.get(&id).is_some_and(Stream::is_gone) {
            self.streams.remove(&id);
        }
    }

    /// Hands a delivery to the host: to its process, to what waits for one that stands still, or to the kernel alone.
    fn arrive(&mut self, host: usize, delivery: Delivery) {
        match self.hosts[host].life {
            Life::Running => self.deliver(host, delivery),
            Life::Paused => self.keep_for_later(host, delivery),
            Life::Idle | Life::Crashed | Life::Stopped => self.refuse(delivery),
            Life::Off => {}
        }
    }
}

fn pairs<'a>(left: &'a [usize], right: &'a [usize]) -> impl Iterator<Item = (usize, usize)> + 'a {
    left.iter().flat_map(move |a| right.iter().map(move |b| (*a, *b)))
}
