//! A few engines whose packets arrive at once, and whose commands are kept for the test to look at.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rdb_net_peer::{DialFailure, Failure, LinkSide, PeerEvent};
use rdb_net_session::CloseReason;
use rdb_net_types::{
    BootId, ClusterId, Incarnation, MembershipEvent, NodeAddress, NodeId, NodeInfo, NodeState, Reason,
};

use crate::{Command, Engine, EngineConfig, EngineEvent, SyncAnswer, SyncTarget, SyncToken};

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) fn id(n: usize) -> NodeId {
    NodeId::new(&format!("n{n}")).expect("legal")
}

pub(crate) fn address(n: usize) -> NodeAddress {
    NodeAddress::new(&format!("10.0.0.{}", n + 1), 7000).expect("legal")
}

pub(crate) fn gossip(n: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n as u8 + 1], 7001))
}

pub(crate) fn cluster() -> ClusterId {
    ClusterId::new("test").expect("legal")
}

pub(crate) fn info(n: usize) -> NodeInfo {
    let mut info = NodeInfo::new(id(n), address(n));
    info.boot = BootId(100 + n as u64);
    info.incarnation = Incarnation::first_of(1_000);
    info
}

pub(crate) fn engine(n: usize) -> Engine {
    engine_with(n, &EngineConfig::default())
}

fn engine_with(n: usize, config: &EngineConfig) -> Engine {
    Engine::new(config.clone(), cluster(), info(n), gossip(n), n as u64, secs(1)).expect("legal settings")
}

/// Engines that hear each other, unless they are cut off.
pub(crate) struct Lab {
    pub(crate) now: Duration,
    pub(crate) engines: Vec<Engine>,
    pub(crate) cut: Vec<bool>,
    /// No packet passes, while requests over connections do, and pings are among them.
    pub(crate) is_mute: bool,
    /// The same of this node alone.
    pub(crate) is_deaf: Option<usize>,
    /// Neither packets nor pings pass between these two.
    pub(crate) apart: Option<(usize, usize)>,
    pub(crate) commands: Vec<Vec<Command>>,
    pub(crate) events: Vec<Vec<EngineEvent>>,
    /// Which node has called which seed, and when.
    pub(crate) calls: Vec<(Duration, usize, NodeAddress)>,
    /// A hash of all packets.
    pub(crate) trace: u64,
}

impl Lab {
    /// So many engines that do not know each other.
    pub(crate) fn strangers(n: usize) -> Self {
        Self {
            now: secs(1),
            engines: (0..n).map(engine).collect(),
            cut: vec![false; n],
            is_mute: false,
            is_deaf: None,
            apart: None,
            commands: vec![Vec::new(); n],
            events: vec![Vec::new(); n],
            calls: Vec::new(),
            trace: 0,
        }
    }

    /// So many engines that are a cluster, with nothing left to tell.
    pub(crate) fn cluster(n: usize) -> Self {
        Self::cluster_with(n, &EngineConfig::default())
    }

    pub(crate) fn cluster_with(n: usize, config: &EngineConfig) -> Self {
        let mut lab = Self { engines: (0..n).map(|n| engine_with(n, config)).collect(), ..Self::strangers(n) };
        for node in 0..n {
            lab.act(node, |engine, now| engine.join(now, vec![address(0)]));
            lab.answer_syncs(node);
        }
        lab.run(secs(3));
        for node in 0..n {
            assert_eq!(lab.engines[node].census().alive, n);
        }
        lab.forget();
        lab
    }

    pub(crate) fn forget(&mut self) {
        self.commands.iter_mut().for_each(Vec::clear);
        self.events.iter_mut().for_each(Vec::clear);
    }

    pub(crate) fn act<T>(&mut self, node: usize, act: impl FnOnce(&mut Engine, Duration) -> T) -> T {
        let result = act(&mut self.engines[node], self.now);
        self.pump();
        result
    }

    /// Carries packets until nobody has one, and keeps commands and events.
    pub(crate) fn pump(&mut self) {
        let mut packet = Vec::new();
        loop {
            let mut is_quiet = true;
            for node in 0..self.engines.len() {
                while let Some(to) = self.engines[node].poll_transmit(self.now, &mut packet) {
                    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
                    self.trace = packet.iter().fold(self.trace, step);
                    is_quiet = false;
                    let target = (0..self.engines.len()).find(|n| gossip(*n) == to);
                    if let Some(target) = target.filter(|target| self.passes(node, *target)) {
                        self.engines[target].handle_packet(self.now, gossip(node), &packet);
                    }
                }
                while let Some(command) = self.engines[node].poll_command() {
                    if let Command::Sync { to: SyncTarget::Seed(address), .. } = &command {
                        self.calls.push((self.now, node, address.clone()));
                    }
                    self.commands[node].push(command);
                }
                self.events[node].extend(std::iter::from_fn(|| self.engines[node].poll_event()));
            }
            if is_quiet {
                return;
            }
        }
    }

    fn passes(&self, from: usize, to: usize) -> bool {
        let is_deaf = self.is_deaf.is_some_and(|deaf| deaf == from || deaf == to);
        !self.is_mute && !is_deaf && !self.cut[to] && !self.cut[from] && !self.are_apart(from, to)
    }

    fn are_apart(&self, one: usize, other: usize) -> bool {
        self.apart == Some((one, other)) || self.apart == Some((other, one))
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let due = self.engines.iter().filter_map(Engine::poll_timeout).min().filter(|due| *due <= end);
            let Some(due) = due else { break };
            self.now = self.now.max(due);
            for node in 0..self.engines.len() {
                self.engines[node].handle_timeout(self.now);
                assert!(self.engines[node].poll_timeout().is_none_or(|due| due > self.now), "a busy loop");
            }
            self.pump();
            (0..self.engines.len()).for_each(|node| self.answer_syncs(node));
            if self.is_mute || self.is_deaf.is_some() || self.apart.is_some() {
                (0..self.engines.len()).for_each(|node| self.answer_pings(node));
            }
        }
        self.now = end;
    }

    /// Carries the exchanges of views that this node has asked for to whom they are for, and takes the answers back.
    pub(crate) fn answer_syncs(&mut self, node: usize) {
        let (syncs, others): (Vec<Command>, Vec<Command>) =
            self.commands[node].drain(..).partition(|command| matches!(command, Command::Sync { .. }));
        self.commands[node] = others;
        for command in syncs {
            let Command::Sync { token, to, request, .. } = command else { continue };
            let to = match to {
                SyncTarget::Node { address, .. } | SyncTarget::Seed(address) => address,
            };
            let target = (0..self.engines.len()).find(|n| address(*n) == to && !self.cut[*n] && !self.cut[node]);
            let reply = match target {
                Some(target) => {
                    match self.act(target, |engine, now| engine.handle_sync_request(now, &id(node), &request)) {
                        SyncAnswer::Ready(reply) => Ok(reply),
                        answer => panic!("nobody is in doubt: {answer:?}"),
                    }
                }
                None => Err(Reason::Unreachable),
            };
            self.act(node, |engine, now| engine.handle_sync_reply(now, token, reply));
        }
    }

    /// Answers this node's pings of those that are not cut off.
    fn answer_pings(&mut self, node: usize) {
        for command in std::mem::take(&mut self.commands[node]) {
            let Command::Ping { id, address: to, .. } = command else { continue };
            let reaches = |n: usize| !self.cut[n] && !self.cut[node] && !self.are_apart(node, n);
            let is_there = (0..self.engines.len()).any(|n| address(n) == to && reaches(n));
            let result = if is_there { Ok(ms(1)) } else { Err(Reason::Expired) };
            self.act(node, |engine, now| engine.handle_pong(now, id, result));
        }
    }

    /// The exchanges of views that this node asks for and nobody has answered.
    pub(crate) fn syncs(&self, node: usize) -> Vec<(SyncToken, SyncTarget)> {
        let sync = |command: &Command| match command {
            Command::Sync { token, to, .. } => Some((*token, to.clone())),
            _ => None,
        };
        self.commands[node].iter().filter_map(sync).collect()
    }

    pub(crate) fn refused(&mut self, node: usize, by: usize) {
        let failure = Failure::Dial(DialFailure::Refused);
        let event = PeerEvent::DialFailed { node: Some(id(by)), address: address(by), failure };
        self.act(node, |engine, now| engine.handle_peer(now, &event));
    }

    pub(crate) fn up(&mut self, node: usize, with: usize, side: LinkSide) {
        let boot = info(with).boot;
        self.up_with(node, with, boot, side);
    }

    /// The link with that one carries something.
    pub(crate) fn traffic(&mut self, node: usize, with: usize, side: LinkSide) {
        let event = PeerEvent::Traffic { node: id(with), side };
        self.act(node, |engine, now| engine.handle_peer(now, &event));
    }

    pub(crate) fn up_with(&mut self, node: usize, with: usize, boot: BootId, side: LinkSide) {
        let incarnation = info(with).incarnation;
        let event = PeerEvent::Up { node: id(with), boot, incarnation, address: address(with), side, place: None };
        self.act(node, |engine, now| engine.handle_peer(now, &event));
    }

    pub(crate) fn down(&mut self, node: usize, with: usize, side: LinkSide, reason: CloseReason) {
        let event = PeerEvent::Down { node: id(with), boot: info(with).boot, side, reason };
        self.act(node, |engine, now| engine.handle_peer(now, &event));
    }

    /// What this node was told of that one's membership.
    pub(crate) fn told(&self, node: usize, of: usize) -> Vec<&'static str> {
        let change = |event: &EngineEvent| match event {
            EngineEvent::Membership(change) if *change.node_id() == id(of) => Some(change.name()),
            _ => None,
        };
        self.events[node].iter().filter_map(change).collect()
    }

    pub(crate) fn state(&self, node: usize, of: usize) -> Option<NodeState> {
        self.engines[node].member(&id(of)).map(|member| member.state)
    }

    pub(crate) fn urgent_probes(&self, node: usize) -> u64 {
        self.engines[node].statistics().swim.probes_urgent
    }
}

/// The list of members that these events make of an earlier one.
pub(crate) fn fold(
    mut members: BTreeMap<NodeId, std::sync::Arc<NodeInfo>>,
    events: &[EngineEvent],
) -> BTreeMap<NodeId, std::sync::Arc<NodeInfo>> {
    for event in events {
        match event {
            EngineEvent::Membership(MembershipEvent::NodeForgotten(node)) => {
                members.remove(&node.id);
            }
            EngineEvent::Membership(change) => {
                members.insert(change.node_id().clone(), change.node().clone());
            }
            _ => {}
        }
    }
    members
}
