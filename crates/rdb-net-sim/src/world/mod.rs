//! A protocol of your own on a simulated network: many machines, on one thread, from one seed.
//!
//! Whatever is a state machine without input and output ([`Machine`]) can be run here: at hosts that crash, start again, stand still and
//! are too slow, whose clocks are wrong and drift, over links that are late, lose, double and reorder what is sent, or are cut. What
//! must hold is said as rules, which are asked after each step or at rest; what goes against one is a [`Breach`] with seed and time. Equal
//! seeds and calls give equal runs, which [`World::trace`] proves.
//!
//! A machine that counts who has greeted it, and a network that loses half of what is sent:
//!
//! ```
//! use std::collections::BTreeSet;
//! use std::time::Duration;
//! use rdb_net_sim::world::{LinkFaults, Machine, World, WorldConfig};
//!
//! struct Greeter { own: usize, hosts: usize, next: Duration, turn: usize, met: BTreeSet<usize> }
//!
//! impl Machine for Greeter {
//!     fn handle_packet(&mut self, _: Duration, from: usize, _: &[u8]) {
//!         self.met.insert(from);
//!     }
//!     fn poll_timeout(&self) -> Option<Duration> {
//!         Some(self.next)
//!     }
//!     fn handle_timeout(&mut self, now: Duration) {
//!         (self.next, self.turn) = (now + Duration::from_secs(1), 0);
//!     }
//!     fn poll_transmit(&mut self, _: Duration, bytes: &mut Vec<u8>) -> Option<usize> {
//!         self.turn += 1;
//!         bytes.extend_from_slice(b"hello");
//!         (self.turn < self.hosts).then_some((self.own + self.turn) % self.hosts)
//!     }
//! }
//!
//! let mut config = WorldConfig::lan(5, 7);
//! config.network.loss = 0.5;
//! let mut world = World::new(config, |birth| {
//!     let (own, hosts, next) = (birth.host, birth.hosts, birth.now);
//!     Greeter { own, hosts, next, turn: hosts, met: BTreeSet::new() }
//! });
//! world.always("nobody greets itself", |world, host| match world.machine(host) {
//!     Some(machine) if machine.met.contains(&host) => Err(format!("host {host} has met itself")),
//!     _ => Ok(()),
//! });
//! world.start_all();
//! let all_met = |world: &World<Greeter>| world.machines().all(|(_, machine)| machine.met.len() == 4);
//! assert!(world.run_until(Duration::from_secs(60), all_met).is_some());
//!
//! // A machine that starts anew knows nobody, and hears nobody whose link to it is cut.
//! world.restart(3);
//! world.cut_one_way(0, 3);
//! world.run_for(Duration::from_secs(60));
//! assert_eq!(world.machine(3).map(|machine| machine.met.clone()), Some(BTreeSet::from([1, 2, 4])));
//! world.verdict()?;
//! # Ok::<(), rdb_net_sim::world::Breach>(())
//! ```
//!
//! `cargo run -p rdb-net-sim --example lease` is a larger one: leases, and how fast clocks may drift before two hosts hold one.
//!
//! There are datagrams alone. A protocol over connections is run as those of this project are, with its sessions in the machine, or
//! counts on an order that it makes itself.

mod clock;
mod config;
mod faults;
mod host;
mod machine;
mod rule;

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use rdb_net_faults::Network;
use rdb_net_types::SeededRandom;

use crate::queue::{Next, Queue};
use crate::trace::Trace;
use host::{Due, Host, Packet};
use rule::Rules;

pub use config::{Traffic, WorldConfig};
pub use machine::{Birth, Machine};
pub use rdb_net_faults::LinkFaults;
pub use rule::Breach;

/// When a world begins: so late that a host's clock can be behind.
const START: Duration = Duration::from_secs(1_000);

/// Steps that may be taken at one moment, and packets sent in one step.
const AT_ONCE_MAX: u32 = 100_000;

/// Many machines of one kind, and the network between them. Hosts have the numbers from 0; what is done to one that there is not panics.
pub struct World<M> {
    config: WorldConfig,
    now: Duration,
    random: SeededRandom,
    network: Network<usize>,
    hosts: Vec<Host<M>>,
    factory: Box<dyn FnMut(&Birth) -> M>,
    queue: Queue<Packet, Due>,
    rules: Rules<M>,
    traffic: Traffic,
    trace: Trace,
    steps: u64,
    /// Steps since the time has moved on.
    steps_at_once: u32,
    /// Whether a machine was found to go on for ever.
    is_over: bool,
}

impl<M> World<M> {
    /// Hosts without machines; the factory makes one wherever one is started.
    pub fn new(config: WorldConfig, factory: impl FnMut(&Birth) -> M + 'static) -> Self {
        let mut random = SeededRandom::new(config.seed);
        Self {
            now: START,
            network: Network::new(config.network, random.next_u64()),
            random,
            hosts: (0..config.hosts).map(|_| Host::new()).collect(),
            factory: Box::new(factory),
            queue: Queue::new(),
            rules: Rules::new(),
            traffic: Traffic::default(),
            trace: Trace::new(config.seed),
            steps: 0,
            steps_at_once: 0,
            is_over: false,
            config,
        }
    }

    /// The time, of which every host has its own idea. A world begins at 1,000 s.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// How many hosts there are.
    pub fn size(&self) -> usize {
        self.hosts.len()
    }

    /// A host's machine; `None` where none runs.
    pub fn machine(&self, host: usize) -> Option<&M> {
        self.hosts.get(host).and_then(|host| host.machine.as_ref())
    }

    /// Every machine that there is, paused ones included, with its host.
    pub fn machines(&self) -> impl Iterator<Item = (usize, &M)> {
        self.hosts.iter().enumerate().filter_map(|(number, host)| Some((number, host.machine.as_ref()?)))
    }

    /// What became of what was sent so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// The hash of the run so far: of what was taken, what was due, and what was done to hosts, each with its time.
    pub fn trace(&self) -> u64 {
        self.trace.value()
    }

    /// How many packets and timers were handled.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// What follows from the world's seed, for what is done to it.
    pub fn random(&mut self) -> &mut SeededRandom {
        &mut self.random
    }
}

impl<M: Machine> World<M> {
    /// Runs for so long.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until the condition holds, which is looked at after each step, and gives how long that took; `None` where it did not
    /// within the limit.
    pub fn run_until(&mut self, limit: Duration, holds: impl Fn(&Self) -> bool) -> Option<Duration> {
        let (start, end) = (self.now, self.now + limit);
        while !holds(self) {
            if !self.step(end) {
                self.now = end;
                return holds(self).then_some(limit);
            }
        }
        Some(self.now - start)
    }

    /// A machine does something of its own accord: what it is told is done by its clock's time. `None` where none runs.
    pub fn with<T>(&mut self, host: usize, act: impl FnOnce(&mut M, Duration) -> T) -> Option<T> {
        let held = self.hosts.get_mut(host).filter(|host| !host.is_paused)?;
        let now = held.clock.shows(self.now);
        let result = held.machine.as_mut().map(|machine| act(machine, now))?;
        self.flush(host);
        self.stepped(host);
        Some(result)
    }

    fn step(&mut self, end: Duration) -> bool {
        if self.is_over {
            return false;
        }
        let Some((at, next)) = self.queue.pop(end) else { return false };
        if at > self.now {
            (self.now, self.steps_at_once) = (at, 0);
        }
        self.steps += 1;
        self.steps_at_once += 1;
        if self.steps_at_once > AT_ONCE_MAX {
            self.give_up("time moves on", format!("more than {AT_ONCE_MAX} steps at one moment"));
        }
        match next {
            Next::Delivery(host, packet) => self.arrive(host, packet),
            Next::Timer(Due::Machine(host)) => self.fire(host),
            Next::Timer(Due::Packet(host)) => self.take_waiting(host),
        }
        true
    }

    /// A packet comes to a host: to its machine, or to what waits for it.
    fn arrive(&mut self, to: usize, packet: Packet) {
        let packet = Packet { arrived: self.now, ..packet };
        let host = &mut self.hosts[to];
        if host.machine.is_none() {
            self.traffic.unheard += 1;
            return;
        }
        if !host.is_held_up() && host.processing.is_zero() && host.backlog.is_empty() {
            return self.deliver(to, &packet, Duration::ZERO);
        }
        if host.backlog_bytes + packet.bytes.len() > self.config.buffer_bytes {
            self.traffic.overflowed += 1;
            return;
        }
        host.backlog_bytes += packet.bytes.len();
        host.backlog.push_back(packet);
        if host.backlog.len() == 1 {
            self.take_up_waiting(to);
        }
    }

    /// The machine begins with the first packet that waits, unless it is held up.
    fn take_up_waiting(&mut self, host: usize) {
        let held = &mut self.hosts[host];
        if !held.is_held_up() && !held.backlog.is_empty() {
            held.busy_until = self.now + held.processing;
            let done = Some(held.busy_until);
            self.queue.arm(Due::Packet(host), done);
        }
    }

    /// The machine is done with the first packet that waits.
    fn take_waiting(&mut self, to: usize) {
        let host = &mut self.hosts[to];
        if let Some(packet) = host.backlog.pop_front() {
            host.backlog_bytes -= packet.bytes.len();
            let age = (self.now - packet.arrived).saturating_sub(host.processing);
            self.deliver(to, &packet, age);
        }
        self.take_up_waiting(to);
    }

    /// A machine takes a packet that has waited for it so long.
    fn deliver(&mut self, to: usize, packet: &Packet, age: Duration) {
        let (now, host) = (self.now, &mut self.hosts[to]);
        let Some(machine) = &mut host.machine else { return };
        let local = host.clock.shows(now);
        self.traffic.taken += 1;
        self.trace.bytes(now, to, 3, &packet.bytes);
        if !age.is_zero() {
            machine.note_ingress_age(local, age);
        }
        machine.handle_packet(local, packet.from, &packet.bytes);
        self.flush(to);
        self.stepped(to);
    }

    fn fire(&mut self, host: usize) {
        let (now, held) = (self.now, &mut self.hosts[host]);
        if held.is_paused {
            return;
        }
        if held.busy_until > now {
            let free = Some(held.busy_until);
            return self.queue.arm(Due::Machine(host), free);
        }
        let Some(machine) = &mut held.machine else { return };
        let local = held.clock.shows(now);
        if machine.poll_timeout().is_some_and(|due| due <= local) {
            self.trace.bytes(now, host, 4, &[]);
            machine.handle_timeout(local);
            self.flush(host);
            self.stepped(host);
        } else {
            self.plan(host);
        }
    }

    /// Fetches what a machine has to send, and when it is due.
    fn flush(&mut self, from: usize) {
        for _ in 0..AT_ONCE_MAX {
            let host = &mut self.hosts[from];
            let (local, mut bytes) = (host.clock.shows(self.now), Vec::new());
            let to = host.machine.as_mut().and_then(|machine| machine.poll_transmit(local, &mut bytes));
            let Some(to) = to else { return self.plan(from) };
            self.traffic.packets += 1;
            self.traffic.bytes += bytes.len() as u64;
            if self.hosts[from].is_slow {
                self.hosts[from].outbox.push((to, bytes));
            } else {
                self.send(from, to, &bytes);
            }
        }
        self.give_up("a step ends", format!("host {from} has sent {AT_ONCE_MAX} packets in one step and is not done"));
    }

    /// Nothing happens any more: a machine that goes on for ever must not hang whoever looks for its fault.
    fn give_up(&mut self, rule: &'static str, what: String) {
        self.is_over = true;
        self.note(rule, format!("{what}; here the run ends"));
    }

    fn send(&mut self, from: usize, to: usize, bytes: &[u8]) {
        if to >= self.hosts.len() {
            self.traffic.unheard += 1;
            return;
        }
        let copies = self.network.datagram(self.now, &from, &to, bytes.len());
        self.traffic.lost += u64::from(copies.is_empty());
        for delay in copies {
            let packet = Packet { from, arrived: self.now, bytes: bytes.to_vec() };
            self.queue.deliver(self.now + delay, to, packet);
        }
    }

    /// Sets a machine's timer.
    fn plan(&mut self, host: usize) {
        let held = &self.hosts[host];
        let due = held.machine.as_ref().filter(|_| !held.is_paused).and_then(Machine::poll_timeout);
        let at = due.map(|due| held.clock.moment_of(due).max(self.now));
        self.queue.arm(Due::Machine(host), at);
    }
}

impl<M> fmt::Debug for World<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, now, traffic, steps, .. } = self;
        let mut fields = f.debug_struct("World");
        fields.field("config", config).field("now", now).field("traffic", traffic).field("steps", steps);
        fields.finish_non_exhaustive()
    }
}
