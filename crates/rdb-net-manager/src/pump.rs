//! Between the engine and the world: what the engine wants done is done, and what happens is told to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdb_net_engine::{Command, Engine, EngineEvent, SyncAnswer, SyncTarget, SyncToken};
use rdb_net_membership::PacketMachine;
#[cfg(feature = "secure")]
use rdb_net_peer::{DialFailure, Failure};
#[cfg(feature = "secure")]
use rdb_net_transport::LinkSide;
use rdb_net_transport::{Answer, CallOptions, HandlerError, Handling, PeerEvent, PeerHandle, Request};
use rdb_net_types::{Heartbeat, Lane, MembershipEvent, NodeId, NodeState, Payload};
use rdb_net_wire::{Raw, control_type};
use rdb_swim::SyncId;
use tokio::sync::{Notify, oneshot};

use crate::control::NetworkEvent;
use crate::node::Node;

/// The engine, as the gossip driver sees it.
#[derive(Debug)]
pub(crate) struct Driven(pub(crate) Engine);

impl PacketMachine for Driven {
    fn handle_packet(&mut self, now: Duration, from: SocketAddr, packet: &[u8]) {
        self.0.handle_packet(now, from, packet);
    }

    fn note_ingress_age(&mut self, now: Duration, age: Duration) {
        self.0.note_ingress_age(now, age);
    }

    fn handle_timeout(&mut self, now: Duration) {
        self.0.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.0.poll_timeout()
    }

    fn poll_transmit(&mut self, now: Duration, packet: &mut Vec<u8>) -> Option<SocketAddr> {
        self.0.poll_transmit(now, packet)
    }
}

/// What the engine has given out and nobody has carried out yet. The engine bounds it: it has few commands at a time, and
/// events no more than members.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    given: Mutex<(Vec<Command>, Vec<EngineEvent>)>,
    filled: Notify,
}

const LOCKED: &str = "no code panics while it holds this lock";

impl Outbox {
    /// Takes out what the engine has; called under the engine's lock at the end of every pass.
    pub(crate) fn fill(&self, engine: &mut Engine) {
        let mut given = self.given.lock().expect(LOCKED);
        let before = given.0.len() + given.1.len();
        given.0.extend(std::iter::from_fn(|| engine.poll_command()));
        given.1.extend(std::iter::from_fn(|| engine.poll_event()));
        if given.0.len() + given.1.len() > before {
            self.filled.notify_one();
        }
    }

    /// Gives out what a test makes up.
    #[cfg(test)]
    pub(crate) fn give(&self, command: Command, event: EngineEvent) {
        let mut given = self.given.lock().expect(LOCKED);
        given.0.push(command);
        given.1.push(event);
        self.filled.notify_one();
    }

    async fn take(&self) -> (Vec<Command>, Vec<EngineEvent>) {
        loop {
            let taken = std::mem::take(&mut *self.given.lock().expect(LOCKED));
            if !(taken.0.is_empty() && taken.1.is_empty()) {
                return taken;
            }
            self.filled.notified().await;
        }
    }
}

/// Membership exchanges of others that wait for the engine's answer.
pub(crate) type SyncWaiters = Mutex<BTreeMap<SyncId, oneshot::Sender<Vec<u8>>>>;

/// How many of them may wait.
const SYNC_WAITERS_MAX: usize = 1024;

impl Node {
    /// Carries out what the engine wants, in order, until the node stops.
    pub(crate) async fn pump(self: Arc<Self>) {
        loop {
            let (commands, events) = self.outbox.take().await;
            // Before the routes are made anew: none may hold a peer that the transport has forgotten.
            for command in commands {
                self.carry_out(command);
            }
            // Once for all of them: in a cluster that starts they come by the dozen, and each time it is as much work as there are
            // members.
            if events.iter().any(|event| matches!(event, EngineEvent::Membership(_))) {
                self.refresh_routes();
            }
            for event in events {
                self.tell(event);
            }
        }
    }

    fn tell(&self, event: EngineEvent) {
        match event {
            EngineEvent::Membership(event) => {
                let node = event.node();
                let (id, state) = (node.id.as_str(), node.state.name());
                tracing::info!(node = id, state, address = %node.address, event = event.name(), "membership changed");
                self.note_change(&event);
                self.let_dial(&event);
                self.bus.publish(&NetworkEvent::Membership(event));
            }
            EngineEvent::Health(event) => {
                tracing::info!(node = %event.node, from = %event.from, to = %event.to, "health changed");
                self.bus.publish(&NetworkEvent::Health { node: event.node, from: event.from, to: event.to });
            }
            EngineEvent::ClusterJoined { members } => {
                tracing::info!(members, "joined the cluster");
                self.joined.send_replace(true);
                self.bus.publish(&NetworkEvent::Joined { members });
            }
            EngineEvent::SeedsUnreachable { attempts, seeds } => {
                let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
                tracing::warn!(attempts, ?seeds, "no seed answers, trying on (networking.service_discovery.seeds)");
                self.bus.publish(&NetworkEvent::SeedsUnreachable { attempts });
            }
            EngineEvent::DuplicateNode { address } => {
                let address = address.map_or_else(|| "an unknown address".to_owned(), |address| address.to_string());
                tracing::error!(%address, "another live process uses this node's id (networking.node_id)");
                self.bus.publish(&NetworkEvent::DuplicateNode { address: address.clone() });
                self.fatal.send_replace(Some(crate::FatalError::DuplicateNode { node: self.id.clone(), address }));
            }
            EngineEvent::Conflict { node, address, .. } => {
                tracing::warn!(%node, %address, "two live processes use one node id");
            }
            EngineEvent::Incompatible { node, theirs, ours } => {
                let (theirs, ours) = (theirs.to_string(), ours.to_string());
                tracing::warn!(
                    %node,
                    theirs,
                    ours,
                    "no version of the membership protocol is understood by both: one of the two needs another release"
                );
                self.bus.publish(&NetworkEvent::Incompatible { node, theirs, ours });
            }
            EngineEvent::Partitioned(rdb_swim::Partition { reachable, unreachable, .. }) => {
                tracing::warn!(
                    reachable,
                    unreachable,
                    "many members have vanished together: the network may have come apart"
                );
                self.bus.publish(&NetworkEvent::Partitioned { reachable, unreachable });
            }
            EngineEvent::Healed(rdb_swim::Partition { reachable, unreachable, .. }) => {
                tracing::info!(reachable, unreachable, "most of the members that had vanished together are back");
                self.bus.publish(&NetworkEvent::Healed { reachable, unreachable });
            }
            EngineEvent::SplitBrain(verdict) => {
                let withdraws = verdict.decision == rdb_swim::Decision::Withdraw;
                self.is_withdrawn.store(withdraws, std::sync::atomic::Ordering::Relaxed);
                let (decision, reason) = (verdict.decision.name(), verdict.to_string());
                if withdraws {
                    tracing::error!(
                        decision,
                        reason,
                        "this side of the cluster withdraws and takes no new messages to other nodes"
                    );
                } else {
                    tracing::warn!(decision, reason, "this side of the cluster goes on");
                }
                self.bus.publish(&NetworkEvent::SplitBrain { withdraws, reason });
            }
            EngineEvent::SplitBrainEnded => {
                if self.is_withdrawn.swap(false, std::sync::atomic::Ordering::Relaxed) {
                    let reason = "no strategy decides any more".to_owned();
                    let decision = rdb_swim::Decision::Stay.name();
                    tracing::warn!(decision, reason, "this side of the cluster goes on");
                    self.bus.publish(&NetworkEvent::SplitBrain { withdraws: false, reason });
                }
            }
            EngineEvent::LeaveFinished { acknowledged } => {
                tracing::info!(acknowledged, "left the cluster");
                self.left.send_replace(Some(acknowledged));
            }
            event => tracing::debug!(?event, "an event that the manager does not know"),
        }
    }

    /// Who is told to be there can be dialled at once: what dials met before says nothing of it, and nobody who has heard the
    /// event has to sit out the wait that followed them.
    fn let_dial(&self, event: &MembershipEvent) {
        let is_there = event.node().state == NodeState::Alive;
        if let Some(peer) = self.transport.find_peer(event.node_id()).filter(|_| is_there) {
            peer.hurry();
        }
    }

    fn note_change(&self, event: &MembershipEvent) {
        #[cfg(feature = "secure")]
        if let Some(memory) = &self.memory {
            memory.changed.notify_one();
        }
        let mut since = self.since.lock().expect(LOCKED);
        match event {
            MembershipEvent::NodeForgotten(node) => {
                since.remove(&node.id);
            }
            MembershipEvent::NodeUpdated(_) => {}
            event => {
                since.insert(event.node_id().clone(), self.transport.clock().now());
            }
        }
    }

    fn carry_out(self: &Arc<Self>, command: Command) {
        match command {
            Command::KeepLink { node, address } => self.transport.peer(&node, &address).keep(true),
            Command::DropLink { node } => {
                if let Some(peer) = self.transport.find_peer(&node) {
                    peer.keep(false);
                }
            }
            Command::Hurry { node } => {
                if let Some(peer) = self.transport.find_peer(&node) {
                    peer.hurry();
                }
            }
            Command::ForgetPeer { node } => self.transport.forget(&node),
            Command::ForgetSeed { address } => self.transport.forget_seed(&address),
            Command::Sync { token, to, request, timeout } => self.sync(token, &to, request, timeout),
            Command::Ping { id, node, address, timeout } => {
                let (this, peer) = (Arc::clone(self), self.transport.peer(&node, &address));
                self.tasks.spawn(async move {
                    let heartbeat = Heartbeat { node_id: this.id.clone(), timestamp_us: unix_us() };
                    let reply = peer.request(&heartbeat, CallOptions::timeout(timeout)).await;
                    let result = reply.map(|reply| reply.round_trip).map_err(|error| error.reason);
                    this.gossip.with(|driven, now| driven.0.handle_pong(now, id, result));
                });
            }
            Command::AnswerSync { id, reply } => {
                if let Some(waiter) = self.sync_waiters.lock().expect(LOCKED).remove(&id) {
                    // The asker may have given up meanwhile.
                    let _delivered = waiter.send(reply);
                }
            }
            command => tracing::debug!(?command, "a command that the manager does not know"),
        }
    }

    fn sync(self: &Arc<Self>, token: SyncToken, to: &SyncTarget, request: Vec<u8>, timeout: Duration) {
        let peer: PeerHandle = match to {
            SyncTarget::Node { node, address } => self.transport.peer(node, address),
            SyncTarget::Seed(address) => {
                let seed = self.transport.seed(address);
                // How long to wait between two calls of a seed is the engine's to say, and it has. The wait that former dials have earned
                // grows to three times as long, and a call within it would be no call.
                seed.hurry();
                seed
            }
        };
        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            let message = Raw { message_type: control_type::MEMBERSHIP_SYNC, payload: Payload::from(request) };
            let options =
                CallOptions { lane: Some(Lane::System), idempotent: Some(true), ..CallOptions::timeout(timeout) };
            let reply = peer.request(&message, options).await;
            let reply =
                reply.map(|reply| reply.body.into_payload().into_bytes().to_vec()).map_err(|error| error.reason);
            this.gossip.with(|driven, now| driven.0.handle_sync_reply(now, token, reply));
        });
    }

    /// Answers the membership exchange of another node.
    pub(crate) fn handle_sync(&self, from: &NodeId, request: Request) -> Handling {
        let bytes = request.into_payload().into_bytes();
        let mut waiter = None;
        let answer = self.gossip.with(|driven, now| {
            let answer = driven.0.handle_sync_request(now, from, &bytes);
            if let SyncAnswer::Pending(id) = &answer {
                // Registered under the engine's lock: the answer cannot come before somebody waits for it.
                let (sender, receiver) = oneshot::channel();
                let mut waiters = self.sync_waiters.lock().expect(LOCKED);
                if waiters.len() < SYNC_WAITERS_MAX {
                    waiters.insert(*id, sender);
                }
                waiter = Some(receiver);
            }
            answer
        });
        match (answer, waiter) {
            (SyncAnswer::Ready(reply), _) => Handling::Ready(Ok(Answer::Payload(Payload::from(reply)))),
            (SyncAnswer::Pending(_), Some(receiver)) => Handling::Later(Box::pin(async move {
                let reply = receiver.await.map_err(|_| HandlerError::not_started("too many exchanges wait"))?;
                Ok(Answer::Payload(Payload::from(reply)))
            })),
            (SyncAnswer::Refused(refusal), _) => Handling::Ready(Err(HandlerError::not_started(refusal.to_string()))),
            (SyncAnswer::Pending(_), None) => Handling::Ready(Err(HandlerError::not_started("nobody can wait"))),
        }
    }

    /// A gossip packet that came inside a connection. It is as if it had come from its sender's gossip socket.
    pub(crate) fn take_gossip(&self, from: &NodeId, request: Request) {
        let packet = request.into_payload().into_bytes();
        let now = self.transport.clock().now();
        if let Some(address) = self.streams.received(now, from) {
            self.gossip.with(|driven, now| driven.0.handle_packet(now, address, &packet));
        }
    }

    /// The same of one that came as a datagram.
    pub(crate) fn take_gossip_datagram(&self, from: &NodeId, packet: &[u8]) {
        if let Some(address) = self.streams.received_datagram(from) {
            self.gossip.with(|driven, now| driven.0.handle_packet(now, address, packet));
        }
    }

    /// Tells the engine what happens to connections.
    pub(crate) async fn watch_peers(self: Arc<Self>) {
        loop {
            let event = self.transport.next_event().await;
            self.gossip.with(|driven, now| driven.0.handle_peer(now, &event));
            match event {
                PeerEvent::Up { node, side, .. } => {
                    #[cfg(feature = "secure")]
                    if let Some(keys) = self.keys.as_ref().filter(|_| side == LinkSide::Dialer) {
                        keys.dialled(&node, true);
                        keys.met(&self, &node);
                    }
                    #[cfg(not(feature = "secure"))]
                    let _dialled = side;
                    self.bus.publish(&NetworkEvent::Connection { node, up: true, reason: String::new() });
                }
                #[cfg(feature = "secure")]
                PeerEvent::DialFailed { node: Some(node), failure: Failure::Dial(DialFailure::Untrusted), .. } => {
                    if let Some(keys) = &self.keys {
                        keys.dialled(&node, false);
                    }
                }
                PeerEvent::Down { node, reason, .. } => {
                    let reason = reason.name().to_owned();
                    self.bus.publish(&NetworkEvent::Connection { node, up: false, reason });
                }
                _ => {}
            }
        }
    }
}

/// The wall clock, for people: microseconds since 1970.
fn unix_us() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_micros() as u64)
}
