//! Taking connections.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quinn::{Endpoint, Incoming, TokioRuntime};
use rdb_net_tls::{HandedFailure, Tls};
use rdb_net_transport::{Arrival, Connection, HandshakeError, Listener};
use rdb_net_types::BoxFuture;
use tokio::runtime::Handle;

use crate::config::QuicConfig;
use crate::connection::QuicConnection;
use crate::crypto::{self, handshake_error};
use crate::error::refusal_of;

/// One socket that takes connections. Those that it took live on without it.
pub(crate) struct QuicListener {
    config: QuicConfig,
    tls: Tls,
    endpoint: Endpoint,
    local: SocketAddr,
    under_way: Arc<AtomicUsize>,
    runtime: Handle,
}

/// A handshake that is under way.
struct UnderWay(Arc<AtomicUsize>);

impl UnderWay {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl QuicListener {
    pub(crate) fn open(config: QuicConfig, tls: Tls, socket: UdpSocket) -> io::Result<Self> {
        let local = socket.local_addr()?;
        // What it begins with reads the first packets. Each handshake has a configuration of its own.
        let (crypto, _unused) = crypto::server(&tls).map_err(io::Error::other)?;
        let endpoint = Endpoint::new(config.endpoint(), Some(config.server(crypto)), socket, Arc::new(TokioRuntime))?;
        Ok(Self { config, tls, endpoint, local, under_way: Arc::default(), runtime: Handle::current() })
    }

    /// The next one whose address may be answered at length: under load a stranger has to show first that it is his.
    async fn next(&self) -> io::Result<Incoming> {
        loop {
            let Some(incoming) = self.endpoint.accept().await else {
                return Err(io::Error::other("the socket is gone"));
            };
            let is_under_load = self.under_way.load(Ordering::Relaxed) >= self.config.retry_from_handshakes;
            if !is_under_load || incoming.remote_address_validated() {
                return Ok(incoming);
            }
            if incoming.may_retry() {
                // It may be asked, as was just seen.
                let _asked = incoming.retry();
            } else {
                incoming.ignore();
            }
        }
    }
}

/// Finds out who is there.
async fn establish(config: QuicConfig, tls: Tls, incoming: Incoming) -> Result<Box<dyn Connection>, HandshakeError> {
    let (crypto, handed) = crypto::server(&tls).map_err(|refusal| handshake_error(&refusal))?;
    let connecting = match incoming.accept_with(Arc::new(config.server(crypto))) {
        Ok(connecting) => connecting,
        Err(error) => return Err(handshake_error(&refusal_of(&error, handed))),
    };
    let quic = match tokio::time::timeout(config.handshake_timeout, connecting).await {
        Ok(Ok(quic)) => quic,
        Ok(Err(error)) => return Err(handshake_error(&refusal_of(&error, handed))),
        Err(_elapsed) => return Err(handshake_error(&handed.failed(HandedFailure::Timeout))),
    };
    let proof = crypto::proof(&quic, handed).map_err(|refusal| handshake_error(&refusal))?;
    let connected = QuicConnection::accepted(quic, proof).await;
    let connected = connected.map_err(|error| HandshakeError { reason: "closed", detail: error.to_string() })?;
    Ok(Box::new(connected))
}

impl Listener for QuicListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Arrival>> {
        Box::pin(async {
            let incoming = self.next().await?;
            let under_way = UnderWay::begin(&self.under_way);
            let (config, tls, remote) = (self.config, self.tls.clone(), incoming.remote_address());
            Ok(Arrival::new(remote, async move {
                let established = establish(config, tls, incoming).await;
                drop(under_way);
                established
            }))
        })
    }

    fn local_address(&self) -> SocketAddr {
        self.local
    }
}

/// Refuses whoever dials as long as connections that were taken live on the socket, or are told that they have ended: a listener
/// that is closed answers, as that of TCP does.
async fn refuse(endpoint: Endpoint) {
    let refusing = async {
        while let Some(incoming) = endpoint.accept().await {
            incoming.refuse();
        }
    };
    tokio::select! {
        () = endpoint.wait_idle() => {}
        () = refusing => {}
    }
}

impl Drop for QuicListener {
    /// The task ends with the last connection, as the library's own task of the socket does.
    fn drop(&mut self) {
        self.runtime.spawn(refuse(self.endpoint.clone()));
    }
}
