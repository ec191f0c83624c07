//! Members alone, many of them: the membership protocol of production on a network of datagrams, without engines,
//! connections and frames.
//!
//! [`Simulation`](crate::Simulation) shows what a whole node does; this shows what the protocol does at sizes at which whole
//! nodes would not fit: ten thousand members have a hundred million entries. So members share what each says of itself, the
//! cluster begins formed, packets use their buffers again, and nobody looks at a member that has nothing to do. Evidence of
//! connections, phi and health do not exist here. An exchange of views, where wanted, happens at once and loses nothing.

mod agenda;
mod config;
mod faults;
mod mail;
mod restart;
mod slow;
mod told;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use rdb_net_faults::LinkFaults;
use rdb_net_types::{BootId, ClusterId, IdError, Incarnation, NodeId, SeededRandom};
use rdb_swim::{Event, LocalNode, Profile, Swim, SyncAnswer};

use crate::fleet::agenda::{Agenda, Item};
use crate::fleet::mail::{Mail, Packet};
use crate::fleet::slow::Slow;
use crate::trace::Trace;

pub use config::{FleetConfig, FleetError};
pub use faults::LinkLoss;
pub use told::{Change, Told, Traffic};

/// The first address; the others follow.
const FIRST_ADDRESS: u32 = 0x0a00_0001;
const PORT: u16 = 7001;

/// When a fleet begins.
const START: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Node {
    swim: Swim,
    is_up: bool,
    /// What waits for this member while it is slow; `None` while it is not.
    slow: Option<Slow>,
    /// The soonest timer item of this member on the agenda.
    planned: Duration,
}

/// Many members of one cluster, and the network between them.
#[derive(Debug)]
pub struct Fleet {
    config: FleetConfig,
    now: Duration,
    cluster: ClusterId,
    nodes: Vec<Node>,
    /// On which side of a partition each member is; empty where there is none.
    sides: Vec<bool>,
    /// How each member's own links are; empty where all are well.
    link_losses: Vec<LinkLoss>,
    agenda: Agenda,
    mail: Mail,
    /// The buffer of the next packet.
    scratch: Vec<u8>,
    random: SeededRandom,
    told: Vec<Told>,
    wanted: Vec<(usize, usize)>,
    traffic: Traffic,
    trace: Trace,
    steps: u64,
}

impl Fleet {
    /// A cluster that is formed: everybody knows everybody.
    ///
    /// # Errors
    ///
    /// [`FleetError`] says which setting is not legal.
    pub fn new(config: FleetConfig) -> Result<Self, FleetError> {
        let n = config.members;
        if !(1..=1_000_000).contains(&n) {
            return Err(FleetError::Size { members: n });
        }
        let swim = rdb_swim::Config { members_max: config.swim.members_max.max(n), ..config.swim.clone() };
        swim.validate()?;
        if config.meta_bytes > swim.meta_bytes_max {
            return Err(FleetError::Meta { bytes: config.meta_bytes, limit: swim.meta_bytes_max });
        }
        let (cluster, incarnation) = (ClusterId::new("fleet")?, Incarnation::first_of(1));
        let meta = Bytes::from(vec![b'm'; config.meta_bytes]);
        let profiles: Vec<Profile> = (0..n)
            .map(|n| Ok(Profile::new(id_of(n)?, BootId(n as u64 + 1), address_of(n), meta.clone())))
            .collect::<Result<_, IdError>>()?;
        let mut random = SeededRandom::new(config.seed);
        let mut nodes = Vec::with_capacity(n);
        for own in &profiles {
            let local = LocalNode {
                id: own.id().clone(),
                boot: own.boot(),
                incarnation,
                address: own.address(),
                meta: own.meta().clone(),
            };
            let mut swim = Swim::new(swim.clone(), &cluster, local, random.next_u64(), START);
            swim.restore(START, profiles.iter().map(|profile| (profile.clone(), incarnation)));
            nodes.push(Node { swim, is_up: true, slow: None, planned: Duration::MAX });
        }
        let mut fleet = Self {
            trace: Trace::new(config.seed),
            config,
            now: START,
            cluster,
            nodes,
            sides: Vec::new(),
            link_losses: Vec::new(),
            agenda: Agenda::default(),
            mail: Mail::default(),
            scratch: Vec::new(),
            random,
            told: Vec::new(),
            wanted: Vec::new(),
            traffic: Traffic::default(),
            steps: 0,
        };
        (0..n).for_each(|node| fleet.plan(node));
        Ok(fleet)
    }

    /// The time.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// How many members the fleet has, crashed ones included.
    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    /// Whether a member runs.
    pub fn is_up(&self, node: usize) -> bool {
        self.nodes.get(node).is_some_and(|node| node.is_up)
    }

    /// A member's machine.
    pub fn member(&self, node: usize) -> Option<&Swim> {
        self.nodes.get(node).map(|node| &node.swim)
    }

    /// What was sent so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// The hash of the run so far.
    pub fn trace(&self) -> u64 {
        self.trace.value()
    }

    /// How many packets and timers were handled.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The most packets that were under way at once.
    pub fn under_way_max(&self) -> usize {
        self.mail.places()
    }

    /// What follows from the fleet's seed, for what is done to it.
    pub fn random(&mut self) -> &mut SeededRandom {
        &mut self.random
    }

    /// What was told since the last call, in the order of time.
    pub fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// A member's host is off, for good.
    pub fn crash(&mut self, node: usize) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.is_up = false;
        }
    }

    /// Share of datagrams that are lost from here on.
    pub fn set_loss(&mut self, loss: f64) {
        self.config.network.loss = loss;
    }

    /// A member does something of its own accord.
    pub fn act<T>(&mut self, node: usize, act: impl FnOnce(&mut Swim, Duration) -> T) -> Option<T> {
        let now = self.now;
        let result = self.nodes.get_mut(node).filter(|node| node.is_up).map(|node| act(&mut node.swim, now))?;
        self.flush(node, false);
        self.exchange_views();
        Some(result)
    }

    /// Runs for so long.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until something was told that is looked for, and gives it; `None` where the limit passes before.
    pub fn run_until_told(&mut self, limit: Duration, is_it: impl Fn(&Told) -> bool) -> Option<Told> {
        let end = self.now + limit;
        let mut seen = self.told.len();
        loop {
            if let Some(found) = self.told.get(seen..).and_then(|fresh| fresh.iter().find(|told| is_it(told))) {
                return Some(*found);
            }
            seen = self.told.len();
            if !self.step(end) {
                self.now = end;
                return None;
            }
        }
    }

    fn step(&mut self, end: Duration) -> bool {
        let Some((at, item)) = self.agenda.pop(end) else { return false };
        self.now = self.now.max(at);
        self.steps += 1;
        match item {
            Item::Packet(place) => self.arrive(place),
            Item::Timer(node) => self.fire(node as usize, at),
        }
        self.exchange_views();
        true
    }

    fn arrive(&mut self, place: u32) {
        let Packet { from, to, bytes } = self.mail.take(place);
        let now = self.now;
        if let Some(slow) = self.nodes.get_mut(to as usize).and_then(|node| node.slow.as_mut()) {
            slow.arrived(from, now, &bytes);
            self.mail.give_back(place, bytes);
            return;
        }
        if let Some(node) = self.nodes.get_mut(to as usize).filter(|node| node.is_up) {
            self.trace.bytes(now, to as usize, 3, &bytes);
            // Whatever is dropped is counted by the member; here nothing is to be done about it.
            let _ = node.swim.handle_packet(now, address_of(from as usize), &bytes);
        }
        self.mail.give_back(place, bytes);
        self.flush(to as usize, false);
    }

    fn fire(&mut self, node: usize, at: Duration) {
        let now = self.now;
        let Some(Node { swim, is_up: true, planned, .. }) = self.nodes.get_mut(node) else { return };
        if *planned == at {
            *planned = Duration::MAX;
        }
        if swim.poll_timeout().is_some_and(|due| due <= now) {
            swim.handle_timeout(now);
            self.flush(node, true);
        } else {
            self.plan(node);
        }
    }

    /// Puts a member's next timer on the agenda, unless a sooner one is there.
    fn plan(&mut self, node: usize) {
        let Some(Node { swim, planned, .. }) = self.nodes.get_mut(node) else { return };
        if let Some(due) = swim.poll_timeout().filter(|due| due < planned) {
            *planned = due;
            self.agenda.push(due, Item::Timer(node as u32));
        }
    }

    /// Fetches what a member has to send and to tell; `is_own` where a time was up.
    fn flush(&mut self, from: usize, is_own: bool) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(from).filter(|node| node.is_up) else { return };
        let mut bytes = std::mem::take(&mut self.scratch);
        let probes_before = node.swim.stats().probe_packets_sent;
        while let Some(to) = node.swim.poll_transmit(now, &mut bytes) {
            self.traffic.packets += 1;
            self.traffic.bytes += bytes.len() as u64;
            let Some(to) = index_of(to) else { continue };
            if let Some(slow) = &mut node.slow {
                slow.sends(to, &bytes);
                continue;
            }
            if faults::are_apart(&self.sides, from, to as usize) {
                continue;
            }
            let LinkFaults { latency, jitter, loss, .. } = self.config.network;
            if loss > 0.0 && self.random.chance(loss)
                || faults::is_lost(&self.link_losses, &mut self.random, from, to as usize)
            {
                continue;
            }
            let at = now + self.random.duration(latency, latency + jitter);
            let place = self.mail.post(Packet { from: from as u32, to, bytes });
            self.agenda.push(at, Item::Packet(place));
            bytes = self.mail.blank();
        }
        self.scratch = bytes;
        self.traffic.probe_packets += node.swim.stats().probe_packets_sent - probes_before;
        while let Some(event) = node.swim.poll_event() {
            let (record, change) = match event {
                Event::Updated(record) => (record, Change::Updated),
                Event::Suspected(record) => (record, Change::Suspected),
                Event::Failed(record) => (record, Change::Failed),
                Event::Joined(record) => (record, Change::Joined),
                Event::Left(record) => (record, Change::Left),
                Event::Recovered(record) | Event::Trusted(record) => (record, Change::Back),
                Event::SyncWanted { node } if self.config.syncs => {
                    self.wanted.extend(number_of(&node).map(|with| (from, with)));
                    continue;
                }
                _ => continue,
            };
            if let Some(of) = index_of(record.address) {
                self.told.push(Told { at: now, by: from, of: of as usize, change, is_own });
            }
        }
        self.plan(from);
    }

    /// Carries out the exchanges of views that are wanted.
    fn exchange_views(&mut self) {
        while let Some((asker, replier)) = self.wanted.pop() {
            let now = self.now;
            let is_there = |node| self.is_up(node) && !self.is_slow(node);
            if !is_there(asker) || !is_there(replier) || asker == replier || self.is_cut(asker, replier) {
                continue;
            }
            let is_lost = |fleet: &mut Self, from, to| faults::is_lost(&fleet.link_losses, &mut fleet.random, from, to);
            if is_lost(self, asker, replier) || is_lost(self, replier, asker) {
                continue;
            }
            let Some(request) = self.nodes.get(asker).map(|node| node.swim.sync_request()) else { continue };
            let answer = self.nodes.get_mut(replier).map(|node| node.swim.handle_sync_request(now, &request));
            // A formed fleet has no two lives of one id, so no answer is pending.
            let Some(Ok(SyncAnswer::Ready(reply))) = answer else { continue };
            self.traffic.syncs += 1;
            self.traffic.sync_bytes += (request.len() + reply.len()) as u64;
            if let Some(node) = self.nodes.get_mut(asker) {
                let _ = node.swim.handle_sync_reply(now, &reply);
            }
            self.flush(replier, false);
            self.flush(asker, false);
        }
    }
}

fn id_of(node: usize) -> Result<NodeId, IdError> {
    NodeId::new(&format!("m{node:06}"))
}

fn number_of(id: &NodeId) -> Option<usize> {
    id.as_str().strip_prefix('m')?.parse().ok()
}

fn address_of(node: usize) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from(FIRST_ADDRESS + node as u32), PORT))
}

fn index_of(address: SocketAddr) -> Option<u32> {
    match address {
        SocketAddr::V4(address) => u32::from(*address.ip()).checked_sub(FIRST_ADDRESS),
        SocketAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests;
