//! The keys that seal gossip: asked for where a node joins, exchanged inside mTLS connections, and led from one to the next by
//! the member with the least name.
//!
//! A message about keys is a request: empty, it asks for the answerer's keys; otherwise it is an offer or an order of
//! `rdb-net-seal`. Who has no key and is asked makes the first one. Nodes that share a secret derive
//! their one key from it, and none of this happens.

mod answers;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdb_net_seal::{
    GossipKey, KeyStatus, Keyring, KeyringOffer, Phase, Recovery, RecoveryAction, RecoveryConfig, Rotation,
    RotationAction, RotationConfig, RotationOrder, SealStatistics, Step,
};
use rdb_net_tls::secret::SharedSecret;
use rdb_net_transport::{CallOptions, PeerHandle};
use rdb_net_types::{ClusterId, Lane, MessageType, NodeId, NodeState, Payload, Reason, RequestError};
use rdb_net_wire::Raw;
use tokio::sync::Notify;

use crate::node::Node;

/// How long an answer about keys may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the leader looks how a rotation goes, and a member that is behind whether to ask.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How often both look where nothing is under way: a key serves for hours, and whatever cannot wait stirs them.
const IDLE_INTERVAL: Duration = Duration::from_secs(5);

const LOCKED: &str = "no code panics while it holds this lock";

/// A rotation that this node leads, and the members that it knows of.
struct Leading {
    rotation: Rotation,
    members: BTreeSet<NodeId>,
}

impl Leading {
    /// Members come and go meanwhile.
    fn follow(&mut self, alive: BTreeSet<NodeId>) {
        for left in self.members.difference(&alive) {
            self.rotation.handle_left(left);
        }
        for joined in alive.difference(&self.members) {
            self.rotation.handle_joined(joined.clone());
        }
        self.members = alive;
    }
}

/// Why a member did not do a step.
enum NotDone {
    /// It answered that it cannot: it lacks a key.
    Behind(String),
    /// It could not be told.
    Untold(String),
}

/// A node's gossip keys.
pub(crate) struct Keys {
    pub(crate) keyring: Arc<Keyring>,
    recovery: Mutex<Recovery>,
    rotation: Mutex<Option<Leading>>,
    /// The one key follows from a secret that all members have: nobody is told of keys, and none takes its place.
    is_derived: bool,
    /// How long a key serves; `None` for ever.
    rotates_after: Option<Duration>,
    /// An operator wants another key, or the present one has sealed enough.
    wants_rotation: AtomicBool,
    /// Somebody may have lost the right to the present key: another one takes its place at once.
    is_urgent: AtomicBool,
    /// Members whose certificates this node did not take when it dialled them last.
    untrusted: Mutex<BTreeSet<NodeId>>,
    /// The revocation lists that were in force last; `None` before they were looked at.
    lists: Mutex<Option<BTreeSet<String>>>,
    /// Whom to ask next, as a number that grows.
    turn: AtomicUsize,
    statistics: Mutex<SealStatistics>,
    /// Something has happened that cannot wait.
    stir: Notify,
}

impl Keys {
    pub(crate) fn new(rotates_after: Option<Duration>) -> Self {
        Self {
            keyring: Arc::new(Keyring::empty()),
            recovery: Mutex::new(Recovery::new(RecoveryConfig::default())),
            rotation: Mutex::new(None),
            is_derived: false,
            rotates_after,
            wants_rotation: AtomicBool::new(false),
            is_urgent: AtomicBool::new(false),
            untrusted: Mutex::default(),
            lists: Mutex::default(),
            turn: AtomicUsize::new(0),
            statistics: Mutex::default(),
            stir: Notify::new(),
        }
    }

    /// The key of a cluster whose members have a secret in common. It is in no message, so it needs no connection that protects
    /// bytes.
    pub(crate) fn of_secret(secret: &SharedSecret, cluster: &ClusterId, now: Duration) -> Self {
        let key = GossipKey::take(&mut secret.gossip_key(cluster));
        Self { keyring: Arc::new(Keyring::with_key(key, now)), is_derived: true, ..Self::new(None) }
    }

    /// Whether the key follows from a secret.
    pub(crate) fn is_derived(&self) -> bool {
        self.is_derived
    }

    /// The keys, without what is secret.
    pub(crate) fn list(&self, now: Duration) -> Vec<KeyStatus> {
        self.keyring.list(now)
    }

    pub(crate) fn statistics(&self) -> SealStatistics {
        *self.statistics.lock().expect(LOCKED)
    }

    /// Another key shall take the place of the present one; only the leader can see to that.
    pub(crate) fn want_rotation(&self, node: &Node) -> Result<(), String> {
        match self.members(node).first() {
            _ if self.is_derived => {
                Err("the gossip key follows from networking.shared_secret: another secret, on all nodes, makes another"
                    .to_owned())
            }
            Some(leader) if *leader != node.id => Err(format!("node {leader} leads: ask it")),
            _ => {
                self.wants_rotation.store(true, Ordering::Relaxed);
                self.stir.notify_one();
                Ok(())
            }
        }
    }

    /// Certificates were revoked: who held one still holds the present key.
    pub(crate) fn revoked(&self) {
        self.is_urgent.store(true, Ordering::Relaxed);
        self.wants_rotation.store(true, Ordering::Relaxed);
        self.stir.notify_one();
    }

    /// The revocation lists that are in force, by fingerprint. Returns whether they are others than before.
    pub(crate) fn saw_lists(&self, lists: BTreeSet<String>) -> bool {
        let mut seen = self.lists.lock().expect(LOCKED);
        let former = seen.replace(lists);
        former.is_some() && former != *seen
    }

    /// A packet has come under a key that this node lacks.
    pub(crate) fn unknown_key(&self) {
        self.recovery.lock().expect(LOCKED).handle_unknown_key();
        self.stir.notify_one();
    }

    /// What has become of packets so far, and whether the key has sealed as many as it may.
    pub(crate) fn tell(&self, statistics: SealStatistics, wants_rotation: bool) {
        *self.statistics.lock().expect(LOCKED) = statistics;
        let before = self.wants_rotation.fetch_or(wants_rotation, Ordering::Relaxed);
        if wants_rotation {
            self.stir.notify_one();
        }
        if self.is_derived && wants_rotation && !before {
            tracing::warn!(
                "this process has sealed as much gossip with one key as it should: start it again at the next opportunity"
            );
        }
    }

    /// A dial of this member has ended, with trust or without.
    pub(crate) fn dialled(&self, member: &NodeId, is_trusted: bool) {
        let mut untrusted = self.untrusted.lock().expect(LOCKED);
        if is_trusted {
            untrusted.remove(member);
        } else if untrusted.len() < UNTRUSTED_MAX {
            untrusted.insert(member.clone());
        }
    }

    /// The members that are told of keys, this node among them.
    fn members(&self, node: &Node) -> BTreeSet<NodeId> {
        let members = node.gossip.look(|driven, _| driven.0.members());
        let untrusted = self.untrusted.lock().expect(LOCKED);
        let alive = members.iter().filter(|member| member.state == NodeState::Alive || member.id == node.id);
        alive.map(|member| member.id.clone()).filter(|member| !untrusted.contains(member)).collect()
    }

    /// A connection to this peer is up: who has no key yet asks it.
    pub(crate) fn met(self: &Arc<Self>, node: &Arc<Node>, peer: &NodeId) {
        if self.keyring.primary().is_none()
            && let Some(peer) = node.transport.find_peer(peer)
        {
            let (keys, now) = (Arc::clone(self), node.transport.clock());
            node.tasks.spawn(async move { keys.ask(&peer, now.now()).await });
        }
    }

    async fn ask(&self, peer: &PeerHandle, now: Duration) {
        match tell(peer, Vec::new()).await.map(|answer| KeyringOffer::decode(&answer)) {
            Ok(Ok(offer)) => {
                if let Err(error) = self.accept(now, offer) {
                    tracing::warn!(%error, "gossip keys: an offer was not taken");
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "gossip keys: an offer cannot be read"),
            Err(error) => tracing::debug!(%error, "gossip keys: no answer"),
        }
    }

    /// Looks, again and again, whether this node is behind, and leads rotations while its name is the least.
    pub(crate) async fn run(self: Arc<Self>, node: Arc<Node>) {
        loop {
            let now = node.transport.clock().now();
            let action = self.recovery.lock().expect(LOCKED).poll_action(now);
            if action == RecoveryAction::Ask {
                self.ask_somebody(&node, now);
            }
            self.lead(&node, now);
            // Whatever stirs, and a flood of packets under unknown keys does, gets one look in this time.
            tokio::time::sleep(LOOK_INTERVAL).await;
            if action == RecoveryAction::None && self.is_idle() {
                let _ = tokio::time::timeout(IDLE_INTERVAL, self.stir.notified()).await;
            }
        }
    }

    /// No rotation is under way, and none is wanted.
    fn is_idle(&self) -> bool {
        !self.wants_rotation.load(Ordering::Relaxed) && self.rotation.lock().expect(LOCKED).is_none()
    }

    /// Asks one of the members that a connection leads to, each time another one.
    fn ask_somebody(self: &Arc<Self>, node: &Arc<Node>, now: Duration) {
        let connected = node.transport.statistics().peers;
        let connected: Vec<NodeId> =
            connected.into_iter().filter(|(_, peer)| peer.active_connections > 0).map(|(id, _)| id).collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let chosen = connected.get(turn % connected.len().max(1));
        if let Some(peer) = chosen.and_then(|chosen| node.transport.find_peer(chosen)) {
            let keys = Arc::clone(self);
            node.tasks.spawn(async move { keys.ask(&peer, now).await });
        }
    }

    /// Begins a rotation where one is due, and does what the one under way wants done.
    fn lead(self: &Arc<Self>, node: &Arc<Node>, now: Duration) {
        let mut leading = self.rotation.lock().expect(LOCKED);
        // Another key is wanted while the former one is only kept for packets that are under way: it may be there for longer.
        let is_replaced =
            |leading: &Leading| leading.rotation.phase() >= Phase::Grace && self.wants_rotation.load(Ordering::Relaxed);
        if leading.as_ref().is_none_or(is_replaced) {
            *leading = self.begin(node, now);
        }
        let Some(Leading { rotation, .. }) = &mut *leading else { return };
        loop {
            match rotation.poll_action(now) {
                RotationAction::Tell { node: member, step } => {
                    let order = rotation.order(step);
                    self.tell_step(node, member, step, order);
                }
                RotationAction::WaitUntil(_) => break,
                RotationAction::Ended => {
                    let (key, phase) = (rotation.key(), rotation.phase().name());
                    tracing::info!(%key, phase, "gossip keys: the rotation has ended");
                    *leading = None;
                    return;
                }
            }
        }
        if let Some(leading) = &mut *leading {
            leading.follow(self.members(node));
        }
    }

    fn begin(&self, node: &Node, now: Duration) -> Option<Leading> {
        let members = self.members(node);
        if let Some(leader) = members.first().filter(|leader| **leader != node.id) {
            // It sees to that, unless it is the one whose certificate was revoked: then a dial tells, and another leads.
            if self.wants_rotation.load(Ordering::Relaxed) {
                match node.transport.find_peer(leader).is_some_and(|peer| peer.is_up()) {
                    true => self.wants_rotation.store(false, Ordering::Relaxed),
                    false => self.knock(node, leader),
                }
            }
            return None;
        }
        let keys = self.keyring.list(now);
        let primary = keys.first()?;
        // A key that several nodes made when they began at once, or that a rotation has left behind.
        let stray = keys.get(1).filter(|stray| stray.age.min(primary.age) >= STRAY_AGE);
        let is_due = self.rotates_after.is_some_and(|after| primary.age >= after);
        let (key, former) = if self.wants_rotation.swap(false, Ordering::Relaxed) || is_due {
            let made = GossipKey::generate().map_err(|error| error.to_string());
            let installed = made.and_then(|key| self.keyring.install(key, now).map_err(|error| error.to_string()));
            match installed {
                Ok(key) => (key, primary.id),
                Err(error) => {
                    tracing::warn!(error, "gossip keys: no rotation");
                    return None;
                }
            }
        } else {
            (primary.id, stray?.id)
        };
        tracing::info!(%key, %former, members = members.len(), "gossip keys: a rotation begins");
        let config = match self.is_urgent.swap(false, Ordering::Relaxed) {
            true => RotationConfig { phase_max: URGENT, grace: URGENT, ..RotationConfig::default() },
            false => RotationConfig::default(),
        };
        let rotation = Rotation::new(config, key, former, members.iter().cloned(), now);
        Some(Leading { rotation, members })
    }

    /// Dials a member, to see whether it is trusted.
    fn knock(&self, node: &Node, member: &NodeId) {
        if let Some(peer) = node.peer_of(member) {
            node.tasks.spawn(async move { tell(&peer, Vec::new()).await.map(drop) });
        }
    }

    /// Tells a member a step, which may be this node itself.
    fn tell_step(self: &Arc<Self>, node: &Arc<Node>, member: NodeId, step: Step, order: Option<RotationOrder>) {
        let (keys, node) = (Arc::clone(self), Arc::clone(node));
        node.clone().tasks.spawn(async move {
            let done = keys.carry_out(&node, &member, order).await;
            let mut leading = keys.rotation.lock().expect(LOCKED);
            let Some(Leading { rotation, .. }) = &mut *leading else { return };
            match done {
                Ok(()) => rotation.handle_acknowledged(&member, step),
                Err(NotDone::Behind(error)) => {
                    tracing::info!(%member, ?step, error, "gossip keys: a member is behind");
                    rotation.handle_behind(&member);
                }
                Err(NotDone::Untold(error)) => {
                    tracing::debug!(%member, ?step, error, "gossip keys: a member could not be told");
                    rotation.handle_failed(node.transport.clock().now(), &member, step);
                }
            }
        });
    }

    async fn carry_out(&self, node: &Node, member: &NodeId, order: Option<RotationOrder>) -> Result<(), NotDone> {
        if *member == node.id {
            let applied = order.map_or(Ok(()), |order| order.apply(&self.keyring));
            return applied.map_err(|error| NotDone::Behind(error.to_string()));
        }
        let message = match order {
            Some(order) => order.encode().to_vec(),
            None => KeyringOffer::encode(&self.keyring).map(|offer| offer.to_vec()).unwrap_or_default(),
        };
        let Some(peer) = node.peer_of(member) else { return Err(NotDone::Untold("no member".to_owned())) };
        tell(&peer, message).await.map(drop).map_err(|error| match error.reason {
            Reason::HandlerFailed => NotDone::Behind(error.to_string()),
            _ => NotDone::Untold(error.to_string()),
        })
    }
}

/// The times of a rotation that somebody has to be kept out by: to tell all members, and for packets under way.
const URGENT: Duration = Duration::from_secs(5);
/// How many members may be untrusted at a time, to be told apart.
const UNTRUSTED_MAX: usize = 1024;
/// How long a key that nobody seals with is kept before it is removed everywhere.
const STRAY_AGE: Duration = Duration::from_secs(300);

async fn tell(peer: &PeerHandle, message: Vec<u8>) -> Result<Vec<u8>, RequestError> {
    let message = Raw { message_type: MessageType::GOSSIP_KEYS, payload: Payload::from(message) };
    let options = CallOptions { lane: Some(Lane::System), ..CallOptions::timeout(ANSWER_TIMEOUT) };
    let reply = peer.request(&message, options).await?;
    Ok(reply.body.into_payload().into_bytes().to_vec())
}
