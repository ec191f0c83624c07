//! Nodes, disks, a network and an application in simulated time: one seed is one run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use rdb_net_patterns::replication::check::{Fact, Rules};
use rdb_net_patterns::replication::{Action, Event, LogStorage, Message, NotLeading, Position, Replica, Reply, Role};
use rdb_net_types::{NodeId, SeededRandom};

use crate::disk::Disk;
use crate::script::{CALM, CHAOS, SETTLING, Script};

/// After how long a request without an answer has failed.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(60);

/// Something that will happen.
#[derive(Debug)]
enum Due {
    Arrive { to: usize, from: usize, life: u32, ticket: u64, message: Message },
    Answer { to: usize, life: u32, from: usize, ticket: u64, reply: Reply },
    Fail { to: usize, life: u32, from: usize, ticket: u64 },
    Synced { node: usize, life: u32, mark: u64, writes: usize },
    Timeout { node: usize, life: u32 },
    Restart { node: usize },
    Mend { from: usize, to: usize },
    Cut,
    Propose,
    Lead,
    Settled,
}

/// Where an answer goes.
#[derive(Debug, Clone, Copy)]
struct Asked {
    by: usize,
    life: u32,
    ticket: u64,
}

#[derive(Debug)]
struct Node {
    id: NodeId,
    life: u32,
    replica: Option<Replica<Disk>>,
    /// The disk, while no process has it.
    disk: Option<Disk>,
    timeout: Option<Duration>,
    /// What was asked of it, by its own ticket.
    asked: BTreeMap<u64, Asked>,
    next_ticket: u64,
    /// What it was given as a leader, by index: epoch and number.
    proposed: BTreeMap<u64, (u64, u64)>,
    told: u64,
}

pub(crate) struct World {
    now: Duration,
    due: BinaryHeap<Reverse<(Duration, u64)>>,
    what: BTreeMap<u64, Due>,
    random: SeededRandom,
    script: Script,
    nodes: Vec<Node>,
    /// Requests without an outcome: who sent which to whom.
    under_way: BTreeSet<(usize, u64, usize)>,
    /// The time of the last arrival from one node at another.
    arrivals: BTreeMap<(usize, usize), Duration>,
    cuts: BTreeMap<(usize, usize), u32>,
    epoch: u64,
    /// Whom the application names next, where it was told.
    hint: Option<usize>,
    next_value: u64,
    proposed_after: u32,
    is_healed: bool,
    is_settled: bool,
    rules: Rules,
    pub(crate) acknowledged: u64,
    pub(crate) crashes: u64,
    pub(crate) leaders: u64,
    pub(crate) cut_logs: u64,
    trace: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(seed: u64, change: impl FnOnce(&mut Script), is_traced: bool) -> Self {
        let mut random = SeededRandom::new(seed);
        let mut script = Script::draw(&mut random);
        change(&mut script);
        let node = |id: &NodeId| Node {
            id: id.clone(),
            life: 0,
            replica: None,
            disk: Some(Disk::default()),
            timeout: None,
            asked: BTreeMap::new(),
            next_ticket: 0,
            proposed: BTreeMap::new(),
            told: 0,
        };
        let nodes: Vec<Node> = script.config.members.iter().map(node).collect();
        let mut world = Self {
            now: Duration::ZERO,
            due: BinaryHeap::new(),
            what: BTreeMap::new(),
            random,
            rules: Rules::new(nodes.len()),
            nodes,
            script,
            under_way: BTreeSet::new(),
            arrivals: BTreeMap::new(),
            cuts: BTreeMap::new(),
            epoch: 0,
            hint: None,
            next_value: 0,
            proposed_after: 0,
            is_healed: false,
            is_settled: false,
            acknowledged: 0,
            crashes: 0,
            leaders: 0,
            cut_logs: 0,
            trace: is_traced.then(Vec::new),
        };
        (0..world.nodes.len()).for_each(|node| world.start(node));
        for due in [Due::Lead, Due::Propose, Due::Cut] {
            world.later(Duration::from_millis(1), due);
        }
        world
    }

    /// Runs until its end; returns the rules that were broken, and what happened where it was asked for.
    pub(crate) fn run(&mut self) -> (Vec<String>, Vec<String>) {
        while let Some(Reverse((at, number))) = self.due.pop() {
            if at > CHAOS && !self.is_healed {
                self.now = CHAOS;
                self.heal();
            }
            if at > CHAOS + CALM {
                break;
            }
            self.now = at;
            let due = self.what.remove(&number).expect("what is due is there");
            self.happen(due);
        }
        for node in 0..self.nodes.len() {
            let (log, committed) = (self.log_of(node), self.replica(node).map_or(0, Replica::committed));
            self.see(Fact::Ended { node: self.nodes[node].id.clone(), log, committed });
        }
        let mut broken = std::mem::replace(&mut self.rules, Rules::new(1)).end();
        if !self.is_settled {
            broken.push("progress: after the last fault nobody could lead".to_owned());
        }
        (broken, self.trace.take().unwrap_or_default())
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Arrive { to, from, life, ticket, message } => self.arrive(to, from, life, ticket, message),
            Due::Answer { to, life, from, ticket, reply } => {
                if self.nodes[to].life == life && self.under_way.remove(&(to, ticket, from)) {
                    let id = self.nodes[from].id.clone();
                    self.act(to, |replica, now| replica.handle_reply(now, &id, ticket, reply));
                }
            }
            Due::Fail { to, life, from, ticket } => {
                if self.nodes[to].life == life && self.under_way.remove(&(to, ticket, from)) {
                    let id = self.nodes[from].id.clone();
                    self.act(to, |replica, now| replica.handle_failure(now, &id, ticket));
                }
            }
            Due::Synced { node, life, mark, writes } => {
                if self.nodes[node].life == life
                    && let Some(replica) = &mut self.nodes[node].replica
                {
                    replica.log_mut().make_durable(writes);
                    self.act(node, |replica, _| replica.handle_synced(mark));
                }
            }
            Due::Timeout { node, life } => {
                if self.nodes[node].life == life && self.nodes[node].timeout == Some(self.now) {
                    self.nodes[node].timeout = None;
                    self.act(node, |replica, now| replica.handle_timeout(now));
                }
            }
            Due::Restart { node } => self.start(node),
            Due::Mend { from, to } => {
                if let Some(cuts) = self.cuts.get_mut(&(from, to)) {
                    *cuts = cuts.saturating_sub(1);
                }
            }
            Due::Cut => self.cut(),
            Due::Propose => self.propose(),
            Due::Lead => self.lead(),
            Due::Settled if self.leads_as_named() => {
                self.is_settled = true;
                self.see(Fact::Healed);
                self.later(Duration::ZERO, Due::Propose);
            }
            Due::Settled => self.later(Duration::from_millis(50), Due::Settled),
        }
    }

    fn later(&mut self, delay: Duration, due: Due) {
        let number = self.what.last_key_value().map_or(0, |(number, _)| number + 1);
        self.due.push(Reverse((self.now + delay, number)));
        self.what.insert(number, due);
    }

    fn about(&mut self, mean: Duration) -> Duration {
        self.random.duration(mean / 5, mean * 9 / 5)
    }

    fn see(&mut self, fact: Fact) {
        self.note(|| format!("  {fact:?}"));
        self.rules.see(&fact);
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>9.3} ms {}", self.now.as_secs_f64() * 1000.0, text()));
        }
    }

    fn replica(&self, node: usize) -> Option<&Replica<Disk>> {
        self.nodes[node].replica.as_ref()
    }

    fn disk(&self, node: usize) -> &Disk {
        let node = &self.nodes[node];
        node.replica.as_ref().map(Replica::log).or(node.disk.as_ref()).expect("the disk is in one of the two")
    }

    fn log_of(&self, node: usize) -> Vec<Position> {
        let disk = self.disk(node);
        (1..=disk.last().index).filter_map(|index| disk.position(index)).collect()
    }

    // What the nodes do.

    fn start(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        let Some(disk) = node.disk.take() else { return };
        let (id, mut replica) = (node.id.clone(), Replica::new(node.id.clone(), self.script.config.clone(), disk));
        if let (Ok(replica), Some(mutation)) = (&mut replica, self.script.mutation) {
            replica.plant(mutation);
        }
        node.replica = Some(replica.expect("it is a member"));
        self.note(|| format!("{id} starts"));
        self.see(Fact::Restarted { node: id });
    }

    fn crash(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        let Some(replica) = node.replica.take() else { return };
        node.disk = Some(replica.into_log().crash(&mut self.random));
        node.life += 1;
        node.timeout = None;
        node.asked.clear();
        node.proposed.clear();
        node.told = 0;
        self.crashes += 1;
        self.under_way.retain(|(by, ..)| *by != place);
        // Most of those who wait for it learn at once that the connection is gone.
        let waiting: Vec<_> = self.under_way.iter().filter(|(.., to)| *to == place).copied().collect();
        for (by, ticket, to) in waiting {
            let (delay, life) = (self.delay(), self.nodes[by].life);
            self.later(delay, Due::Fail { to: by, life, from: to, ticket });
        }
        let id = self.nodes[place].id.clone();
        self.note(|| format!("{id} dies"));
        let down = self.about(Duration::from_millis(100));
        self.later(down, Due::Restart { node: place });
    }

    /// Lets a node do something, and carries out what it wants to have done; it may die at each step of it.
    fn act(&mut self, place: usize, act: impl FnOnce(&mut Replica<Disk>, Duration)) {
        let now = self.now;
        let Some(replica) = &mut self.nodes[place].replica else { return };
        act(replica, now);
        while let Some(action) = self.nodes[place].replica.as_mut().and_then(Replica::poll_action) {
            self.carry_out(place, action);
            if !self.is_healed && self.random.chance(self.script.crash) {
                self.crash(place);
            }
        }
        let node = &mut self.nodes[place];
        let timeout = node.replica.as_ref().and_then(Replica::poll_timeout).map(|at| at.max(now));
        if let Some(at) = timeout.filter(|_| timeout != node.timeout) {
            node.timeout = timeout;
            let life = node.life;
            self.later(at - now, Due::Timeout { node: place, life });
        }
    }

    fn carry_out(&mut self, place: usize, action: Action) {
        let life = self.nodes[place].life;
        match action {
            Action::Send { to, ticket, message } => {
                self.note(|| format!("node {} to {to}, {ticket}: {message:?}", place + 1));
                let to = self.place(&to);
                self.under_way.insert((place, ticket, to));
                self.later(REQUEST_TIMEOUT, Due::Fail { to: place, life, from: to, ticket });
                let times = 1 + u32::from(self.random.chance(self.script.twice));
                for _ in 0..times {
                    if let Some(delay) = self.transit(place, to) {
                        let message = message.clone();
                        self.later(delay, Due::Arrive { to, from: place, life, ticket, message });
                    }
                }
            }
            Action::GiveUp { to } => {
                let to = self.place(&to);
                self.under_way.retain(|(by, _, other)| (*by, *other) != (place, to));
            }
            Action::Reply { ticket, reply } => {
                self.note(|| format!("node {} answers: {reply:?}", place + 1));
                let Some(asked) = self.nodes[place].asked.remove(&ticket) else { return };
                if let Some(delay) = self.transit(place, asked.by) {
                    let answer =
                        Due::Answer { to: asked.by, life: asked.life, from: place, ticket: asked.ticket, reply };
                    self.later(delay, answer);
                }
            }
            Action::Sync { mark } => {
                let delay = self.random.duration(Duration::ZERO, self.script.sync_max);
                let writes = self.disk(place).unsynced();
                self.later(delay, Due::Synced { node: place, life, mark, writes });
            }
            Action::Event(event) => self.told(place, event),
        }
    }

    fn arrive(&mut self, to: usize, from: usize, life: u32, ticket: u64, message: Message) {
        let id = self.nodes[from].id.clone();
        let node = &mut self.nodes[to];
        if node.replica.is_none() {
            return;
        }
        node.next_ticket += 1;
        let own = node.next_ticket;
        node.asked.insert(own, Asked { by: from, life, ticket });
        self.act(to, |replica, _| replica.handle_message(&id, own, message));
    }

    fn told(&mut self, place: usize, event: Event) {
        let id = self.nodes[place].id.clone();
        self.note(|| format!("{id}: {event:?}"));
        match event {
            Event::Leading { epoch, .. } => {
                self.leaders += 1;
                let log = self.log_of(place);
                self.see(Fact::Led { node: id, epoch, log });
            }
            Event::NotLeading { reason, .. } => {
                self.nodes[place].proposed.clear();
                if let NotLeading::Behind { node, .. } = reason {
                    self.hint = Some(self.place(&node));
                }
            }
            Event::Committed { index } => self.committed(place, index),
            Event::Cut { .. } => self.cut_logs += 1,
            _ => {}
        }
    }

    fn committed(&mut self, place: usize, index: u64) {
        for index in self.nodes[place].told + 1..=index {
            let disk = self.disk(place);
            let Some(position) = disk.position(index) else { continue };
            let data = disk.read(index, 1, 1).expect("memory").pop().map(|entry| entry.data).unwrap_or_default();
            let value = data.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
            let node = self.nodes[place].id.clone();
            self.see(Fact::Committed { node, position, value });
            if let Some((epoch, value)) = self.nodes[place].proposed.remove(&index) {
                assert_eq!(epoch, position.epoch, "a leader's log is its own");
                let holds = |node: &usize| self.disk(*node).holds_for_good(position);
                let durable_at = (0..self.nodes.len()).filter(holds).map(|node| self.nodes[node].id.clone()).collect();
                self.acknowledged += 1;
                self.see(Fact::Acknowledged { position, value, durable_at: Some(durable_at) });
            }
        }
        self.nodes[place].told = index;
    }

    fn place(&self, id: &NodeId) -> usize {
        self.nodes.iter().position(|node| node.id == *id).expect("it is a member")
    }

    // What the network does.

    fn delay(&mut self) -> Duration {
        self.random.duration(Duration::from_micros(100), Duration::from_millis(2))
    }

    /// How long a message takes; `None` when it gets lost.
    fn transit(&mut self, from: usize, to: usize) -> Option<Duration> {
        let delay = self.delay();
        if self.is_healed {
            return Some(delay);
        }
        let is_cut = self.cuts.get(&(from, to)).is_some_and(|cuts| *cuts > 0);
        if is_cut || self.random.chance(self.script.loss) {
            return None;
        }
        if self.random.chance(self.script.late) {
            return Some(self.about(Duration::from_millis(150)));
        }
        // The others keep their order.
        let arrival = self.arrivals.entry((from, to)).or_default();
        *arrival = (*arrival + Duration::from_nanos(1)).max(self.now + delay);
        Some(*arrival - self.now)
    }

    /// Cuts one way, or a node from all others.
    fn cut(&mut self) {
        if self.is_healed {
            return;
        }
        let count = self.nodes.len();
        let (node, other) = (self.random.index(count), self.random.index(count));
        let others: Vec<usize> = if self.random.chance(0.3) { (0..count).collect() } else { vec![other] };
        let long = self.about(Duration::from_millis(200));
        let (is_deaf, is_mute) = (self.random.chance(0.7), self.random.chance(0.7));
        self.note(|| format!("cut: node {} and {others:?}, to it {is_deaf}, from it {is_mute}", node + 1));
        for other in others {
            for (from, to) in [(other, node)].into_iter().filter(|_| is_deaf).chain(is_mute.then_some((node, other))) {
                *self.cuts.entry((from, to)).or_default() += 1;
                self.later(long, Due::Mend { from, to });
            }
        }
        let next = self.about(self.script.cut_every);
        self.later(next, Due::Cut);
    }

    fn heal(&mut self) {
        self.is_healed = true;
        self.cuts.clear();
        self.note(|| "from here on nothing fails".to_owned());
        (0..self.nodes.len()).for_each(|node| self.start(node));
        self.later(SETTLING, Due::Settled);
    }

    // What the application does.

    /// Names another leader, in a higher epoch; once nothing fails, only where there is none.
    fn lead(&mut self) {
        let count = self.nodes.len();
        let next = self.about(self.script.lead_every);
        self.later(next.max(Duration::from_millis(if self.is_healed { 400 } else { 0 })), Due::Lead);
        if self.is_healed && self.leads_as_named() {
            return;
        }
        let place = self.hint.take().unwrap_or_else(|| self.random.index(count));
        // Sometimes nobody has told it of the newest epoch.
        self.epoch += 1;
        let epoch = if !self.is_healed && self.random.chance(0.1) { self.epoch / 2 } else { self.epoch };
        let id = self.nodes[place].id.clone();
        self.note(|| format!("{id} is to lead in epoch {epoch}"));
        self.act(place, |replica, now| {
            let _refused = replica.lead(now, epoch);
        });
    }

    /// Whether the leader leads that was named last.
    fn leads_as_named(&self) -> bool {
        let leader = self.newest_leader().and_then(|place| self.replica(place));
        leader.is_some_and(|leader| leader.promise().epoch == self.epoch)
    }

    fn newest_leader(&self) -> Option<usize> {
        let leads = |place: &usize| self.replica(*place).is_some_and(|replica| replica.status().role == Role::Leader);
        let epoch = |place: &usize| self.replica(*place).map(|replica| replica.promise().epoch);
        (0..self.nodes.len()).filter(leads).max_by_key(epoch)
    }

    /// Gives entries to whoever leads, or believes so.
    fn propose(&mut self) {
        const AFTER: u32 = 10;
        let next = self.about(self.script.propose_every);
        if self.is_healed && (!self.is_settled || self.proposed_after >= AFTER) {
            return;
        }
        self.later(next, Due::Propose);
        let count = self.nodes.len();
        let anybody = self.random.index(count);
        let place = self.newest_leader().filter(|_| self.is_healed).unwrap_or(anybody);
        let lengths: Vec<usize> = (0..1 + self.random.index(4)).map(|_| 8 + self.random.index(60)).collect();
        let first = self.next_value + 1;
        let entry = |(value, length): (u64, usize)| {
            let mut data = value.to_be_bytes().to_vec();
            data.resize(length, value as u8);
            data.into()
        };
        let entries: Vec<bytes::Bytes> = (first..).zip(lengths.iter().copied()).map(entry).collect();
        let node = &mut self.nodes[place];
        let Some(replica) = &mut node.replica else { return };
        let Ok(taken) = replica.propose(entries) else { return };
        let (id, epoch) = (node.id.clone(), replica.promise().epoch);
        self.next_value += lengths.len() as u64;
        self.proposed_after += u32::from(self.is_healed);
        for (index, value) in taken.zip(first..) {
            self.nodes[place].proposed.insert(index, (epoch, value));
            self.see(Fact::Proposed { node: id.clone(), epoch, index, value });
        }
        self.act(place, |_, _| {});
    }
}
