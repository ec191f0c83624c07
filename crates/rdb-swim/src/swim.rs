//! The machine: its state, its doors, and which method answers to what.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rdb_net_types::{BootId, ClusterId, Incarnation, NodeId, NodeState, SeededRandom};

use crate::broadcast::Broadcasts;
use crate::config::Config;
use crate::doubt::Doubts;
use crate::entry::{Entry, Member};
use crate::event::Event;
use crate::forget::REAP_INTERVAL;
use crate::gossip::{Queue, Topic};
use crate::health::Health;
use crate::inquiry::Inquiries;
use crate::leave::Leaving;
use crate::packet::{Body, Packet, Sender, cluster_hash, sender_of_any_version};
use crate::partition::Vanished;
use crate::passage::Passage;
use crate::probe::{Probes, Relay};
use crate::profile::Profile;
use crate::refusal::Refusal;
use crate::schedule::{Schedule, Timer};
use crate::stats::Statistics;
use crate::sync::Differences;
use crate::table::{SELF, Slot, Table};
use crate::tombstone::Tombstones;
use crate::transmit::Outgoing;
use crate::unverified::Unverified;
use crate::verify::Verification;
use crate::versions::{self, Versions};
use crate::wire::DecodeError;

/// Advice (round trips, failed probes) is dropped while this many events wait; transitions never are.
const ADVICE_WAITING_MAX: usize = 4_096;

/// What this node is when it starts.
#[derive(Debug, Clone)]
pub struct LocalNode {
    /// Its id, unique in the cluster.
    pub id: NodeId,
    /// The random number of this process.
    pub boot: BootId,
    /// Its first incarnation; the generation is above that of every former life, as far as is known.
    pub incarnation: Incarnation,
    /// Where others reach its gossip socket. IPv6 scope and flow label do not travel.
    pub address: SocketAddr,
    /// What it tells of itself, at most [`Config::meta_bytes_max`] bytes.
    pub meta: Bytes,
}

/// A packet was not, or not wholly, acted on. It is counted; nobody need do anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DropReason {
    /// The bytes are not a packet of this version and cluster.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A ping for another node, or for a former life of this one: an address was given to somebody else.
    #[error("the ping is meant for another node")]
    WrongTarget,
    /// This node's own packet came back.
    #[error("the packet is this node's own")]
    Echo,
    /// Another process claims this node's id; [`Event::Conflict`] tells of it.
    #[error("the sender claims this node's id")]
    Conflict,
    /// This node has left and does not speak.
    #[error("this node has left")]
    Silent,
}

/// Metadata above [`Config::meta_bytes_max`]. The caller is at fault; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes of metadata are more than the limit of {limit}")]
pub struct MetaTooLong {
    /// Length of the refused metadata.
    pub bytes: usize,
    /// The limit.
    pub limit: usize,
}

/// Where this node is in its own life.
#[derive(Debug)]
pub(crate) enum Phase {
    Active,
    Leaving(Leaving),
    Silent,
}

/// One node's part in the membership protocol. See the [crate] for how to drive it.
#[derive(Debug)]
pub struct Swim {
    pub(crate) config: Config,
    pub(crate) cluster: u32,
    pub(crate) random: SeededRandom,
    pub(crate) table: Table,
    pub(crate) tombstones: Tombstones,
    pub(crate) schedule: Schedule,
    pub(crate) queue: Queue,
    pub(crate) broadcasts: Broadcasts,
    pub(crate) probes: Probes,
    pub(crate) relays: BTreeMap<u32, Relay>,
    pub(crate) refusals: BTreeMap<Slot, Refusal>,
    pub(crate) doubts: Doubts,
    pub(crate) inquiries: Inquiries,
    pub(crate) health: Health,
    pub(crate) passage: Passage,
    pub(crate) vanished: Vanished,
    pub(crate) verifications: BTreeMap<u64, Verification>,
    pub(crate) unverified: Unverified,
    /// The version of a request for the view of somebody of whom nothing is known.
    pub(crate) greeting: u8,
    pub(crate) incompatible_told: versions::Told,
    pub(crate) refused_once: versions::Told,
    pub(crate) next_sync: u64,
    pub(crate) sync_with: Option<NodeId>,
    pub(crate) differences: Differences,
    pub(crate) outgoing: VecDeque<Outgoing>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) stats: Statistics,
    pub(crate) phase: Phase,
    pub(crate) last_sequence: u32,
    pub(crate) last_timeout: Duration,
    /// When this process was last seen to run, and when it was last seen to be late.
    pub(crate) last_input: Duration,
    pub(crate) awake_since: Duration,
    pub(crate) last_gossip: Option<Duration>,
    pub(crate) last_outbid: Option<(BootId, Duration)>,
    pub(crate) conflict_told: Option<(NodeId, Duration)>,
    #[cfg(feature = "mutations")]
    pub(crate) planted: Option<crate::mutation::Mutation>,
}

impl Swim {
    /// A member of a cluster of one. Everything random follows from `seed`. Times count from an origin of the caller's choice that is
    /// not long ago, as the start of the process: since when a member is in its state is held for eight years from it.
    ///
    /// # Panics
    ///
    /// Where `config` does not pass [`Config::validate`] or the metadata is longer than it allows: check both where the
    /// configuration is read.
    pub fn new(config: Config, cluster: &ClusterId, local: LocalNode, seed: u64, now: Duration) -> Self {
        assert_eq!(config.validate(), Ok(()), "the configuration was not validated");
        assert!(local.meta.len() <= config.meta_bytes_max, "the metadata is too long");
        let profile = Profile::new(local.id, local.boot, local.address, local.meta);
        let own = Entry::new(profile, local.incarnation, NodeState::Alive, now);
        // Of its own, so that what is drawn from the seed otherwise stays as it is.
        let secret = SeededRandom::new(!seed).next_u64();
        let mut swim = Self {
            config,
            cluster: cluster_hash(cluster),
            random: SeededRandom::new(seed),
            table: Table::new(own, secret),
            tombstones: Tombstones::default(),
            schedule: Schedule::new(now),
            queue: Queue::default(),
            broadcasts: Broadcasts::default(),
            probes: Probes::default(),
            relays: BTreeMap::new(),
            refusals: BTreeMap::new(),
            doubts: Doubts::new(),
            inquiries: Inquiries::default(),
            health: Health::default(),
            passage: Passage::default(),
            vanished: Vanished::default(),
            verifications: BTreeMap::new(),
            unverified: Unverified::new(),
            greeting: Versions::SPOKEN.lowest(),
            incompatible_told: versions::Told::new(),
            refused_once: versions::Told::new(),
            next_sync: 0,
            sync_with: None,
            differences: Differences::new(now),
            outgoing: VecDeque::new(),
            events: VecDeque::new(),
            stats: Statistics::default(),
            phase: Phase::Active,
            last_sequence: 0,
            last_timeout: now,
            last_input: now,
            awake_since: now,
            last_gossip: None,
            last_outbid: None,
            conflict_told: None,
            #[cfg(feature = "mutations")]
            planted: None,
        };
        swim.start_timers(now);
        swim
    }

    /// Takes a datagram that came from `from`.
    ///
    /// # Errors
    ///
    /// Why the packet was not acted on. Nothing is to be done about it.
    pub fn handle_packet(&mut self, now: Duration, from: SocketAddr, packet: &[u8]) -> Result<(), DropReason> {
        self.stats.packets_received += 1;
        self.stats.bytes_received += packet.len() as u64;
        if matches!(self.phase, Phase::Silent) {
            self.stats.dropped_silent += 1;
            return Err(DropReason::Silent);
        }
        let Packet { sender, body, updates } = Packet::decode(packet, self.versions(), self.cluster)
            .inspect_err(|error| self.note_unreadable(now, packet, error))?;
        self.check_sender(now, from, &sender)?;
        self.forgive_pause(now);
        let is_accused = updates.iter().any(|update| update.accuses(self.table.local().id));
        for update in updates {
            self.apply(now, update);
        }
        self.note_life(now, &sender);
        self.answer(now, from, sender, body, is_accused)
    }

    fn note_unreadable(&mut self, now: Duration, packet: &[u8], error: &DecodeError) {
        match error {
            DecodeError::Cluster => self.stats.dropped_cluster += 1,
            DecodeError::Version { version } => {
                self.stats.dropped_version += 1;
                if let Some(node) = sender_of_any_version(packet, self.cluster).filter(|_| *version > 0) {
                    self.tell_incompatible(now, node, Versions::only(*version));
                }
            }
            _ => self.stats.dropped_malformed += 1,
        }
    }

    /// Does what is due. Hand over every packet that has arrived before calling this.
    pub fn handle_timeout(&mut self, now: Duration) {
        let now = now.max(self.last_timeout);
        self.schedule.begin(now);
        self.forgive_pause(now);
        self.last_timeout = now;
        while let Some(timer) = self.schedule.pop_due(now) {
            self.on_timer(now, timer);
        }
    }

    /// When [`Swim::handle_timeout`] is to be called next: later than its last call. `None` after a farewell.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.schedule.next()
    }

    /// The next event, in the order in which things happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        release_room(&mut self.events);
        event
    }

    /// This node as it tells of itself: alive, unless it is leaving or has left.
    pub fn local(&self) -> Member<'_> {
        self.table.local()
    }

    /// All members by ascending id: this node, failed and left ones too. Sorts them, in O(n log n).
    pub fn members(&self) -> impl Iterator<Item = Member<'_>> {
        self.table.sorted()
    }

    /// The member of this id.
    pub fn member(&self, id: &NodeId) -> Option<Member<'_>> {
        self.table.find(id)
    }

    /// How many members are alive or suspect, this node included unless it has left.
    pub fn alive_count(&self) -> usize {
        self.table.alive_count()
    }

    /// A hash of (id, incarnation, state) over all members: equal views have equal digests, and others hardly ever do.
    pub fn digest(&self) -> u64 {
        self.table.digest()
    }

    /// What happened since the start.
    pub fn stats(&self) -> &Statistics {
        &self.stats
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Tells the cluster new metadata.
    ///
    /// # Errors
    ///
    /// [`MetaTooLong`]; nothing was changed.
    pub fn update_meta(&mut self, now: Duration, meta: Bytes) -> Result<(), MetaTooLong> {
        let limit = self.config.meta_bytes_max;
        if meta.len() > limit {
            return Err(MetaTooLong { bytes: meta.len(), limit });
        }
        self.speak_anew(now, |own| {
            own.introduce(own.profile.boot(), own.profile.address(), meta, own.profile.versions());
        });
        Ok(())
    }

    /// Tells the cluster that this node's gossip socket has another address.
    pub fn update_address(&mut self, now: Duration, address: SocketAddr) {
        self.speak_anew(now, |own| {
            own.introduce(own.profile.boot(), address, own.profile.meta().clone(), own.profile.versions());
        });
    }

    /// Raises the own incarnation with a change of the own record, and tells everybody.
    pub(crate) fn speak_anew(&mut self, now: Duration, change: impl FnOnce(&mut Entry)) {
        self.table.update(SELF, &mut self.random, |own| {
            own.incarnation = own.incarnation.next();
            change(own);
        });
        self.tell(now, SELF);
    }

    pub(crate) fn start_timers(&mut self, now: Duration) {
        // Members that were started together would otherwise probe in step for ever.
        let probe = self.random.duration(Duration::ZERO, self.config.probe_interval);
        let sync = self.random.duration(Duration::ZERO, self.config.sync_interval);
        let revisit = self.random.duration(Duration::ZERO, self.config.revisit_interval);
        self.schedule.set(Timer::Probe, now + probe);
        self.schedule.set(Timer::Sync, now + sync);
        self.schedule.set(Timer::Revisit, now + revisit);
        self.schedule.set(Timer::Reap, now + REAP_INTERVAL);
    }

    /// Takes in members that are known already, as alive: from the memory of a former life, or where a simulation begins with
    /// a formed cluster. Nobody is told of them, the application included, which has just told this node. Who is held, or kept
    /// out by a tombstone, stays as it is, and [`Config::members_max`] holds.
    pub fn restore(&mut self, now: Duration, members: impl IntoIterator<Item = (Profile, Incarnation)>) {
        let members = members.into_iter();
        let room = self.config.members_max.saturating_sub(self.table.len());
        self.table.reserve(members.size_hint().0.min(room));
        for (profile, incarnation) in members {
            let is_dead = self.tombstones.incarnation(profile.id()).is_some_and(|dead| incarnation <= dead);
            if is_dead || self.table.slot_of(profile.id()).is_some() {
                continue;
            }
            if self.table.len() >= self.config.members_max {
                self.stats.limit_members += 1;
                continue;
            }
            self.table.insert(Entry::new(profile, incarnation, NodeState::Alive, now), &mut self.random);
        }
    }

    fn on_timer(&mut self, now: Duration, timer: Timer) {
        match timer {
            Timer::Probe => self.probe_tick(now),
            Timer::ProbeStep(sequence) => self.probe_step(now, sequence),
            Timer::Relay(sequence) => self.relay_expired(sequence),
            Timer::Gossip => self.gossip_tick(now),
            Timer::Inquiry(slot) => {
                self.inquire(now, slot);
            }
            Timer::Suspicion(slot) => self.suspicion_expired(now, slot),
            Timer::Refusal(slot) => self.refusal_step(now, slot),
            Timer::Sync => self.sync_tick(now),
            Timer::Verification(id) => self.verification_step(now, id),
            Timer::Unverified(sequence) => self.unverified_step(now, sequence),
            Timer::Revisit => self.revisit_tick(now),
            Timer::Farewell => self.farewell_round(now),
            Timer::Reap => self.reap(now),
        }
    }

    fn answer(
        &mut self,
        now: Duration,
        from: SocketAddr,
        sender: Sender,
        body: Body,
        is_accused: bool,
    ) -> Result<(), DropReason> {
        match body {
            Body::Ping { sequence, target, target_boot } => {
                return self.answer_ping(from, sender, sequence, &target, target_boot, is_accused);
            }
            Body::Ack { sequence, digest } => self.take_ack(now, &sender, sequence, digest),
            Body::RelayedAck { sequence, target, target_boot } => {
                self.take_relayed_ack(now, sequence, &target, target_boot);
            }
            Body::PingRequest { sequence, target, target_boot: _, budget_ms } => {
                self.relay_ping(now, from, sender, sequence, &target, budget_ms);
            }
            Body::Nack { sequence } => self.take_nack(&sender.id, sequence),
            Body::Gossip => {}
            Body::Farewell { sequence } => self.take_farewell(now, from, sender, sequence),
            Body::FarewellAck { sequence } => self.take_farewell_ack(&sender, sequence),
        }
        Ok(())
    }

    /// Puts a member's state first in the queue, and the next gossip tick forward: news travels at once.
    pub(crate) fn tell(&mut self, now: Duration, slot: Slot) {
        self.queue.push(Topic::State(slot));
        self.hurry_gossip(now);
    }

    pub(crate) fn hurry_gossip(&mut self, now: Duration) {
        // The millisecond lets what arrives together leave together.
        let soon = now + Duration::from_millis(1);
        let at = self.last_gossip.map_or(soon, |last| soon.max(last + self.config.news_gap));
        self.schedule.bring_forward(Timer::Gossip, at);
    }

    pub(crate) fn next_sequence(&mut self) -> u32 {
        // 0 means that no answer is waited for.
        self.last_sequence = self.last_sequence.checked_add(1).unwrap_or(1);
        self.last_sequence
    }

    pub(crate) fn emit(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Tells something that may be lost where nobody listens.
    pub(crate) fn advise(&mut self, event: Event) {
        if self.events.len() >= ADVICE_WAITING_MAX {
            self.stats.limit_events += 1;
            return;
        }
        self.events.push_back(event);
    }
}

/// A queue that was long once, as at a join, does not keep its room for ever.
pub(crate) fn release_room<T>(queue: &mut VecDeque<T>) {
    const ROOM_KEPT: usize = 64;
    if queue.is_empty() && queue.capacity() > ROOM_KEPT {
        *queue = VecDeque::new();
    }
}
