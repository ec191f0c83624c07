//! The connections of one peer: what its machine decides about them, and where callers find them.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use rdb_net_peer::{CONNECTIONS_MAX, Epoch, Peer, PeerConfig, Slot};
use rdb_net_session::{CloseReason, SessionStatistics};
use rdb_net_types::{MessageType, NodeAddress, NodeId};
use tokio::sync::Notify;

use crate::link::Link;

const LOCKED: &str = "no code panics while it holds this lock";

/// One peer that this node dials.
#[derive(Debug)]
pub(crate) struct PeerShared {
    /// Who is meant; `None` for a seed, until its hello.
    pub(crate) target: Option<NodeId>,
    pub(crate) address: ArcSwap<NodeAddress>,
    /// The connections that messages take: the main ones, then that for bulk.
    links: Box<[ArcSwapOption<Link>]>,
    pool: Mutex<Pool>,
    /// Something about the connections has changed, for callers who wait for one.
    pub(crate) changed: Notify,
    /// Something about what is due has changed, for the task that waits for it.
    pub(crate) due_changed: Notify,
    /// Something was heard of the peer for which a dial under way begins anew.
    pub(crate) hurried: Notify,
}

/// The machine that decides about the connections, and the connections that it knows.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) machine: Peer,
    held: Vec<Held>,
    /// When the machine is to be asked again.
    pub(crate) due: Option<Duration>,
    /// Whether a task waits for that.
    pub(crate) has_task: bool,
    /// The transport forgot the peer: handles that are left make no connection.
    pub(crate) forgotten: bool,
}

/// A connection whose end the machine waits for. One that was replaced while it drained is none of its concern any more.
#[derive(Debug)]
struct Held {
    slot: Slot,
    /// None until it is up.
    epoch: Option<Epoch>,
    link: Arc<Link>,
    /// How much it had carried for the application when it was last looked at.
    carried: u64,
}

impl Pool {
    /// A connection was made for a slot; its hello is under way.
    pub(crate) fn hold(&mut self, slot: Slot, link: &Arc<Link>) {
        self.held.push(Held { slot, epoch: None, link: Arc::clone(link), carried: 0 });
    }

    /// The hello of a connection was answered. `None` where the machine does not count on it any more.
    fn came_up(&mut self, now: Duration, link: &Arc<Link>) -> Option<(Slot, Epoch)> {
        let index = self.held.iter().position(|held| held.link.number == link.number)?;
        let slot = self.held[index].slot;
        if !self.machine.is_dial_needed(now, slot) {
            // Another peer's connection came first.
            self.machine.handle_dial_dropped(slot);
            self.held.swap_remove(index);
            return None;
        }
        let epoch = self.machine.handle_up(now, slot);
        self.held[index].epoch = Some(epoch);
        Some((slot, epoch))
    }

    /// A connection of another peer serves this one as well. The one that it takes the place of, if there is one, was lent
    /// before.
    fn lend(&mut self, now: Duration, link: &Arc<Link>) -> (Slot, Epoch) {
        let slot = Slot::FIRST;
        let epoch = self.machine.handle_lent(now, slot);
        self.held.push(Held { slot, epoch: Some(epoch), link: Arc::clone(link), carried: 0 });
        (slot, epoch)
    }

    /// A connection takes no more messages. The machine is told, if it counts on it.
    fn ended(&mut self, link: &Arc<Link>, reason: CloseReason) {
        let Some(index) = self.held.iter().position(|held| held.link.number == link.number) else { return };
        let Held { slot, epoch, link, .. } = self.held.swap_remove(index);
        match epoch {
            Some(epoch) => self.machine.handle_ended(link.clock.now(), slot, epoch, reason),
            None => self.machine.handle_dial_ended(link.clock.now(), slot, reason),
        }
    }

    /// Another connection is to take this one's place. Returns whether it is one of this peer.
    pub(crate) fn renew(&mut self, now: Duration, link: &Arc<Link>) -> bool {
        let Some(held) = self.held.iter().find(|held| held.link.number == link.number) else { return false };
        self.machine.renew(now, held.slot);
        true
    }

    /// Gives up a connection that has lost its place.
    pub(crate) fn take(&mut self, slot: Slot, epoch: Epoch) -> Option<Arc<Link>> {
        let index = self.held.iter().position(|held| (held.slot, held.epoch) == (slot, Some(epoch)))?;
        Some(self.held.swap_remove(index).link)
    }

    /// Gives up all connections.
    pub(crate) fn take_all(&mut self) -> Vec<Arc<Link>> {
        self.held.drain(..).map(|held| held.link).collect()
    }

    /// Tells the machine whether a slot's connection was used. Returns whether it can be spared now.
    pub(crate) fn look(&mut self, now: Duration, slot: Slot) -> bool {
        let Some(held) = self.held.iter_mut().find(|held| held.slot == slot && held.epoch.is_some()) else {
            self.machine.looked(now, slot, false);
            return false;
        };
        let carried = carried_for_application(&held.link.statistics().0);
        let in_flight = held.link.lock().session.requests_in_flight();
        let was_used = in_flight > 0 || std::mem::replace(&mut held.carried, carried) != carried;
        self.machine.looked(now, slot, was_used);
        in_flight == 0
    }

    pub(crate) fn requests_in_flight(&self) -> usize {
        self.held.iter().map(|held| held.link.lock().session.requests_in_flight()).sum()
    }
}

/// Messages of the application in both directions. Pings, credits and the like keep no connection alive, and neither do
/// heartbeats and exchanges of views: who asks is in no hurry, and asks somebody else the next time.
fn carried_for_application(statistics: &SessionStatistics) -> u64 {
    let mut counts = std::collections::BTreeMap::new();
    statistics.sent.add_to(&mut counts);
    statistics.received.add_to(&mut counts);
    let is_applications = |message_type: &MessageType| {
        !message_type.is_control() && !matches!(*message_type, MessageType::HEARTBEAT | MessageType::GOSSIP_KEYS)
    };
    let counted: u64 =
        counts.iter().filter(|(message_type, _)| is_applications(message_type)).map(|(_, count)| count).sum();
    counted + statistics.sent.others + statistics.received.others
}

impl PeerShared {
    pub(crate) fn new(target: Option<NodeId>, address: NodeAddress, config: PeerConfig, seed: u64) -> Self {
        let connections = config.connections.clamp(1, CONNECTIONS_MAX);
        let config = PeerConfig { connections, ..config };
        Self {
            target,
            address: ArcSwap::from_pointee(address),
            links: Slot::all(connections).map(|_| ArcSwapOption::empty()).collect(),
            pool: Mutex::new(Pool {
                machine: Peer::new(config, seed),
                held: Vec::new(),
                due: None,
                has_task: false,
                forgotten: false,
            }),
            changed: Notify::new(),
            due_changed: Notify::new(),
            hurried: Notify::new(),
        }
    }

    /// The next dial happens now, and one that has been under way for a while begins anew.
    pub(crate) fn hurry(&self, now: Duration) {
        self.with_machine(|machine| machine.hurry(now));
        self.hurried.notify_waiters();
    }

    pub(crate) fn with_machine<T>(&self, change: impl FnOnce(&mut Peer) -> T) -> T {
        change(&mut self.lock_pool().machine)
    }

    pub(crate) fn lock_pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().expect(LOCKED)
    }

    /// How many main connections the peer may have.
    pub(crate) fn connections(&self) -> u8 {
        (self.links.len() - 1) as u8
    }

    /// The connection that messages of this slot take.
    #[inline]
    pub(crate) fn link(&self, slot: Slot) -> Option<Arc<Link>> {
        self.links[slot.index(self.connections())].load_full()
    }

    /// Any connection that is up.
    pub(crate) fn any_link(&self) -> Option<Arc<Link>> {
        self.links.iter().find_map(ArcSwapOption::load_full)
    }

    /// The next main connection that is up, from this one on.
    pub(crate) fn main_link_from(&self, first: u8) -> Option<Arc<Link>> {
        let connections = self.connections();
        let numbers = (0..connections).map(|offset| (first + offset) % connections);
        numbers.map(Slot::Main).find_map(|slot| self.link(slot))
    }

    /// The hello of a connection was answered: messages take it. `None` where nobody will use it.
    pub(crate) fn came_up(&self, link: &Arc<Link>) -> Option<(Slot, Epoch)> {
        let mut pool = self.lock_pool();
        if pool.forgotten {
            return None;
        }
        let place = pool.came_up(link.clock.now(), link)?;
        self.enter(place.0, link);
        drop(pool);
        self.changed.notify_waiters();
        Some(place)
    }

    /// Messages take this connection. Called under the pool's lock, so that nobody who has learnt of the new epoch still takes
    /// the connection of the former one.
    fn enter(&self, slot: Slot, link: &Arc<Link>) {
        let former = self.links[slot.index(self.connections())].swap(Some(Arc::clone(link)));
        former.iter().for_each(|former| former.retire());
    }

    /// Another peer's connection leads here: messages take it, where there is none, or it takes the place of one that was lent
    /// in the same way and drains.
    pub(crate) fn lend(&self, link: &Arc<Link>, former: Option<&Arc<Link>>) -> Option<(Slot, Epoch)> {
        let mut pool = self.lock_pool();
        let present = self.link(Slot::FIRST);
        let is_free = present.is_none_or(|present| former.is_some_and(|former| Arc::ptr_eq(former, &present)));
        if pool.forgotten || !is_free {
            return None;
        }
        let place = pool.lend(link.clock.now(), link);
        self.enter(place.0, link);
        drop(pool);
        self.changed.notify_waiters();
        Some(place)
    }

    /// This connection takes no more messages. The machine is told, if it counts on it.
    pub(crate) fn ended(&self, link: &Arc<Link>, reason: CloseReason) {
        self.retire(link);
        self.lock_pool().ended(link, reason);
        self.changed.notify_waiters();
    }

    /// Stops giving this connection to callers.
    pub(crate) fn retire(&self, link: &Arc<Link>) {
        link.retire();
        for place in &self.links {
            let current = place.load();
            if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, link)) {
                place.compare_and_swap(&current, None);
            }
        }
    }
}
