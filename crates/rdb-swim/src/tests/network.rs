//! A lossy network of machines: one seed, one run. After every step it checks what must hold of every machine.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rdb_net_types::{BootId, ClusterId, Evidence, EvidenceKind, Incarnation, NodeId, NodeState, SeededRandom};

use crate::merge::Standing;
use crate::{Config, Event, LocalNode, MemberRecord, Swim, SyncAnswer, SyncId, SyncOutcome};

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) fn id(n: usize) -> NodeId {
    NodeId::new(&format!("node-{n:02}")).expect("legal")
}

pub(crate) fn cluster() -> ClusterId {
    ClusterId::new("test").expect("legal")
}

pub(crate) fn address(n: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (n / 250) as u8, (n % 250) as u8 + 1], 7001))
}

pub(crate) fn local(n: usize, boot: u64, generation: u32) -> LocalNode {
    LocalNode {
        id: id(n),
        boot: BootId(boot),
        incarnation: Incarnation::first_of(generation),
        address: address(n),
        meta: Bytes::from(format!("meta of {n}")),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    Paused,
    Dead,
}

pub(crate) struct Node {
    pub(crate) swim: Swim,
    life: Life,
    inbox: Vec<(SocketAddr, Vec<u8>)>,
    pub(crate) events: Vec<(Duration, Event)>,
    mirror: BTreeMap<NodeId, MemberRecord>,
    standings: BTreeMap<NodeId, Standing>,
    pub(crate) outcomes: Vec<SyncOutcome>,
    leaves: bool,
}

pub(crate) struct Network {
    pub(crate) now: Duration,
    pub(crate) nodes: Vec<Node>,
    pub(crate) loss: f64,
    pub(crate) latency: (Duration, Duration),
    random: SeededRandom,
    serial: u64,
    in_flight: BTreeMap<(Duration, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    evidence: BTreeMap<(Duration, u64), (usize, Evidence)>,
    cuts: BTreeSet<(usize, usize)>,
    /// Shares of what these nodes send that is lost besides.
    muted: BTreeMap<usize, f64>,
    pending: BTreeMap<(usize, SyncId), usize>,
    pub(crate) packets: u64,
    pub(crate) trace: u64,
    /// Between which nodes packets of which version were sent.
    pub(crate) versions: BTreeSet<(usize, usize, u8)>,
    /// Whether all members of a node are looked at after whatever it does.
    pub(crate) is_checked: bool,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: secs(1),
            nodes: Vec::new(),
            loss: 0.0,
            latency: (ms(1), ms(5)),
            random: SeededRandom::new(seed),
            serial: 0,
            in_flight: BTreeMap::new(),
            evidence: BTreeMap::new(),
            cuts: BTreeSet::new(),
            muted: BTreeMap::new(),
            pending: BTreeMap::new(),
            packets: 0,
            trace: 0,
            versions: BTreeSet::new(),
            is_checked: true,
        }
    }

    /// `n` members that know each other.
    pub(crate) fn cluster_of(n: usize, seed: u64) -> Self {
        let mut network = Self::new(seed);
        for i in 0..n {
            network.add(local(i, 100 + i as u64, 1_000));
        }
        for i in 1..n {
            network.sync(i, 0);
        }
        network.run_until(secs(20), "everybody knows everybody", |net| net.agrees(n));
        network.run(secs(3));
        network.forget_events();
        network
    }

    pub(crate) fn add(&mut self, local: LocalNode) -> usize {
        let seed = self.random.next_u64();
        let swim = Swim::new(Config::lan(), &cluster(), local, seed, self.now);
        self.nodes.push(Node {
            swim,
            life: Life::Running,
            inbox: Vec::new(),
            events: Vec::new(),
            mirror: BTreeMap::new(),
            standings: BTreeMap::new(),
            outcomes: Vec::new(),
            leaves: false,
        });
        self.nodes.len() - 1
    }

    pub(crate) fn crash(&mut self, n: usize) {
        self.nodes[n].life = Life::Dead;
    }

    /// The process dies and its host says so: its ring neighbours are refused within a few milliseconds.
    pub(crate) fn kill(&mut self, n: usize, observers: &[usize]) {
        self.crash(n);
        let node = self.nodes[n].swim.local().id.clone();
        for observer in observers {
            let at = self.now + self.random.duration(ms(1), ms(10));
            self.serial += 1;
            let evidence = Evidence { node: node.clone(), boot: None, kind: EvidenceKind::Refused };
            self.evidence.insert((at, self.serial), (*observer, evidence));
        }
    }

    pub(crate) fn pause(&mut self, n: usize) {
        self.nodes[n].life = Life::Paused;
    }

    /// The driver wakes: first what has arrived, then the timers.
    pub(crate) fn wake(&mut self, n: usize) {
        self.nodes[n].life = Life::Running;
        for (from, packet) in std::mem::take(&mut self.nodes[n].inbox) {
            let _ = self.nodes[n].swim.handle_packet(self.now, from, &packet);
        }
        self.fire(n);
        self.flush(n);
    }

    pub(crate) fn leave(&mut self, n: usize) {
        self.nodes[n].leaves = true;
        self.act(n, |swim, now| swim.leave(now));
    }

    pub(crate) fn rejoin(&mut self, n: usize) {
        self.nodes[n].leaves = false;
        self.act(n, |swim, now| swim.rejoin(now));
    }

    /// Cuts or mends every link between the two groups.
    pub(crate) fn part(&mut self, left: &[usize], right: &[usize], is_cut: bool) {
        for (a, b) in left.iter().flat_map(|a| right.iter().map(move |b| (*a, *b))) {
            for link in [(a, b), (b, a)] {
                if is_cut {
                    self.cuts.insert(link);
                } else {
                    self.cuts.remove(&link);
                }
            }
        }
    }

    /// So much of what a node sends is lost from here on.
    pub(crate) fn mute(&mut self, n: usize, loss: f64) {
        self.muted.insert(n, loss);
    }

    pub(crate) fn act<T>(&mut self, n: usize, act: impl FnOnce(&mut Swim, Duration) -> T) -> T {
        let result = act(&mut self.nodes[n].swim, self.now);
        self.flush(n);
        result
    }

    pub(crate) fn evidence(&mut self, n: usize, of: usize, kind: EvidenceKind) {
        let evidence = Evidence { node: id(of), boot: None, kind };
        self.act(n, |swim, now| swim.handle_evidence(now, &evidence));
    }

    /// `asker` sends its view's request to `replier`.
    pub(crate) fn sync(&mut self, asker: usize, replier: usize) {
        let is_up = |n: usize| self.nodes[n].life == Life::Running;
        if !is_up(asker) || !is_up(replier) || self.cuts.contains(&(asker, replier)) {
            return;
        }
        let request = self.nodes[asker].swim.sync_request();
        let answer = self.nodes[replier].swim.handle_sync_request(self.now, &request).expect("a request");
        match answer {
            SyncAnswer::Ready(reply) => self.sync_replied(asker, &reply),
            SyncAnswer::Pending(sync) => {
                self.pending.insert((replier, sync), asker);
            }
        }
        self.flush(replier);
    }

    fn sync_replied(&mut self, asker: usize, reply: &[u8]) {
        let outcome = self.nodes[asker].swim.handle_sync_reply(self.now, reply).expect("a reply");
        self.nodes[asker].outcomes.push(outcome);
        self.flush(asker);
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until the condition holds, and gives how long that took.
    #[track_caller]
    pub(crate) fn run_until(&mut self, limit: Duration, what: &str, holds: impl Fn(&Self) -> bool) -> Duration {
        let (start, end) = (self.now, self.now + limit);
        while !holds(self) {
            assert!(self.step(end), "within {limit:?}: {what}");
        }
        self.now - start
    }

    fn step(&mut self, end: Duration) -> bool {
        let timers = self.nodes.iter().filter(|node| node.life == Life::Running);
        let timer = timers.filter_map(|node| node.swim.poll_timeout()).min();
        let packet = self.in_flight.first_key_value().map(|((at, _), _)| *at);
        let evidence = self.evidence.first_key_value().map(|((at, _), _)| *at);
        let Some(next) = [timer, packet, evidence].into_iter().flatten().min().filter(|next| *next <= end) else {
            return false;
        };
        self.now = self.now.max(next);
        while let Some(entry) = self.in_flight.first_entry().filter(|entry| entry.key().0 <= next) {
            let (from, to, bytes) = entry.remove();
            self.deliver(from, to, bytes);
        }
        while let Some(entry) = self.evidence.first_entry().filter(|entry| entry.key().0 <= next) {
            let (n, evidence) = entry.remove();
            self.act(n, |swim, now| swim.handle_evidence(now, &evidence));
        }
        for n in 0..self.nodes.len() {
            let is_due = self.nodes[n].swim.poll_timeout().is_some_and(|at| at <= next);
            if is_due && self.nodes[n].life == Life::Running {
                self.fire(n);
                self.flush(n);
            }
        }
        true
    }

    fn fire(&mut self, n: usize) {
        self.nodes[n].swim.handle_timeout(self.now);
        assert!(self.nodes[n].swim.poll_timeout().is_none_or(|at| at > self.now), "a busy loop");
    }

    fn deliver(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let Some(n) = self.nodes.iter().rposition(|node| node.swim.local().address == to) else { return };
        match self.nodes[n].life {
            Life::Running => {
                let _ = self.nodes[n].swim.handle_packet(self.now, from, &bytes);
                self.flush(n);
            }
            Life::Paused => self.nodes[n].inbox.push((from, bytes)),
            Life::Dead => {}
        }
    }

    /// Fetches what a machine has to send and to tell.
    pub(crate) fn flush(&mut self, n: usize) {
        let mut packet = Vec::new();
        while let Some(to) = self.nodes[n].swim.poll_transmit(self.now, &mut packet) {
            assert!(packet.len() <= self.nodes[n].swim.config().packet_bytes_max);
            self.packets += 1;
            self.trace =
                packet.iter().fold(self.trace, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
            let target = self.nodes.iter().rposition(|node| node.swim.local().address == to);
            self.versions.extend(target.map(|target| (n, target, packet[2])));
            if self.random.chance(self.loss) || target.is_some_and(|target| self.cuts.contains(&(n, target))) {
                continue;
            }
            if self.muted.get(&n).is_some_and(|loss| self.random.chance(*loss)) {
                continue;
            }
            let at = self.now + self.random.duration(self.latency.0, self.latency.1);
            self.serial += 1;
            let from = self.nodes[n].swim.local().address;
            self.in_flight.insert((at, self.serial), (from, to, packet.clone()));
        }
        let mut wanted = Vec::new();
        while let Some(event) = self.nodes[n].swim.poll_event() {
            match &event {
                Event::SyncWanted { node } => wanted.push(node.clone()),
                Event::SyncAnswered { id, reply } => {
                    if let Some(asker) = self.pending.remove(&(n, *id)) {
                        self.sync_replied(asker, reply);
                    }
                }
                _ => {}
            }
            self.nodes[n].fold(&event);
            self.nodes[n].events.push((self.now, event));
        }
        if self.is_checked {
            self.nodes[n].check();
        }
        for node in wanted {
            if let Some(replier) = self.nodes.iter().rposition(|other| *other.swim.local().id == node) {
                self.sync(n, replier);
            }
        }
    }

    pub(crate) fn forget_events(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.events.clear());
    }

    fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.life == Life::Running && !node.leaves)
    }

    /// Whether every running node holds exactly `n` members alive, and all have one view.
    pub(crate) fn agrees(&self, n: usize) -> bool {
        let digests: BTreeSet<u64> = self.running().map(|node| node.swim.digest()).collect();
        digests.len() <= 1
            && self
                .running()
                .all(|node| node.swim.members().filter(|member| member.state == NodeState::Alive).count() == n)
    }

    /// Whether every running node other than the subject holds it in this state.
    pub(crate) fn all_hold(&self, subject: usize, state: NodeState) -> bool {
        let subject = id(subject);
        self.running()
            .filter(|node| *node.swim.local().id != subject)
            .all(|node| node.swim.member(&subject).is_some_and(|member| member.state == state))
    }

    /// How often any node was told such an event.
    pub(crate) fn count(&self, is_it: impl Fn(&Event) -> bool) -> usize {
        self.nodes.iter().flat_map(|node| &node.events).filter(|(_, event)| is_it(event)).count()
    }
}

impl Node {
    pub(crate) fn is_running(&self) -> bool {
        self.life == Life::Running
    }

    /// Puts an event into the mirror, and checks that it leads on from what was told before.
    fn fold(&mut self, event: &Event) {
        use NodeState::{Alive, Failed, Left, Suspect};
        let (record, may_follow, next): (_, &[Option<NodeState>], _) = match event {
            Event::Joined(record) => (record, &[None, Some(Left)], Alive),
            Event::Left(record) => (record, &[None, Some(Alive), Some(Suspect), Some(Failed)], Left),
            Event::Failed(record) => (record, &[None, Some(Alive), Some(Suspect)], Failed),
            Event::Recovered(record) => (record, &[Some(Failed)], Alive),
            Event::Updated(record) => (record, &[Some(record.state)], record.state),
            Event::Suspected(record) => (record, &[Some(Alive)], Suspect),
            Event::Trusted(record) => (record, &[Some(Suspect)], Alive),
            Event::Forgotten(record) => {
                let former = self.mirror.remove(&record.id).map(|record| record.state);
                assert!(matches!(former, Some(Failed | Left)));
                self.standings.remove(&record.id);
                return;
            }
            _ => return,
        };
        assert_ne!(record.id, *self.swim.local().id, "transitions are of others");
        let former = self.mirror.get(&record.id).map(|record| record.state);
        assert!(may_follow.contains(&former), "{event:?} after {former:?}");
        self.mirror.insert(record.id.clone(), MemberRecord { state: next, ..record.clone() });
    }

    /// What must hold of a machine at any time.
    fn check(&mut self) {
        let own = self.swim.local();
        assert!(self.leaves || own.state == NodeState::Alive, "nobody doubts itself");
        assert!(self.swim.local_health() <= self.swim.config().lifeguard.health_max, "I11");
        assert!(self.swim.members().map(|member| member.id).is_sorted(), "by ascending id");
        let others: BTreeMap<_, _> = self
            .swim
            .members()
            .filter(|member| member.id != own.id)
            .map(|member| {
                (member.id.clone(), MemberRecord { incarnation: Incarnation::default(), ..member.to_record() })
            })
            .collect();
        let told: BTreeMap<_, _> = self
            .mirror
            .iter()
            .map(|(id, record)| (id.clone(), MemberRecord { incarnation: Incarnation::default(), ..record.clone() }))
            .collect();
        assert_eq!(others, told, "folding the events gives the members");
        for member in self.swim.members().filter(|member| member.id != own.id) {
            let standing = Standing::new(member.incarnation, member.state);
            let former = self.standings.insert(member.id.clone(), standing);
            assert!(former.is_none_or(|former| !former.beats(standing)), "{}: {former:?} to {standing:?}", member.id);
        }
    }
}
