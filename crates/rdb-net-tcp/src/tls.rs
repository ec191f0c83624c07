//! TCP inside TLS: the handshake before the hello, and what it has proved.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rdb_net_tls::{Accepted, ChannelBinding, Dialed, Expected, PeerIdentity, PeerSide, Tls, TlsRefusal, TlsStream};
use rdb_net_transport::{
    Arrival, Backend, Connection, DialError, Distrust, HandshakeError, LinkSide, ListenError, Listener, PathProbe,
    Proof,
};
use rdb_net_types::{BoxFuture, NodeAddress, Principal};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::backend::{TcpAcceptor, TcpBackend, TcpConnection};

/// Dial and accept over TCP, inside TLS 1.3. Who is at the other end is proved by its certificate before a byte of the protocol
/// is read, and its hello has to say the same.
#[derive(Debug, Clone)]
pub struct TlsBackend {
    tcp: TcpBackend,
    tls: Tls,
    handshake_timeout: Duration,
}

impl TlsBackend {
    /// Over these sockets, by these certificates. A handshake that takes longer than this is given up; the transport's own
    /// times may be shorter.
    pub fn new(tcp: TcpBackend, tls: Tls, handshake_timeout: Duration) -> Self {
        Self { tcp, tls, handshake_timeout }
    }
}

impl Backend for TlsBackend {
    fn name(&self) -> &'static str {
        "tls"
    }

    fn dial<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Connection>, DialError>> {
        Box::pin(async move {
            let tcp = self.tcp.connect(address).await?;
            let (remote, probe) = (tcp.remote(), tcp.path_probe());
            let deadline = Instant::now() + self.handshake_timeout;
            // Whether it is the node that is meant, its hello tells, which has to fit its certificate.
            let dialed = self.tls.connector().connect(tcp, &Expected::Anybody, deadline).await;
            let Dialed { stream, peer, binding, .. } = dialed.map_err(|refusal| dial_error(address, refusal))?;
            let proof = proof(Some(&peer), binding);
            // What the other side says to this node's certificate comes out of the first read.
            let is_unanswered = true;
            Ok(Box::new(TlsConnection { stream, remote, probe, proof, is_unanswered }) as Box<dyn Connection>)
        })
    }

    fn listen<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Listener>, ListenError>> {
        Box::pin(async move {
            let bound = self.tcp.bind(address).await;
            let tcp = bound.map_err(|source| ListenError { address: address.clone(), source })?;
            Ok(Box::new(TlsListener { tcp, backend: self.clone() }) as Box<dyn Listener>)
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

/// What the network did is told as it is without TLS; what the peer did, as a lack of trust.
fn dial_error(address: &NodeAddress, refusal: TlsRefusal) -> DialError {
    match refusal {
        TlsRefusal::Io { kind, .. } => DialError::new(address, io::Error::new(kind, refusal)),
        TlsRefusal::Closed => DialError::new(address, io::Error::new(io::ErrorKind::UnexpectedEof, refusal)),
        TlsRefusal::Timeout => DialError::new(address, io::Error::new(io::ErrorKind::TimedOut, refusal)),
        refusal => DialError::untrusted(address, handshake_error(&refusal)),
    }
}

fn handshake_error(refusal: &TlsRefusal) -> HandshakeError {
    HandshakeError { reason: refusal.name(), detail: refusal.to_string() }
}

fn proof(peer: Option<&PeerIdentity>, binding: ChannelBinding) -> Arc<Proof> {
    let certificates = peer.map(|peer| peer.chain().iter().map(|certificate| certificate.to_vec()).collect());
    Arc::new(Proof {
        principal: peer.map(|peer| Principal { node: peer.node.clone(), roles: vec![peer.role] }),
        certificates: certificates.unwrap_or_default(),
        channel_binding: binding.as_bytes().to_vec(),
        protects_bytes: true,
    })
}

struct TlsListener {
    tcp: TcpAcceptor,
    backend: TlsBackend,
}

impl Listener for TlsListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Arrival>> {
        Box::pin(async {
            let tcp = self.tcp.take().await?;
            let (remote, probe) = (tcp.remote(), tcp.path_probe());
            let acceptor = self.backend.tls.acceptor();
            let deadline = Instant::now() + self.backend.handshake_timeout;
            let established = async move {
                let accepted = acceptor.accept(tcp, deadline).await;
                let Accepted { stream, peer, binding, .. } = accepted.map_err(|refusal| handshake_error(&refusal))?;
                let proof = proof(peer.as_ref(), binding);
                let is_unanswered = false;
                Ok(Box::new(TlsConnection { stream, remote, probe, proof, is_unanswered }) as Box<dyn Connection>)
            };
            Ok(Arrival::new(remote, established))
        })
    }

    fn local_address(&self) -> SocketAddr {
        self.tcp.local_address()
    }
}

struct TlsConnection {
    stream: TlsStream<TcpConnection>,
    remote: SocketAddr,
    probe: Option<Arc<dyn PathProbe>>,
    proof: Arc<Proof>,
    /// This node has dialled, and nothing has come back yet.
    is_unanswered: bool,
}

impl TlsConnection {
    /// A dialer's handshake is complete before its certificate is judged (RFC 8446, section 4.4.2.4): an alert instead of the
    /// first byte is the verdict.
    fn verdict(&self, error: io::Error) -> io::Error {
        if !self.is_unanswered || error.kind() != io::ErrorKind::InvalidData {
            return error;
        }
        match TlsRefusal::from(error) {
            refusal @ TlsRefusal::ByPeer { .. } => {
                tracing::warn!(remote = %self.remote, %refusal, "a peer does not let this node in");
                io::Error::new(io::ErrorKind::PermissionDenied, refusal)
            }
            refusal => io::Error::new(io::ErrorKind::InvalidData, refusal),
        }
    }
}

impl Connection for TlsConnection {
    fn remote(&self) -> SocketAddr {
        self.remote
    }

    fn proof(&self) -> Option<Arc<Proof>> {
        Some(Arc::clone(&self.proof))
    }

    fn buffers_writes(&self) -> bool {
        true
    }

    fn path_probe(&self) -> Option<Arc<dyn PathProbe>> {
        self.probe.clone()
    }
}

impl AsyncRead for TlsConnection {
    /// Reads records until there are no more, or no more room: each is given out by itself.
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        while buf.remaining() > 0 {
            let filled = buf.filled().len();
            match Pin::new(&mut self.stream).poll_read(cx, buf) {
                Poll::Ready(Ok(())) if buf.filled().len() > filled => {}
                // What was read is handed on first; an end or an error is met again by the next read.
                _ if filled > before => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.verdict(error))),
                ended => return ended,
            }
        }
        self.is_unanswered = false;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
