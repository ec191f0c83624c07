//! The simulation: hosts, connections and the network between them, run from one thing to the next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use rdb_net_faults::Network;
use rdb_net_types::{NodeAddress, NodeId, SeededRandom};

use crate::config::Config;
use crate::delivery::{Delivery, End, StreamId, Timer};
use crate::host::{Host, Life};
use crate::invariant::Watch;
use crate::queue::{Next, Queue};
use crate::stream::Stream;
use crate::trace::Trace;

/// A condition is looked at again at most this often while things happen: what is measured is exact to it.
const RESOLUTION: Duration = Duration::from_millis(1);

/// And at least this often: views may become equal without anything to tell.
const LOOK_ANYWAY: Duration = Duration::from_millis(50);

/// Many nodes on a simulated network, on one thread. Equal settings and seeds give equal runs.
#[derive(Debug)]
pub struct Simulation {
    pub(crate) config: Config,
    pub(crate) now: Duration,
    pub(crate) random: SeededRandom,
    pub(crate) network: Network<usize>,
    pub(crate) queue: Queue<Delivery, Timer>,
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
                memory: None,
                backlog: VecDeque::new(),
                backlog_bytes: 0,
                processing: Duration::ZERO,
                busy_until: Duration::ZERO,
            })
            .collect();
        Self {
            now: Duration::from_secs(1),
            network: Network::new(config.network, random.next_u64()),
            random,
            queue: Queue::new(),
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

    /// Runs for this time.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until the condition holds, and gives how long that took; `None` where it did not within the limit. The condition
    /// is looked at when something was told, at most once a millisecond, and every 50 ms.
    pub fn run_until(&mut self, limit: Duration, holds: impl Fn(&Self) -> bool) -> Option<Duration> {
        let (start, end) = (self.now, self.now + limit);
        let (mut told, mut looked) = (u64::MAX, Duration::ZERO);
        loop {
            let is_news = self.watch.told() != told && self.now >= looked + RESOLUTION;
            if is_news || self.now >= looked + LOOK_ANYWAY {
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

    pub(crate) fn drop_stream_if_gone(&mut self, id: StreamId) {
        if self.streams.get(&id).is_some_and(Stream::is_gone) {
            self.streams.remove(&id);
        }
    }

    /// Hands a delivery to the host: to its process, to what waits for one that stands still or is slow, or to the kernel alone.
    fn arrive(&mut self, host: usize, delivery: Delivery) {
        match self.hosts[host].life {
            Life::Running if self.hosts[host].is_slow() => self.queue_for_slow(host, delivery),
            Life::Running => self.deliver(host, delivery),
            Life::Paused => self.keep_for_later(host, delivery),
            Life::Idle | Life::Crashed | Life::Stopped => self.refuse(delivery),
            Life::Off => {}
        }
    }
}
