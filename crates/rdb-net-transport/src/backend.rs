//! What a backend brings: connections made and taken.

use std::net::SocketAddr;
use std::sync::Arc;

use rdb_net_peer::DialFailure;
use rdb_net_session::Loss;
use rdb_net_types::{BoxFuture, NodeAddress, PathStatistics};
use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream to another node.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {
    /// The other end's address, for logs and limits; never its identity.
    fn remote(&self) -> SocketAddr;

    /// The other end's certificate (DER), where one was verified.
    fn certificate(&self) -> Option<&[u8]> {
        None
    }

    /// Whether the stream protects its bytes itself, so that frames need no checksum.
    fn protects_bytes(&self) -> bool {
        false
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
    fn accept(&mut self) -> BoxFuture<'_, std::io::Result<Box<dyn Connection>>>;

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
        _ => Loss::Io,
    }
}
