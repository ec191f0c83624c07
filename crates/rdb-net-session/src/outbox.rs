//! Writing requests without the session, so that callers on several threads do not wait for each other: each thread has an
//! outbox, and the session collects what is in it.
//!
//! An outbox gives out request ids of its own and spends credits that it was granted before. Requests of different outboxes
//! are in no order; those of one leave in the order in which they were written.

use std::collections::VecDeque;
use std::sync::Arc;

use rdb_net_types::{Lane, MessageType};
use rdb_net_wire::{Encode, Flags, FrameHead, control_type};

use crate::batch::{Batch, Sending};
use crate::compression::Compression;
use crate::costs::Costs;
use crate::requests::{RequestId, nanoseconds};
use crate::{RequestOptions, SendError, Terms};

/// The credits of one lane that an outbox may spend until it is collected.
#[derive(Debug, Default)]
pub(crate) struct LaneOutbox {
    pub(crate) batch: Batch,
    pub(crate) spent: u64,
    pub(crate) grant: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    /// Somebody waits for its end.
    Open,
    /// Its caller has left; the slot is free when the session knows it.
    Abandoned,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    state: State,
}

/// How many free places are looked at for one that may be used: the one that has been free for the longest mostly may.
const PLACES_LOOKED_AT: usize = 4;

/// The request ids of one outbox.
#[derive(Debug)]
pub(crate) struct Ids {
    /// From 1: slot numbers leave this remainder when divided by `stride`, a power of two. The session's own leave 0.
    number: u32,
    stride: u32,
    stride_bits: u32,
    max: usize,
    slots: Vec<Slot>,
    /// Those that are free, the longest first.
    free: VecDeque<u32>,
}

impl Ids {
    #[inline]
    fn take(&mut self, mut is_usable: impl FnMut(usize) -> bool) -> Option<u32> {
        for _ in 0..self.free.len().min(PLACES_LOOKED_AT) {
            let place = self.free.pop_front()?;
            if is_usable(place as usize) {
                return Some(place);
            }
            self.free.push_back(place);
        }
        self.grow(is_usable)
    }

    #[cold]
    fn grow(&mut self, mut is_usable: impl FnMut(usize) -> bool) -> Option<u32> {
        let place = self.slots.len();
        if place >= self.max || !is_usable(place) {
            return None;
        }
        self.slots.push(Slot { generation: 1, state: State::Free });
        Some(place as u32)
    }

    fn id(&self, place: u32) -> RequestId {
        RequestId::new(place << self.stride_bits | self.number, self.slots[place as usize].generation)
    }

    #[inline]
    fn place(&self, id: RequestId) -> Option<usize> {
        let slot = id.slot() as u32;
        (slot & (self.stride - 1) == self.number).then_some((slot >> self.stride_bits) as usize)
    }

    #[inline]
    fn slot(&mut self, id: RequestId) -> Option<&mut Slot> {
        let place = self.place(id)?;
        self.slots.get_mut(place).filter(|slot| slot.generation == id.generation())
    }

    #[inline]
    pub(crate) fn is_open(&mut self, id: RequestId) -> bool {
        self.slot(id).is_some_and(|slot| slot.state == State::Open)
    }

    #[inline]
    pub(crate) fn end(&mut self, id: RequestId) -> bool {
        let Some(slot) = self.slot(id).filter(|slot| slot.state != State::Free) else { return false };
        let waited = slot.state == State::Open;
        slot.state = State::Free;
        // Generation 0 would make a correlation id of 0, which is a one-way message's.
        slot.generation = slot.generation.checked_add(1).unwrap_or(1);
        self.free.push_back(id.slot() as u32 >> self.stride_bits);
        waited
    }
}

/// Requests that were written, until [`Session::collect`](crate::Session::collect) takes them.
#[derive(Debug)]
pub struct Outbox {
    pub(crate) ids: Ids,
    pub(crate) lanes: [LaneOutbox; Lane::ALL.len()],
    terms: Terms,
    costs: Arc<Costs>,
    pub(crate) compression: Compression,
    /// Whether the connection takes messages.
    takes: bool,
}

impl Outbox {
    pub(crate) fn new(number: u32, stride: u32, terms: Terms, compression: Compression) -> Self {
        let stride_bits = stride.trailing_zeros();
        let ids = Ids { number, stride, stride_bits, max: 0, slots: Vec::new(), free: VecDeque::new() };
        Self { ids, lanes: Default::default(), terms, costs: Arc::default(), compression, takes: false }
    }

    /// What holds for later requests: how many there may be, how they are written, and whether there may be any.
    pub(crate) fn agree(&mut self, requests_max: usize, terms: Terms, costs: &Arc<Costs>, takes: bool) {
        self.ids.max = requests_max;
        if !Arc::ptr_eq(&self.costs, costs) {
            self.costs = Arc::clone(costs);
            self.compression.set_codec(terms.peer.codec);
        }
        self.terms = terms;
        self.takes = takes;
    }

    /// How large messages are written at the moment.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// Writes a request. Its time counts from when it is collected.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing was written. Whatever an outbox refuses, the session itself may still take.
    #[inline]
    pub fn request(
        &mut self,
        options: RequestOptions,
        message: &(impl Encode + ?Sized),
    ) -> Result<RequestId, SendError> {
        self.request_in(options, message, |_| true)
    }

    /// The same in a [place](Self::place) that its owner can use: it may still hold what an ended request left there.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    #[inline]
    pub fn request_in(
        &mut self,
        options: RequestOptions,
        message: &(impl Encode + ?Sized),
        is_usable: impl FnMut(usize) -> bool,
    ) -> Result<RequestId, SendError> {
        let message_type = message.message_type();
        if !self.takes {
            return Err(SendError::NotUp);
        }
        check_type(message_type)?;
        let place = self.ids.take(is_usable).ok_or(SendError::NoSlot)?;
        let id = self.ids.id(place);
        let peer = &self.terms.peer;
        let flags = if options.idempotent { Flags::IDEMPOTENT } else { Flags::default() };
        let flags = if peer.checksum { flags.with(Flags::CHECKSUM) } else { flags };
        let lane = peer.carrier(options.lane);
        let head = FrameHead { message_type, flags, lane, correlation: id.correlation() };
        let timeout_ns = options.timeout.map_or(u64::MAX, nanoseconds);
        let out = &mut self.lanes[lane as usize];
        let sending = Sending { head, request: Some(id), charged: true, timeout_ns };
        let Self { compression, costs, .. } = self;
        let charge = match out.batch.push(sending, message, peer.frame_bytes_max, compression, costs) {
            Ok(pushed) => pushed.charge,
            Err(error) => {
                self.ids.free.push_front(place);
                return Err(error.into());
            }
        };
        if out.spent + charge > out.grant {
            out.batch.remove_last();
            self.ids.free.push_front(place);
            return Err(SendError::NoCredit);
        }
        out.spent += charge;
        self.ids.slots[place as usize].state = State::Open;
        Ok(id)
    }

    /// The place of a request among those of this outbox: small numbers, reused; `None` for a request of another one.
    #[inline]
    pub fn place(&self, id: RequestId) -> Option<usize> {
        self.ids.place(id)
    }

    /// Whether it has no request that has not ended.
    pub fn is_idle(&self) -> bool {
        self.ids.free.len() == self.ids.slots.len()
    }

    /// Whether somebody waits for the end of this request.
    pub fn is_open(&mut self, id: RequestId) -> bool {
        self.ids.is_open(id)
    }

    /// Nobody waits for this request any more. `false` where it has ended already.
    pub fn abandon(&mut self, id: RequestId) -> bool {
        let Some(slot) = self.ids.slot(id).filter(|slot| slot.state == State::Open) else { return false };
        slot.state = State::Abandoned;
        true
    }

    /// The request has ended: its id may be given out again, with another generation. Returns whether somebody waits for it.
    #[inline]
    pub fn end(&mut self, id: RequestId) -> bool {
        self.ids.end(id)
    }
}

/// The protocol's own types are sent by the session alone.
#[inline]
pub(crate) fn check_type(message_type: MessageType) -> Result<(), SendError> {
    if message_type.is_control() && message_type != control_type::MEMBERSHIP_SYNC {
        return Err(SendError::ReservedType);
    }
    Ok(())
}
