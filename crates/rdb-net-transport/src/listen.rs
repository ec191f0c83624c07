//! Taking connections: bounded in number, in time and in what a stranger may make us hold.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rdb_net_session::Side;

use crate::backend::{Arrival, Listener};
use crate::door::Visit;
use crate::driver::Driver;
use crate::owner::Owner;
use crate::transport::Inner;
use rdb_net_peer::LinkSide;

/// How long no connection is taken after the system had no room for one.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether the error says nothing of the next connection: `accept(2)` hands on what has become of one that waited. A pause for
/// each would let whoever resets his connections keep everybody else out.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::NotConnected
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::TimedOut
            | ErrorKind::Interrupted
    )
}

impl Inner {
    /// Takes connections until the transport stops. The loop awaits nothing but the next connection and a place for it.
    pub(crate) async fn accept_loop(self: Arc<Self>, mut listener: Box<dyn Listener>) {
        let stop = self.stopping.clone();
        let loop_until = async {
            loop {
                self.door.has_place().await;
                match listener.accept().await {
                    Ok(arrival) => self.take(arrival),
                    Err(error) => {
                        self.registry.count_error(None, "accept");
                        if is_of_one_connection(&error) {
                            tracing::debug!(%error, "a connection ended before it was taken");
                            continue;
                        }
                        if let Some(left_out) = self.refusals.admit(self.clock.now(), "accept") {
                            tracing::warn!(%error, left_out, "a connection could not be taken");
                        }
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        };
        stop.run_until_cancelled(loop_until).await;
    }

    /// Begins with a connection, or closes it at once where its address has had its share.
    fn take(self: &Arc<Self>, arrival: Arrival) {
        let began = self.clock.now();
        match self.door.admit(arrival.remote().ip()) {
            Ok(visit) => {
                self.links.spawn(Arc::clone(self).receive(arrival, visit, began));
            }
            Err(turned_away) => {
                tracing::debug!(remote = %arrival.remote(), reason = turned_away.name(), "a connection was turned away");
                self.registry.count_error(None, turned_away.name());
            }
        }
    }

    /// Finds out who is there, and runs the connection. From its beginning to its hello it has one deadline.
    async fn receive(self: Arc<Self>, arrival: Arrival, visit: Visit, began: Duration) {
        let remote = arrival.remote();
        let deadline = self.clock.instant(began + self.config.session.hello_timeout);
        let displaced = visit.displaced();
        let established = tokio::time::timeout_at(deadline, arrival.establish());
        let established = self.stopping.run_until_cancelled(displaced.run_until_cancelled(established)).await;
        let Some(established) = established else { return };
        let Some(established) = established else { return self.count_displaced(remote) };
        let io = match established {
            Ok(Ok(io)) => io,
            Ok(Err(error)) => {
                if let Some(left_out) = self.refusals.admit(self.clock.now(), error.reason) {
                    tracing::info!(%remote, %error, left_out, "a connection was not let in");
                }
                return self.registry.count_error(None, error.reason);
            }
            Err(_elapsed) => return self.registry.count_error(None, "handshake_timeout"),
        };
        let link = self.new_link(Side::Acceptor, LinkSide::Acceptor, &*io, began);
        let placed = self.registry.insert_link(&link, io.path_probe(), self.config.connections_max);
        let owner = Owner::acceptor(Arc::clone(&self), visit, placed);
        // One that has no place is told so; a shutdown does not wait for its hello.
        let end = if placed.is_ok() { self.cancel.clone() } else { self.stopping.clone() };
        // In a box: the future around it would have room for three.
        let driver = Box::pin(Driver::new(&self, link, owner, io));
        let inner = Arc::downgrade(&self);
        drop(self);
        let ran = end.run_until_cancelled_owned(displaced.run_until_cancelled_owned(driver)).await;
        if let (Some(None), Some(inner)) = (ran, inner.upgrade()) {
            inner.count_displaced(remote);
        }
    }

    /// A connection has gone for another's before its hello was here.
    fn count_displaced(&self, remote: SocketAddr) {
        tracing::debug!(%remote, "a connection has lost its place to another's");
        self.registry.count_error(None, "handshakes_displaced");
    }
}
