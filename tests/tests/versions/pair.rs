//! A dialer of one version and an acceptor of the other, and a byte stream either way that is cut into pieces at random.

use std::time::Duration;

use bytes::Bytes;
use rdb_net_types::{
    Application, ClusterMessage, LogEntry, MessageType, NodeId, PrepareTransaction, ReplicationLog, SeededRandom,
    TransactionId,
};
use rdb_net_wire::{Flags, control_type, split_frame};

use crate::end::{End, Limits, previous, today};

/// Which version dials; the other one accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dials {
    Previous,
    Today,
}

/// Both directions.
pub(crate) const BOTH: [Dials; 2] = [Dials::Previous, Dials::Today];

/// Two sessions and what is between them.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) now: Duration,
    pub(crate) dialer: Box<dyn End>,
    pub(crate) acceptor: Box<dyn End>,
    dials: Dials,
    to_acceptor: Vec<u8>,
    to_dialer: Vec<u8>,
    random: SeededRandom,
}

impl Pair {
    /// Before the hello.
    pub(crate) fn new(dials: Dials, limits: Limits, seed: u64) -> Self {
        let (dialer, acceptor) = match dials {
            Dials::Previous => (previous::dialer(limits), today::acceptor(limits)),
            Dials::Today => (today::dialer(limits), previous::acceptor(limits)),
        };
        let random = SeededRandom::new(seed);
        Self { now: Duration::ZERO, dialer, acceptor, dials, to_acceptor: vec![], to_dialer: vec![], random }
    }

    /// After the hello.
    pub(crate) fn up(dials: Dials, limits: Limits) -> Self {
        let mut pair = Self::new(dials, limits, 1);
        pair.drive();
        assert!(pair.dialer.is_up() && pair.acceptor.is_up(), "{pair:?}");
        pair
    }

    /// Lets each side write a batch, if it has one; whether one had.
    pub(crate) fn write(&mut self) -> bool {
        let (asked, answered) = (self.dialer.write(self.now), self.acceptor.write(self.now));
        let wrote = asked.is_some() || answered.is_some();
        let of_today = if self.dials == Dials::Today { &asked } else { &answered };
        of_today.iter().for_each(|frames| check_plain(frames));
        self.to_acceptor.extend(asked.into_iter().flatten());
        self.to_dialer.extend(answered.into_iter().flatten());
        wrote
    }

    /// Lets a piece of random length arrive either way; whether there was one.
    pub(crate) fn deliver(&mut self) -> bool {
        let mut delivered = false;
        for (wire, end) in [(&mut self.to_acceptor, &mut self.acceptor), (&mut self.to_dialer, &mut self.dialer)] {
            let longest = [3, 100, 5000][self.random.index(3)];
            let length = wire.len().min(1 + self.random.index(longest));
            let piece: Vec<u8> = wire.drain(..length).collect();
            delivered |= !piece.is_empty();
            end.feed(self.now, &piece);
        }
        delivered
    }

    /// Moves bytes until both are silent.
    pub(crate) fn drive(&mut self) {
        for _ in 0..1_000_000 {
            let moved = self.write() | self.deliver();
            if !moved {
                return;
            }
        }
        panic!("the two never fall silent: {self:?}");
    }

    /// Lets time pass; every timer rings when it is due, and what it causes is delivered at once.
    pub(crate) fn advance(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..100_000 {
            let due = [self.dialer.poll_timeout(), self.acceptor.poll_timeout()];
            let Some(next) = due.into_iter().flatten().min().filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            self.dialer.tick(self.now);
            self.acceptor.tick(self.now);
            self.drive();
        }
        panic!("time stands still: {self:?}");
    }

    /// Neither side has accused the other of anything.
    #[track_caller]
    pub(crate) fn check_honest(&self) {
        let orderly = ["the connection was closed here", "the peer closed the connection: normal"];
        for end in [&self.dialer, &self.acceptor] {
            let ended = end.ended();
            assert!(ended.as_deref().is_none_or(|reason| orderly.contains(&reason)), "{:?}: {ended:?}", self.dials);
        }
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.random.chance(probability)
    }

    pub(crate) fn index(&mut self, length: usize) -> usize {
        self.random.index(length)
    }
}

/// What is sent to a peer of the first version has nothing that it would refuse.
#[track_caller]
fn check_plain(mut frames: &[u8]) {
    while let Some((frame, behind)) = split_frame(frames) {
        let flags = Flags(u16::from_be_bytes([frame[12], frame[13]]));
        let message_type = MessageType(u16::from_be_bytes([frame[6], frame[7]]));
        assert!(!flags.has(Flags::MORE.with(Flags::CODEC).with(Flags::STREAM)), "{message_type}: {flags:?}");
        assert!(frame[14] <= 1, "{message_type} on lane {}", frame[14]);
        assert_ne!(message_type, control_type::STREAM_CREDIT);
        frames = behind;
    }
    assert!(frames.is_empty(), "a batch is whole frames");
}

/// A message of the application with so many bytes.
pub(crate) fn plain(bytes: usize) -> ClusterMessage {
    Application { message_type: MessageType::FIRST_APPLICATION, payload: vec![7; bytes].into() }.into()
}

/// A log whose struct is large in memory: empty entries.
pub(crate) fn log(log_id: u64, entries: usize) -> ClusterMessage {
    let entry = |index| LogEntry { index, epoch: 1, data: Bytes::new() };
    let entries = (0..entries as u64).map(entry).collect();
    let numbers =
        ReplicationLog { log_id, epoch: 1, previous_index: 0, previous_epoch: 0, committed_index: 0, entries };
    numbers.into()
}

/// A transaction with so many participants.
pub(crate) fn prepare(id: u128, participants: usize) -> ClusterMessage {
    let node = NodeId::new("n").expect("legal");
    let participants = vec![node.clone(); participants];
    PrepareTransaction { txn_id: TransactionId(id), coordinator: node, participants, work: vec![1; 50].into() }.into()
}
