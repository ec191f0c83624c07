//! The socket of one dialled connection: connected, so that the system tells it when nobody listens at the other end.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use quinn::{AsyncUdpSocket, UdpPoller};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::config::QuicConfig;
use crate::refusals::Refusals;

/// A socket of UDP with the options of all, bound to this address.
pub(crate) fn bound(config: &QuicConfig, address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        // One that listens everywhere takes both kinds, as with TCP; where the system does not want that, it takes its own.
        let _both = socket.set_only_v6(false);
    }
    for set in [Socket::set_recv_buffer_size, Socket::set_send_buffer_size] {
        // A system that gives less still gives something.
        let _given = set(&socket, config.socket_buffer_bytes as usize);
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// The socket of one connection that this node makes.
#[derive(Debug)]
pub(crate) struct DialSocket {
    socket: UdpSocket,
    state: UdpSocketState,
    refusals: Arc<Refusals>,
}

impl DialSocket {
    /// A socket to this address alone.
    pub(crate) fn connected(config: &QuicConfig, remote: SocketAddr) -> io::Result<(Self, Arc<Refusals>)> {
        let any: SocketAddr = match remote {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = bound(config, any)?;
        socket.connect(&remote.into())?;
        let socket: std::net::UdpSocket = socket.into();
        let refusals = Arc::<Refusals>::default();
        let state = UdpSocketState::new((&socket).into())?;
        let socket = UdpSocket::from_std(socket)?;
        if socket.local_addr()? == remote {
            // The system may give a socket the very port it sends to, when nobody listens there.
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "nothing listens there"));
        }
        Ok((Self { socket, state, refusals: Arc::clone(&refusals) }, refusals))
    }

    /// Sends once. The system tells by the next call that an earlier packet was refused, and sends nothing then.
    fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let sent = self.state.try_send((&self.socket).into(), transmit);
        match sent {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                self.refusals.refused();
                self.state.send((&self.socket).into(), transmit)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            // A packet that is too large is how the path is probed; others are lost, and sent again.
            Err(error) => {
                tracing::trace!(%error, "a packet was not sent");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

impl AsyncUdpSocket for DialSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable { socket: self, waits: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_io(Interest::WRITABLE, || self.send(transmit))?;
        self.refusals.sent();
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_recv_ready(context))?;
            let read = self.socket.try_io(Interest::READABLE, || self.state.recv((&self.socket).into(), buffers, meta));
            match read {
                Ok(count) => {
                    self.refusals.received();
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => self.refusals.refused(),
                // Whatever else the network says of single packets ends nothing.
                Err(_) => {}
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

type Waits = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

/// Waits until the socket takes packets.
struct Writable {
    socket: Arc<DialSocket>,
    waits: Option<Waits>,
}

impl UdpPoller for Writable {
    fn poll_writable(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = Arc::clone(&self.socket);
        let waits = self.waits.get_or_insert_with(|| Box::pin(async move { socket.socket.writable().await }));
        let writable = ready!(waits.as_mut().poll(context));
        self.waits = None;
        Poll::Ready(writable)
    }
}

impl std::fmt::Debug for Writable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writable").field("socket", &self.socket).finish_non_exhaustive()
    }
}
