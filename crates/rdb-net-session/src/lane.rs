//! One lane towards the other side: what waits for the socket, in order, within the other side's credits.

use std::collections::VecDeque;
use std::sync::Arc;

use rdb_net_types::{Effect, Lane, Reason};
use rdb_net_wire::{Encode, EncodeError, ErrorReply, Flags, FrameHead, Prepared, Raw, control_type};

use crate::TypeCounts;
use crate::batch::{Batch, Pushed, Queued, Sending};
use crate::compression::Compression;
use crate::costs::{Costs, frame_charge};
use crate::requests::RequestId;

/// How many bytes of a lane may wait for the socket before senders are held back: four times the default credits, so that it
/// matters only towards a peer that promises too much. One large message may exceed it.
pub(crate) const QUEUED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How many bytes of a lane may wait before writers of streams are held back: they have credits of a peer's choosing.
pub(crate) const STREAM_QUEUED_BYTES_MAX: usize = 256 * 1024;

/// A message that goes frame by frame when its turn comes.
#[derive(Debug)]
pub(crate) struct Large {
    pub(crate) head: FrameHead,
    pub(crate) prepared: Prepared,
    pub(crate) request: Option<RequestId>,
    pub(crate) charged: bool,
    /// Nobody waits for it any more: what was not sent yet is not sent.
    pub(crate) abandoned: bool,
    /// At least what is still to be charged for it.
    pub(crate) waiting_charge: u64,
    /// What reading it needs beyond its bytes.
    pub(crate) beyond_bytes: u64,
}

/// What waits, in order.
#[derive(Debug)]
enum Waiting {
    Batch(Batch),
    Large(Box<Large>),
}

/// One lane towards the other side.
#[derive(Debug, Default)]
pub(crate) struct LaneQueue {
    waiting: VecDeque<Waiting>,
    /// The batch behind them, which takes the next frame.
    open: Batch,
    queued_bytes: usize,
    /// Charge of everything accepted for sending, since the connection began; of a large message, of what was cut off it.
    sent_charge: u64,
    /// Charge of everything given to the socket.
    handed_charge: u64,
    /// What outboxes brought behind a large message that waits: they were granted it before.
    brought_charge: u64,
    /// At least what is still to be charged for large messages that wait.
    waiting_charge: u64,
    /// How much may be charged in all.
    limit: u64,
    /// At most how much the other side takes before it has ended anything, as far as is known.
    window: u64,
    /// What outboxes may spend without asking.
    granted: u64,
    /// Messages handed to the socket, since the connection began: those that count for drains.
    handed_messages: u64,
    /// What the lane may still send in its turn; below 0 where it has sent more.
    pub(crate) deficit: i64,
}

impl LaneQueue {
    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Whether something can be given to the socket.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        match self.waiting.front() {
            None => !self.open.is_empty(),
            Some(Waiting::Batch(_)) => true,
            Some(Waiting::Large(large)) => self.may_cut(large),
        }
    }

    /// Whether the next part of the large message at the head may be sent. What outboxes were granted stays theirs. What was
    /// accepted behind the message allowed for the whole of it, so it may go if all that is left of it fits; otherwise as long
    /// as there are credits for which nothing was accepted.
    fn may_cut(&self, large: &Large) -> bool {
        let all = self.handed_charge + self.granted + self.brought_charge + large.waiting_charge;
        !large.charged || large.abandoned || self.sent_charge + self.granted < self.limit || all < self.limit
    }

    /// Raises how much may be charged; a lower limit is an old one and changes nothing. `true` when it rose.
    pub(crate) fn raise_limit(&mut self, limit: u64) -> bool {
        let rises = limit > self.limit;
        if rises {
            // Limits rise by no more than a window, and windows never shrink.
            self.window = self.window.max(limit - self.limit);
            self.limit = limit;
        }
        rises
    }

    /// Whether a message may be accepted. Credits are the other side's promise; how much waits here is bounded whatever it
    /// promises. What is needed is known only after encoding, so one message may overdraw the credits.
    pub(crate) fn has_credit(&self) -> bool {
        self.sent_charge + self.granted + self.waiting_charge < self.limit && self.queued_bytes < QUEUED_BYTES_MAX
    }

    /// Takes an outbox's grant back, of which so much was spent, and gives it a new one where the lane takes messages. All
    /// grants together are at most a quarter of the window: the other side tells new credits when half a window has ended,
    /// which must come about whoever sends. Returns whether others have more credits now.
    pub(crate) fn settle_grant(&mut self, grant: &mut u64, spent: u64, grant_max: u64) -> bool {
        let former = std::mem::take(grant);
        self.granted -= former;
        self.sent_charge += spent;
        self.brought_charge = if self.waiting_charge > 0 { self.brought_charge + spent } else { 0 };
        let left = self.limit.saturating_sub(self.sent_charge + self.granted + self.waiting_charge);
        let share = (self.window / 4).saturating_sub(self.granted);
        if self.queued_bytes < QUEUED_BYTES_MAX / 2 {
            *grant = (left / 8).min(share).min(grant_max);
        }
        self.granted += *grant;
        *grant + spent < former
    }

    /// Encodes a message behind those that wait.
    #[inline(always)]
    pub(crate) fn push(
        &mut self,
        sending: Sending,
        message: &(impl Encode + ?Sized),
        writing: &mut Writer,
        spare: &mut Vec<Batch>,
    ) -> Result<Pushed, EncodeError> {
        if self.open.buffer.len() >= writing.batch_bytes {
            let next = spare.pop().unwrap_or_default();
            self.waiting.push_back(Waiting::Batch(std::mem::replace(&mut self.open, next)));
        }
        let Writer { frame_bytes_max, compression, costs, .. } = writing;
        let pushed = self.open.push(sending, message, *frame_bytes_max, compression, costs)?;
        self.queued_bytes += pushed.wire_bytes as usize;
        self.sent_charge += pushed.charge;
        Ok(pushed)
    }

    /// Encodes a message before those that wait.
    pub(crate) fn push_front(
        &mut self,
        sending: Sending,
        message: &impl Encode,
        writing: &mut Writer,
        spare: &mut Vec<Batch>,
    ) -> Result<(), EncodeError> {
        let mut batch = spare.pop().unwrap_or_default();
        let Writer { frame_bytes_max, compression, costs, .. } = writing;
        let pushed = batch.push(sending, message, *frame_bytes_max, compression, costs)?;
        self.queued_bytes += pushed.wire_bytes as usize;
        self.waiting.push_front(Waiting::Batch(batch));
        Ok(())
    }

    /// Puts a large message behind those that wait.
    pub(crate) fn push_large(&mut self, large: Large, spare: &mut Vec<Batch>) {
        self.close_open(spare);
        let bytes = large.prepared.remaining_bytes();
        self.queued_bytes += bytes as usize;
        self.waiting_charge += large.waiting_charge;
        self.waiting.push_back(Waiting::Large(Box::new(large)));
    }

    fn close_open(&mut self, spare: &mut Vec<Batch>) {
        if !self.open.is_empty() {
            let next = spare.pop().unwrap_or_default();
            self.waiting.push_back(Waiting::Batch(std::mem::replace(&mut self.open, next)));
        }
    }

    /// Takes over a batch that was written elsewhere, and leaves an empty one in its place. Its frames leave behind those that
    /// wait already.
    pub(crate) fn append(&mut self, batch: &mut Batch, batch_bytes: usize, spare: &mut Vec<Batch>) {
        self.queued_bytes += batch.buffer.len();
        if self.open.is_empty() {
            std::mem::swap(&mut self.open, batch);
        } else if self.open.buffer.len() + batch.buffer.len() <= batch_bytes {
            self.open.append(batch);
        } else {
            self.close_open(spare);
            std::mem::swap(&mut self.open, batch);
        }
    }

    /// The lane's next frames: a batch, or as much of a large message as about fits `room` and its credits. `hand_over` is told
    /// of every request's last frame which message of its lane it becomes, of its other frames 0, and answers with its
    /// deadline; frames that it has none for are not sent and cost nothing.
    pub(crate) fn take(
        &mut self,
        room: usize,
        spare: &mut Vec<Batch>,
        frame_bytes_max: u32,
        mut hand_over: impl FnMut(RequestId, u64) -> Option<u64>,
    ) -> Taken {
        let mut batch = match self.waiting.pop_front() {
            None => std::mem::replace(&mut self.open, spare.pop().unwrap_or_default()),
            Some(Waiting::Batch(batch)) => batch,
            Some(Waiting::Large(large)) => {
                return self.cut(large, room, spare.pop().unwrap_or_default(), frame_bytes_max, hand_over);
            }
        };
        let (frames, mut given_up) = (batch.frames.len(), Vec::new());
        self.queued_bytes -= batch.buffer.len();
        for (index, queued) in batch.frames.iter_mut().enumerate() {
            if let Some(request) = queued.request {
                let Some(deadline_ns) = hand_over(request, self.handed_messages + 1) else {
                    self.sent_charge -= queued.charge;
                    given_up.push(index);
                    continue;
                };
                queued.deadline_ns = deadline_ns;
            }
            self.handed_charge += queued.charge;
            self.handed_messages += u64::from(queued.counts);
        }
        let frees = !given_up.is_empty();
        given_up.into_iter().rev().for_each(|index| batch.remove(index));
        Taken { batch, ended: frames, frees, large: None }
    }

    fn cut(
        &mut self,
        mut large: Box<Large>,
        room: usize,
        mut batch: Batch,
        frame_bytes_max: u32,
        mut hand_over: impl FnMut(RequestId, u64) -> Option<u64>,
    ) -> Taken {
        let room = room.max(1);
        while batch.buffer.len() < room && self.may_cut(&large) {
            let deadline_ns = match large.request {
                _ if large.abandoned => None,
                None => Some(u64::MAX),
                Some(request) => hand_over(request, 0),
            };
            let Some(deadline_ns) = deadline_ns else {
                self.forget(&mut large, &mut batch);
                return Taken { batch, ended: 1, frees: true, large: Some(0) };
            };
            let before = large.prepared.remaining_bytes();
            let counts = large.charged;
            let message_type = large.head.message_type;
            let queued = Queued {
                frame: Default::default(),
                deadline_ns,
                request: None,
                message_type,
                counts: false,
                charge: 0,
            };
            let is_whole = !large.prepared.has_begun();
            let sizes = batch.push_part(&queued, large.head, &mut large.prepared, frame_bytes_max);
            let bytes = before - large.prepared.remaining_bytes();
            self.queued_bytes -= bytes as usize;
            if large.charged {
                // The memory of fragments is reserved as a whole; one frame is charged as any other.
                let is_whole = is_whole && large.prepared.is_done();
                let beyond = if is_whole { large.beyond_bytes } else { 0 };
                let charge = frame_charge(sizes) + beyond;
                self.sent_charge += charge;
                self.handed_charge += charge;
                self.settle_waiting(&mut large, charge);
            }
            if large.prepared.is_done() {
                self.settle_waiting(&mut large, u64::MAX);
                self.handed_messages += u64::from(counts);
                if let Some(request) = large.request {
                    // It was waited for a moment ago.
                    let _deadline = hand_over(request, self.handed_messages);
                }
                if let Some(last) = batch.frames.last_mut() {
                    last.counts = counts;
                }
                return Taken { batch, ended: 1, frees: true, large: Some(1) };
            }
        }
        self.waiting.push_front(Waiting::Large(large));
        Taken { batch, ended: 0, frees: false, large: Some(0) }
    }

    fn settle_waiting(&mut self, large: &mut Large, charged: u64) {
        let charged = charged.min(large.waiting_charge);
        large.waiting_charge -= charged;
        self.waiting_charge -= charged;
    }

    /// What is left of a message that nobody waits for is not sent. Where a part of it was, the other side is told.
    fn forget(&mut self, large: &mut Large, batch: &mut Batch) {
        self.queued_bytes -= large.prepared.remaining_bytes() as usize;
        self.settle_waiting(large, u64::MAX);
        if !large.prepared.has_begun() {
            return;
        }
        let checksum = Flags(large.head.flags.0 & Flags::CHECKSUM.0);
        let (mut none, costs) = (Compression::default(), Costs::default());
        let pushed = if large.head.flags.has(Flags::RESPONSE) {
            let flags = checksum.with(Flags::RESPONSE).with(Flags::ERROR);
            let head = FrameHead { message_type: control_type::REPLY, flags, ..large.head };
            let reply = ErrorReply::new(Effect::Unknown, Reason::Cancelled, "");
            batch.push(Sending::new(head, None, false), &reply, u32::MAX, &mut none, &costs)
        } else {
            let head = FrameHead {
                message_type: control_type::CANCEL,
                flags: checksum.with(Flags::ONE_WAY),
                lane: Lane::System,
                correlation: large.head.correlation,
            };
            let empty = Raw { message_type: control_type::CANCEL, payload: Default::default() };
            batch.push(Sending::new(head, None, false), &empty, u32::MAX, &mut none, &costs)
        };
        debug_assert!(pushed.is_ok(), "the protocol's own messages fit every frame: {pushed:?}");
    }

    /// Lets those large messages go that nobody waits for any more.
    pub(crate) fn forget_unwaited(&mut self, is_waiting: &impl Fn(RequestId) -> bool) {
        for waiting in &mut self.waiting {
            if let Waiting::Large(large) = waiting {
                large.abandoned |= large.request.is_some_and(|request| !is_waiting(request));
            }
        }
    }

    /// Nobody waits for this answer any more. A small one is sent all the same.
    pub(crate) fn abandon_reply(&mut self, correlation: u64) {
        for waiting in &mut self.waiting {
            if let Waiting::Large(large) = waiting
                && large.head.correlation == correlation
                && large.head.flags.has(Flags::RESPONSE)
            {
                large.abandoned = true;
            }
        }
    }

    /// Forgets everything that waits, because the connection is gone.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
        self.open.clear();
        (self.queued_bytes, self.waiting_charge, self.deficit) = (0, 0, 0);
    }
}

/// What a lane had for the socket.
pub(crate) struct Taken {
    pub(crate) batch: Batch,
    /// How many of the things that waited do so no more.
    pub(crate) ended: usize,
    /// Whether senders that are held back may try again.
    pub(crate) frees: bool,
    /// Of parts of a large message: how many messages end with them.
    pub(crate) large: Option<u64>,
}

impl Taken {
    /// Counts the messages by type, and returns how many there are.
    pub(crate) fn count(&self, sent: &mut TypeCounts) -> u64 {
        let frames = &self.batch.frames;
        if let (Some(count), Some(first)) = (self.large, frames.first()) {
            sent.add(first.message_type, count);
            return count;
        }
        for run in frames.chunk_by(|one, next| one.message_type == next.message_type) {
            sent.add(run[0].message_type, run.len() as u64);
        }
        frames.len() as u64
    }
}

/// How messages are written.
#[derive(Debug)]
pub(crate) struct Writer {
    /// About how many bytes are given to the socket at once.
    pub(crate) batch_bytes: usize,
    /// The largest frame that the other side reads.
    pub(crate) frame_bytes_max: u32,
    /// What the other side's readers need.
    pub(crate) costs: Arc<Costs>,
    pub(crate) compression: Compression,
}
