//! What stands between a machine and its socket.

use std::net::SocketAddr;
use std::time::Duration;

/// What packets go through on their way to the socket and from it: a seal, another way, or nothing.
pub trait Passage: Send + 'static {
    /// What the socket sends for this packet; `None` where the packet goes another way, or nowhere.
    fn outgoing<'a>(&'a mut self, now: Duration, to: SocketAddr, packet: &'a [u8]) -> Option<&'a [u8]>;

    /// The packet in what the socket has brought; `None` where there is none that may be believed. It is not answered.
    fn incoming<'a>(&mut self, now: Duration, from: SocketAddr, datagram: &'a mut [u8]) -> Option<&'a [u8]>;
}

/// Nothing: packets travel as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InTheClear;

impl Passage for InTheClear {
    fn outgoing<'a>(&'a mut self, _: Duration, _: SocketAddr, packet: &'a [u8]) -> Option<&'a [u8]> {
        Some(packet)
    }

    fn incoming<'a>(&mut self, _: Duration, _: SocketAddr, datagram: &'a mut [u8]) -> Option<&'a [u8]> {
        Some(datagram)
    }
}
