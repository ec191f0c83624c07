//! The listener: sockets, connections and their limits.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rdb_net_manager::ControlPlane;
use rdb_net_types::NodeAddress;
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::error::AdminError;
use crate::metrics::Metrics;
use crate::routes::{Shared, router};

const CONNECTIONS_MAX: usize = 64;
const CONNECTION_LIFETIME: Duration = Duration::from_secs(300);
/// How long a request that is being answered may take when its connection is to end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// How long nothing is accepted after the operating system refused to, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The admin listener of one node.
pub struct AdminServer {
    shared: Shared,
    bind: NodeAddress,
    address: OnceCell<SocketAddr>,
}

impl std::fmt::Debug for AdminServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminServer").field("bind", &self.bind).field("address", &self.address.get()).finish()
    }
}

impl AdminServer {
    /// A server for this node. Nothing is bound yet; port 0 lets the operating system pick.
    pub fn new(control: Arc<dyn ControlPlane>, bind: impl Into<NodeAddress>) -> Self {
        Self { shared: Shared::new(control), bind: bind.into(), address: OnceCell::new() }
    }

    /// Binds and serves from here on; the actual address. Starting what runs changes nothing and gives the same address.
    ///
    /// # Errors
    ///
    /// [`AdminError`] names the address and the key; nothing is left running.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready leaves the server as it was.
    pub async fn start(&self) -> Result<SocketAddr, AdminError> {
        if self.shared.cancel.is_cancelled() {
            return Err(AdminError::ShutDown);
        }
        self.address.get_or_try_init(|| self.listen()).await.copied()
    }

    async fn listen(&self) -> Result<SocketAddr, AdminError> {
        let failed = |cause: io::Error| AdminError::Bind { address: self.bind.clone(), cause };
        let target = (self.bind.host(), self.bind.port());
        let addresses: Vec<SocketAddr> = lookup_host(target).await.map_err(failed)?.collect();
        if !addresses.iter().all(|address| address.ip().is_loopback()) {
            return Err(AdminError::NotLoopback { address: self.bind.clone() });
        }
        let listener = TcpListener::bind(&addresses[..]).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = &self.shared;
        shared.tasks.spawn(accept(listener, shared.clone()));
        shared.tasks.spawn(sample(shared.clone()));
        tracing::info!(%address, "admin listener started");
        Ok(address)
    }

    /// Stops accepting, gives answers that are under way five seconds, and returns when every task has ended. Shutting down
    /// what does not run changes nothing, except that it cannot be started any more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the shutdown.
    pub async fn shutdown(&self) {
        self.shared.cancel.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    #[cfg(test)]
    pub(crate) fn has_no_tasks(&self) -> bool {
        self.shared.tasks.is_empty()
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.shared.cancel.cancel();
    }
}

/// Remembers the latencies, so that a scrape can tell those of the last minute.
async fn sample(shared: Shared) {
    let mut ticks = interval(Metrics::SAMPLE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shared.cancel.run_until_cancelled(ticks.tick()).await.is_some() {
        shared.metrics.sample(shared.now());
    }
}

/// Takes connections while there is room for them; further ones wait in the operating system's queue.
async fn accept(listener: TcpListener, shared: Shared) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (tasks, cancel) = (shared.tasks.clone(), shared.cancel.clone());
    let routes = router(shared);
    let next = async || {
        let permit = Arc::clone(&room).acquire_owned().await.expect("the semaphore is never closed");
        (permit, listener.accept().await)
    };
    while let Some((permit, accepted)) = cancel.run_until_cancelled(next()).await {
        match accepted {
            Ok((stream, _)) => {
                tasks.spawn(serve(stream, routes.clone(), cancel.clone(), permit));
            }
            Err(error) => {
                tracing::warn!(%error, "the admin listener cannot accept a connection");
                cancel.run_until_cancelled(sleep(ACCEPT_PAUSE)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, routes: Router, cancel: CancellationToken, _permit: OwnedSemaphorePermit) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        () = cancel.cancelled() => None,
        () = sleep(CONNECTION_LIFETIME) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            timeout(DRAIN_TIMEOUT, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an admin connection ended");
    }
}
