//! Nodes, disks, a network and an application in simulated time: one seed is one run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use rdb_net_patterns::replication::check::{Fact, Rules};
use rdb_net_patterns::replication::{
    Action, AppendEntries, Event, LogError, LogStorage, Message, NotLeading, Position, Replica, Reply,
};
use rdb_net_types::{NodeId, SeededRandom};

use crate::deaths::{self, Deaths};
use crate::disk::Disk;
use crate::script::{CALM, CHAOS, Script};

/// After how long a request without an answer has failed.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(60);

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Due {
    Arrive { to: usize, from: usize, life: u32, ticket: u64, message: Message },
    Answer { to: usize, life: u32, from: usize, ticket: u64, reply: Reply },
    Fail { to: usize, life: u32, from: usize, ticket: u64 },
    Synced { node: usize, life: u32, mark: u64, writes: usize },
    Timeout { node: usize, life: u32 },
    Dies { node: usize, life: u32 },
    Restart { node: usize },
    Mend { from: usize, to: usize },
    Cut,
    Propose,
    Lead,
    Compact,
    Restore { node: usize, from: usize, base: Position },
    Settled,
}

/// Where an answer goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    by: usize,
    life: u32,
    ticket: u64,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) life: u32,
    pub(crate) replica: Option<Replica<Disk>>,
    /// The disk, while no process has it.
    pub(crate) disk: Option<Disk>,
    pub(crate) timeout: Option<Duration>,
    /// What was asked of it, by its own ticket.
    pub(crate) asked: BTreeMap<u64, Asked>,
    pub(crate) next_ticket: u64,
    /// What it was given as a leader, by index: epoch and number.
    pub(crate) proposed: BTreeMap<u64, (u64, u64)>,
    pub(crate) told: u64,
    /// What its application has applied and keeps for good, whatever becomes of the log: what each entry was, from the first on.
    pub(crate) copy: Vec<Applied>,
}

/// An entry that was applied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Applied {
    pub(crate) position: Position,
    pub(crate) value: Option<u64>,
}

pub(crate) struct World {
    pub(crate) now: Duration,
    due: BinaryHeap<Reverse<(Duration, u64)>>,
    what: BTreeMap<u64, Due>,
    pub(crate) random: SeededRandom,
    pub(crate) script: Script,
    pub(crate) nodes: Vec<Node>,
    /// Requests without an outcome: who sent which to whom.
    under_way: BTreeSet<(usize, u64, usize)>,
    /// The time of the last arrival from one node at another.
    pub(crate) arrivals: BTreeMap<(usize, usize), Duration>,
    pub(crate) cuts: BTreeMap<(usize, usize), u32>,
    pub(crate) epoch: u64,
    /// Whom the application names next, where it was told.
    pub(crate) hint: Option<usize>,
    pub(crate) next_value: u64,
    pub(crate) proposed_after: u32,
    pub(crate) is_healed: bool,
    pub(crate) is_settled: bool,
    rules: Rules,
    pub(crate) acknowledged: u64,
    pub(crate) crashes: u64,
    pub(crate) leaders: u64,
    pub(crate) cut_logs: u64,
    pub(crate) compactions: u64,
    pub(crate) restored: u64,
    pub(crate) failed_syncs: u64,
    pub(crate) deaths: Deaths,
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
            copy: Vec::new(),
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
            compactions: 0,
            restored: 0,
            failed_syncs: 0,
            deaths: Deaths::default(),
            trace: is_traced.then(Vec::new),
        };
        (0..world.nodes.len()).for_each(|node| world.start(node));
        for due in [Due::Lead, Due::Propose, Due::Cut, Due::Compact] {
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
                if self.nodes[node].life == life {
                    self.synced(node, mark, writes);
                }
            }
            Due::Dies { node, life } => {
                if self.nodes[node].life == life {
                    self.crash(node);
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
            Due::Compact => self.compact(),
            Due::Restore { node, from, base } => self.restore(node, from, base),
            Due::Settled if self.leads_as_named() => {
                self.is_settled = true;
                self.see(Fact::Healed);
                self.later(Duration::ZERO, Due::Propose);
            }
            Due::Settled => self.later(Duration::from_millis(50), Due::Settled),
        }
    }

    pub(crate) fn later(&mut self, delay: Duration, due: Due) {
        let number = self.what.last_key_value().map_or(0, |(number, _)| number + 1);
        self.due.push(Reverse((self.now + delay, number)));
        self.what.insert(number, due);
    }

    pub(crate) fn about(&mut self, mean: Duration) -> Duration {
        self.random.duration(mean / 5, mean * 9 / 5)
    }

    pub(crate) fn see(&mut self, fact: Fact) {
        self.note(|| format!("  {fact:?}"));
        self.rules.see(&fact);
    }

    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>9.3} ms {}", self.now.as_secs_f64() * 1000.0, text()));
        }
    }

    pub(crate) fn replica(&self, node: usize) -> Option<&Replica<Disk>> {
        self.nodes[node].replica.as_ref()
    }

    fn disk(&self, node: usize) -> &Disk {
        let node = &self.nodes[node];
        node.replica.as_ref().map(Replica::log).or(node.disk.as_ref()).expect("the disk is in one of the two")
    }

    fn log_of(&self, node: usize) -> Vec<Position> {
        (1..=self.disk(node).last().index)
            .filter_map(|index| self.entry(node, index))
            .map(|entry| entry.position)
            .collect()
    }

    /// An entry, of the log or of what was applied before it was dropped from there.
    pub(crate) fn entry(&self, node: usize, index: u64) -> Option<Applied> {
        let disk = self.disk(node);
        if index <= disk.base().index {
            return self.nodes[node].copy.get(usize::try_from(index.checked_sub(1)?).ok()?).copied();
        }
        let data = disk.read(index, 1, 1).expect("memory").iter().next()?.data;
        let value = data.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        Some(Applied { position: disk.position(index)?, value })
    }

    /// Whether an entry would be there after a crash.
    fn holds_for_good(&self, node: usize, position: Position) -> bool {
        let copy = self.nodes[node].copy.get(position.index as usize - 1);
        copy.is_some_and(|applied| applied.position == position) || self.disk(node).holds_for_good(position)
    }

    // What the nodes do.

    pub(crate) fn start(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        let Some(disk) = node.disk.take() else { return };
        let (id, mut replica) = (node.id.clone(), Replica::new(node.id.clone(), self.script.config.clone(), disk));
        if let (Ok(replica), Some(mutation)) = (&mut replica, self.script.mutation) {
            replica.plant(mutation);
        }
        node.replica = Some(replica.expect("it is a member"));
        self.note(|| format!("{id} starts"));
        self.see(Fact::Restarted { node: id });
        if self.dies_here(10.0).is_some() {
            return self.dies_at(place, "before the first action of a life");
        }
        // The application knows how far its own data are.
        if let Some(applied) = self.nodes[place].copy.last().copied() {
            let is_planted = self.script.mutation.is_some();
            self.act(place, |replica, _| {
                let restored = replica.restore(applied.position);
                assert!(restored.is_ok() || is_planted, "its copy is of this log: {restored:?}");
            });
        }
    }

    /// Whether a node dies at a step, and if so whether before it: with this weight, so that it
    /// dies at the steps that are rare more often than at others.
    fn dies_here(&mut self, weight: f64) -> Option<bool> {
        let dies = !self.is_healed && self.random.chance(self.script.crash * weight);
        dies.then(|| self.random.chance(0.5))
    }

    fn dies_at(&mut self, place: usize, step: impl Into<String>) {
        self.deaths.count(step.into());
        self.crash(place);
    }

    /// A sync ends.
    fn synced(&mut self, place: usize, mark: u64, writes: usize) {
        let Some(replica) = &self.nodes[place].replica else { return };
        let kinds = replica.log().kinds_of(0..writes);
        let weight = deaths::weight_of(&kinds);
        let dies = self.dies_here(weight);
        let fails = !self.is_healed && self.random.chance(self.script.failed_sync * weight);
        let Some(replica) = &mut self.nodes[place].replica else { return };
        match dies {
            Some(true) => {
                kinds.iter().for_each(|kind| self.deaths.count(format!("before the sync of {kind}")));
                return self.crash(place);
            }
            _ if fails && self.script.lies => {
                replica.log_mut().fail();
                replica.log_mut().make_durable(writes);
            }
            _ if fails => {
                self.failed_syncs += 1;
                kinds.iter().for_each(|kind| self.deaths.count(format!("failed: the sync of {kind}")));
                let error = LogError { operation: "sync", source: std::io::Error::other("the disk has failed") };
                self.act(place, |replica, _| replica.handle_storage_failure(error));
                // Somebody sees to it after a while.
                let (delay, life) = (self.about(Duration::from_millis(100)), self.nodes[place].life);
                return self.later(delay, Due::Dies { node: place, life });
            }
            Some(false) => {
                replica.log_mut().make_durable(writes);
                kinds.iter().for_each(|kind| self.deaths.count(format!("after the sync of {kind}")));
                return self.crash(place);
            }
            None => replica.log_mut().make_durable(writes),
        }
        self.act(place, |replica, _| replica.handle_synced(mark));
    }

    pub(crate) fn crash(&mut self, place: usize) {
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
    pub(crate) fn act(&mut self, place: usize, act: impl FnOnce(&mut Replica<Disk>, Duration)) {
        let now = self.now;
        let Some(replica) = &mut self.nodes[place].replica else { return };
        let unsynced = replica.log().unsynced();
        act(replica, now);
        let written = replica.log().kinds_of(unsynced..replica.log().unsynced());
        if !written.is_empty() && self.dies_here(deaths::weight_of(&written)).is_some() {
            let step = |kind: &&str| self.deaths.count(format!("before the first action after writing {kind}"));
            written.iter().for_each(step);
            return self.crash(place);
        }
        while let Some(action) = self.nodes[place].replica.as_mut().and_then(Replica::poll_action) {
            let name = deaths::name(&action);
            let Some(is_before) = self.dies_here(deaths::weight_of(&[name])) else {
                self.carry_out(place, action);
                continue;
            };
            if is_before {
                return self.dies_at(place, format!("before {name}"));
            }
            self.carry_out(place, action);
            return self.dies_at(place, format!("after {name}"));
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
        // Whoever gets entries computes their checksums.
        let message = match message {
            Message::Append(append) => {
                let entries: Vec<_> = append.entries.iter().collect();
                Message::Append(AppendEntries { entries: entries.into(), ..append })
            }
            handshake @ Message::Resume(_) => handshake,
        };
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
            Event::OutOfReach { node, base, .. } => {
                let (delay, node) = (self.about(Duration::from_millis(20)), self.place(&node));
                self.later(delay, Due::Restore { node, from: place, base });
            }
            Event::Restored { .. } => self.restored += 1,
            _ => {}
        }
    }

    fn committed(&mut self, place: usize, index: u64) {
        for index in self.nodes[place].told + 1..=index {
            let Some(Applied { position, value }) = self.entry(place, index) else { continue };
            let node = self.nodes[place].id.clone();
            self.see(Fact::Committed { node, position, value });
            if let Some((epoch, value)) = self.nodes[place].proposed.remove(&index) {
                assert_eq!(epoch, position.epoch, "a leader's log is its own");
                let holds = |node: &usize| self.holds_for_good(*node, position);
                let durable_at = (0..self.nodes.len()).filter(holds).map(|node| self.nodes[node].id.clone()).collect();
                self.acknowledged += 1;
                self.see(Fact::Acknowledged { position, value, durable_at: Some(durable_at) });
            }
        }
        self.nodes[place].told = index;
    }

    pub(crate) fn place(&self, id: &NodeId) -> usize {
        self.nodes.iter().position(|node| node.id == *id).expect("it is a member")
    }
}
