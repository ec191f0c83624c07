//! What a backend brings: connections made and taken.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use rdb_net_peer::{DialFailure, LinkSide};
use rdb_net_session::Loss;
use rdb_net_types::{BoxFuture, Lane, NodeAddress, PathStatistics, Principal};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A byte stream to another node.
///
/// An error of the kind [`PermissionDenied`](std::io::ErrorKind::PermissionDenied) says that the other side does not take this
/// node's certificate.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {
    /// The other end's address, for logs and limits; never its identity.
    fn remote(&self) -> SocketAddr;

    /// What a handshake has proved of the other end, where there was one.
    fn proof(&self) -> Option<Arc<Proof>> {
        None
    }

    /// Whether bytes that it took may wait in it until it is flushed.
    fn buffers_writes(&self) -> bool {
        false
    }

    /// What the connection ends for, by its number among the close codes, where the session has one. A kind of connection with
    /// words of its own for an end tells the other side, in case the session's farewell does not arrive.
    fn tell_end(&mut self, code: u16) {
        let _nobody = code;
    }

    /// Its streams, where each lane has one of its own; otherwise it carries all lanes as one stream. Both ends are of one kind.
    /// As a stream, such a connection is that of its System lane.
    fn lanes(&mut self) -> Option<&mut dyn LaneStreams> {
        None
    }

    /// What sends single packets beside the streams, where there are such.
    fn datagrams(&self) -> Option<Arc<dyn Datagrams>> {
        None
    }

    /// The next packet that has come beside the streams. How the connection ends is told by its streams alone.
    fn poll_datagram(&mut self, context: &mut Context<'_>) -> Poll<Bytes> {
        let _none = context;
        Poll::Pending
    }

    /// How the path to the other end is doing, where the kind of connection and the system can tell.
    fn path(&self) -> Option<PathStatistics> {
        self.path_probe()?.statistics()
    }

    /// What tells how the path is doing while the connection itself is with its task. A connection around another one hands
    /// on the inner one's.
    fn path_probe(&self) -> Option<Arc<dyn PathProbe>> {
        None
    }
}

/// The streams of a connection on which each lane has one of its own. What is lost of one holds up no other.
///
/// Where a connection has no task of its own that moves its packets, whoever has it does, in passes.
pub trait LaneStreams: Send {
    /// Takes in what has come for any of them. What comes later wakes the task of the context.
    fn begin_pass(&mut self, context: &mut Context<'_>) {
        let _by_itself = context;
    }

    /// Sends what was written, and what else is due.
    fn end_pass(&mut self, context: &mut Context<'_>) {
        let _by_itself = context;
    }

    /// Reads of a lane's stream as [`AsyncRead::poll_read`] does. A stream that does not exist yet has nothing to read.
    fn poll_read(&mut self, lane: Lane, context: &mut Context<'_>, into: &mut ReadBuf<'_>)
    -> Poll<std::io::Result<()>>;

    /// Writes to a lane's stream as [`AsyncWrite::poll_write_vectored`] does.
    fn poll_write(
        &mut self,
        lane: Lane,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>>;
}

/// Sends single packets beside the streams of a connection, which keep none of them waiting. Each arrives whole and once, or not at
/// all, in no order.
pub trait Datagrams: std::fmt::Debug + Send + Sync {
    /// How many bytes one may have now, by what the path carries. 0 where the other side takes none.
    fn bytes_max(&self) -> usize;

    /// Sends one, whose size the caller has looked at. Where too many wait already, the oldest is given up. Returns whether it was
    /// taken: the path may carry less than a moment ago, and the connection may have ended.
    fn send(&self, packet: Bytes) -> bool;
}

/// Who is at the other end of a connection, as its handshake has proved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The node, and what it may do; `None` where it needs no certificate and shows none.
    pub principal: Option<Principal>,
    /// Its certificate and those between it and the trusted one, DER, its own first.
    pub certificates: Vec<Vec<u8>>,
    /// What both ends of this very connection know, and nobody else. Both hellos carry it. Not empty.
    pub channel_binding: Vec<u8>,
    /// Whether the connection finds changed bytes by itself, so that frames need no checksum.
    pub protects_bytes: bool,
}

/// A connection that was taken, and of whose other end nothing is known yet but its address.
pub struct Arrival {
    remote: SocketAddr,
    established: BoxFuture<'static, Result<Box<dyn Connection>, HandshakeError>>,
}

impl Arrival {
    /// A connection that is there when this future is. Nothing happens before it is polled, and dropping it closes the
    /// connection.
    pub fn new(
        remote: SocketAddr,
        established: impl Future<Output = Result<Box<dyn Connection>, HandshakeError>> + Send + 'static,
    ) -> Self {
        Self { remote, established: Box::pin(established) }
    }

    /// A connection that needs no handshake.
    pub fn ready(connection: impl Connection + 'static) -> Self {
        let remote = connection.remote();
        Self::new(remote, std::future::ready(Ok(Box::new(connection) as Box<dyn Connection>)))
    }

    /// Where it comes from: for limits and logs, never who it is.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Finds out who is there.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`] says whose fault it is.
    pub async fn establish(self) -> Result<Box<dyn Connection>, HandshakeError> {
        self.established.await
    }
}

impl std::fmt::Debug for Arrival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arrival").field("remote", &self.remote).finish_non_exhaustive()
    }
}

/// A handshake without success.
#[derive(Debug, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct HandshakeError {
    /// A short name, for counters.
    pub reason: &'static str,
    /// What happened, whose fault it is and what to do.
    pub detail: String,
}

/// Why the proof of an open connection would not do any more.
#[derive(Debug, thiserror::Error)]
pub enum Distrust {
    /// It was taken back: the connection ends at once.
    #[error("{0}")]
    Revoked(HandshakeError),
    /// Its time is over, or that of who signed it: another connection takes its place, which needs a better proof.
    #[error("{0}")]
    Outdated(HandshakeError),
}

/// Asks how a connection's path is doing, as often as somebody wants to know; nothing is measured meanwhile.
pub trait PathProbe: std::fmt::Debug + Send + Sync {
    /// The state now; `None` where the system does not tell, or the connection has ended.
    fn statistics(&self) -> Option<PathStatistics>;
}

/// Takes connections.
pub trait Listener: Send {
    /// The next connection. An error is of this one connection, never of the listener.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no connection that was taken.
    fn accept(&mut self) -> BoxFuture<'_, std::io::Result<Arrival>>;

    /// Where it listens: the port that the kernel chose, where 0 was asked for.
    fn local_address(&self) -> SocketAddr;
}

/// Makes and takes connections of one kind.
pub trait Backend: Send + Sync {
    /// The kind's name: `"tcp"`.
    fn name(&self) -> &'static str;

    /// Makes a connection; the name is resolved now.
    ///
    /// # Errors
    ///
    /// [`DialError`] with what membership needs to know of the failure.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the dial up.
    fn dial<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Connection>, DialError>>;

    /// Starts to listen.
    ///
    /// # Errors
    ///
    /// [`ListenError`] names the address and what is wrong with it.
    fn listen<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Listener>, ListenError>>;

    /// Whether a proof that an open connection began with would still do today: its certificate may have been revoked since, or
    /// the one that signed it taken back.
    ///
    /// # Errors
    ///
    /// [`Distrust`] says why a handshake would fail now.
    fn recheck(&self, proof: &Proof, side: LinkSide) -> Result<(), Distrust> {
        let _trusted = (proof, side);
        Ok(())
    }
}

/// A dial without success.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to {address}: {source}")]
pub struct DialError {
    /// Where to.
    pub address: NodeAddress,
    /// What kind of failure it is.
    pub failure: DialFailure,
    /// What the system said.
    #[source]
    pub source: std::io::Error,
}

impl DialError {
    /// From what the system said.
    pub fn new(address: &NodeAddress, source: std::io::Error) -> Self {
        use std::io::ErrorKind;
        let failure = match source.kind() {
            ErrorKind::ConnectionRefused => DialFailure::Refused,
            ErrorKind::TimedOut => DialFailure::TimedOut,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => DialFailure::NoRoute,
            _ => DialFailure::Io,
        };
        Self { address: address.clone(), failure, source }
    }

    /// A handshake that failed.
    pub fn untrusted(address: &NodeAddress, error: HandshakeError) -> Self {
        Self { address: address.clone(), failure: DialFailure::Untrusted, source: std::io::Error::other(error) }
    }

    /// A name that could not be resolved.
    pub fn unresolved(address: &NodeAddress, source: std::io::Error) -> Self {
        Self { address: address.clone(), failure: DialFailure::Unresolved, source }
    }
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    /// The address.
    pub address: NodeAddress,
    /// What the system said.
    #[source]
    pub source: std::io::Error,
}

/// How a connection whose socket gives this error has ended.
pub(crate) fn loss_of(error: &std::io::Error) -> Loss {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => Loss::Reset,
        ErrorKind::TimedOut => Loss::TimedOut,
        ErrorKind::UnexpectedEof => Loss::Eof,
        ErrorKind::PermissionDenied => Loss::Untrusted,
        _ => Loss::Io,
    }
}
