//! Open connections held against what is trusted now.

use std::sync::Arc;

use rdb_net_peer::LinkSide;
use rdb_net_session::CloseReason;

use crate::backend::Distrust;
use crate::link::Link;
use crate::transport::Transport;

/// What became of connections whose proofs would not do any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rechecked {
    /// How many ended, because a certificate was revoked.
    pub ended: usize,
    /// How many make room for others, because a certificate or its authority is outdated.
    pub renewed: usize,
}

impl Transport {
    /// Holds every open connection against what is trusted now: to be called when certificates, authorities or revocation lists
    /// have changed, and now and then, since certificates end. One whose certificate was revoked ends; one whose certificate or
    /// authority is outdated makes room for another, without a failed request, and ends if it is still there after a grace.
    /// Returns how many of each.
    pub fn recheck_trust(&self) -> Rechecked {
        let mut rechecked = Rechecked::default();
        for link in self.inner.registry.links() {
            let Some(proof) = &link.proof else { continue };
            match self.inner.backend.recheck(proof, link.side) {
                Ok(()) => {}
                Err(Distrust::Revoked(error)) => {
                    tracing::warn!(node = ?link.node(), %error, "a connection ends");
                    link.close(CloseReason::Untrusted);
                    rechecked.ended += 1;
                }
                Err(Distrust::Outdated(error)) => match link.outdated_for() {
                    Some(known) if known < self.inner.config.outdated_grace => {}
                    None if !self.inner.config.outdated_grace.is_zero() => {
                        tracing::info!(node = ?link.node(), %error, "a connection is replaced");
                        self.renew(&link);
                        rechecked.renewed += 1;
                    }
                    _ => {
                        tracing::warn!(node = ?link.node(), %error, "a connection ends");
                        link.close(CloseReason::Untrusted);
                        rechecked.ended += 1;
                    }
                },
            }
        }
        rechecked
    }

    /// Another connection takes this one's place: made by whoever has made it.
    fn renew(&self, link: &Arc<Link>) {
        match link.side {
            LinkSide::Acceptor => link.drain(),
            LinkSide::Dialer => {
                for peer in self.inner.registry.peers() {
                    if peer.lock_pool().renew(self.inner.clock.now(), link) {
                        self.inner.drive_peer(&peer);
                    }
                }
            }
        }
    }
}
