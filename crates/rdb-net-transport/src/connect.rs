//! Carrying out what a peer's machine says: at most one task a peer, and only while there is something to do.

use std::sync::Arc;

use rdb_net_peer::{Action, DialFailure, Failure, State};
use rdb_net_session::{CloseReason, Session, Side};

use crate::backend::Connection;
use crate::driver::Driver;
use crate::link::Link;
use crate::registry::PeerShared;
use crate::transport::{Inner, Owner};
use rdb_net_peer::{LinkSide, PeerEvent};

impl Inner {
    /// Makes sure that a task carries out what the peer's machine wants.
    pub(crate) fn drive_peer(self: &Arc<Self>, peer: &Arc<PeerShared>) {
        let mut dialing = peer.dialing.lock().expect("no code panics while it holds this lock");
        let wanted = dialing.machine.is_kept() || !matches!(dialing.machine.state(), State::Up { .. } | State::Dialing);
        if dialing.has_task {
            drop(dialing);
            peer.dial_changed.notify_one();
        } else if wanted && !self.cancel.is_cancelled() {
            dialing.has_task = true;
            drop(dialing);
            let (inner, peer) = (Arc::clone(self), Arc::clone(peer));
            self.tasks.spawn(async move {
                let cancel = inner.cancel.clone();
                let ended = cancel.run_until_cancelled(inner.dial_loop(&peer)).await;
                if ended.is_none() {
                    peer.dialing.lock().expect("no code panics while it holds this lock").has_task = false;
                }
            });
        }
    }

    async fn dial_loop(self: &Arc<Self>, peer: &Arc<PeerShared>) {
        loop {
            let action = {
                let mut dialing = peer.dialing.lock().expect("no code panics while it holds this lock");
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
            self.backend.dial(&address).await.map_err(|error| {
                tracing::debug!(peer = ?peer.target, %address, %error, "dial failed");
                error.failure
            })
        };
        let result = tokio::time::timeout(self.config.dial_timeout, dialled).await;
        let io = match result.unwrap_or(Err(DialFailure::TimedOut)) {
            Ok(io) => io,
            Err(failure) => return self.dial_failed(peer, failure),
        };
        if !self.start_dialled(peer, io) {
            self.dial_failed(peer, DialFailure::Io);
        }
    }

    fn dial_failed(&self, peer: &Arc<PeerShared>, failure: DialFailure) {
        let now = self.clock.now();
        peer.with_machine(|machine| machine.handle_dial_failed(now, failure));
        self.registry.count_error(peer.target.as_ref(), failure.name());
        peer.changed.notify_waiters();
        let address = (**peer.address.load()).clone();
        self.events.push(PeerEvent::DialFailed { node: peer.target.clone(), address, failure: Failure::Dial(failure) });
    }

    fn start_dialled(self: &Arc<Self>, peer: &Arc<PeerShared>, io: Box<dyn Connection>) -> bool {
        let side = Side::Dialer { target: peer.target.clone() };
        let link = self.new_link(side, LinkSide::Dialer, io.protects_bytes());
        if !self.registry.insert_link(&link, self.config.connections_max) {
            tracing::warn!(connections_max = self.config.connections_max, "connection limit reached, dial given up");
            return false;
        }
        let owner = Owner::dialer(Arc::clone(self), Arc::clone(peer));
        self.tasks.spawn(Driver::new(self, link, owner, io));
        true
    }

    pub(crate) fn new_link(&self, side: Side, link_side: LinkSide, protects_bytes: bool) -> Arc<Link> {
        let mut config = self.config.session.clone();
        config.checksum &= !protects_bytes;
        let session = Session::new(config, self.identity(), side, self.clock.now());
        Arc::new(Link::new(session, self.clock, link_side, self.next_link_number()))
    }

    /// A connection that was dialled has ended.
    pub(crate) fn dialled_ended(self: &Arc<Self>, peer: &Arc<PeerShared>, link: &Arc<Link>, reason: CloseReason) {
        peer.retire(link);
        let now = self.clock.now();
        // A connection that was replaced while it drained says nothing about the one in use.
        let replaced = peer.link.load().is_some();
        if !replaced {
            peer.with_machine(|machine| machine.handle_ended(now, reason));
        }
        peer.changed.notify_waiters();
        self.drive_peer(peer);
    }
}
