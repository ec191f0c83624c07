//! What waits for the socket, lane by lane, within the other side's credits.

use std::collections::VecDeque;
use std::time::Duration;

use rdb_net_types::{Lane, MessageType};
use rdb_net_wire::{Encode, EncodeError, FrameBuffer, FrameHead, FrameMark};

use crate::TypeCounts;
use crate::requests::{RequestId, nanoseconds};

/// What a message costs beside its bytes: the slot or queue entry that the receiver needs for it.
pub(crate) const MESSAGE_CHARGE: u64 = 64;

/// A frame in a batch.
#[derive(Debug, Clone, Copy)]
struct Queued {
    frame: FrameMark,
    /// The deadline as nanoseconds of the session's clock, known when the batch is taken, and how long the request may take
    /// before; the largest number for none.
    deadline_ns: u64,
    /// The request it carries, where somebody waits for the answer.
    request: Option<RequestId>,
    message_type: MessageType,
    /// Whether it counts against credits.
    charged: bool,
}

/// Frames for the socket. [`seal`](Self::seal) it outside of any lock, write it, give it back with
/// [`Session::recycle`](crate::Session::recycle).
#[derive(Debug, Default)]
pub struct Batch {
    buffer: FrameBuffer,
    frames: Vec<Queued>,
}

impl Batch {
    /// Fills in remaining deadlines and checksums.
    pub fn seal(&mut self, now: Duration) {
        let now_ns = nanoseconds(now);
        for queued in &self.frames {
            let remaining_us = match queued.deadline_ns {
                u64::MAX => 0,
                // A request that is due this very moment still has a deadline: 0 would mean none.
                deadline => u32::try_from(deadline.saturating_sub(now_ns) / 1000).unwrap_or(u32::MAX).max(1),
            };
            self.buffer.seal(&queued.frame, remaining_us);
        }
    }

    /// The frames' bytes.
    pub fn buffer(&self) -> &FrameBuffer {
        &self.buffer
    }

    /// How many frames there are.
    pub fn frames(&self) -> usize {
        self.frames.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Takes the last frame out again.
    pub(crate) fn remove_last(&mut self) {
        if let Some(last) = self.frames.pop() {
            self.buffer.remove(&last.frame, &mut []);
        }
    }

    /// Takes over another batch's frames, which is empty afterwards.
    fn append(&mut self, other: &mut Self) {
        let by = self.buffer.append(&mut other.buffer);
        self.frames.extend(other.frames.drain(..).map(|queued| Queued { frame: queued.frame.moved(by), ..queued }));
    }

    /// The requests among the frames, each with how long it may take. Those that are not kept are taken out; returns what
    /// they would have cost.
    pub(crate) fn retain_requests(&mut self, mut keep: impl FnMut(RequestId, u64) -> bool) -> u64 {
        let mut given_up = Vec::new();
        for (index, queued) in self.frames.iter().enumerate() {
            if queued.request.is_some_and(|request| !keep(request, queued.deadline_ns)) {
                given_up.push(index);
            }
        }
        let mut saved = 0;
        for index in given_up.into_iter().rev() {
            saved += charge(self.frames[index].frame.wire_bytes);
            self.remove(index);
        }
        saved
    }

    /// Encodes a message behind those that are there, and returns its frame's length.
    #[inline(always)]
    pub(crate) fn push(
        &mut self,
        sending: Sending,
        message: &(impl Encode + ?Sized),
        frame_bytes_max: u32,
    ) -> Result<u32, EncodeError> {
        let Sending { head, request, charged, timeout_ns } = sending;
        let frame = self.buffer.push(head, message, frame_bytes_max)?;
        self.frames.push(Queued { frame, deadline_ns: timeout_ns, request, message_type: head.message_type, charged });
        Ok(frame.wire_bytes)
    }

    pub(crate) fn clear(&mut self) {
        self.buffer.clear();
        self.frames.clear();
    }

    /// Takes a frame out that must not be sent.
    fn remove(&mut self, index: usize) {
        let removed = self.frames.remove(index);
        let mut later: Vec<FrameMark> = self.frames[index..].iter().map(|later| later.frame).collect();
        self.buffer.remove(&removed.frame, &mut later);
        self.frames[index..].iter_mut().zip(later).for_each(|(queued, frame)| queued.frame = frame);
    }
}

/// One lane towards the other side.
#[derive(Debug, Default)]
pub(crate) struct LaneQueue {
    /// Batches that have reached their size, in order.
    full: VecDeque<Batch>,
    /// The one behind them, which takes the next frame.
    open: Batch,
    queued_bytes: usize,
    /// Charge of everything accepted for sending, since the connection began.
    sent_charge: u64,
    /// How much may be charged in all.
    limit: u64,
    /// The first limit: how much the other side takes before it has ended anything.
    window: u64,
    /// What outboxes may spend without asking.
    granted: u64,
    /// Messages handed to the socket, since the connection began: those that count for credits and for drains.
    handed_messages: u64,
}

impl LaneQueue {
    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    fn take_batch(&mut self, spare: &mut Vec<Batch>) -> Option<Batch> {
        if self.full.is_empty() && !self.open.is_empty() {
            return Some(std::mem::replace(&mut self.open, spare.pop().unwrap_or_default()));
        }
        self.full.pop_front()
    }

    /// Raises how much may be charged; a lower limit is an old one and changes nothing. `true` when it rose.
    pub(crate) fn raise_limit(&mut self, limit: u64) -> bool {
        let rises = limit > self.limit;
        if self.window == 0 {
            self.window = limit;
        }
        self.limit = self.limit.max(limit);
        rises
    }

    /// Whether a message may be accepted. Credits are the other side's promise; how much waits here is bounded whatever it
    /// promises. What is needed is known only after encoding, so one message may overdraw the
    /// credits by less than its own size; the receiver allows for one frame.
    pub(crate) fn has_credit(&self) -> bool {
        self.sent_charge + self.granted < self.limit && self.queued_bytes < QUEUED_BYTES_MAX
    }

    /// Takes an outbox's grant back, of which so much was spent, and gives it a new one where the lane takes messages. All
    /// grants together are at most a quarter of the window: the other side tells new credits when half a window has ended,
    /// which must come about whoever sends. Returns whether others have more credits now.
    pub(crate) fn settle_grant(&mut self, grant: &mut u64, spent: u64, grant_max: u64) -> bool {
        let former = std::mem::take(grant);
        self.granted -= former;
        self.sent_charge += spent;
        let left = self.limit.saturating_sub(self.sent_charge + self.granted);
        let share = (self.window / 4).saturating_sub(self.granted);
        if self.queued_bytes < QUEUED_BYTES_MAX / 2 {
            *grant = (left / 8).min(share).min(grant_max);
        }
        self.granted += *grant;
        *grant + spent < former
    }
}

/// What kind of frame is queued.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sending {
    pub(crate) head: FrameHead,
    pub(crate) request: Option<RequestId>,
    pub(crate) charged: bool,
    /// How long a request from an outbox may take; the largest number for none.
    pub(crate) timeout_ns: u64,
}

impl Sending {
    /// A frame that is no request, or one whose time the table of requests keeps.
    #[inline]
    pub(crate) fn new(head: FrameHead, request: Option<RequestId>, charged: bool) -> Self {
        Self { head, request, charged, timeout_ns: u64::MAX }
    }
}

/// All lanes towards the other side.
#[derive(Debug)]
pub(crate) struct Lanes {
    lanes: [LaneQueue; Lane::ALL.len()],
    spare: Vec<Batch>,
    /// Frames that wait, on all lanes together.
    waiting: usize,
    batch_bytes: usize,
    pub(crate) frame_bytes_max: u32,
    /// A lane that took no messages may take some, though no new credits came.
    freed: bool,
}

/// How many bytes of a lane may wait for the socket before senders are held back: four times the default credits, so that it
/// matters only towards a peer that promises too much.
pub(crate) const QUEUED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How many emptied batches are kept for reuse.
const SPARE_BATCHES: usize = 4;
/// A batch with more memory than this is not kept: one burst must not pin memory for ever.
const SPARE_BYTES_MAX: usize = 512 * 1024;

impl Lanes {
    pub(crate) fn new(batch_bytes: usize, frame_bytes_max: u32) -> Self {
        Self { lanes: Default::default(), spare: Vec::new(), waiting: 0, batch_bytes, frame_bytes_max, freed: false }
    }

    /// About how many bytes are given to the socket at once.
    pub(crate) fn batch_bytes(&self) -> usize {
        self.batch_bytes
    }

    pub(crate) fn lane(&self, lane: Lane) -> &LaneQueue {
        &self.lanes[lane as usize]
    }

    pub(crate) fn lane_mut(&mut self, lane: Lane) -> &mut LaneQueue {
        &mut self.lanes[lane as usize]
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.lanes.iter().map(LaneQueue::queued_bytes).sum()
    }

    /// Encodes a message into its lane. Always inlined, as [`Batch::push`]: what describes a frame stays in registers.
    #[inline(always)]
    pub(crate) fn push(&mut self, sending: Sending, message: &(impl Encode + ?Sized)) -> Result<(), EncodeError> {
        let lane = &mut self.lanes[sending.head.lane as usize];
        if lane.open.buffer.len() >= self.batch_bytes {
            let next = self.spare.pop().unwrap_or_default();
            lane.full.push_back(std::mem::replace(&mut lane.open, next));
        }
        let charged = sending.charged;
        let wire_bytes = lane.open.push(sending, message, self.frame_bytes_max)?;
        lane.queued_bytes += wire_bytes as usize;
        self.waiting += 1;
        lane.sent_charge += if charged { charge(wire_bytes) } else { 0 };
        Ok(())
    }

    /// Takes over a batch that was written elsewhere, and leaves an empty one in its place. Its frames leave behind those that
    /// wait already.
    pub(crate) fn append(&mut self, lane: Lane, batch: &mut Batch) {
        if batch.is_empty() {
            return;
        }
        let lane = &mut self.lanes[lane as usize];
        lane.queued_bytes += batch.buffer.len();
        self.waiting += batch.frames.len();
        if lane.open.is_empty() {
            std::mem::swap(&mut lane.open, batch);
        } else if lane.open.buffer.len() + batch.buffer.len() <= self.batch_bytes {
            lane.open.append(batch);
        } else {
            let next = self.spare.pop().unwrap_or_default();
            lane.full.push_back(std::mem::replace(&mut lane.open, next));
            std::mem::swap(&mut lane.open, batch);
        }
    }

    /// The next batch for the socket: System first. `hand_over` is told of every request's frame which message of its lane it
    /// becomes, and answers with its deadline; frames that it has none for are taken out and cost nothing.
    pub(crate) fn take(
        &mut self,
        sent: &mut TypeCounts,
        mut hand_over: impl FnMut(RequestId, u64) -> Option<u64>,
    ) -> Option<Batch> {
        if self.waiting == 0 {
            return None;
        }
        for lane in &mut self.lanes {
            while let Some(mut batch) = lane.take_batch(&mut self.spare) {
                self.freed |= lane.queued_bytes >= QUEUED_BYTES_MAX;
                lane.queued_bytes -= batch.buffer.len();
                self.waiting -= batch.frames.len();
                let mut given_up = Vec::new();
                for (index, queued) in batch.frames.iter_mut().enumerate() {
                    if let Some(request) = queued.request {
                        let Some(deadline_ns) = hand_over(request, lane.handed_messages + 1) else {
                            lane.sent_charge -= charge(queued.frame.wire_bytes);
                            given_up.push(index);
                            continue;
                        };
                        queued.deadline_ns = deadline_ns;
                    }
                    lane.handed_messages += u64::from(queued.charged);
                }
                self.freed |= !given_up.is_empty();
                given_up.into_iter().rev().for_each(|index| batch.remove(index));
                for run in batch.frames.chunk_by(|one, next| one.message_type == next.message_type) {
                    sent.add(run[0].message_type, run.len() as u64);
                }
                if !batch.is_empty() {
                    return Some(batch);
                }
                Self::keep_spare(&mut self.spare, batch);
            }
        }
        None
    }

    /// Whether senders that were held back may try again, since the last call.
    pub(crate) fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    pub(crate) fn recycle(&mut self, batch: Batch) {
        Self::keep_spare(&mut self.spare, batch);
    }

    fn keep_spare(spare: &mut Vec<Batch>, mut batch: Batch) {
        if spare.len() < SPARE_BATCHES && batch.buffer.capacity() <= SPARE_BYTES_MAX {
            batch.clear();
            spare.push(batch);
        }
    }

    /// Forgets everything that waits, because the connection is gone.
    pub(crate) fn clear(&mut self) {
        self.waiting = 0;
        self.spare.clear();
        for lane in &mut self.lanes {
            lane.full.clear();
            lane.open.clear();
            lane.queued_bytes = 0;
        }
    }
}

/// What a frame of this length costs of the lane's credits.
pub(crate) const fn charge(wire_bytes: u32) -> u64 {
    wire_bytes as u64 + MESSAGE_CHARGE
}
