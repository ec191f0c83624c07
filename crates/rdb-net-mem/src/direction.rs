//! One direction of a connection: from what was written to what was read.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use rdb_net_faults::{Pipe, Sent};

use crate::arrived::Arrived;

/// How a direction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Everything was sent, and nothing more comes.
    Eof,
    /// The other end is gone, whatever was under way.
    Reset,
}

/// What is sent at once.
#[derive(Debug)]
pub(crate) enum Piece {
    Bytes(Bytes),
    End(End),
}

impl Piece {
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::End(_) => 0,
        }
    }
}

/// What became of a read.
#[derive(Debug)]
pub(crate) enum Read {
    Bytes(Bytes),
    Ended(End),
    /// Nothing is there. The next piece arrives at this time, if one is under way.
    Waits(Option<Duration>),
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Direction {
    pipe: Pipe<Piece>,
    under_way: VecDeque<(Duration, Piece)>,
    arrived: Arrived,
    /// Bytes that were written and not read.
    unread_bytes: usize,
    /// What the writer has said last.
    sent_end: Option<End>,
    /// What the reader has come to.
    end: Option<End>,
    is_unread_for_ever: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Direction {
    pub(crate) fn new(arrived: Arrived) -> Self {
        Self {
            pipe: Pipe::default(),
            under_way: VecDeque::new(),
            arrived,
            unread_bytes: 0,
            sent_end: None,
            end: None,
            is_unread_for_ever: false,
            reader: None,
            writer: None,
        }
    }

    pub(crate) fn unread_bytes(&self) -> usize {
        self.unread_bytes
    }

    pub(crate) fn sent_end(&self) -> Option<End> {
        self.sent_end
    }

    /// Whether the reader is gone.
    pub(crate) fn is_unread_for_ever(&self) -> bool {
        self.is_unread_for_ever
    }

    /// Wakes whoever waits for room.
    pub(crate) fn wait_for_room(&mut self, writer: &Waker) {
        self.writer = Some(writer.clone());
    }

    /// Sends a piece that takes this long, where the link passes.
    pub(crate) fn send(&mut self, now: Duration, delay: Duration, passes: bool, piece: Piece) {
        if let Piece::End(end) = piece {
            self.sent_end = Some(end);
        }
        self.unread_bytes += piece.bytes();
        self.carry(now, delay, passes, piece);
    }

    /// Takes what is held, to be [carried](Self::carry) again.
    pub(crate) fn take_held(&mut self) -> Vec<Piece> {
        self.pipe.take_held()
    }

    /// Carries a piece that was sent before.
    pub(crate) fn carry(&mut self, now: Duration, delay: Duration, passes: bool, piece: Piece) {
        if let Sent::Arrives { at, piece } = self.pipe.send(now, delay, passes, piece) {
            self.under_way.push_back((at, piece));
            // A reader that waits for an earlier piece looks again when that one arrives.
            if self.under_way.len() == 1 {
                wake(&mut self.reader);
            }
        }
    }

    /// Notes what has arrived, and gives how the direction has ended for its reader.
    pub(crate) fn advance(&mut self, now: Duration) -> Option<End> {
        let here = self.under_way.partition_point(|(at, _)| *at <= now);
        for (_, piece) in self.under_way.drain(..here) {
            match piece {
                Piece::Bytes(bytes) => self.arrived.push(&bytes),
                Piece::End(end) => self.end = Some(end),
            }
        }
        self.end
    }

    /// Reads at most so many bytes, or has this reader woken.
    pub(crate) fn read(&mut self, now: Duration, bytes_max: usize, reader: &Waker) -> Read {
        let end = self.advance(now);
        if end.is_some() {
            self.arrived.end();
        }
        let bytes = self.arrived.take(bytes_max);
        if !bytes.is_empty() {
            self.unread_bytes -= bytes.len();
            wake(&mut self.writer);
            return Read::Bytes(bytes);
        }
        match end {
            Some(end) => Read::Ended(end),
            None => {
                self.reader = Some(reader.clone());
                Read::Waits(self.under_way.front().map(|(at, _)| *at))
            }
        }
    }

    /// The reader is gone: nobody waits for it.
    pub(crate) fn leave_unread(&mut self) {
        self.is_unread_for_ever = true;
        self.drop_all();
    }

    /// Ends the direction at once, for reader and writer.
    pub(crate) fn reset(&mut self) {
        self.drop_all();
        (self.sent_end, self.end) = (Some(End::Reset), Some(End::Reset));
        wake(&mut self.reader);
    }

    fn drop_all(&mut self) {
        self.pipe.take_held();
        self.under_way.clear();
        self.arrived.clear();
        self.unread_bytes = 0;
        wake(&mut self.writer);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
