//! The gossip socket.

use std::io;
use std::net::SocketAddr;

use rdb_net_types::NodeAddress;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use crate::ingress::stamps;

/// How many bytes the kernel keeps for us while we are busy or paused.
const RECEIVE_BUFFER_BYTES: usize = 1024 * 1024;

/// An address that gossip cannot use.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for gossip on {address}: {source}")]
pub struct BindError {
    /// The address.
    pub address: NodeAddress,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Binds a UDP socket for gossip; port 0 lets the kernel choose.
///
/// # Errors
///
/// [`BindError`] names the address and what is wrong with it.
pub async fn bind(address: &NodeAddress) -> Result<UdpSocket, BindError> {
    let bound = async {
        let mut candidates = tokio::net::lookup_host((address.host(), address.port())).await?;
        let local = candidates.next().ok_or_else(|| io::Error::other("the name has no address"))?;
        open(local)
    };
    bound.await.map_err(|source| BindError { address: address.clone(), source })
}

fn open(local: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    if let Err(error) = stamps::want(&socket) {
        tracing::debug!(%local, %error, "the system does not tell how long packets have waited");
    }
    socket.bind(&local.into())?;
    UdpSocket::from_std(socket.into())
}
