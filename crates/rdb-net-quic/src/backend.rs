//! Dial and accept.

use std::io;
use std::net::SocketAddr;

use quinn_proto::ClientConfig;
use rdb_net_tls::{Handed, HandedFailure, PeerSide, Tls, TlsRefusal};
use rdb_net_transport::{Backend, Connection, DialError, Distrust, LinkSide, ListenError, Listener, Proof};
use rdb_net_types::{BoxFuture, NodeAddress};

use crate::config::QuicConfig;
use crate::connection::QuicConnection;
use crate::crypto::{self, handshake_error};
use crate::engine::{Engine, Lost};
use crate::error::dial_error;
use crate::listener::QuicListener;
use crate::socket::{QuicSocket, bound};

/// Dial and accept over QUIC. Who is at the other end is proved by its certificate before a byte of the protocol is read, and its
/// hello has to say the same.
#[derive(Debug, Clone)]
pub struct QuicBackend {
    config: QuicConfig,
    tls: Tls,
}

impl QuicBackend {
    /// With these options, of which each is kept in its range, by these certificates.
    pub fn new(config: QuicConfig, tls: Tls) -> Self {
        Self { config: config.bounded(), tls }
    }

    async fn connect(&self, address: &NodeAddress) -> Result<QuicConnection, DialError> {
        let resolved = tokio::net::lookup_host((address.host(), address.port())).await;
        let candidates: Vec<SocketAddr> = resolved.map_err(|error| DialError::unresolved(address, error))?.collect();
        let mut last = DialError::new(address, io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        for candidate in candidates {
            match self.connect_to(address, candidate).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn connect_to(&self, address: &NodeAddress, candidate: SocketAddr) -> Result<QuicConnection, DialError> {
        let system = |error| DialError::new(address, error);
        let untrusted = |refusal: TlsRefusal| DialError::untrusted(address, handshake_error(&refusal));
        let (crypto, handed) = crypto::client(&self.tls).map_err(untrusted)?;
        let mut client = ClientConfig::new(crypto);
        let socket = QuicSocket::connected(&self.config, candidate).map_err(system)?;
        client.transport_config(self.config.transport(true, socket.payload_bytes_max()));
        let engine = Engine::dial(self.config.endpoint(), client, socket, candidate);
        let mut connection = QuicConnection::dialed(engine.map_err(|error| system(io::Error::other(error)))?);
        match tokio::time::timeout(self.config.handshake_timeout, connection.connected()).await {
            Ok(Ok(())) => {}
            Ok(Err(Lost::Ended(error))) => return Err(dial_error(address, error, handed)),
            Ok(Err(Lost::Refused)) => {
                handed.failed(HandedFailure::Closed);
                return Err(system(io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens on the port")));
            }
            Err(_elapsed) => return Err(given_up(address, handed)),
        }
        connection.prove(handed).map_err(untrusted)?;
        if !connection.open() {
            return Err(system(io::Error::new(io::ErrorKind::InvalidData, "the peer allows fewer streams than lanes")));
        }
        Ok(connection)
    }
}

fn given_up(address: &NodeAddress, handed: Handed) -> DialError {
    let refusal = handed.failed(HandedFailure::Timeout);
    DialError::new(address, io::Error::new(io::ErrorKind::TimedOut, refusal))
}

impl Backend for QuicBackend {
    fn name(&self) -> &'static str {
        "quic"
    }

    fn dial<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Connection>, DialError>> {
        Box::pin(async move { Ok(Box::new(self.connect(address).await?) as Box<dyn Connection>) })
    }

    fn listen<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Listener>, ListenError>> {
        Box::pin(async move {
            let opened = async {
                let mut candidates = tokio::net::lookup_host((address.host(), address.port())).await?;
                let local = candidates.next().ok_or_else(|| io::Error::other("the name has no address"))?;
                QuicListener::open(self.config, self.tls.clone(), bound(&self.config, local)?.into())
            };
            let listener = opened.await.map_err(|source| ListenError { address: address.clone(), source })?;
            Ok(Box::new(listener) as Box<dyn Listener>)
        })
    }

    fn recheck(&self, proof: &Proof, side: LinkSide) -> Result<(), Distrust> {
        if proof.certificates.is_empty() {
            return Ok(());
        }
        let chain: Vec<_> = proof.certificates.iter().map(|certificate| certificate.as_slice().into()).collect();
        let side = match side {
            LinkSide::Dialer => PeerSide::Dialed,
            LinkSide::Acceptor => PeerSide::Connected,
        };
        self.tls.current().judge(&chain, side).map(drop).map_err(|refusal| match refusal {
            TlsRefusal::Revoked { .. } => Distrust::Revoked(handshake_error(&refusal)),
            refusal => Distrust::Outdated(handshake_error(&refusal)),
        })
    }
}
