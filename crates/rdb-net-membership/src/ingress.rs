//! Taking datagrams from the socket, each with how long it has waited there.
//!
//! A process that was busy or paused finds packets that came long ago. Their age is one of the signs by which a member knows that it
//! is the slow one (`rdb-swim`, Lifeguard). The kernel stamps each packet with the wall clock when it comes (`SO_TIMESTAMPNS`, Linux).
//! That clock can be set: so no age is believed that reaches behind the moment at which this process last found the socket empty.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::UdpSocket;

/// What has come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) length: usize,
    pub(crate) from: SocketAddr,
    /// How long it has waited; nothing where the system does not tell.
    pub(crate) age: Duration,
}

/// The socket's side that is read.
#[derive(Debug, Default)]
pub(crate) struct Ingress {
    /// Room for what the kernel says beside a packet.
    control: Vec<u8>,
    /// When the socket was found empty last, since the driver's origin.
    emptied: Duration,
}

impl Ingress {
    pub(crate) fn new() -> Self {
        Self { control: stamps::room(), emptied: Duration::ZERO }
    }

    /// Takes the next datagram; `now` is the time since the driver's origin.
    pub(crate) fn receive(&mut self, socket: &UdpSocket, buffer: &mut [u8], now: Duration) -> io::Result<Arrival> {
        let received = stamps::receive(socket, buffer, &mut self.control);
        match received {
            Ok((length, from, stamp)) => {
                let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let age = stamp.map_or(Duration::ZERO, |stamp| age(stamp, wall, now.saturating_sub(self.emptied)));
                Ok(Arrival { length, from, age })
            }
            Err(error) => {
                if error.kind() == io::ErrorKind::WouldBlock {
                    self.emptied = now;
                }
                Err(error)
            }
        }
    }
}

/// How long a packet has waited that was stamped then; both by the wall clock, which may have been set meanwhile.
fn age(stamp: Duration, wall: Duration, since_emptied: Duration) -> Duration {
    wall.saturating_sub(stamp).min(since_emptied)
}

#[cfg(target_os = "linux")]
pub(crate) mod stamps {
    //! Stamps of the Linux kernel.

    use std::io::{self, IoSliceMut};
    use std::net::SocketAddr;
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    use nix::cmsg_space;
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
    use nix::sys::time::TimeSpec;
    use tokio::io::Interest;
    use tokio::net::UdpSocket;

    /// Wants packets stamped.
    pub(crate) fn want(socket: &socket2::Socket) -> io::Result<()> {
        setsockopt(socket, sockopt::ReceiveTimestampns, &true).map_err(io::Error::from)
    }

    pub(super) fn room() -> Vec<u8> {
        cmsg_space!(TimeSpec)
    }

    pub(super) fn receive(
        socket: &UdpSocket,
        buffer: &mut [u8],
        control: &mut [u8],
    ) -> io::Result<(usize, SocketAddr, Option<Duration>)> {
        socket.try_io(Interest::READABLE, || {
            let mut parts = [IoSliceMut::new(buffer)];
            let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(control), MsgFlags::empty())?;
            let from = message.address.as_ref().and_then(address_of);
            let from = from.ok_or_else(|| io::Error::other("the packet came from no Internet address"))?;
            // What the kernel says beside the packet was cut, or is not there: the packet counts all the same.
            let stamp = message.cmsgs().ok().and_then(|mut said| said.find_map(stamp_of));
            Ok((message.bytes, from, stamp))
        })
    }

    fn address_of(address: &SockaddrStorage) -> Option<SocketAddr> {
        let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
    }

    fn stamp_of(said: ControlMessageOwned) -> Option<Duration> {
        match said {
            ControlMessageOwned::ScmTimestampns(at) => Some(at.into()),
            _ => None,
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) mod stamps {
    //! No stamps: the age of packets is not known.

    use std::io;
    use std::net::SocketAddr;
    use std::time::Duration;

    use tokio::net::UdpSocket;

    pub(crate) fn want(_: &socket2::Socket) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn room() -> Vec<u8> {
        Vec::new()
    }

    pub(super) fn receive(
        socket: &UdpSocket,
        buffer: &mut [u8],
        _: &mut [u8],
    ) -> io::Result<(usize, SocketAddr, Option<Duration>)> {
        socket.try_recv_from(buffer).map(|(length, from)| (length, from, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_makes_no_packet_older_than_the_last_look_at_the_empty_socket() {
        let secs = Duration::from_secs;
        assert_eq!(age(secs(100), secs(103), secs(5)), secs(3), "it came while nobody looked");
        assert_eq!(age(secs(100), secs(3700), secs(5)), secs(5), "the clock was set forward");
        assert_eq!(age(secs(3700), secs(100), secs(5)), secs(0), "the clock was set back");
    }
}
