//! Sockets: packets in and out, several with one call to the system.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use quinn_proto::EcnCodepoint;
use quinn_udp::{RecvMeta, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{Interest, Ready};
use tokio::net::UdpSocket;

use crate::config::QuicConfig;

/// How many reads the system does at once. Each takes as many packets of a sender as fit a buffer.
const BATCH: usize = 4;
/// More than the largest packet, and than packets that the system has put together.
const BUFFER_BYTES: usize = 64 * 1024;

thread_local! {
    /// What packets are read into before they are looked at: one for all sockets that a thread reads.
    static BUFFERS: RefCell<Box<[u8]>> = RefCell::new(vec![0; BATCH * BUFFER_BYTES].into());
}

/// A packet that has come.
pub(crate) struct Packet {
    pub(crate) remote: SocketAddr,
    /// The address that it was sent to.
    pub(crate) local: Option<IpAddr>,
    pub(crate) congestion: Option<EcnCodepoint>,
    pub(crate) bytes: BytesMut,
}

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

/// Any address of the same kind, and any port.
fn any_like(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// A socket that is bound.
#[derive(Debug)]
pub(crate) struct QuicSocket {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl QuicSocket {
    pub(crate) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self { socket: UdpSocket::from_std(socket)?, state })
    }

    /// A socket to this address alone: the system tells it when nobody listens there.
    pub(crate) fn connected(config: &QuicConfig, remote: SocketAddr) -> io::Result<Self> {
        let socket = bound(config, any_like(remote))?;
        socket.connect(&remote.into())?;
        let socket = Self::new(socket.into())?;
        if socket.socket.local_addr()? == remote {
            // The system may give a socket the very port it sends to, when nobody listens there.
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "nothing listens there"));
        }
        Ok(socket)
    }

    /// Whether the size of packets can be tried: a network that cuts large ones up shows nothing.
    pub(crate) fn may_try_sizes(&self) -> bool {
        !self.state.may_fragment()
    }

    /// How many packets of one size the system sends at once.
    pub(crate) fn segments_max(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Reads once what is there, and hands on each packet. Pending when there is nothing more.
    pub(crate) fn poll_receive(&self, context: &mut Context<'_>, each: impl FnMut(Packet)) -> Poll<io::Result<()>> {
        ready!(self.socket.poll_recv_ready(context))?;
        let received = BUFFERS.with_borrow_mut(|buffers| self.receive(buffers, each));
        match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // It was told to be readable and is not: asked again, it says so when it is.
                self.socket.poll_recv_ready(context).map_ok(drop)
            }
            received => Poll::Ready(received),
        }
    }

    fn receive(&self, buffers: &mut [u8], mut each: impl FnMut(Packet)) -> io::Result<()> {
        let mut metas = [RecvMeta::default(); BATCH];
        let mut chunks = buffers.chunks_exact_mut(BUFFER_BYTES);
        let mut slices: [IoSliceMut<'_>; BATCH] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        let mut count = 0;
        let read = || {
            count = self.state.recv((&self.socket).into(), &mut slices, &mut metas)?;
            // There was nothing more, which need not be asked for. It is said in here, where what comes meanwhile counts as new.
            if count < BATCH { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        };
        match self.socket.try_io(Interest::READABLE, read) {
            Err(error) if count == 0 => return Err(error),
            _ => {}
        }
        for (meta, slice) in metas.iter().zip(&slices).take(count) {
            let mut bytes = BytesMut::from(&slice[..meta.len]);
            while !bytes.is_empty() {
                let end = meta.stride.clamp(1, bytes.len());
                let congestion = meta.ecn.and_then(|bits| EcnCodepoint::from_bits(bits as u8));
                each(Packet { remote: meta.addr, local: meta.dst_ip, congestion, bytes: bytes.split_to(end) });
            }
        }
        Ok(())
    }

    /// Sends packets. Whatever the network says of single ones ends nothing: they are lost, and sent again.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where the socket takes nothing for the moment; `ConnectionRefused` where an earlier packet was refused and
    /// these were not sent.
    pub(crate) fn try_send(&self, transmit: &quinn_proto::Transmit, contents: &[u8]) -> io::Result<()> {
        let transmit = quinn_udp::Transmit {
            destination: transmit.destination,
            ecn: transmit.ecn.and_then(|bits| quinn_udp::EcnCodepoint::from_bits(bits as u8)),
            contents,
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        };
        let sent = self.socket.try_io(Interest::WRITABLE, || self.state.try_send((&self.socket).into(), &transmit));
        match sent {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused) => {
                Err(error)
            }
            // A packet that is too large is how the path is probed.
            Err(error) => {
                tracing::trace!(%error, "a packet was not sent");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// How much a packet to the other end of a connected socket may carry by what the system knows of its links and of the path,
    /// where it tells. A link further on may carry less.
    pub(crate) fn payload_bytes_max(&self) -> Option<u16> {
        payload_bytes_max(&self.socket, self.socket.local_addr().ok()?)
    }

    pub(crate) fn local(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

#[cfg(target_os = "linux")]
fn payload_bytes_max(socket: &impl std::os::fd::AsFd, local: SocketAddr) -> Option<u16> {
    use rustix::net::sockopt::{ip_mtu, ipv6_mtu};
    const IPV4_UDP_BYTES: u32 = 20 + 8;
    const IPV6_UDP_BYTES: u32 = 40 + 8;
    let payload = match local {
        SocketAddr::V4(_) => ip_mtu(socket).ok()?.checked_sub(IPV4_UDP_BYTES)?,
        SocketAddr::V6(_) => ipv6_mtu(socket).ok()?.checked_sub(IPV6_UDP_BYTES)?,
    };
    Some(u16::try_from(payload).unwrap_or(u16::MAX))
}

#[cfg(not(target_os = "linux"))]
fn payload_bytes_max<S>(_: &S, _: SocketAddr) -> Option<u16> {
    None
}

/// The same of a path to this address, for a socket that is not connected. Nothing is sent for it.
pub(crate) fn payload_bytes_max_to(remote: SocketAddr) -> Option<u16> {
    let any = any_like(remote);
    let socket = std::net::UdpSocket::bind(any).ok()?;
    socket.connect(remote).ok()?;
    payload_bytes_max(&socket, any)
}

/// Waits until the system says of a connected socket that a packet was refused. It says so of no read by itself.
#[derive(Default)]
pub(crate) struct Refused(Option<Pin<Box<dyn Future<Output = io::Result<Ready>> + Send>>>);

impl Refused {
    /// Whether a packet was refused; if not, the task of the context is woken when one is.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>, socket: &Arc<QuicSocket>) -> bool {
        loop {
            let waits = self.0.get_or_insert_with(|| {
                let socket = Arc::clone(socket);
                Box::pin(async move { socket.socket.ready(Interest::ERROR).await })
            });
            if waits.as_mut().poll(context).is_pending() {
                return false;
            }
            self.0 = None;
            let told = socket.socket.try_io(Interest::ERROR, || match socket.socket.take_error()? {
                Some(error) => Err(error),
                None => Err(io::ErrorKind::WouldBlock.into()),
            });
            match told.map_err(|error: io::Error| error.kind()) {
                Err(io::ErrorKind::ConnectionRefused) => return true,
                Err(io::ErrorKind::WouldBlock) | Ok(()) => {}
                // Whatever else the network says of single packets ends nothing.
                Err(_) => return false,
            }
        }
    }
}

/// Waits until a socket takes packets, of which many may wait.
#[derive(Default)]
pub(crate) struct Writable(Option<Pin<Box<dyn Future<Output = io::Result<()>> + Send>>>);

impl Writable {
    /// Ready unless somebody began to wait and the socket still takes nothing.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(waits) = &mut self.0 else { return Poll::Ready(()) };
        let _sent_or_not = ready!(waits.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(())
    }

    /// The socket takes nothing.
    pub(crate) fn begin(&mut self, socket: &Arc<QuicSocket>) {
        let socket = Arc::clone(socket);
        self.0 = Some(Box::pin(async move { socket.socket.writable().await }));
    }
}
