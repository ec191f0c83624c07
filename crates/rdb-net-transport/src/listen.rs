//! Taking connections: bounded in number, in time and in what a stranger may make us hold.

use std::sync::Arc;
use std::time::Duration;

use rdb_net_session::Side;
use tokio::sync::OwnedSemaphorePermit;

use crate::backend::{Connection, Listener};
use crate::driver::Driver;
use crate::owner::Owner;
use crate::transport::Inner;
use rdb_net_peer::LinkSide;

/// How long no connection is taken after the system had no room for one.
const PAUSE: Duration = Duration::from_millis(100);

impl Inner {
    /// Takes connections until the transport stops. The loop awaits nothing but the next connection and a free place for
    /// its hello.
    pub(crate) async fn accept_loop(self: Arc<Self>, mut listener: Box<dyn Listener>) {
        let stop = self.stopping.clone();
        let loop_until = async {
            loop {
                let Ok(place) = Arc::clone(&self.handshakes).acquire_owned().await else { return };
                match listener.accept().await {
                    Ok(io) => self.start_accepted(io, place),
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be taken");
                        self.registry.count_error(None, "accept");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        };
        stop.run_until_cancelled(loop_until).await;
    }

    fn start_accepted(self: &Arc<Self>, io: Box<dyn Connection>, place: OwnedSemaphorePermit) {
        let link = self.new_link(Side::Acceptor, LinkSide::Acceptor, io.protects_bytes());
        let placed = self.registry.insert_link(&link, io.path_probe(), self.config.connections_max);
        let certificate = io.certificate().map(<[u8]>::to_vec);
        let owner = Owner::acceptor(Arc::clone(self), place, certificate, placed);
        // One that has no place is told so; a shutdown does not wait for its hello.
        let end = if placed.is_ok() { self.cancel.clone() } else { self.stopping.clone() };
        // In a box: the future around it would have room for three.
        let driver = Box::pin(Driver::new(self, link, owner, io));
        self.links.spawn(end.run_until_cancelled_owned(driver));
    }
}
