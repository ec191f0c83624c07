//! One direction of a stream over a link: in order, and held across a cut.
//!
//! Departure from TCP: a sender whose acknowledgements are cut off goes on sending, since there is no window here; whoever
//! carries the bytes bounds them.

use std::time::Duration;

/// One direction of a stream, for pieces of any kind.
#[derive(Debug, Clone)]
pub struct Pipe<T> {
    /// When the last piece arrives.
    last_arrival: Duration,
    /// Pieces that do not pass, and since when.
    held: Vec<T>,
    held_since: Duration,
}

impl<T> Default for Pipe<T> {
    fn default() -> Self {
        Self { last_arrival: Duration::ZERO, held: Vec::new(), held_since: Duration::ZERO }
    }
}

/// What became of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent<T> {
    /// It is under way.
    Arrives {
        /// When it arrives, by the clock that the sender's time is of.
        at: Duration,
        /// The piece.
        piece: T,
    },
    /// It is held until the link is mended.
    Held {
        /// Whether it is the first one: nothing was held before it.
        is_first: bool,
    },
}

impl<T> Pipe<T> {
    /// Sends a piece that would take this long. It is held where the link does not pass, and behind others that are held.
    pub fn send(&mut self, now: Duration, delay: Duration, passes: bool, piece: T) -> Sent<T> {
        if passes && self.held.is_empty() {
            return Sent::Arrives { at: self.arrival(now + delay), piece };
        }
        let is_first = self.held.is_empty();
        if is_first {
            self.held_since = now;
        }
        self.held.push(piece);
        Sent::Held { is_first }
    }

    /// When something arrives that would arrive at this time: not before what was sent before it.
    pub fn arrival(&mut self, at: Duration) -> Duration {
        self.last_arrival = at.max(self.last_arrival);
        self.last_arrival
    }

    /// Takes what is held, in order, to be sent again.
    pub fn take_held(&mut self) -> Vec<T> {
        std::mem::take(&mut self.held)
    }

    /// Since when pieces are held; `None` where none are.
    pub fn held_since(&self) -> Option<Duration> {
        (!self.held.is_empty()).then_some(self.held_since)
    }
}
