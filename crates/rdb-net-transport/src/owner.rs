//! On whose behalf a connection runs, and what its events mean for peers and for those who watch them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use rdb_net_peer::{Epoch, Failure, LinkSide, PeerEvent, Slot};
use rdb_net_session::{CloseReason, Event};
use rdb_net_types::{Credentials, RefusalReason};
use rdb_net_wire::{CloseCode, Hello};

use crate::backend::Proof;
use crate::door::Visit;
use crate::flow::Flow;
use crate::link::Link;
use crate::pool::PeerShared;
use crate::registry::NoPlace;
use crate::transport::Inner;

/// Who made or took a connection.
pub(crate) struct Owner {
    inner: Arc<Inner>,
    kind: OwnerKind,
    flow: Flow,
}

enum OwnerKind {
    Dialer(Arc<PeerShared>),
    Acceptor { visit: Option<Visit>, placed: Result<(), NoPlace> },
}

impl Owner {
    pub(crate) fn dialer(inner: Arc<Inner>, peer: Arc<PeerShared>) -> Self {
        Self { inner, kind: OwnerKind::Dialer(peer), flow: Flow::default() }
    }

    pub(crate) fn acceptor(inner: Arc<Inner>, visit: Visit, placed: Result<(), NoPlace>) -> Self {
        Self { inner, kind: OwnerKind::Acceptor { visit: Some(visit), placed }, flow: Flow::default() }
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// What the session tells, as far as it is not for callers and handlers.
    pub(crate) fn event(&mut self, link: &Arc<Link>, event: &Event) {
        match (event, &self.kind) {
            (Event::Hello(hello), _) => self.decide(link, hello),
            (Event::Up(hello), _) => self.dialled_up(link, hello),
            // It says farewell; that is all that the end of the connection will mean.
            (Event::GoAway, OwnerKind::Dialer(peer)) => {
                self.inner.dialled_ended(peer, link, CloseReason::Peer(CloseCode::Normal));
            }
            _ => {}
        }
    }

    /// Whether the dialer is let in.
    fn decide(&mut self, link: &Arc<Link>, hello: &Hello) {
        let OwnerKind::Acceptor { visit, placed } = &mut self.kind else { return };
        // The hello is here: its place is free for the next one.
        let visit = visit.take();
        let refusal = match placed {
            Err(NoPlace::Full) => Some(RefusalReason::ConnectionLimit),
            Err(NoPlace::Stopping) => Some(RefusalReason::Draining),
            Ok(()) if self.inner.is_stopping() => Some(RefusalReason::Draining),
            Ok(()) => authenticate(&self.inner, hello, link.proof.as_deref()),
        };
        let mut core = link.lock();
        match refusal {
            Some(reason) => core.session.reject(reason),
            None => {
                core.session.set_budget(&self.inner.budgets.peer(&hello.node));
                core.session.accept(link.clock.now());
            }
        }
        drop(core);
        if refusal.is_none() {
            if let Some(visit) = visit {
                visit.was_member();
            }
            link.set_hello(hello.clone());
            self.inner.datagrams.add(link);
            self.tell_up(hello, LinkSide::Acceptor, None);
        }
    }

    fn dialled_up(&self, link: &Arc<Link>, hello: &Hello) {
        let OwnerKind::Dialer(peer) = &self.kind else { return };
        link.set_hello(hello.clone());
        self.inner.datagrams.add(link);
        link.lock().session.set_budget(&self.inner.budgets.peer(&hello.node));
        let former = peer.link(Slot::FIRST);
        let mut place = peer.came_up(link);
        if place.is_none() {
            // Nobody will use it.
            link.drain();
        } else if peer.target.is_none() {
            // A seed has told its name: messages to that node need no second connection.
            let named = self.inner.named_peer(&hello.node, &hello.address);
            place = named.lend(link, former.as_ref());
            self.inner.drive_peer(&named);
        }
        self.inner.drive_peer(peer);
        self.tell_up(hello, LinkSide::Dialer, place);
    }

    fn tell_up(&self, hello: &Hello, side: LinkSide, place: Option<(Slot, Epoch)>) {
        self.inner.events.push(PeerEvent::Up {
            node: hello.node.clone(),
            boot: hello.boot,
            incarnation: hello.incarnation,
            address: hello.address.clone(),
            side,
            place,
        });
    }

    /// Something may have been sent or received: where that was for the application, it is told.
    #[inline]
    pub(crate) fn look(&mut self, link: &Link, now: Duration) {
        if self.flow.is_due(now) {
            self.look_at_flow(link, now);
        }
    }

    #[cold]
    fn look_at_flow(&mut self, link: &Link, now: Duration) {
        let Some(node) = link.node() else { return };
        if self.flow.look(now, &link.statistics().0) {
            self.inner.events.push(PeerEvent::Traffic { node: node.clone(), side: link.side });
        }
    }

    /// The connection has ended.
    pub(crate) fn closed(&mut self, link: &Arc<Link>, reason: CloseReason) {
        tracing::debug!(peer = ?link.node(), side = ?link.side, %reason, "connection ended");
        if let (CloseReason::Rejected(RefusalReason::Identity), Some(proof)) = (reason, &link.proof) {
            let proved = proof.principal.as_ref().map(|principal| principal.node.as_str());
            tracing::warn!(proved, "a peer's hello does not fit its certificate or its TLS session");
        }
        self.inner.registry.remove_link(link, reason);
        self.inner.datagrams.remove(link);
        if let OwnerKind::Dialer(peer) = &self.kind {
            self.inner.dialled_ended(peer, link, reason);
        }
        let event = match (link.hello(), &self.kind) {
            (Some(hello), _) => PeerEvent::Down { node: hello.node.clone(), boot: hello.boot, side: link.side, reason },
            (None, OwnerKind::Dialer(peer)) => {
                let address = (**peer.address.load()).clone();
                PeerEvent::DialFailed { node: peer.target.clone(), address, failure: Failure::of_end(reason) }
            }
            (None, OwnerKind::Acceptor { .. }) => return,
        };
        self.inner.events.push(event);
    }
}

/// Whether the node may come in, by what the configured authenticator says. One that panics has let nobody in.
fn authenticate(inner: &Inner, hello: &Hello, proof: Option<&Proof>) -> Option<RefusalReason> {
    let authenticator = inner.config.authenticator.as_ref()?;
    let certificate = proof.and_then(|proof| proof.certificates.first()).map(Vec::as_slice);
    let credentials = Credentials { certificate, cluster: &hello.cluster, claimed: &hello.node, token: &hello.token };
    match catch_unwind(AssertUnwindSafe(|| authenticator.authenticate(&credentials))) {
        Ok(Ok(principal)) if principal.node == hello.node => None,
        Ok(Ok(principal)) => {
            tracing::warn!(claimed = %hello.node, proved = %principal.node, "a peer claims another node's id");
            Some(RefusalReason::Identity)
        }
        Ok(Err(refusal)) => {
            tracing::warn!(claimed = %hello.node, %refusal, "a peer was not let in");
            Some(refusal.reason)
        }
        Err(_) => {
            tracing::error!(claimed = %hello.node, "the authenticator panicked");
            Some(RefusalReason::Identity)
        }
    }
}
