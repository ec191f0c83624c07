//! What the driver needs of a machine.

use std::net::SocketAddr;
use std::time::Duration;

use rdb_swim::Swim;

/// A pure machine that speaks in packets. `now` is the time since an origin that the driver was given.
pub trait PacketMachine: Send + 'static {
    /// A packet has arrived. What is wrong with it is the machine's to count.
    fn handle_packet(&mut self, now: Duration, from: SocketAddr, packet: &[u8]);

    /// What is handed over next has waited for this process for so long. Told of the longest wait of a pass, before the packet; the
    /// machine may conclude that it is the slow one.
    fn note_ingress_age(&mut self, now: Duration, age: Duration);

    /// Does what is due.
    fn handle_timeout(&mut self, now: Duration);

    /// When something is due next; later than the last `now`.
    fn poll_timeout(&self) -> Option<Duration>;

    /// Writes the next packet into the buffer and tells where it goes.
    fn poll_transmit(&mut self, now: Duration, packet: &mut Vec<u8>) -> Option<SocketAddr>;
}

impl PacketMachine for Swim {
    fn handle_packet(&mut self, now: Duration, from: SocketAddr, packet: &[u8]) {
        // Swim counts each drop by its reason.
        let _counted = Self::handle_packet(self, now, from, packet);
    }

    fn note_ingress_age(&mut self, now: Duration, age: Duration) {
        Self::note_ingress_age(self, now, age);
    }

    fn handle_timeout(&mut self, now: Duration) {
        Self::handle_timeout(self, now);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        Self::poll_timeout(self)
    }

    fn poll_transmit(&mut self, now: Duration, packet: &mut Vec<u8>) -> Option<SocketAddr> {
        Self::poll_transmit(self, now, packet)
    }
}
