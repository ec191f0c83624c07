//! Writing replies: from answers to frames, without the session, so that whoever shares a session holds it only for handing
//! them over.

use rdb_net_types::{Effect, Lane, Reason};
use rdb_net_wire::{Encode, EncodeError, ErrorReply, Flags, FrameHead, control_type};

use crate::Terms;
use crate::event::InboundId;
use crate::lanes::{Batch, Sending};

/// Replies of one lane, and the messages that they end.
#[derive(Debug, Default)]
pub(crate) struct LaneReplies {
    pub(crate) batch: Batch,
    pub(crate) ended_charge: u64,
    pub(crate) ended: u32,
    pub(crate) ended_requests: u32,
}

/// Answers to inbound messages, encoded, until [`Session::take_replies`](crate::Session::take_replies) hands them over. Keeps
/// its memory for the next ones.
#[derive(Debug)]
pub struct Replies {
    terms: Terms,
    pub(crate) lanes: [LaneReplies; Lane::ALL.len()],
    ended: u32,
    bytes: usize,
}

impl Replies {
    /// No replies yet.
    pub fn new(terms: Terms) -> Self {
        Self { terms, lanes: Default::default(), ended: 0, bytes: 0 }
    }

    /// Writes later replies by these terms.
    pub fn set_terms(&mut self, terms: Terms) {
        self.terms = terms;
    }

    /// Answers an inbound request.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the reply does not fit a frame; the caller is told so, and the request is ended.
    pub fn reply(&mut self, id: InboundId, message: &(impl Encode + ?Sized)) -> Result<(), EncodeError> {
        let pushed = self.push(&id, Flags::RESPONSE, message);
        if let Err(error) = &pushed {
            let told = ErrorReply::new(Effect::Unknown, Reason::TooLarge, &error.to_string());
            let fits = self.push(&id, Flags::RESPONSE.with(Flags::ERROR), &told);
            debug_assert!(fits.is_ok(), "an error reply fits the smallest frame: {fits:?}");
        }
        self.finish(id);
        pushed
    }

    /// Answers an inbound request with what went wrong.
    pub fn reply_error(&mut self, id: InboundId, effect: Effect, reason: Reason, detail: &str) {
        let told = ErrorReply::new(effect, reason, detail);
        let fits = self.push(&id, Flags::RESPONSE.with(Flags::ERROR), &told);
        debug_assert!(fits.is_ok(), "an error reply fits the smallest frame: {fits:?}");
        self.finish(id);
    }

    #[inline]
    fn push(&mut self, id: &InboundId, flags: Flags, message: &(impl Encode + ?Sized)) -> Result<(), EncodeError> {
        if !id.wants_reply() {
            return Ok(());
        }
        let flags = if self.terms.checksum { flags.with(Flags::CHECKSUM) } else { flags };
        let message_type = if flags.has(Flags::ERROR) { control_type::REPLY } else { message.message_type() };
        let head = FrameHead { message_type, flags, lane: id.lane, correlation: id.correlation };
        let sending = Sending::new(head, None, false);
        let batch = &mut self.lanes[id.lane as usize].batch;
        self.bytes += batch.push(sending, message, self.terms.peer_frame_bytes_max)? as usize;
        Ok(())
    }

    /// Ends an inbound message without an answer: a one-way message that its handler is done with.
    #[inline]
    pub fn finish(&mut self, id: InboundId) {
        let lane = &mut self.lanes[id.lane as usize];
        lane.ended_charge += id.charge;
        lane.ended += 1;
        lane.ended_requests += u32::from(id.wants_reply());
        self.ended += 1;
    }

    /// Whether nothing waits to be handed over.
    pub fn is_empty(&self) -> bool {
        self.ended == 0
    }

    /// How many bytes wait to be handed over.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn handed_over(&mut self) {
        (self.ended, self.bytes) = (0, 0);
    }
}
