//! Sockets.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rdb_net_transport::{Backend, Connection, DialError, ListenError, Listener};
use rdb_net_types::{BoxFuture, NodeAddress};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// Options of every socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpConfig {
    /// How long sent bytes may stay unacknowledged before the connection counts as lost. Default 15 s.
    pub user_timeout: Duration,
    /// How many bytes may wait in the kernel before the socket takes no more. Default 128 KiB: more only delays urgent
    /// frames.
    pub unsent_bytes_max: u32,
    /// How many connections may wait in the kernel to be accepted. Default 1,024.
    pub backlog: i32,
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self { user_timeout: Duration::from_secs(15), unsent_bytes_max: 128 * 1024, backlog: 1024 }
    }
}

/// Dial and accept over TCP.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpBackend {
    config: TcpConfig,
}

impl TcpBackend {
    /// A backend with these options.
    pub fn new(config: TcpConfig) -> Self {
        Self { config }
    }

    async fn connect(&self, address: &NodeAddress) -> Result<TcpConnection, DialError> {
        let resolved = tokio::net::lookup_host((address.host(), address.port())).await;
        let candidates: Vec<SocketAddr> = resolved.map_err(|error| DialError::unresolved(address, error))?.collect();
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for candidate in candidates {
            match TcpStream::connect(candidate).await {
                Ok(stream) if is_connected_to_itself(&stream) => {
                    // The kernel may give a dialling socket the very port it dials, when nobody listens there.
                    last = io::Error::new(io::ErrorKind::ConnectionRefused, "nothing listens there");
                }
                Ok(stream) => return self.prepare(stream).map_err(|error| DialError::new(address, error)),
                Err(error) => last = error,
            }
        }
        Err(DialError::new(address, last))
    }

    fn prepare(&self, stream: TcpStream) -> io::Result<TcpConnection> {
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        socket.set_tcp_user_timeout(Some(self.config.user_timeout))?;
        socket.set_tcp_notsent_lowat(self.config.unsent_bytes_max)?;
        let remote = stream.peer_addr()?;
        Ok(TcpConnection { stream, remote })
    }

    async fn bind(&self, address: &NodeAddress) -> io::Result<TcpAcceptor> {
        let mut candidates = tokio::net::lookup_host((address.host(), address.port())).await?;
        let local = candidates.next().ok_or_else(|| io::Error::other("the name has no address"))?;
        let socket = Socket::new(Domain::for_address(local), Type::STREAM, Some(Protocol::TCP))?;
        // A restarted node must get its port back while connections of its former life linger.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&local.into())?;
        socket.listen(self.config.backlog)?;
        let listener = TcpListener::from_std(socket.into())?;
        Ok(TcpAcceptor { local: listener.local_addr()?, listener, backend: *self })
    }
}

fn is_connected_to_itself(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(local), Ok(remote)) if local == remote)
}

impl Backend for TcpBackend {
    fn name(&self) -> &'static str {
        "tcp"
    }

    fn dial<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Connection>, DialError>> {
        Box::pin(async move { Ok(Box::new(self.connect(address).await?) as Box<dyn Connection>) })
    }

    fn listen<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Listener>, ListenError>> {
        Box::pin(async move {
            let bound = self.bind(address).await;
            let acceptor = bound.map_err(|source| ListenError { address: address.clone(), source })?;
            Ok(Box::new(acceptor) as Box<dyn Listener>)
        })
    }
}

struct TcpAcceptor {
    listener: TcpListener,
    local: SocketAddr,
    backend: TcpBackend,
}

impl Listener for TcpAcceptor {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Box<dyn Connection>>> {
        Box::pin(async {
            let (stream, _) = self.listener.accept().await?;
            Ok(Box::new(self.backend.prepare(stream)?) as Box<dyn Connection>)
        })
    }

    fn local_address(&self) -> SocketAddr {
        self.local
    }
}

struct TcpConnection {
    stream: TcpStream,
    remote: SocketAddr,
}

impl Connection for TcpConnection {
    fn remote(&self) -> SocketAddr {
        self.remote
    }
}

impl AsyncRead for TcpConnection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for TcpConnection {
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
