//! Frames on their way to the socket, with what the session has to know of each.

use std::time::Duration;

use rdb_net_types::MessageType;
use rdb_net_wire::{Codec, Encode, EncodeError, FrameBuffer, FrameHead, FrameMark, Prepared};

use crate::compression::Compression;
use crate::costs::{Costs, Sizes};
use crate::requests::{RequestId, nanoseconds};

/// A frame in a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queued {
    pub(crate) frame: FrameMark,
    /// The deadline as nanoseconds of the session's clock, known when the batch is taken, and how long the request may take
    /// before; the largest number for none.
    pub(crate) deadline_ns: u64,
    /// The request it carries, where somebody waits for the answer and it is the request's last frame.
    pub(crate) request: Option<RequestId>,
    pub(crate) message_type: MessageType,
    /// Whether a message of ours ends with it: one that the other side counts.
    pub(crate) counts: bool,
    /// What it costs of its lane's credits; 0 where it costs nothing.
    pub(crate) charge: u64,
}

/// What a frame is that was queued.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pushed {
    pub(crate) wire_bytes: u32,
    pub(crate) structure_bytes: u32,
    pub(crate) charge: u64,
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

/// Frames for the socket. [`seal`](Self::seal) it outside of any lock, write it, give it back with
/// [`Session::recycle`](crate::Session::recycle).
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) buffer: FrameBuffer,
    pub(crate) frames: Vec<Queued>,
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
    pub(crate) fn append(&mut self, other: &mut Self) {
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
            saved += self.frames[index].charge;
            self.remove(index);
        }
        saved
    }

    /// Encodes a message behind those that are there, and tells the frame's length and what it costs: 0 where it is not charged.
    #[inline(always)]
    pub(crate) fn push(
        &mut self,
        sending: Sending,
        message: &(impl Encode + ?Sized),
        frame_bytes_max: u32,
        compression: &mut Compression,
        costs: &Costs,
    ) -> Result<Pushed, EncodeError> {
        let Sending { head, request, charged, timeout_ns } = sending;
        let mut frame = self.buffer.push(head, message, frame_bytes_max)?;
        let mut saved_bytes = 0;
        // The head is smaller than any limit worth having, so the frame's length decides nearly as well as the body's.
        if let Some(codec) = compression.choose(head.lane, head.message_type, frame.wire_bytes) {
            (frame, saved_bytes) = self.compress_last(frame, head.message_type, codec, compression);
        }
        let (message_type, wire_bytes, structure_bytes) = (head.message_type, frame.wire_bytes, frame.structure_bytes);
        let sizes = Sizes { wire_bytes, saved_bytes, structure_bytes };
        let charge = if charged { costs.charge(message_type, sizes) } else { 0 };
        self.frames.push(Queued { frame, deadline_ns: timeout_ns, request, message_type, counts: charged, charge });
        Ok(Pushed { wire_bytes, structure_bytes, charge })
    }

    #[cold]
    fn compress_last(
        &mut self,
        frame: FrameMark,
        message_type: MessageType,
        codec: Codec,
        compression: &mut Compression,
    ) -> (FrameMark, u32) {
        let raw_bytes = self.buffer.raw_bytes(&frame);
        let (saved_bytes, frame) = self.buffer.compress_last(&frame, codec).unwrap_or((0, frame));
        compression.record(message_type, u64::from(raw_bytes), u64::from(raw_bytes - saved_bytes));
        (frame, saved_bytes)
    }

    /// Cuts the next frame off a prepared message, and tells its sizes.
    pub(crate) fn push_part(&mut self, queued: &Queued, head: FrameHead, prepared: &mut Prepared, max: u32) -> Sizes {
        let frame = self.buffer.push_part(head, prepared, max);
        let saved_bytes = self.buffer.saved_bytes(&frame);
        self.frames.push(Queued { frame, ..*queued });
        Sizes { wire_bytes: frame.wire_bytes, saved_bytes, structure_bytes: 0 }
    }

    pub(crate) fn clear(&mut self) {
        self.buffer.clear();
        self.frames.clear();
    }

    /// Takes a frame out that must not be sent.
    pub(crate) fn remove(&mut self, index: usize) {
        let removed = self.frames.remove(index);
        let mut later: Vec<FrameMark> = self.frames[index..].iter().map(|later| later.frame).collect();
        self.buffer.remove(&removed.frame, &mut later);
        self.frames[index..].iter_mut().zip(later).for_each(|(queued, frame)| queued.frame = frame);
    }
}
