//! A connection as the network sees it: two ends, two directions.

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use rdb_net_types::NodeAddress;

use crate::direction::{Direction, End, Piece, Read};
use crate::network::{LOCKED, Shared};

/// Which end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Dialer = 0,
    Acceptor = 1,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::Dialer, Self::Acceptor];

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Acceptor,
            Self::Acceptor => Self::Dialer,
        }
    }
}

/// Both directions of a connection, by the side that writes.
///
/// Its lock is taken before the network's, never after it.
#[derive(Debug)]
pub(crate) struct Cable {
    network: Arc<Shared>,
    /// The address of each side.
    places: [NodeAddress; 2],
    directions: Mutex<[Direction; 2]>,
}

impl Cable {
    pub(crate) fn new(network: Arc<Shared>, places: [NodeAddress; 2], directions: [Direction; 2]) -> Self {
        Self { network, places, directions: Mutex::new(directions) }
    }

    pub(crate) fn place(&self, side: Side) -> &NodeAddress {
        &self.places[side as usize]
    }

    /// Whether it runs between these two, in whichever direction it was dialled.
    pub(crate) fn connects(&self, a: &NodeAddress, b: &NodeAddress) -> bool {
        let [dialer, acceptor] = &self.places;
        (dialer, acceptor) == (a, b) || (dialer, acceptor) == (b, a)
    }

    fn lock(&self) -> MutexGuard<'_, [Direction; 2]> {
        self.directions.lock().expect(LOCKED)
    }

    pub(crate) fn now(&self) -> Duration {
        self.network.now()
    }

    pub(crate) fn instant(&self, at: Duration) -> tokio::time::Instant {
        self.network.instant(at)
    }

    /// Reads at most so many bytes of what the other side wrote, or has the reader woken.
    pub(crate) fn read(&self, side: Side, bytes_max: usize, context: &Context<'_>) -> Read {
        self.lock()[side.other() as usize].read(self.now(), bytes_max, context.waker())
    }

    /// Writes as much of this as there is room for.
    pub(crate) fn write(&self, side: Side, slices: &[IoSlice<'_>], context: &Context<'_>) -> Poll<io::Result<usize>> {
        let mut directions = self.lock();
        if directions[side.other() as usize].advance(self.now()) == Some(End::Reset) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let direction = &mut directions[side as usize];
        if direction.sent_end().is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        if direction.is_unread_for_ever() {
            self.answer_with_reset(&mut directions, side.other());
            return Poll::Ready(Ok(bytes));
        }
        let room = self.network.buffer_bytes().saturating_sub(direction.unread_bytes());
        if room == 0 && bytes > 0 {
            direction.wait_for_room(context.waker());
            return Poll::Pending;
        }
        let taken = bytes.min(room);
        let piece: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(taken).collect();
        self.send(direction, side, Piece::Bytes(piece.into()));
        Poll::Ready(Ok(taken))
    }

    /// Says that nothing more will be written.
    pub(crate) fn end(&self, side: Side) {
        let direction = &mut self.lock()[side as usize];
        if direction.sent_end().is_none() {
            self.send(direction, side, Piece::End(End::Eof));
        }
    }

    /// This side is gone. What it has not read makes it a reset, as a kernel does.
    pub(crate) fn leave(&self, side: Side) {
        let mut directions = self.lock();
        let inbound = &mut directions[side.other() as usize];
        let end = if inbound.unread_bytes() > 0 { End::Reset } else { End::Eof };
        inbound.leave_unread();
        let outbound = &mut directions[side as usize];
        let is_news = match outbound.sent_end() {
            None => true,
            Some(End::Eof) => end == End::Reset,
            Some(End::Reset) => false,
        };
        if is_news {
            self.send(outbound, side, Piece::End(end));
        }
    }

    /// Something was written to a side that is gone: its kernel says so, if it learns of it.
    fn answer_with_reset(&self, directions: &mut [Direction; 2], gone: Side) {
        let is_known = directions[gone as usize].sent_end() == Some(End::Reset);
        if !is_known && self.network.passes(self.place(gone.other()), self.place(gone)) {
            self.send(&mut directions[gone as usize], gone, Piece::End(End::Reset));
        }
    }

    fn send(&self, direction: &mut Direction, side: Side, piece: Piece) {
        let (delay, passes) = self.network.segment(self.place(side), self.place(side.other()), piece.bytes());
        direction.send(self.now(), delay, passes, piece);
    }

    /// Lets go on what was held and passes again.
    pub(crate) fn release(&self) {
        let mut directions = self.lock();
        for side in Side::BOTH {
            let (from, to) = (self.place(side), self.place(side.other()));
            let direction = &mut directions[side as usize];
            for piece in direction.take_held() {
                let (delay, passes) = self.network.segment(from, to, piece.bytes());
                direction.carry(self.now(), delay, passes, piece);
            }
        }
    }

    /// Ends the connection at once, at both ends.
    pub(crate) fn reset(&self) {
        self.lock().iter_mut().for_each(Direction::reset);
    }
}
