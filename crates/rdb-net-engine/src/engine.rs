//! The machine: its parts, its doors, and the one place where the parts are brought together after each input.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdb_balance::Balancer;
use rdb_discovery::DiscoveryEvent;
use rdb_health::{Health, PingId};
use rdb_net_types::{
    ClusterId, Evidence, EvidenceKind, HealthStatus, MembershipEvent, NodeAddress, NodeId, NodeInfo, NodeState, Reason,
    SeededRandom,
};
use rdb_swim::{LocalNode, Swim};

use crate::command::{Command, EngineEvent};
use crate::config::{EngineConfig, EngineError};
use crate::flows::Flows;
use crate::links::Links;
use crate::metadata;
use crate::phi::LinkPhi;
use crate::report::{Counters, Trust};
use crate::roster::Roster;
use crate::seeds::Seeds;
use crate::split::{Split, SplitBrainConfig};
use crate::stream_pings::StreamPings;
use crate::syncs::{Settling, Syncs};

/// Where this node is in its own life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It looks for its cluster.
    Joining,
    /// It belongs to it.
    Joined,
    /// It says farewell.
    Leaving,
    /// It has left.
    Left,
}

/// One node's control logic. See the [crate] for how to drive it.
#[derive(Debug)]
pub struct Engine {
    pub(crate) config: EngineConfig,
    pub(crate) swim: Swim,
    pub(crate) health: Health,
    pub(crate) balancer: Arc<Balancer>,
    pub(crate) roster: Roster,
    pub(crate) seeds: Seeds,
    pub(crate) links: Links,
    pub(crate) flows: Flows,
    pub(crate) phi: LinkPhi,
    pub(crate) stream_pings: StreamPings,
    pub(crate) syncs: Syncs,
    pub(crate) phase: Phase,
    pub(crate) trust: Trust,
    pub(crate) counters: Counters,
    pub(crate) random: SeededRandom,
    pub(crate) settling: Settling,
    pub(crate) split: Split,
    pub(crate) commands: VecDeque<Command>,
    pub(crate) events: VecDeque<EngineEvent>,
    /// The balancer's list is not the roster's any more.
    pub(crate) is_list_stale: bool,
    pub(crate) list_due: Duration,
    /// Who is marked as draining until the list is built.
    pub(crate) drained: Vec<NodeId>,
}

impl Engine {
    /// A node that knows nobody yet. `local` says its id, boot id, first incarnation, and where it is reached; `gossip` is the
    /// address that others reach its gossip socket at. Everything random follows from `seed`.
    ///
    /// # Errors
    ///
    /// [`EngineError`]: a setting is out of range, or the description is too large to travel with membership.
    pub fn new(
        config: EngineConfig,
        cluster: ClusterId,
        local: NodeInfo,
        gossip: SocketAddr,
        seed: u64,
        now: Duration,
    ) -> Result<Self, EngineError> {
        config.validate()?;
        let local = described(local, gossip);
        let meta = encode(&config, &local, gossip)?;
        let own =
            LocalNode { id: local.id.clone(), boot: local.boot, incarnation: local.incarnation, address: gossip, meta };
        let mut random = SeededRandom::new(seed);
        let mut engine = Self {
            swim: Swim::new(config.swim.clone(), &cluster, own, random.next_u64(), now),
            health: Health::new(config.health, random.next_u64(), now),
            balancer: Arc::new(Balancer::new(config.strategy, random.next_u64())),
            seeds: Seeds::new(&config, local.address.clone(), random.fork()),
            links: Links::new(&local.id, config.links),
            flows: Flows::new(config.quiet_after),
            phi: LinkPhi::new(config.phi.of_interval(config.health.interval)),
            stream_pings: StreamPings::default(),
            roster: Roster::new(Arc::new(local)),
            syncs: Syncs::default(),
            phase: Phase::Joining,
            trust: Trust::default(),
            counters: Counters::default(),
            settling: Settling::default(),
            split: Split::default(),
            random,
            commands: VecDeque::new(),
            events: VecDeque::new(),
            is_list_stale: false,
            list_due: now,
            drained: Vec::new(),
            config,
        };
        engine.begin_split(now);
        Ok(engine)
    }

    /// Takes in what a former life of this node remembered, before it begins: its members are known, as failed, until they or anybody who
    /// holds them for there is heard of. Each is told so, a split-brain strategy counts them as missing, and nothing is sent to them.
    /// The node belongs to its cluster no sooner than without: give [`join`](Self::join) the addresses that it remembers.
    pub fn recall(&mut self, now: Duration, memory: rdb_swim::Snapshot) {
        self.swim.recall(now, &memory.unheard());
        self.settle(now);
    }

    /// Plants a bug in membership.
    #[cfg(feature = "mutations")]
    pub fn plant(&mut self, mutation: rdb_swim::Mutation) {
        self.swim.plant(mutation);
    }

    /// Takes a datagram of the gossip socket. What is wrong with it is counted; nobody need do anything.
    pub fn handle_packet(&mut self, now: Duration, from: SocketAddr, packet: &[u8]) {
        // The membership machine counts each reason.
        if self.swim.handle_packet(now, from, packet).is_err() {
            self.counters.packets_dropped += 1;
        }
        self.settle(now);
    }

    /// Packets that are handed over next have waited for this process for so long: it may be the slow one. The driver tells the longest
    /// wait of what it hands over, before it does.
    pub fn note_ingress_age(&mut self, now: Duration, age: Duration) {
        self.swim.note_ingress_age(now, age);
    }

    /// Takes what discovery tells: seeds come and go.
    pub fn handle_discovery(&mut self, now: Duration, event: &DiscoveryEvent) {
        self.trust.note(event);
        self.seeds.discover(now, event);
        self.settle(now);
    }

    /// Takes the answer to a [`Command::Ping`].
    pub fn handle_pong(&mut self, now: Duration, id: PingId, result: Result<Duration, Reason>) {
        match (StreamPings::probe_of(id), result) {
            (Some(sequence), result) => self.handle_stream_pong(now, sequence, result),
            (None, Ok(round_trip)) => self.take_pong(now, id, round_trip),
            (None, Err(reason)) => self.health.handle_ping_failed(now, id, reason),
        }
        self.settle(now);
    }

    /// Takes what traffic has shown of a node: replies, failures, late heartbeats.
    pub fn handle_evidence(&mut self, now: Duration, evidence: &Evidence) {
        self.take_evidence(now, evidence);
        self.settle(now);
    }

    /// Does what is due. Hand over every packet and event that has arrived before calling this, so that an answer which came
    /// in time is not judged as missing.
    pub fn handle_timeout(&mut self, now: Duration) {
        if self.swim.poll_timeout().is_some_and(|due| due <= now) {
            self.swim.handle_timeout(now);
        }
        if self.health.poll_timeout().is_some_and(|due| due <= now) {
            self.health.handle_timeout(now);
        }
        self.expire_flows(now);
        self.mistrust_silent_links(now);
        self.expire_syncs(now);
        self.look_again(now);
        self.decide_if_due(now);
        self.settle(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due next.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let calls = matches!(self.phase, Phase::Joining | Phase::Joined).then(|| self.seeds.poll_timeout()).flatten();
        let list = self.is_list_stale.then_some(self.list_due);
        let look = self.settling.poll_timeout();
        let parts = [self.swim.poll_timeout(), self.health.poll_timeout(), self.syncs.poll_timeout()];
        let due = [self.flows.poll_timeout(), self.phi.poll_timeout(), self.split_due(), calls, look, list];
        parts.into_iter().chain(due).flatten().min()
    }

    /// Begins with these seeds, besides those that discovery tells of. After a leave the node comes back with all it knew.
    pub fn join(&mut self, now: Duration, seeds: Vec<NodeAddress>) {
        if matches!(self.phase, Phase::Leaving | Phase::Left) {
            self.swim.rejoin(now);
            self.phase = Phase::Joining;
            self.seeds.start_anew(now);
            self.begin_split(now);
            for node in self.roster.reachable() {
                self.links.enter(&node.id);
            }
            self.publish_local();
        }
        self.seeds.give(now, seeds);
        self.settle(now);
    }

    /// Leaves the cluster; [`EngineEvent::LeaveFinished`] tells when enough members know, or the time is up. Keep listening
    /// until then: who leaves must not be taken for dead. Leaving again changes nothing.
    pub fn leave(&mut self, now: Duration) {
        if matches!(self.phase, Phase::Leaving | Phase::Left) {
            return;
        }
        self.phase = Phase::Leaving;
        self.settling = Settling::default();
        self.swim.leave(now);
        let node = NodeInfo { state: NodeState::Left, ..self.own_record() };
        let node = self.roster.set_local(node);
        self.tell(EngineEvent::Membership(MembershipEvent::NodeLeft(node)));
        self.settle(now);
    }

    /// Tells the cluster a new description of this node. Id, boot id, incarnation and state stay what they are.
    ///
    /// # Errors
    ///
    /// [`EngineError`]: it is another node's, or too large. Nothing was changed.
    pub fn update_local(&mut self, now: Duration, change: NodeInfo) -> Result<(), EngineError> {
        let own = self.own_record();
        if change.id != own.id {
            return Err(EngineError::OtherNode { own: own.id, other: change.id });
        }
        let gossip = self.swim.local().address;
        let moved = change.gossip_address.as_ref().and_then(NodeAddress::to_socket_addr).filter(|to| *to != gossip);
        let gossip = moved.unwrap_or(gossip);
        let change = described(change, gossip);
        let meta = encode(&self.config, &change, gossip)?;
        let bytes = meta.len();
        let limit = self.config.swim.meta_bytes_max;
        self.swim.update_meta(now, meta).map_err(|_| EngineError::DescriptionTooLarge { bytes, limit })?;
        if let Some(moved) = moved {
            self.swim.update_address(now, moved);
        }
        self.seeds.set_own(now, change.address.clone());
        self.roster.set_local(change);
        self.publish_local();
        self.settle(now);
        Ok(())
    }

    /// Takes new settings of membership and of what is decided in a partition, at once: see [`Swim::set_config`].
    ///
    /// # Errors
    ///
    /// [`EngineError`]: no node can run with them. Nothing was changed.
    pub fn set_membership(
        &mut self,
        now: Duration,
        swim: rdb_swim::Config,
        split_brain: SplitBrainConfig,
    ) -> Result<(), EngineError> {
        EngineConfig { swim: swim.clone(), split_brain, ..self.config.clone() }.validate()?;
        self.swim.set_config(now, swim.clone())?;
        self.config.swim = swim;
        self.set_split(now, split_brain);
        self.settle(now);
        Ok(())
    }

    /// The settings that it runs with.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Asks the cluster to suspect a member, as an operator's request: if it is there, it refutes.
    pub fn suspect(&mut self, now: Duration, node: &NodeId) {
        self.swim.suspect(now, node);
        self.settle(now);
    }

    /// Drops a member that has failed or left, everywhere. Gives whether there was such a member.
    pub fn forget(&mut self, now: Duration, node: &NodeId) -> bool {
        let is_dropped = self.swim.forget(now, node);
        self.settle(now);
        is_dropped
    }

    /// An application check says how a node is. Gives whether the node is known.
    pub fn set_application_health(&mut self, now: Duration, node: &NodeId, check: &str, status: HealthStatus) -> bool {
        let is_taken = self.health.handle_application(now, node, check, status);
        self.settle(now);
        is_taken
    }

    /// Encodes the next packet into `packet`, replacing what is in it, and gives where to send it.
    pub fn poll_transmit(&mut self, now: Duration, packet: &mut Vec<u8>) -> Option<SocketAddr> {
        self.swim.poll_transmit(now, packet)
    }

    /// The next thing for the driver to do.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// The next event, in the order in which things happened.
    pub fn poll_event(&mut self) -> Option<EngineEvent> {
        self.events.pop_front()
    }

    pub(crate) fn order(&mut self, command: Command) {
        self.commands.push_back(command);
    }

    pub(crate) fn tell(&mut self, event: EngineEvent) {
        self.events.push_back(event);
    }

    /// Gives something seen of a node to those who judge it.
    pub(crate) fn take_evidence(&mut self, now: Duration, evidence: &Evidence) {
        if matches!(evidence.kind, EvidenceKind::Alive { .. }) {
            self.hear(now, &evidence.node);
        }
        self.health.handle_evidence(now, evidence);
        self.swim.handle_evidence(now, evidence);
    }

    /// This node's description with what membership says of it.
    pub(crate) fn own_record(&self) -> NodeInfo {
        let own = self.swim.local();
        NodeInfo { incarnation: own.incarnation, boot: own.boot, state: own.state, ..(**self.roster.local()).clone() }
    }

    pub(crate) fn publish_local(&mut self) {
        let node = self.own_record();
        let node = self.roster.set_local(node);
        self.tell(EngineEvent::Membership(MembershipEvent::NodeUpdated(node)));
    }
}

/// The node as it tells of itself.
fn described(mut node: NodeInfo, gossip: SocketAddr) -> NodeInfo {
    node.gossip_address = node.gossip_address.or_else(|| Some(NodeAddress::from(gossip)));
    node.state = NodeState::Alive;
    node.provisional = false;
    node
}

fn encode(config: &EngineConfig, node: &NodeInfo, gossip: SocketAddr) -> Result<Bytes, EngineError> {
    let meta = metadata::encode(node, gossip);
    let (bytes, limit) = (meta.len(), config.swim.meta_bytes_max);
    if bytes > limit {
        return Err(EngineError::DescriptionTooLarge { bytes, limit });
    }
    Ok(Bytes::from(meta))
}
