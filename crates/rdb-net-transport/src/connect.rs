//! Carrying out what a peer's machine says: at most one task a peer, and only while there is something to do.

use std::sync::Arc;

use rdb_net_peer::{Action, DialFailure, Failure, LinkSide, PeerEvent, State};
use rdb_net_session::{CloseReason, Session, Side};

use crate::backend::Connection;
use crate::clock::wall_clock;
use crate::driver::Driver;
use crate::link::Link;
use crate::owner::Owner;
use crate::registry::{NoPlace, PeerShared};
use crate::transport::Inner;

impl Inner {
    /// Makes sure that a task carries out what the peer's machine wants.
    pub(crate) fn drive_peer(self: &Arc<Self>, peer: &Arc<PeerShared>) {
        let mut dialing = peer.lock_dialing();
        let wanted = dialing.machine.is_kept() || !matches!(dialing.machine.state(), State::Up { .. } | State::Dialing);
        if dialing.has_task {
            drop(dialing);
            peer.dial_changed.notify_one();
        } else if wanted && !self.is_stopping() {
            dialing.has_task = true;
            drop(dialing);
            let (inner, peer) = (Arc::clone(self), Arc::clone(peer));
            self.tasks.spawn(async move {
                let ended = inner.stopping.run_until_cancelled(inner.dial_loop(&peer)).await;
                if ended.is_none() {
                    peer.lock_dialing().has_task = false;
                }
            });
        }
    }

    async fn dial_loop(self: &Arc<Self>, peer: &Arc<PeerShared>) {
        loop {
            let action = {
                let mut dialing = peer.lock_dialing();
                let action = dialing.machine.poll_action(self.clock.now());
                dialing.has_task = action != Action::None;
                action
            };
            match action {
                Action::None => return,
                Action::Dial => self.dial(peer).await,
                Action::WaitUntil(until) => {
                    // Woken early by whoever changes what is wanted; such a change is remembered if it comes before the wait.
                    let _elapsed =
                        tokio::time::timeout_at(self.clock.instant(until), peer.dial_changed.notified()).await;
                }
            }
        }
    }

    async fn dial(self: &Arc<Self>, peer: &Arc<PeerShared>) {
        let address = peer.address.load_full();
        let dialled = async {
            let _permit = self.dials.acquire().await.map_err(|_| DialFailure::Io)?;
            self.check_hello().map_err(|error| {
                tracing::error!(%error, "no connection can be made");
                DialFailure::Io
            })?;
            self.backend.dial(&address).await.map_err(|error| {
                tracing::debug!(peer = ?peer.target, %address, %error, "dial failed");
                error.failure
            })
        };
        let result = tokio::time::timeout(self.config.dial_timeout, dialled).await;
        match result.unwrap_or(Err(DialFailure::TimedOut)) {
            Ok(io) => self.start_dialled(peer, io),
            Err(failure) => self.dial_failed(peer, failure),
        }
    }

    fn dial_failed(&self, peer: &Arc<PeerShared>, failure: DialFailure) {
        let mut dialing = peer.lock_dialing();
        // A seed's connection may have turned out to lead to this peer while it was dialled.
        if dialing.machine.state() == State::Dialing {
            dialing.machine.handle_dial_failed(self.clock.now(), failure);
        }
        drop(dialing);
        self.registry.count_error(peer.target.as_ref(), failure.name());
        peer.changed.notify_waiters();
        let address = (**peer.address.load()).clone();
        self.events.push(PeerEvent::DialFailed { node: peer.target.clone(), address, failure: Failure::Dial(failure) });
    }

    fn start_dialled(self: &Arc<Self>, peer: &Arc<PeerShared>, io: Box<dyn Connection>) {
        let side = Side::Dialer { target: peer.target.clone() };
        let link = self.new_link(side, LinkSide::Dialer, io.protects_bytes());
        let mut dialing = peer.lock_dialing();
        if dialing.forgotten || dialing.machine.state() != State::Dialing {
            // Nobody needs the connection any more.
            return;
        }
        let placed = self.registry.insert_link(&link, self.config.connections_max);
        dialing.link = placed.is_ok().then_some(link.number);
        drop(dialing);
        match placed {
            Ok(()) => {
                let owner = Owner::dialer(Arc::clone(self), Arc::clone(peer));
                self.links.spawn(self.cancel.clone().run_until_cancelled_owned(Driver::new(self, link, owner, io)));
            }
            Err(NoPlace::Stopping) => {}
            Err(NoPlace::Full) => {
                tracing::warn!(
                    connections_max = self.config.connections_max,
                    "connection limit reached, dial given up"
                );
                self.dial_failed(peer, DialFailure::Io);
            }
        }
    }

    pub(crate) fn new_link(&self, side: Side, link_side: LinkSide, protects_bytes: bool) -> Arc<Link> {
        let mut config = self.config.session.clone();
        config.checksum &= !protects_bytes;
        let mut session = Session::new(config, self.identity(), side, self.clock.now());
        // The peer's own, as soon as it is known.
        session.set_budget(self.budgets.process());
        session.tell_wall_clock(self.clock.now(), wall_clock());
        Arc::new(Link::new(session, self.clock, link_side, self.next_link_number()))
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
