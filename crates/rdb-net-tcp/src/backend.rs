//! Sockets.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use rdb_net_transport::{Arrival, Backend, Connection, DialError, ListenError, Listener, PathProbe};
use rdb_net_types::{BoxFuture, NodeAddress};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::config::{KeepAlive, TcpConfig};
use crate::path::{Diagnosis, TcpPath};

const SECOND: Duration = Duration::from_secs(1);

/// Dial and accept over TCP.
#[derive(Debug, Clone, Default)]
pub struct TcpBackend {
    config: TcpConfig,
    diagnosis: Arc<Diagnosis>,
}

impl TcpBackend {
    /// A backend with these options.
    pub fn new(config: TcpConfig) -> Self {
        Self { config, diagnosis: Arc::default() }
    }

    pub(crate) async fn connect(&self, address: &NodeAddress) -> Result<TcpConnection, DialError> {
        let resolved = tokio::net::lookup_host((address.host(), address.port())).await;
        let candidates: Vec<SocketAddr> = resolved.map_err(|error| DialError::unresolved(address, error))?.collect();
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for candidate in candidates {
            match self.connect_to(candidate).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(DialError::new(address, last))
    }

    async fn connect_to(&self, candidate: SocketAddr) -> io::Result<TcpConnection> {
        let socket = TcpSocket::from_std_stream(self.socket(candidate)?.into());
        let stream = socket.connect(candidate).await?;
        let remote = stream.peer_addr()?;
        let connection = self.connection(stream, remote)?;
        if connection.local == connection.remote {
            // The kernel may give a dialling socket the very port it dials, when nobody listens there.
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "nothing listens there"));
        }
        Ok(connection)
    }

    /// A socket with its options. They are set before it connects or listens, so that they hold from the first segment on; an
    /// accepted socket has those of its listener.
    fn socket(&self, address: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_user_timeout(Some(self.config.user_timeout))?;
        if let Some(bytes) = self.config.unsent_bytes_max {
            socket.set_tcp_notsent_lowat(bytes)?;
        }
        if let Some(KeepAlive { idle, interval, retries }) = self.config.keep_alive {
            // The kernel counts whole seconds, and takes no zero.
            let (idle, interval) = (idle.max(SECOND), interval.max(SECOND));
            let keep_alive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(retries);
            socket.set_tcp_keepalive(&keep_alive)?;
        }
        Ok(socket)
    }

    fn connection(&self, stream: TcpStream, remote: SocketAddr) -> io::Result<TcpConnection> {
        let local = stream.local_addr()?;
        Ok(TcpConnection { stream, local, remote, diagnosis: Arc::clone(&self.diagnosis) })
    }

    pub(crate) async fn bind(&self, address: &NodeAddress) -> io::Result<TcpAcceptor> {
        let mut candidates = tokio::net::lookup_host((address.host(), address.port())).await?;
        let local = candidates.next().ok_or_else(|| io::Error::other("the name has no address"))?;
        let socket = self.socket(local)?;
        // A restarted node must get its port back while connections of its former life linger.
        socket.set_reuse_address(true)?;
        socket.bind(&local.into())?;
        socket.listen(self.config.backlog)?;
        let listener = TcpListener::from_std(socket.into())?;
        Ok(TcpAcceptor { local: listener.local_addr()?, spare: Spare::of(&listener), listener, backend: self.clone() })
    }
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

pub(crate) struct TcpAcceptor {
    listener: TcpListener,
    local: SocketAddr,
    backend: TcpBackend,
    spare: Spare,
}

impl TcpAcceptor {
    pub(crate) async fn take(&self) -> io::Result<TcpConnection> {
        // One that the peer has reset already has no other end to ask for any more; that is found out by the first read.
        match self.listener.accept().await {
            Ok((stream, remote)) => self.backend.connection(stream, remote),
            Err(error) => {
                if is_out_of_descriptors(&error) {
                    self.spare.turn_one_away(&self.listener);
                }
                Err(error)
            }
        }
    }
}

/// A descriptor that is given up where there is no other, so that one who waits is taken and closed at once: it learns that it is
/// not let in, instead of waiting until it gives up.
#[derive(Debug)]
struct Spare(Mutex<Option<Socket>>);

impl Spare {
    /// A second one for the listening socket itself: it needs no file, and goes when the listener goes.
    fn of(listener: &TcpListener) -> Self {
        Self(Mutex::new(SockRef::from(listener).try_clone().ok()))
    }

    fn turn_one_away(&self, listener: &TcpListener) {
        let mut spare = self.0.lock().expect("no code panics while it holds this lock");
        drop(spare.take());
        // Another thread may be quicker to take the descriptor: then somebody else made use of it.
        let taken = listener.poll_accept(&mut Context::from_waker(Waker::noop()));
        drop(taken);
        *spare = SockRef::from(listener).try_clone().ok();
    }
}

/// Whether this process (`EMFILE`) or the system (`ENFILE`) has no descriptor left.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

impl Listener for TcpAcceptor {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Arrival>> {
        Box::pin(async { Ok(Arrival::ready(self.take().await?)) })
    }

    fn local_address(&self) -> SocketAddr {
        self.local
    }
}

pub(crate) struct TcpConnection {
    pub(crate) stream: TcpStream,
    local: SocketAddr,
    remote: SocketAddr,
    diagnosis: Arc<Diagnosis>,
}

impl Connection for TcpConnection {
    fn remote(&self) -> SocketAddr {
        self.remote
    }

    fn path_probe(&self) -> Option<Arc<dyn PathProbe>> {
        let Self { local, remote, .. } = *self;
        Some(Arc::new(TcpPath { diagnosis: Arc::clone(&self.diagnosis), local, remote }))
    }
}

/// Reads and writes of a connection are those of the one in its field.
macro_rules! delegated_io {
    ($connection:ty, $field:ident) => {
        impl tokio::io::AsyncRead for $connection {
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::pin::Pin::new(&mut self.$field).poll_read(cx, buf)
            }
        }

        impl tokio::io::AsyncWrite for $connection {
            fn poll_write(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                std::pin::Pin::new(&mut self.$field).poll_write(cx, buf)
            }

            fn poll_write_vectored(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                slices: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                std::pin::Pin::new(&mut self.$field).poll_write_vectored(cx, slices)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::pin::Pin::new(&mut self.$field).poll_flush(cx)
            }

            fn poll_shutdown(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::pin::Pin::new(&mut self.$field).poll_shutdown(cx)
            }
        }
    };
}
#[cfg(feature = "tls")]
pub(crate) use delegated_io;

delegated_io!(TcpConnection, stream);
