//! A world in which a protocol's nodes live: one seed, one thread, one run.
//!
//! The world owns time, network, disks and the death of processes; a node's protocol is a [`Host`]. It is for any protocol of
//! this crate. **To add one:** write a `Host` that owns the protocol's pure machine (`boot` makes it from what the log holds,
//! `handle` turns the world's inputs into the machine's calls, `poll` turns the machine's actions into the world's outputs), choose
//! what its `Request`, `Reply` and `Note` are, and write checks over the notes. `tests/transactions` is an example.
//!
//! What the network does follows what the layer below tells a caller, [`Effect`] by effect:
//!
//! | what happens to a request | its outcome |
//! |---|---|
//! | the node is known to be away, or cannot be dialled | `NotSent` |
//! | the node answers that it takes no more | `NotStarted`, and no handler saw it |
//! | lost, or cut off, or the node dies; before or after the handler saw it | `Unknown`, soon or at the deadline |
//! | answered in time | the reply, or the effect that the handler told |
//!
//! Requests overtake each other, to the same node as well. A second copy of one may reach the same life of its receiver at any later
//! time, also after the answer, and another life as long as its sender still waits for an answer. What a process had not synced is lost
//! with it, but for what [`MemoryDisk::crash`] keeps. A node may die at any output of its machine: before the first of its life, before and after a
//! record is appended, before a sync ends and after it, before or after a message leaves. At which of them nodes have died is counted ([`Deaths`]).
//! A sync may fail as well: its node promises nothing more until its next life, and what the sync should have written is there or is not.

mod calls;
mod disk;
mod faults;
mod steps;

use std::collections::BTreeMap;
use std::time::Duration;

use rdb_net_types::{Effect, NodeId, RequestError, SeededRandom};

use calls::Calls;
pub(crate) use disk::LIES;
use disk::{Awaited, Disk};
pub(crate) use faults::Faults;
pub(crate) use steps::Deaths;

/// A node's protocol, in one life of its process.
pub(crate) trait Host: Sized {
    /// What nodes ask each other.
    type Request: Clone;
    /// What they answer.
    type Reply: Clone;
    /// What the checks are told.
    type Note;

    /// Begins a life with what the log holds.
    fn boot(birth: Birth<'_>) -> Self;
    /// Takes an input.
    fn handle(&mut self, now: Duration, input: Input<Self>);
    /// When it wants to be given [`Input::Timeout`].
    fn poll_timeout(&self) -> Option<Duration>;
    /// The next thing that it wants done.
    fn poll(&mut self) -> Option<Output<Self>>;
    /// What the checks are told at the end of the run.
    fn last_notes(&self) -> Vec<Self::Note>;
    /// What an output is called where a node dies at it.
    fn step(output: &Output<Self>) -> String;
    /// What a record is called where a node dies at its sync.
    fn record(record: &[u8]) -> String;
    /// How much more likely a node dies at this output than at others.
    fn weight(output: &Output<Self>) -> f64;
    /// How much more likely a node dies, or fails, at the sync of this record.
    fn weight_of_record(record: &[u8]) -> f64;
}

/// What a life begins with.
pub(crate) struct Birth<'a> {
    /// Which node it is.
    pub(crate) node: &'a NodeId,
    /// All nodes.
    pub(crate) nodes: &'a [NodeId],
    /// What its log holds.
    pub(crate) records: Vec<Vec<u8>>,
    /// The world's time.
    pub(crate) now: Duration,
    /// Its own chance.
    pub(crate) random: SeededRandom,
}

/// What happens to a node.
pub(crate) enum Input<H: Host> {
    /// A request arrived; it is answered with [`Output::Answer`], or never.
    Request { call: u64, from: NodeId, request: H::Request },
    /// The outcome of a request that it had sent with this tag.
    Outcome { tag: u64, result: Result<H::Reply, RequestError> },
    /// Everything that was appended up to this ticket is durable.
    Synced { ticket: u64 },
    /// A time that it asked for has come.
    Timeout,
    /// The application wants something; what, is the host's to choose.
    Command,
}

/// What a node wants done.
pub(crate) enum Output<H: Host> {
    /// Send a request; its outcome comes with this tag, once, unless it is given up.
    Send { tag: u64, to: NodeId, request: H::Request, timeout: Duration },
    /// Give a request up: no outcome comes.
    GiveUp { tag: u64 },
    /// Answer a request.
    Answer { call: u64, result: Result<H::Reply, Effect> },
    /// Append a record, and tell when it is durable where there is a ticket. Tickets ascend.
    Append { record: Vec<u8>, ticket: Option<u64> },
    /// Make these records the whole log.
    Replace { records: Vec<Vec<u8>> },
    /// Tell the checks.
    Note(H::Note),
}

/// A happening that lies ahead.
enum Ahead<H: Host> {
    Arrives { call: u64, life: Option<u32> },
    Replied { call: u64, result: Result<H::Reply, RequestError> },
    Synced { node: usize, life: u32 },
    Wakes { node: usize, life: u32 },
    Dies { node: usize },
    Lives { node: usize },
    Cuts { a: usize, b: usize, back: Duration },
    Joins { a: usize, b: usize },
    Commands { node: usize },
    Heals,
}

struct Place<H: Host> {
    id: NodeId,
    host: Option<H>,
    life: u32,
    disk: Disk,
    /// For when its next waking is on the list.
    wakes_at: Option<Duration>,
}

/// Something a node told, and when.
pub(crate) struct Told<N> {
    pub(crate) at: Duration,
    pub(crate) node: NodeId,
    pub(crate) note: N,
}

/// What a run counted, to see that it had any faults at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) happenings: u64,
    pub(crate) requests: u64,
    pub(crate) copies: u64,
    pub(crate) not_sent: u64,
    pub(crate) not_started: u64,
    pub(crate) unknown: u64,
    pub(crate) deaths: u64,
    pub(crate) deaths_unsynced: u64,
    pub(crate) cuts: u64,
    pub(crate) failed_syncs: u64,
}

/// A world.
pub(crate) struct World<H: Host> {
    now: Duration,
    random: SeededRandom,
    faults: Faults,
    is_healed: bool,
    ids: Vec<NodeId>,
    places: Vec<Place<H>>,
    cuts: BTreeMap<(usize, usize), u32>,
    calls: Calls<H>,
    ahead: BTreeMap<(Duration, u64), Ahead<H>>,
    happened: u64,
    told: Vec<Told<(u32, H::Note)>>,
    boots: Vec<(Duration, NodeId)>,
    pub(crate) counts: Counts,
    pub(crate) deaths: Deaths,
}

impl<H: Host> World<H> {
    /// So many nodes, all alive, with these faults.
    pub(crate) fn new(seed: u64, nodes: usize, faults: Faults) -> Self {
        let ids: Vec<NodeId> = (1..=nodes).map(|n| format!("n{n}").parse().expect("legal")).collect();
        let place = |id: &NodeId| Place { id: id.clone(), host: None, life: 0, disk: Disk::new(), wakes_at: None };
        let mut world = Self {
            now: Duration::ZERO,
            random: SeededRandom::new(seed),
            faults,
            is_healed: false,
            places: ids.iter().map(place).collect(),
            ids,
            cuts: BTreeMap::new(),
            calls: Calls::default(),
            ahead: BTreeMap::new(),
            happened: 0,
            told: Vec::new(),
            boots: Vec::new(),
            counts: Counts::default(),
            deaths: Deaths::default(),
        };
        (0..nodes).for_each(|node| world.boot(node));
        world.plan();
        world
    }

    /// The application of a node that chance picks wants something at this time.
    pub(crate) fn command(&mut self, at: Duration) {
        let node = self.random.index(self.places.len());
        self.at(at, Ahead::Commands { node });
    }

    /// Lets time pass with faults, then heals everything, then lets so much time pass without.
    pub(crate) fn run(&mut self, faulty: Duration, healed: Duration) {
        self.at(faulty, Ahead::Heals);
        let end = faulty + healed;
        while let Some(entry) = self.ahead.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, _), happening) = entry.remove_entry();
            self.now = at;
            self.happened += 1;
            assert!(self.happened < 2_000_000, "a run has no end: a loop without delay");
            self.happens(happening);
        }
        self.now = end;
        for node in 0..self.places.len() {
            let place = &self.places[node];
            for note in place.host.as_ref().map(H::last_notes).unwrap_or_default() {
                self.told.push(Told { at: end, node: place.id.clone(), note: (place.life, note) });
            }
        }
        self.counts.happenings = self.happened;
    }

    /// Everything that the nodes told, in order.
    pub(crate) fn take_notes(&mut self) -> Vec<Told<H::Note>> {
        let told = std::mem::take(&mut self.told);
        told.into_iter().map(|Told { at, node, note: (_, note) }| Told { at, node, note }).collect()
    }

    fn at(&mut self, at: Duration, happening: Ahead<H>) {
        self.happened += 1;
        self.ahead.insert((at.max(self.now), self.happened), happening);
    }

    fn after(&mut self, delay: Duration, happening: Ahead<H>) {
        self.at(self.now + delay, happening);
    }

    fn place_of(&self, id: &NodeId) -> usize {
        self.ids.iter().position(|known| known == id).expect("a host names nodes of its world")
    }

    fn happens(&mut self, happening: Ahead<H>) {
        match happening {
            Ahead::Arrives { call, life } => self.arrives(call, life),
            Ahead::Replied { call, result } => self.replied(call, result),
            Ahead::Synced { node, life } if self.places[node].life == life => self.synced(node),
            Ahead::Wakes { node, life } if self.places[node].life == life => {
                self.places[node].wakes_at = None;
                let is_due = |host: &H| host.poll_timeout().is_some_and(|at| at <= self.now);
                if self.places[node].host.as_ref().is_some_and(is_due) {
                    self.give(node, Input::Timeout);
                } else {
                    self.plan_waking(node);
                }
            }
            Ahead::Synced { .. } | Ahead::Wakes { .. } => {}
            Ahead::Dies { node } => self.dies(node),
            Ahead::Lives { node } if self.places[node].host.is_none() => self.boot(node),
            Ahead::Lives { .. } => {}
            Ahead::Cuts { a, b, back } => self.cut(a, b, back),
            Ahead::Joins { a, b } => self.join(a, b),
            Ahead::Commands { node } => self.give(node, Input::Command),
            Ahead::Heals => self.heals(),
        }
    }

    fn boot(&mut self, node: usize) {
        let random = self.random.fork();
        let place = &mut self.places[node];
        let records = place.disk.open();
        let birth = Birth { node: &place.id, nodes: &self.ids, records, now: self.now, random };
        place.host = Some(H::boot(birth));
        self.boots.push((self.now, place.id.clone()));
        if self.dies_here(1.0).is_some() {
            return self.dies_at(node, true, &["the first action of a life".to_owned()]);
        }
        self.pump(node);
    }

    /// A process dies: what it held is gone, and who waits for it hears, sooner or later.
    fn dies(&mut self, node: usize) {
        if self.is_healed || self.places[node].host.take().is_none() {
            return;
        }
        let place = &mut self.places[node];
        self.counts.deaths += 1;
        self.counts.deaths_unsynced += u64::from(place.disk.has_pending());
        place.life += 1;
        place.wakes_at = None;
        place.disk.crash(&mut self.random);
        self.lose_calls_of(node);
        let back = self.random.duration(self.faults.dead_min, self.faults.dead_max);
        self.after(back, Ahead::Lives { node });
    }

    fn heals(&mut self) {
        self.is_healed = true;
        self.cuts.clear();
        for node in 0..self.places.len() {
            if self.places[node].host.is_none() {
                self.boot(node);
            }
        }
    }

    /// Gives a node an input, and does what it wants done.
    fn give(&mut self, node: usize, input: Input<H>) {
        let now = self.now;
        if let Some(host) = &mut self.places[node].host {
            host.handle(now, input);
            self.pump(node);
        }
    }

    fn pump(&mut self, node: usize) {
        while let Some(output) = self.places[node].host.as_mut().and_then(H::poll) {
            let Some(is_before) = self.dies_here(H::weight(&output)) else {
                self.does(node, output);
                continue;
            };
            let step = [H::step(&output)];
            if !is_before {
                self.does(node, output);
            }
            return self.dies_at(node, is_before, &step);
        }
        self.plan_waking(node);
    }

    fn does(&mut self, node: usize, output: Output<H>) {
        match output {
            Output::Send { tag, to, request, timeout } => self.send(node, tag, &to, request, timeout),
            Output::GiveUp { tag } => self.give_up(node, tag),
            Output::Answer { call, result } => self.answer(node, call, result),
            Output::Append { record, ticket } => {
                let waits = ticket.map(|ticket| Awaited {
                    ticket,
                    name: H::record(&record),
                    weight: H::weight_of_record(&record),
                });
                self.places[node].disk.append(record, waits);
                self.start_sync(node);
            }
            Output::Replace { records } => {
                self.places[node].disk.replace(records);
                self.start_sync(node);
            }
            Output::Note(note) => {
                let place = &self.places[node];
                self.told.push(Told { at: self.now, node: place.id.clone(), note: (place.life, note) });
            }
        }
    }

    fn plan_waking(&mut self, node: usize) {
        let place = &mut self.places[node];
        let Some(at) = place.host.as_ref().and_then(H::poll_timeout) else { return };
        if place.wakes_at.is_none_or(|planned| at < planned) {
            place.wakes_at = Some(at);
            let life = place.life;
            self.at(at, Ahead::Wakes { node, life });
        }
    }
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            happenings: self.happenings + other.happenings,
            requests: self.requests + other.requests,
            copies: self.copies + other.copies,
            not_sent: self.not_sent + other.not_sent,
            not_started: self.not_started + other.not_started,
            unknown: self.unknown + other.unknown,
            deaths: self.deaths + other.deaths,
            deaths_unsynced: self.deaths_unsynced + other.deaths_unsynced,
            cuts: self.cuts + other.cuts,
            failed_syncs: self.failed_syncs + other.failed_syncs,
        }
    }
}
