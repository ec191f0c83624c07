//! A host, what waits at it, and what is due there.

use std::collections::VecDeque;
use std::time::Duration;

use super::clock::Clock;

/// A packet under way, or at a host.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) from: usize,
    /// When it came to the host where it waits.
    pub(crate) arrived: Duration,
    pub(crate) bytes: Vec<u8>,
}

/// What is due at a host. What the machine's clock says comes before the packet that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// The machine has something due.
    Machine(usize),
    /// The machine is done with a packet.
    Packet(usize),
}

pub(crate) struct Host<M> {
    pub(crate) machine: Option<M>,
    pub(crate) clock: Clock,
    pub(crate) lives: u32,
    pub(crate) is_paused: bool,
    pub(crate) is_slow: bool,
    /// How long the machine takes for one packet, and until when it has to do with the one that it has.
    pub(crate) processing: Duration,
    pub(crate) busy_until: Duration,
    /// Packets that wait for the machine.
    pub(crate) backlog: VecDeque<Packet>,
    pub(crate) backlog_bytes: usize,
    /// Packets that wait to leave a slow host.
    pub(crate) outbox: Vec<(usize, Vec<u8>)>,
}

impl<M> Host<M> {
    pub(crate) fn new() -> Self {
        Self {
            machine: None,
            clock: Clock::RIGHT,
            lives: 0,
            is_paused: false,
            is_slow: false,
            processing: Duration::ZERO,
            busy_until: Duration::ZERO,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            outbox: Vec::new(),
        }
    }

    /// Whether packets have to wait.
    pub(crate) fn is_held_up(&self) -> bool {
        self.is_paused || self.is_slow
    }
}
