//! What a protocol has to be so that a [`World`](super::World) can run it.

use std::time::Duration;

/// A protocol at one host, as a state machine without input and output of its own: whoever runs it brings time and packets, and takes
/// away what is to be sent. The same machine runs in production behind a socket and a timer.
///
/// Every time is of the host's own clock, which may be wrong. Hosts have the numbers from 0.
pub trait Machine {
    /// A packet has arrived.
    fn handle_packet(&mut self, now: Duration, from: usize, bytes: &[u8]);

    /// The next packet to send: its bytes go to the buffer, which is empty, and its receiver is returned. Asked until there is none.
    fn poll_transmit(&mut self, now: Duration, bytes: &mut Vec<u8>) -> Option<usize>;

    /// When [`Machine::handle_timeout`] is due; `None` for never. Asked after every call of the others.
    fn poll_timeout(&self) -> Option<Duration> {
        None
    }

    /// What was due is done. It must be due later afterwards, or never.
    fn handle_timeout(&mut self, _now: Duration) {}

    /// The packet that comes next has waited at the host for so long, as a kernel's time stamp tells.
    fn note_ingress_age(&mut self, _now: Duration, _age: Duration) {}
}

/// What a machine is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Birth {
    /// Whose.
    pub host: usize,
    /// How many hosts there are.
    pub hosts: usize,
    /// How many machines this host has had before.
    pub former_lives: u32,
    /// The time by the host's clock.
    pub now: Duration,
    /// For everything random in the machine: another one for each life, the same in each run.
    pub seed: u64,
}
