//! Writing replies: from answers to frames, without the session, so that whoever shares a session holds it only for handing
//! them over.

use rdb_net_types::{Effect, Lane, Reason};
use rdb_net_wire::{Codec, Encode, EncodeError, ErrorReply, Flags, FrameHead, Prepared, control_type};

use crate::Terms;
use crate::batch::{Batch, Sending};
use crate::compression::{Compression, CompressionConfig};
use crate::costs::Costs;
use crate::event::InboundId;

/// A large reply, and how it is to be compressed into frames of at most which size.
pub type Elsewhere = (InboundId, Prepared, (Codec, u32));

/// Larger replies are not written among the others: they are compressed elsewhere, and sent frame by frame.
const INLINE_REPLY_BYTES_MAX: usize = 64 * 1024;

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
    /// Replies that are larger than a frame, with the requests that they end.
    pub(crate) large: Vec<(InboundId, Prepared)>,
    /// The ended requests that asked for a stream.
    pub(crate) streams: Vec<u64>,
    /// Large replies that are to be compressed first, where nobody waits for it.
    elsewhere: Vec<Elsewhere>,
    compression: Compression,
    ended: u32,
    /// By lane number.
    bytes: [usize; Lane::ALL.len()],
}

impl Replies {
    /// No replies yet.
    pub fn new(terms: Terms, compression: &CompressionConfig) -> Self {
        let compression = Compression::new(compression);
        Self {
            terms,
            lanes: Default::default(),
            large: Vec::new(),
            streams: Vec::new(),
            elsewhere: Vec::new(),
            compression,
            ended: 0,
            bytes: Default::default(),
        }
    }

    /// Writes later replies by these terms.
    pub fn set_terms(&mut self, terms: Terms) {
        self.terms = terms;
        self.compression.set_codec(terms.peer.codec);
    }

    /// How replies are written at the moment.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// Answers an inbound request.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the reply does not fit a frame; the caller is told so, and the request is ended.
    pub fn reply(&mut self, id: InboundId, message: &(impl Encode + ?Sized)) -> Result<(), EncodeError> {
        if message.bytes_at_least() > INLINE_REPLY_BYTES_MAX
            && let Some(prepared) = Prepared::new(message)
            && self.terms.peer.takes(&prepared).is_ok()
        {
            self.reply_prepared(id, prepared);
            return Ok(());
        }
        let mut pushed = self.push(&id, Flags::RESPONSE, message);
        if let Err(error) = &mut pushed
            && let Some(prepared) = Prepared::new(message)
        {
            let (message_type, size) = (prepared.message_type(), prepared.total_bytes() as usize);
            match self.terms.peer.takes(&prepared) {
                Ok(()) => {
                    self.reply_prepared(id, prepared);
                    return Ok(());
                }
                Err(limit) => *error = EncodeError::TooLarge { message_type, size, limit },
            }
        }
        if let Err(error) = &pushed {
            let told = ErrorReply::new(Effect::Unknown, Reason::TooLarge, &error.to_string());
            let fits = self.push(&id, Flags::RESPONSE.with(Flags::ERROR), &told);
            debug_assert!(fits.is_ok(), "an error reply fits the smallest frame: {fits:?}");
        }
        self.finish(id);
        pushed
    }

    /// Answers an inbound request with a message that was encoded before, and that the other side takes.
    #[cold]
    fn reply_prepared(&mut self, id: InboundId, prepared: Prepared) {
        let bytes = prepared.total_bytes();
        match self.compression.choose(id.lane, prepared.message_type(), bytes) {
            Some(codec) if id.wants_reply() => {
                self.bytes[id.lane as usize] += bytes as usize;
                self.elsewhere.push((id, prepared, (codec, self.terms.peer.frame_bytes_max)));
            }
            _ => {
                self.ended += 1;
                self.bytes[id.lane as usize] += bytes as usize;
                self.large.push((id, prepared));
            }
        }
    }

    /// The next large reply that is to be compressed elsewhere, and then given to
    /// [`Session::reply_prepared`](crate::Session::reply_prepared).
    pub fn poll_elsewhere(&mut self) -> Option<Elsewhere> {
        let elsewhere = self.elsewhere.pop()?;
        let bytes = &mut self.bytes[elsewhere.0.lane as usize];
        *bytes = bytes.saturating_sub(elsewhere.1.total_bytes() as usize);
        Some(elsewhere)
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
        let flags = if self.terms.peer.checksum { flags.with(Flags::CHECKSUM) } else { flags };
        let message_type = if flags.has(Flags::ERROR) { control_type::REPLY } else { message.message_type() };
        let head = FrameHead { message_type, flags, lane: id.lane, correlation: id.correlation };
        let sending = Sending::new(head, None, false);
        let batch = &mut self.lanes[id.lane as usize].batch;
        let max = self.terms.peer.frame_bytes_max;
        let pushed = batch.push(sending, message, max, &mut self.compression, &Costs::default())?;
        self.bytes[id.lane as usize] += pushed.wire_bytes as usize;
        Ok(())
    }

    /// Ends an inbound message without an answer: a one-way message that its handler is done with.
    #[inline]
    pub fn finish(&mut self, id: InboundId) {
        if id.wants_stream {
            self.streams.push(id.correlation);
        }
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

    /// How many bytes of a lane wait to be handed over, or to be taken elsewhere.
    pub fn bytes_of(&self, lane: Lane) -> usize {
        self.bytes[lane as usize]
    }

    pub(crate) fn take_totals(&mut self) -> (u64, u64) {
        self.compression.take_totals()
    }

    pub(crate) fn handed_over(&mut self) {
        (self.ended, self.bytes) = (0, Default::default());
    }
}
