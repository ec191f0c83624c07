//! Taking connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quinn_proto::{ConnectionError, Endpoint};
use rdb_net_tls::{HandedFailure, Tls};
use rdb_net_transport::{Arrival, Connection, HandshakeError, Listener};
use rdb_net_types::BoxFuture;
use tokio::runtime::Handle;

use crate::config::QuicConfig;
use crate::connection::QuicConnection;
use crate::crypto::{self, handshake_error};
use crate::engine::{Engine, Lost};
use crate::error::refusal_of;
use crate::hub::{Hub, Member, Offer};
use crate::socket::{QuicSocket, payload_bytes_max_to};

/// One socket that takes connections. Those that it took live on without it.
pub(crate) struct QuicListener {
    config: QuicConfig,
    tls: Tls,
    hub: Member,
    local: SocketAddr,
    under_way: Arc<AtomicUsize>,
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
    pub(crate) fn open(config: QuicConfig, tls: Tls, socket: std::net::UdpSocket) -> io::Result<Self> {
        let socket = QuicSocket::new(socket)?;
        let local = socket.local()?;
        // What it begins with reads the first packets. Each handshake has a configuration of its own.
        let (crypto, _unused) = crypto::server(&tls).map_err(io::Error::other)?;
        let server = Some(Arc::new(config.server(crypto, None)));
        let endpoint = Endpoint::new(Arc::new(config.endpoint()), server, socket.may_try_sizes(), None);
        let (hub, member) = Hub::open(socket, endpoint);
        // It ends with the last that holds the socket open.
        Handle::current().spawn(hub.run());
        Ok(Self { config, tls, hub: member, local, under_way: Arc::default() })
    }

    /// The next one whose address may be answered at length: under load a stranger has to show first that it is his.
    async fn next(&self) -> io::Result<(SocketAddr, Offer)> {
        loop {
            let offer = std::future::poll_fn(|context| self.hub.poll_offer(context)).await?;
            let is_under_load = self.under_way.load(Ordering::Relaxed) >= self.config.retry_from_handshakes;
            match offer.remote() {
                Some(remote) if !is_under_load || offer.is_validated() => return Ok((remote, offer)),
                _ => offer.ask_for_address(),
            }
        }
    }
}

/// Finds out who is there.
async fn establish(config: QuicConfig, tls: Tls, offer: Offer) -> Result<Box<dyn Connection>, HandshakeError> {
    let (crypto, handed) = crypto::server(&tls).map_err(|refusal| handshake_error(&refusal))?;
    let payload_bytes_max = offer.remote().and_then(payload_bytes_max_to);
    let taken = match offer.take(config.server(crypto, payload_bytes_max)) {
        Ok(taken) => taken,
        Err(error) => return Err(handshake_error(&refusal_of(&error, handed))),
    };
    let mut connection = QuicConnection::accepted(Engine::taken(taken));
    match tokio::time::timeout(config.handshake_timeout, connection.connected()).await {
        Ok(Ok(())) => {}
        Ok(Err(lost)) => return Err(handshake_error(&refusal_of(&ended(lost), handed))),
        Err(_elapsed) => return Err(handshake_error(&handed.failed(HandedFailure::Timeout))),
    }
    connection.prove(handed).map_err(|refusal| handshake_error(&refusal))?;
    let begun = connection.begun().await.map_err(ended);
    begun.map_err(|error| HandshakeError { reason: "closed", detail: error.to_string() })?;
    Ok(Box::new(connection))
}

/// A socket of many connections is told of no port where nobody listens.
fn ended(lost: Lost) -> ConnectionError {
    match lost {
        Lost::Ended(error) => error,
        Lost::Refused => ConnectionError::Reset,
    }
}

impl Listener for QuicListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Arrival>> {
        Box::pin(async {
            let (remote, offer) = self.next().await?;
            let under_way = UnderWay::begin(&self.under_way);
            let (config, tls) = (self.config, self.tls.clone());
            Ok(Arrival::new(remote, async move {
                let established = establish(config, tls, offer).await;
                drop(under_way);
                established
            }))
        })
    }

    fn local_address(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for QuicListener {
    fn drop(&mut self) {
        self.hub.close();
    }
}
