//! Carrying out what a peer's machine says: a task for each dial, and one that waits for what is due.

use std::sync::Arc;
use std::time::Duration;

use rdb_net_peer::{Action, DialFailure, Failure, LinkSide, PeerEvent, Slot};
use rdb_net_session::{CloseReason, Secured, Session, Side};
use tokio::runtime::Handle;

use crate::backend::Connection;
use crate::clock::wall_clock;
use crate::driver::{Driver, FAREWELL_TIMEOUT};
use crate::link::Link;
use crate::owner::Owner;
use crate::pool::PeerShared;
use crate::registry::NoPlace;
use crate::transport::Inner;

/// How often a dial makes room for its connection, where others are quicker to take it.
const ROOM_TRIES: usize = 4;

/// News of a peer let a dial begin anew that has been under way for so long, and so often at most. Whoever began to dial before the peer
/// was there, and was refused by nobody, waits longer and longer between its tries; the peer is there now.
const ANEW_AFTER: Duration = Duration::from_millis(100);
const ANEW_MAX: usize = 4;

impl Inner {
    /// Carries out what the peer's machine wants, from any thread; before the transport has met a runtime, nothing.
    pub(crate) fn drive_peer(self: &Arc<Self>, peer: &Arc<PeerShared>) {
        let Some(runtime) = self.runtime() else {
            return tracing::warn!(
                "a peer is asked for outside of a runtime, and the transport was not started: nothing is dialled"
            );
        };
        while !self.is_stopping() {
            let mut pool = peer.lock_pool();
            if pool.forgotten {
                return;
            }
            let now = self.clock.now();
            match pool.machine.poll_action(now) {
                Action::Dial(slot) => {
                    drop(pool);
                    self.spawn_dial(peer, slot, &runtime);
                }
                Action::Look(slot) => {
                    pool.look(now, slot);
                }
                Action::Drain(slot, epoch) => {
                    let link = pool.take(slot, epoch);
                    drop(pool);
                    if let Some(link) = link {
                        tracing::debug!(peer = ?link.node(), ?slot, epoch = epoch.0, "a connection has had its time");
                        peer.retire(&link);
                        link.drain();
                    }
                }
                Action::WaitUntil(at) => {
                    let former = pool.due.replace(at);
                    let has_task = std::mem::replace(&mut pool.has_task, true);
                    drop(pool);
                    if !has_task {
                        self.spawn_wait(peer, &runtime);
                    } else if former.is_none_or(|former| at < former) {
                        peer.due_changed.notify_one();
                    }
                    return;
                }
                Action::None => {
                    pool.due = None;
                    return;
                }
            }
        }
    }

    fn spawn_wait(self: &Arc<Self>, peer: &Arc<PeerShared>, runtime: &Handle) {
        let (inner, peer) = (Arc::clone(self), Arc::clone(peer));
        let waiting = async move { inner.stopping.run_until_cancelled(inner.wait_for_due(&peer)).await };
        self.tasks.spawn_on(waiting, runtime);
    }

    /// Asks the machine again whenever something is due, as long as something is.
    async fn wait_for_due(self: &Arc<Self>, peer: &Arc<PeerShared>) {
        loop {
            let due = {
                let mut pool = peer.lock_pool();
                pool.has_task = pool.due.is_some();
                pool.due
            };
            let Some(due) = due else { return };
            if due <= self.clock.now() {
                peer.lock_pool().due = None;
                self.drive_peer(peer);
                continue;
            }
            // Woken early where something is due before; such a change is remembered if it comes before the wait.
            let _elapsed = tokio::time::timeout_at(self.clock.instant(due), peer.due_changed.notified()).await;
        }
    }

    fn spawn_dial(self: &Arc<Self>, peer: &Arc<PeerShared>, slot: Slot, runtime: &Handle) {
        let (inner, peer) = (Arc::clone(self), Arc::clone(peer));
        let dialing = async move { inner.stopping.run_until_cancelled(inner.dial(&peer, slot)).await };
        self.tasks.spawn_on(dialing, runtime);
    }

    async fn dial(self: &Arc<Self>, peer: &Arc<PeerShared>, slot: Slot) {
        let result = match self.connect(peer).await {
            Ok(io) => self.start_dialled(peer, slot, io).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = result {
            self.dial_failed(peer, slot, failure);
        }
        self.drive_peer(peer);
    }

    async fn connect(self: &Arc<Self>, peer: &PeerShared) -> Result<Box<dyn Connection>, DialFailure> {
        // Waiting for other dials of this process says nothing of the peer, so it counts for no time-out.
        let _permit = self.dials.acquire().await.map_err(|_| DialFailure::Io)?;
        // The peer is not bothered with a connection that has no place here.
        if self.registry.is_full(self.config.connections_max) && !self.make_room().await {
            return Err(self.no_room());
        }
        self.check_hello().map_err(|error| {
            tracing::error!(%error, "no connection can be made");
            DialFailure::Io
        })?;
        for _ in 0..ANEW_MAX {
            let news = async {
                tokio::time::sleep(ANEW_AFTER).await;
                peer.hurried.notified().await;
            };
            tokio::select! {
                biased;
                dialled = self.dial_once(peer) => return dialled,
                () = news => tracing::debug!(peer = ?peer.target, "there is news of the peer: it is dialled anew"),
            }
        }
        self.dial_once(peer).await
    }

    async fn dial_once(&self, peer: &PeerShared) -> Result<Box<dyn Connection>, DialFailure> {
        let address = peer.address.load_full();
        let dialled = tokio::time::timeout(self.config.dial_timeout, self.backend.dial(&address)).await;
        let dialled = dialled.map_err(|_| DialFailure::TimedOut)?;
        dialled.map_err(|error| {
            tracing::debug!(peer = ?peer.target, %address, %error, "dial failed");
            error.failure
        })
    }

    fn dial_failed(&self, peer: &PeerShared, slot: Slot, failure: DialFailure) {
        let now = self.clock.now();
        peer.with_machine(|machine| {
            // A seed's connection may have turned out to lead to this peer while it was dialled.
            match machine.is_dial_needed(now, slot) {
                true => machine.handle_dial_failed(now, slot, failure),
                false => machine.handle_dial_dropped(slot),
            }
        });
        self.registry.count_error(peer.target.as_ref(), failure.name());
        peer.changed.notify_waiters();
        let address = (**peer.address.load()).clone();
        self.events.push(PeerEvent::DialFailed { node: peer.target.clone(), address, failure: Failure::Dial(failure) });
    }

    async fn start_dialled(
        self: &Arc<Self>,
        peer: &Arc<PeerShared>,
        slot: Slot,
        io: Box<dyn Connection>,
    ) -> Result<(), DialFailure> {
        for _ in 0..ROOM_TRIES {
            match self.enter(peer, slot, &*io) {
                Ok(Some(link)) => {
                    let owner = Owner::dialer(Arc::clone(self), Arc::clone(peer));
                    // In a box: the future around it would have room for three.
                    let driver = Box::pin(Driver::new(self, link, owner, io));
                    self.links.spawn(self.cancel.clone().run_until_cancelled_owned(driver));
                    return Ok(());
                }
                Ok(None) | Err(NoPlace::Stopping) => return Ok(()),
                Err(NoPlace::Full) if self.make_room().await => {}
                Err(NoPlace::Full) => break,
            }
        }
        Err(self.no_room())
    }

    fn no_room(&self) -> DialFailure {
        tracing::warn!(connections_max = self.config.connections_max, "connection limit reached, dial given up");
        DialFailure::ConnectionLimit
    }

    /// Counts a connection that was made; `None` where nobody needs it any more.
    fn enter(&self, peer: &PeerShared, slot: Slot, io: &dyn Connection) -> Result<Option<Arc<Link>>, NoPlace> {
        let side = Side::Dialer { target: peer.target.clone() };
        let link = self.new_link(side, LinkSide::Dialer, io, self.clock.now());
        let mut pool = peer.lock_pool();
        if pool.forgotten || !pool.machine.is_dial_needed(self.clock.now(), slot) {
            pool.machine.handle_dial_dropped(slot);
            return Ok(None);
        }
        self.registry.insert_link(&link, io.path_probe(), self.config.connections_max)?;
        pool.hold(slot, &link);
        Ok(Some(link))
    }

    /// Closes the connection that was unused for longest of those that this node made, that nobody keeps, and that nothing is
    /// under way on. Returns whether there was one and its place is free.
    async fn make_room(self: &Arc<Self>) -> bool {
        let freed = self.registry.freed.notified();
        tokio::pin!(freed);
        freed.as_mut().enable();
        let Some((peer, slot)) = self.least_recently_used() else { return false };
        peer.with_machine(|machine| machine.evict(slot));
        self.drive_peer(&peer);
        tokio::time::timeout(FAREWELL_TIMEOUT, freed).await.is_ok()
    }

    fn least_recently_used(&self) -> Option<(Arc<PeerShared>, Slot)> {
        let now = self.clock.now();
        let mut least: Option<(Duration, Arc<PeerShared>, Slot)> = None;
        for peer in self.registry.peers() {
            let mut pool = peer.lock_pool();
            for slot in Slot::all(peer.connections()) {
                if pool.machine.unused_since(slot).is_none() || !pool.look(now, slot) {
                    continue;
                }
                // One that has been idle for its time has lost its place by the look.
                let Some(since) = pool.machine.unused_since(slot) else {
                    drop(pool);
                    return Some((peer, slot));
                };
                if least.as_ref().is_none_or(|(least, ..)| since < *least) {
                    least = Some((since, Arc::clone(&peer), slot));
                }
            }
        }
        least.map(|(_, peer, slot)| (peer, slot))
    }

    /// A connection that began at this time, from which on its hello is waited for.
    pub(crate) fn new_link(&self, side: Side, link_side: LinkSide, io: &dyn Connection, began: Duration) -> Arc<Link> {
        let proof = io.proof();
        let mut config = self.config.session.clone();
        config.checksum &= proof.as_ref().is_none_or(|proof| !proof.protects_bytes);
        config.secured = proof.as_ref().map(|proof| Secured {
            node: proof.principal.as_ref().map(|principal| principal.node.clone()),
            channel_binding: proof.channel_binding.clone(),
        });
        let mut session = Session::new(config, self.identity(), side, began);
        // The peer's own, as soon as it is known.
        session.set_budget(self.budgets.process());
        session.tell_wall_clock(self.clock.now(), wall_clock());
        Arc::new(Link::new(session, self.clock, link_side, self.next_link_number(), proof, io.datagrams()))
    }

    /// A connection that was dialled takes no more messages: it has ended, or the other side lets it run out.
    pub(crate) fn dialled_ended(self: &Arc<Self>, peer: &Arc<PeerShared>, link: &Arc<Link>, reason: CloseReason) {
        let named = link.node().and_then(|node| self.registry.find_node(node));
        // A seed's connection serves the node that it turned out to be as well.
        for holder in named.iter().filter(|named| !Arc::ptr_eq(named, peer)).chain([peer]) {
            holder.ended(link, reason);
            self.drive_peer(holder);
        }
    }
}
