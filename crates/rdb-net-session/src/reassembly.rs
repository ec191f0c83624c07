//! Putting fragments together: one message at a time on each lane, since a lane has an order.
//!
//! What the whole message needs in memory is reserved when its first fragment comes. Where there is no room for it, its sender
//! is told at once, and its fragments are thrown away as they come: they cost it credits, and us nothing.

use std::time::Duration;

use bytes::Bytes;
use rdb_net_types::Lane;
use rdb_net_wire::{Body, Flags, FrameHead};

use crate::arrivals::Arrived;
use crate::budget::Reservation;

/// What a fragment needs beside its bytes, against the smallest that may come: one part in so many.
const OVERHEAD_SHARE: u64 = 16;

/// A message of which parts have come.
#[derive(Debug)]
struct Partial {
    head: FrameHead,
    total_bytes: u32,
    received_bytes: u32,
    attachment_bytes: u32,
    stream_window: u32,
    pieces: Vec<Bytes>,
    /// When the last part of it came.
    last_at: Duration,
    /// None where nobody wants the message.
    reservation: Option<Reservation>,
}

/// What a fragment is to its message.
#[derive(Debug)]
pub(crate) enum Part {
    /// The first one; the message is wanted or not, and [`Reassembly::begin`] is told.
    First,
    /// One of the others.
    Later,
}

/// A message that is whole.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) body: Body,
    /// As the first fragment said.
    pub(crate) stream_window: u32,
    /// None where nobody wants it.
    pub(crate) reservation: Option<Reservation>,
}

/// Whether both are of requests, of one-way messages, of replies, or of replies of a stream.
fn is_same_kind(one: Flags, other: Flags) -> bool {
    const KIND: u16 = Flags::RESPONSE.0 | Flags::ERROR.0 | Flags::ONE_WAY.0 | Flags::STREAM.0;
    one.0 & KIND == other.0 & KIND
}

/// The messages that are being put together, one a lane at most.
#[derive(Debug, Default)]
pub(crate) struct Reassembly {
    lanes: [Option<Box<Partial>>; Lane::ALL.len()],
}

impl Reassembly {
    /// What a message of this size needs while it is put together and until it is ended, without what reading it adds.
    pub(crate) fn cost(total_bytes: u32) -> u64 {
        let total = u64::from(total_bytes);
        total + total / OVERHEAD_SHARE
    }

    /// Whether a message is being put together on this lane, so that no other one may come.
    #[inline]
    pub(crate) fn is_open(&self, lane: Lane) -> bool {
        self.lanes[lane as usize].is_some()
    }

    /// Which part of its message this fragment is.
    ///
    /// # Errors
    ///
    /// What is wrong with its place.
    pub(crate) fn place(&self, arrived: &Arrived) -> Result<Part, &'static str> {
        let Some(fragment) = arrived.fragment() else { return Err("a fragment that is none") };
        match &self.lanes[arrived.head.lane as usize] {
            None if fragment.offset == 0 => Ok(Part::First),
            None => Err("a fragment without those before it"),
            Some(partial) => {
                let is_next = fragment.offset == partial.received_bytes && fragment.total_bytes == partial.total_bytes;
                let is_same = arrived.head.correlation == partial.head.correlation
                    && arrived.head.message_type == partial.head.message_type
                    && is_same_kind(arrived.head.flags, partial.head.flags);
                if is_next && is_same { Ok(Part::Later) } else { Err("a fragment out of its order") }
            }
        }
    }

    /// Begins with a message, which is wanted where memory was reserved for it.
    pub(crate) fn begin(&mut self, now: Duration, arrived: &mut Arrived, reservation: Option<Reservation>) {
        let total_bytes = arrived.fragment().map_or(0, |fragment| fragment.total_bytes);
        self.lanes[arrived.head.lane as usize] = Some(Box::new(Partial {
            head: arrived.head,
            total_bytes,
            received_bytes: 0,
            attachment_bytes: arrived.body.attachment_bytes(),
            stream_window: arrived.stream_window(),
            pieces: Vec::new(),
            last_at: now,
            reservation,
        }));
        self.add(now, arrived);
    }

    /// Adds the next fragment; `Some` with the message when it was the last one.
    pub(crate) fn add(&mut self, now: Duration, arrived: &mut Arrived) -> Option<Whole> {
        let lane = &mut self.lanes[arrived.head.lane as usize];
        let partial = lane.as_mut()?;
        partial.last_at = now;
        partial.received_bytes += arrived.body.len() as u32;
        if partial.reservation.is_some() {
            partial.pieces.push(std::mem::take(&mut arrived.body).into_bytes());
        }
        if partial.received_bytes < partial.total_bytes {
            return None;
        }
        let Partial { pieces, attachment_bytes, stream_window, reservation, .. } = *lane.take()?;
        Some(Whole { body: Body::of_pieces(pieces, attachment_bytes), stream_window, reservation })
    }

    /// Nobody wants the message any more that is being put together for this request: its memory is free, and what still
    /// comes of it is thrown away.
    pub(crate) fn discard(&mut self, correlation: u64) {
        for partial in self.lanes.iter_mut().flatten().filter(|partial| partial.head.correlation == correlation) {
            (partial.reservation, partial.pieces) = (None, Vec::new());
        }
    }

    /// Gives up what nobody waits for any more.
    pub(crate) fn discard_unwaited(&mut self, is_waiting: impl Fn(u64) -> bool) {
        for partial in self.lanes.iter_mut().flatten().filter(|partial| !is_waiting(partial.head.correlation)) {
            (partial.reservation, partial.pieces) = (None, Vec::new());
        }
    }

    /// When a message that holds memory has waited so long for its next part that it is given up.
    pub(crate) fn timeout(&self, patience: Duration) -> Option<Duration> {
        let holding = self.lanes.iter().flatten().filter(|partial| partial.reservation.is_some());
        holding.map(|partial| partial.last_at + patience).min()
    }

    /// Gives those up that have waited so long; what still comes of them is thrown away.
    pub(crate) fn give_up(&mut self, now: Duration, patience: Duration) -> Vec<FrameHead> {
        let waited = |partial: &&mut Box<Partial>| partial.reservation.is_some() && partial.last_at + patience <= now;
        let given_up = self.lanes.iter_mut().flatten().filter(waited).map(|partial| {
            (partial.reservation, partial.pieces) = (None, Vec::new());
            partial.head
        });
        given_up.collect()
    }

    /// The sender says that nothing more comes of this request's message.
    pub(crate) fn end(&mut self, correlation: u64) {
        for lane in &mut self.lanes {
            lane.take_if(|partial| partial.head.correlation == correlation);
        }
    }

    /// Forgets everything, because the connection is gone.
    pub(crate) fn clear(&mut self) {
        self.lanes = Default::default();
    }
}
