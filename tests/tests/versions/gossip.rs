//! Membership among nodes of the previous release, which say nothing of the versions that they understand, and of today's.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rdb_net_types::{BootId, ClusterId, Incarnation, NodeId, NodeState, SeededRandom};

/// What happened at a node, as far as these tests ask.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Failed(NodeId),
    SyncWanted(NodeId),
    Farewell,
    Other,
}

/// A machine of either release.
trait Machine {
    fn handle_packet(&mut self, now: Duration, from: SocketAddr, packet: &[u8]);
    fn handle_timeout(&mut self, now: Duration);
    fn poll_timeout(&self) -> Option<Duration>;
    fn poll_transmit(&mut self, now: Duration, packet: &mut Vec<u8>) -> Option<SocketAddr>;
    fn poll_event(&mut self) -> Option<Told>;
    fn request(&self) -> Vec<u8>;
    fn reply(&mut self, now: Duration, request: &[u8]) -> Vec<u8>;
    fn take_reply(&mut self, now: Duration, reply: &[u8]);
    fn leave(&mut self, now: Duration);
    fn digest(&self) -> u64;
    fn alive(&self) -> usize;
    /// Packets that could not be read.
    fn unreadable(&self) -> u64;
}

macro_rules! machine {
    ($release:ident, $unreadable:expr) => {
        impl Machine for $release::Swim {
            fn handle_packet(&mut self, now: Duration, from: SocketAddr, packet: &[u8]) {
                // Pings for a former life are dropped and counted by both.
                let _counted = $release::Swim::handle_packet(self, now, from, packet);
            }

            fn handle_timeout(&mut self, now: Duration) {
                $release::Swim::handle_timeout(self, now);
            }

            fn poll_timeout(&self) -> Option<Duration> {
                $release::Swim::poll_timeout(self)
            }

            fn poll_transmit(&mut self, now: Duration, packet: &mut Vec<u8>) -> Option<SocketAddr> {
                $release::Swim::poll_transmit(self, now, packet)
            }

            fn poll_event(&mut self) -> Option<Told> {
                Some(match $release::Swim::poll_event(self)? {
                    $release::Event::Failed(record) => Told::Failed(record.id),
                    $release::Event::SyncWanted { node } => Told::SyncWanted(node),
                    $release::Event::Farewell { .. } => Told::Farewell,
                    _ => Told::Other,
                })
            }

            fn request(&self) -> Vec<u8> {
                self.sync_request()
            }

            fn reply(&mut self, now: Duration, request: &[u8]) -> Vec<u8> {
                match self.handle_sync_request(now, request) {
                    Ok($release::SyncAnswer::Ready(reply)) => reply,
                    other => panic!("{other:?}"),
                }
            }

            fn take_reply(&mut self, now: Duration, reply: &[u8]) {
                let outcome = self.handle_sync_reply(now, reply);
                // Who leaves just then answers that it is busy.
                let is_answer =
                    matches!(outcome, Ok($release::SyncOutcome::Accepted { .. } | $release::SyncOutcome::Busy));
                assert!(is_answer, "{outcome:?}");
            }

            fn leave(&mut self, now: Duration) {
                $release::Swim::leave(self, now);
            }

            fn digest(&self) -> u64 {
                $release::Swim::digest(self)
            }

            fn alive(&self) -> usize {
                self.members().filter(|member| member.state == NodeState::Alive).count()
            }

            fn unreadable(&self) -> u64 {
                let unreadable: fn(&$release::Statistics) -> u64 = $unreadable;
                unreadable(self.stats())
            }
        }
    };
}

machine!(rdb_swim, |stats| stats.dropped_malformed + stats.dropped_version + stats.refused_versions);
machine!(rdb_swim_previous, |stats| stats.dropped_malformed);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Release {
    Previous,
    Today,
}

impl Release {
    fn start(self, n: usize, generation: u32, seed: u64, now: Duration) -> Box<dyn Machine> {
        let cluster = ClusterId::new("mixed").expect("legal");
        let (id, boot, incarnation) = (id(n), BootId(u64::from(generation)), Incarnation::first_of(generation));
        let (address, meta) = (address(n), Bytes::from_static(b"meta"));
        match self {
            Self::Previous => {
                let local = rdb_swim_previous::LocalNode { id, boot, incarnation, address, meta };
                Box::new(rdb_swim_previous::Swim::new(rdb_swim_previous::Config::lan(), &cluster, local, seed, now))
            }
            Self::Today => {
                let local = rdb_swim::LocalNode { id, boot, incarnation, address, meta };
                Box::new(rdb_swim::Swim::new(rdb_swim::Config::lan(), &cluster, local, seed, now))
            }
        }
    }
}

fn id(n: usize) -> NodeId {
    NodeId::new(&format!("node-{n}")).expect("legal")
}

fn address(n: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n as u8 + 1], 7001))
}

/// Nodes on a network that loses some packets, in virtual time.
struct Net {
    now: Duration,
    nodes: Vec<Box<dyn Machine>>,
    in_flight: BTreeMap<(Duration, u64), (usize, SocketAddr, Vec<u8>)>,
    random: SeededRandom,
    loss: f64,
    serial: u64,
    /// Every packet, in order.
    packets: Vec<Vec<u8>>,
    told: Vec<(usize, Told)>,
    unreadable: u64,
}

impl Net {
    fn of(release: Release, n: usize, loss: f64) -> Self {
        let now = Duration::from_secs(1);
        let nodes = (0..n).map(|n| release.start(n, 1_000, n as u64, now)).collect();
        let (in_flight, random) = (BTreeMap::new(), SeededRandom::new(7));
        let (packets, told) = (Vec::new(), Vec::new());
        let mut net = Self { now, nodes, in_flight, random, loss, serial: 0, packets, told, unreadable: 0 };
        (1..n).for_each(|asker| net.sync(asker, 0));
        net.until("all agree", |net| net.agrees());
        net
    }

    fn sync(&mut self, asker: usize, replier: usize) {
        let request = self.nodes[asker].request();
        let reply = self.nodes[replier].reply(self.now, &request);
        self.nodes[asker].take_reply(self.now, &reply);
        self.flush(replier);
        self.flush(asker);
    }

    fn flush(&mut self, n: usize) {
        let mut packet = Vec::new();
        while let Some(to) = self.nodes[n].poll_transmit(self.now, &mut packet) {
            self.packets.push(packet.clone());
            let at = self.now + self.random.duration(Duration::from_millis(1), Duration::from_millis(5));
            if let Some(target) = (0..self.nodes.len()).find(|target| address(*target) == to)
                && !self.random.chance(self.loss)
            {
                self.serial += 1;
                self.in_flight.insert((at, self.serial), (target, address(n), packet.clone()));
            }
        }
        while let Some(told) = self.nodes[n].poll_event() {
            if let Told::SyncWanted(node) = &told
                && let Some(replier) = (0..self.nodes.len()).find(|other| id(*other) == *node)
            {
                self.sync(n, replier);
            }
            self.told.push((n, told));
        }
    }

    fn step(&mut self) {
        let timer = self.nodes.iter().filter_map(|node| node.poll_timeout()).min();
        let packet = self.in_flight.first_key_value().map(|((at, _), _)| *at);
        self.now = [timer, packet].into_iter().flatten().min().expect("a node has a timer").max(self.now);
        while let Some(entry) = self.in_flight.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (n, from, packet) = entry.remove();
            self.nodes[n].handle_packet(self.now, from, &packet);
            self.flush(n);
        }
        for n in 0..self.nodes.len() {
            if self.nodes[n].poll_timeout().is_some_and(|at| at <= self.now) {
                self.nodes[n].handle_timeout(self.now);
                self.flush(n);
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    #[track_caller]
    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = self.now + Duration::from_secs(20);
        while !holds(self) {
            assert!(self.now < end, "within 20 s: {what}");
            self.step();
        }
    }

    fn agrees(&self) -> bool {
        let first = self.nodes[0].digest();
        self.nodes.iter().all(|node| node.alive() == self.nodes.len() && node.digest() == first)
    }

    /// Stops a node with a farewell, and starts it as one of this release.
    fn replace(&mut self, n: usize, release: Release, generation: u32) {
        self.nodes[n].leave(self.now);
        self.flush(n);
        self.until("the farewell is over", |net| net.told.contains(&(n, Told::Farewell)));
        self.told.retain(|(node, told)| *node != n || *told != Told::Farewell);
        // Who had not heard of it would have to take the former life for failed.
        self.until("all know", |net| {
            let mut others = (0..net.nodes.len()).filter(|other| *other != n);
            others.all(|other| net.nodes[other].alive() == net.nodes.len() - 1)
        });
        self.unreadable += self.nodes[n].unreadable();
        self.nodes[n] = release.start(n, generation, u64::from(generation), self.now);
        let seed = (n + 1) % self.nodes.len();
        self.sync(n, seed);
        self.until("it is back", |net| net.agrees());
        self.run(Duration::from_secs(10));
    }

    fn failed(&self) -> usize {
        self.told.iter().filter(|(_, told)| matches!(told, Told::Failed(_))).count()
    }
}

/// What idle nodes of one version say costs no byte more than before there were versions.
#[test]
fn nodes_of_today_send_the_same_bytes_as_those_of_the_previous_release() {
    let packets = [Release::Previous, Release::Today].map(|release| {
        let mut net = Net::of(release, 5, 0.05);
        net.run(Duration::from_secs(60));
        net.packets
    });
    assert!(packets[0].len() > 500, "{} packets", packets[0].len());
    assert!(packets[0] == packets[1], "a packet differs");
}

#[test]
fn a_cluster_is_upgraded_node_by_node_and_back_and_nobody_is_failed() {
    for loss in [0.0, 0.05] {
        let mut net = Net::of(Release::Previous, 5, loss);
        let mut generation = 1_000;
        for release in [Release::Today, Release::Previous, Release::Today] {
            for n in 0..5 {
                generation += 1;
                net.replace(n, release, generation);
            }
        }
        let unreadable = net.unreadable + net.nodes.iter().map(|node| node.unreadable()).sum::<u64>();
        assert_eq!((net.failed(), unreadable, net.agrees()), (0, 0, true), "at a loss of {loss}");
    }
}

#[test]
fn a_crash_is_found_by_nodes_of_both_releases() {
    let mut net = Net::of(Release::Previous, 5, 0.0);
    net.replace(1, Release::Today, 1_001);
    net.replace(3, Release::Today, 1_002);
    for victim in [0, 1] {
        // It is there no more: whatever it hears or says is lost.
        let address = address(victim);
        let end = net.now + Duration::from_secs(60);
        while net.now < end {
            net.in_flight.retain(|_, (to, from, _)| *to != victim && *from != address);
            net.step();
        }
        let by: Vec<usize> = (0..5).filter(|n| net.told.contains(&(*n, Told::Failed(id(victim))))).collect();
        assert_eq!(by, (0..5).filter(|n| *n != victim).collect::<Vec<_>>(), "node {victim}");
        net.until("it is back", |net| net.agrees());
        net.told.clear();
    }
}
