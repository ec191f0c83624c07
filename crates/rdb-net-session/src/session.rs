//! The machine itself: what its owner asks for and takes out. What comes in is in `receive`, what goes out in `send`, what time
//! does in `time`.

mod apart;
mod heartbeat;
mod receive;
mod send;
mod streaming;
mod time;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rdb_net_types::{Effect, Lane, MessageType, OverloadScope, Reason, RefusalReason};
use rdb_net_wire::{Close, Codec, Encode, EncodeError, Flags, FrameHead, FrameRules, GoAway, Hello, Prepared, Reject};

use crate::batch::{Batch, Sending};
use crate::compression::Compression;
use crate::costs::{Costs, MESSAGE_CHARGE};
use crate::drain::Drain;
use crate::event::{Event, Inbound, InboundId, Outcome};
use crate::inbound::Intake;
use crate::lane::{Large, Writer};
use crate::lanes::Lanes;
use crate::liveness::Liveness;
use crate::reassembly::Reassembly;
use crate::requests::{RequestId, Requests, nanoseconds};
use crate::streams::StreamsOut;
use crate::terms::PeerTerms;
use crate::{Budget, CloseReason, Config, Identity, Loss, Outbox, Replies, SessionStatistics, Side, hello};

/// The largest frame before the hello was accepted: a stranger makes us hold no more.
const HELLO_BYTES_MAX: u32 = 8 * 1024;

use apart::Apart;
use heartbeat::Heartbeats;
pub use streaming::StreamNews;

/// How a request travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestOptions {
    /// The lane.
    pub lane: Lane,
    /// How long the caller waits, from when the session is next told the time; `None` waits for as long as the connection
    /// lives.
    pub timeout: Option<Duration>,
    /// Whether carrying it out twice is the same as once.
    pub idempotent: bool,
}

/// Why a message was not accepted for sending. Nothing was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The lane's credits are used up. Try again after [`Event::Writable`].
    #[error("the lane's credits are used up")]
    NoCredit,
    /// As many requests are in flight as the other side takes. Try again after [`Event::Writable`].
    #[error("too many requests are in flight")]
    NoSlot,
    /// The message does not fit a frame of the other side.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// There is no memory for what is asked for.
    #[error("no memory is left for it")]
    NoMemory(OverloadScope),
    /// The other side is too old for streams of replies. Ask for one reply.
    #[error("the other side gives no streams of replies")]
    NoStreams,
    /// The type is one of the protocol's own, which only the session itself sends. The caller is at fault.
    #[error("the message type belongs to the protocol itself")]
    ReservedType,
    /// The connection is not up, drains, or has ended. Use another one.
    #[error("the connection takes no messages")]
    NotUp,
}

/// More than a fragment's frame has beside its body.
const PART_BYTES: u64 = 64;

/// What the largest frame is charged.
fn largest_frame(config: &Config) -> u64 {
    u64::from(config.frame_bytes_max) + MESSAGE_CHARGE
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    AwaitingHello,
    AwaitingDecision,
    Up,
    Closed,
}

/// One side of a connection.
#[derive(Debug)]
pub struct Session {
    config: Config,
    identity: Identity,
    side: Side,
    phase: Phase,
    hello_deadline: Duration,
    peer: Option<Box<Hello>>,
    /// What the other side reads.
    peer_terms: PeerTerms,
    /// What this side reads.
    rules: FrameRules,
    lanes: Lanes,
    intake: Intake,
    reassembly: Reassembly,
    /// The streams of replies that our handlers write.
    streams: StreamsOut,
    budget: Arc<Budget>,
    /// What the structs of our own readers cost.
    own_costs: Costs,
    /// What of it the other side knows, and is charged for.
    told_costs: Costs,
    requests: Requests,
    outboxes: u32,
    liveness: Liveness,
    drain: Drain,
    peer_drains: bool,
    ping_due: Option<u64>,
    pong_due: Option<u64>,
    /// A ping has come since the last pong.
    sign_of_life_due: bool,
    /// Streams of replies whose limits wait to be told, each once.
    stream_limits_due: Vec<RequestId>,
    blocked: bool,
    /// Since when frames wait for others.
    corked_since: Option<Duration>,
    events: VecDeque<Event>,
    statistics: SessionStatistics,
    /// Where each lane has a stream of its own.
    apart: Option<Box<Apart>>,
    /// Where packets travel beside the streams.
    heartbeats: Option<Heartbeats>,
}

impl Session {
    /// A session over a connection that has just been made. The dialer's hello is ready to be sent.
    pub fn new(config: Config, identity: Identity, side: Side, now: Duration) -> Self {
        let is_dialer = matches!(side, Side::Dialer { .. });
        let writer = Writer {
            batch_bytes: config.batch_bytes,
            frame_bytes_max: HELLO_BYTES_MAX,
            costs: Arc::default(),
            compression: Compression::new(&config.compression),
        };
        let mut session = Self {
            hello_deadline: now + config.hello_timeout,
            lanes: Lanes::new(writer),
            intake: Intake::new(hello::first_windows(&config), config.lane_credit_bytes, largest_frame(&config)),
            reassembly: Reassembly::default(),
            streams: StreamsOut::default(),
            budget: Budget::process(u64::MAX),
            own_costs: Costs::new(&Costs::own()),
            told_costs: Costs::default(),
            liveness: Liveness::new(&config, config.liveness, false, now),
            config,
            identity,
            side,
            phase: Phase::AwaitingHello,
            peer: None,
            peer_terms: PeerTerms::of_strangers(HELLO_BYTES_MAX),
            rules: FrameRules::plain(false),
            requests: Requests::default(),
            outboxes: 0,
            drain: Drain::None,
            peer_drains: false,
            ping_due: None,
            pong_due: None,
            sign_of_life_due: false,
            stream_limits_due: Vec::new(),
            blocked: false,
            corked_since: None,
            events: VecDeque::new(),
            statistics: SessionStatistics::default(),
            apart: None,
            heartbeats: None,
        };
        if is_dialer {
            session.push_hello();
        }
        session
    }

    // What the owner asks for.

    /// Reserves memory for this peer's messages from this budget; to be told before the connection is up. Without it there is
    /// no limit beyond the connection's own.
    pub fn set_budget(&mut self, budget: &Arc<Budget>) {
        self.budget = Arc::clone(budget);
    }

    /// Lets the dialer in, whose hello was the last [`Event::Hello`]. Has no effect at any other time.
    pub fn accept(&mut self, now: Duration) {
        if self.phase == Phase::AwaitingDecision {
            self.push_hello();
            self.come_up(now);
        }
    }

    /// Refuses the other side: the reason is told, and the session ends.
    pub fn reject(&mut self, reason: RefusalReason) {
        if self.phase != Phase::Closed {
            self.end(CloseReason::Rejected(reason));
            self.push_control(&Reject { code: reason.code(), retry_after_ms: 0 });
        }
    }

    /// Sends a request; its end is told by [`drain_completed`](Self::drain_completed). Its time counts from when the session
    /// is next told what time it is, so that a burst of requests costs one look at the clock.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing was queued, so the effect is `NotSent`.
    pub fn request(
        &mut self,
        options: RequestOptions,
        message: &(impl Encode + ?Sized),
    ) -> Result<RequestId, SendError> {
        let (id, head) = self.open_request(options, message.message_type())?;
        let sending = Sending::new(head, Some(id), true);
        if let Err(error) = self.lanes.push(sending, message) {
            match self.fit(head.lane, message, error) {
                Ok(prepared) => self.push_large(head, prepared, Some(id), true),
                Err(error) => {
                    self.requests.cancel(id);
                    return Err(error.into());
                }
            }
        }
        Ok(id)
    }

    /// Sends a request whose message was encoded before. It is taken out of `prepared` if it is accepted.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request); the message is still in `prepared`.
    pub fn request_prepared(
        &mut self,
        options: RequestOptions,
        prepared: &mut Option<Prepared>,
    ) -> Result<RequestId, SendError> {
        let message_type = self.check_prepared(prepared)?;
        let (id, head) = self.open_request(options, message_type)?;
        if let Some(prepared) = prepared.take() {
            self.push_large(head, prepared, Some(id), true);
        }
        Ok(id)
    }

    fn open_request(
        &mut self,
        options: RequestOptions,
        message_type: MessageType,
    ) -> Result<(RequestId, FrameHead), SendError> {
        let lane = self.peer_terms.carrier(options.lane);
        self.check_sendable(lane, message_type)?;
        if self.requests.occupied() >= self.own_requests_max() {
            self.blocked = true;
            return Err(SendError::NoSlot);
        }
        let id = self.requests.insert(lane, options.timeout);
        let flags = if options.idempotent { Flags::IDEMPOTENT } else { Flags::default() };
        Ok((id, self.head(message_type, flags, lane, id.correlation())))
    }

    /// Queues a message that nobody answers. `Ok` means queued.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing was queued.
    pub fn one_way(&mut self, lane: Lane, message: &(impl Encode + ?Sized)) -> Result<(), SendError> {
        let lane = self.peer_terms.carrier(lane);
        self.check_sendable(lane, message.message_type())?;
        let head = self.head(message.message_type(), Flags::ONE_WAY, lane, 0);
        let sending = Sending::new(head, None, true);
        if let Err(error) = self.lanes.push(sending, message) {
            let prepared = self.fit(head.lane, message, error)?;
            self.push_large(head, prepared, None, true);
        }
        Ok(())
    }

    /// Queues a message that nobody answers and that was encoded before. It is taken out of `prepared` if it is accepted.
    ///
    /// # Errors
    ///
    /// As [`one_way`](Self::one_way); the message is still in `prepared`.
    pub fn one_way_prepared(&mut self, lane: Lane, prepared: &mut Option<Prepared>) -> Result<(), SendError> {
        let message_type = self.check_prepared(prepared)?;
        let lane = self.peer_terms.carrier(lane);
        self.check_sendable(lane, message_type)?;
        let head = self.head(message_type, Flags::ONE_WAY, lane, 0);
        if let Some(prepared) = prepared.take() {
            self.push_large(head, prepared, None, true);
        }
        Ok(())
    }

    /// The type of a message that is here and not larger than the other side takes.
    fn check_prepared(&self, prepared: &Option<Prepared>) -> Result<MessageType, SendError> {
        let Some(prepared) = prepared else { return Err(SendError::NotUp) };
        self.check_size(prepared)?;
        Ok(prepared.message_type())
    }

    fn check_size(&self, prepared: &Prepared) -> Result<(), EncodeError> {
        let (message_type, size) = (prepared.message_type(), prepared.total_bytes() as usize);
        self.peer_terms.takes(prepared).map_err(|limit| EncodeError::TooLarge { message_type, size, limit })
    }

    /// A message that does not fit a frame, for several of them. Its owner is held up by it; one that shares the session
    /// prepares large messages before.
    #[cold]
    fn fit(
        &mut self,
        lane: Lane,
        message: &(impl Encode + ?Sized),
        error: EncodeError,
    ) -> Result<Prepared, EncodeError> {
        let mut prepared = Prepared::new(message).ok_or(error)?;
        self.check_size(&prepared)?;
        let writer = &mut self.lanes.writer;
        let message_type = prepared.message_type();
        if let Some(codec) = writer.compression.choose(lane, message_type, prepared.total_bytes()) {
            let (before, after) = prepared.compress(codec, writer.frame_bytes_max);
            writer.compression.record(message_type, before, after);
        }
        Ok(prepared)
    }

    fn push_large(&mut self, head: FrameHead, prepared: Prepared, request: Option<RequestId>, charged: bool) {
        let parts = u64::from(prepared.parts_max(self.peer_terms.frame_bytes_max));
        let costs = &self.lanes.writer.costs;
        let beyond_bytes = costs.beyond_bytes(prepared.message_type(), prepared.structure_bytes());
        let beyond_bytes = if parts <= 2 { beyond_bytes } else { 0 };
        let waiting_charge = u64::from(prepared.total_bytes()) + parts * (MESSAGE_CHARGE + PART_BYTES) + beyond_bytes;
        let waiting_charge = if charged { waiting_charge } else { 0 };
        let large = Large { head, prepared, request, charged, abandoned: false, waiting_charge, beyond_bytes };
        self.lanes.push_large(large);
    }

    /// Outboxes for this session, to be asked for once and before the first request. Each takes requests as soon as it was
    /// [collected](Self::collect) while the session is up.
    pub fn outboxes(&mut self, count: u32) -> Vec<Outbox> {
        debug_assert!(self.requests.occupied() == 0, "the numbers of slots are shared out once");
        let stride = (count + 1).next_power_of_two();
        (self.requests.stride, self.outboxes) = (stride, count);
        let compression = || Compression::new(&self.config.compression);
        (1..=count).map(|number| Outbox::new(number, stride, self.terms(), compression())).collect()
    }

    /// Half of the requests that the other side takes are the outboxes', in equal parts; the rest is the session's own.
    fn outbox_requests_max(&self) -> usize {
        let requests_max = self.peer.as_ref().map_or(0, |peer| peer.requests_max) as usize;
        let outboxes = self.outboxes as usize;
        if outboxes == 0 { 0 } else { requests_max / (2 * outboxes) }
    }

    fn own_requests_max(&self) -> usize {
        let requests_max = self.peer.as_ref().map_or(0, |peer| peer.requests_max) as usize;
        requests_max - self.outbox_requests_max() * self.outboxes as usize
    }

    /// Takes the requests that are in an outbox, and lets it take more. What was written before the other side began to drain
    /// is still sent; where the connection has ended, or we drain it, the requests end here: they were not sent.
    pub fn collect(&mut self, now: Duration, outbox: &mut Outbox) {
        let (now_ns, takes) = (nanoseconds(now), self.is_up());
        let sends = self.phase == Phase::Up && !self.drain.is_draining();
        let reason = if self.phase == Phase::Closed { Reason::ConnectionLost } else { Reason::Draining };
        let grant_max = if takes { self.lanes.batch_bytes() as u64 } else { 0 };
        let mut others_may_send = false;
        let Outbox { ids, lanes, .. } = outbox;
        for (lane, out) in Lane::ALL.into_iter().zip(lanes) {
            if !out.batch.is_empty() {
                let requests = &mut self.requests;
                out.spent -= out.batch.retain_requests(|id, timeout_ns| {
                    if !ids.is_open(id) {
                        ids.end(id);
                        return false;
                    }
                    requests.register(id, lane, timeout_ns, now_ns);
                    if !sends {
                        requests.end_unsent(id, reason);
                    }
                    true
                });
                if sends {
                    self.lanes.append(lane, &mut out.batch);
                } else {
                    out.batch.clear();
                    out.spent = 0;
                }
            }
            let spent = std::mem::take(&mut out.spent);
            others_may_send |= self.lanes.lane_mut(lane).settle_grant(&mut out.grant, spent, grant_max);
        }
        let compressed = outbox.compression.take_totals();
        self.statistics.compressed.0 += compressed.0;
        self.statistics.compressed.1 += compressed.1;
        outbox.agree(self.outbox_requests_max(), self.terms(), &self.lanes.writer.costs, takes);
        if others_may_send {
            self.unblock();
        }
        self.tell_time(now);
    }

    /// Gives a request up. If it may have reached the other side, its handler is told. `false` where the session does not know
    /// it: it was not collected, or its outcome was taken.
    pub fn cancel(&mut self, now: Duration, id: RequestId) -> bool {
        let known = self.requests.holds(id);
        let lane = self.requests.lane_of(id);
        let was_handed = self.requests.cancel(id);
        self.reassembly.discard(id.correlation());
        if was_handed == Some(false) {
            self.forget_unwaited();
        }
        if was_handed == Some(true) && self.phase == Phase::Up {
            self.push_cancel(lane, id.correlation());
        }
        self.unblock();
        self.after_completions(now);
        known
    }

    /// Whether the other side may have acted on a request whose outcome was not taken, as far as is known now: what waits for the
    /// socket is not sent yet.
    pub fn effect(&self, id: RequestId) -> Effect {
        self.requests.effect(id)
    }

    /// Takes the outcome of a request that ended; `None` while it waits, and after it was taken.
    #[inline]
    pub fn take_outcome(&mut self, id: RequestId) -> Option<Outcome> {
        let outcome = self.requests.take(id)?;
        self.unblock();
        Some(outcome)
    }

    /// Whether a request is one for a stream of replies, whose news are taken by [`take_stream`](Self::take_stream).
    pub fn is_stream(&self, id: RequestId) -> bool {
        self.requests.is_stream(id)
    }

    /// Whether a request waits for its end.
    pub fn is_waiting(&self, id: RequestId) -> bool {
        self.requests.is_waiting(id)
    }

    /// Whether a request waits for its end, or its outcome was not taken yet.
    pub fn holds(&self, id: RequestId) -> bool {
        self.requests.holds(id)
    }

    /// Answers an inbound request.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the reply does not fit a frame; the caller is told so, and the request is ended.
    pub fn reply(&mut self, id: InboundId, message: &(impl Encode + ?Sized)) -> Result<(), EncodeError> {
        if self.phase != Phase::Up || !id.wants_reply() {
            self.finish(id);
            return Ok(());
        }
        let head = self.head(message.message_type(), Flags::RESPONSE, id.lane, id.correlation);
        let sending = Sending::new(head, None, false);
        let pushed = match self.lanes.push(sending, message) {
            Ok(_) => Ok(()),
            Err(error) => {
                let prepared = self.fit(head.lane, message, error);
                prepared.map(|prepared| self.push_large(head, prepared, None, false))
            }
        };
        match pushed {
            Ok(()) => self.finish(id),
            Err(error) => self.reply_error(id, Effect::Unknown, Reason::TooLarge, &error.to_string()),
        }
        pushed
    }

    /// Answers an inbound request with a message that was encoded before.
    ///
    /// # Errors
    ///
    /// As [`reply`](Self::reply).
    pub fn reply_prepared(&mut self, id: InboundId, prepared: Prepared) -> Result<(), EncodeError> {
        if self.phase != Phase::Up || !id.wants_reply() {
            self.finish(id);
            return Ok(());
        }
        if let Err(error) = self.check_size(&prepared) {
            self.reply_error(id, Effect::Unknown, Reason::TooLarge, &error.to_string());
            return Err(error);
        }
        let head = self.head(prepared.message_type(), Flags::RESPONSE, id.lane, id.correlation);
        self.push_large(head, prepared, None, false);
        self.finish(id);
        Ok(())
    }

    /// Answers an inbound request with what went wrong.
    pub fn reply_error(&mut self, id: InboundId, effect: Effect, reason: Reason, detail: &str) {
        if self.phase == Phase::Up && id.wants_reply() {
            self.push_error(id.lane, id.correlation, effect, reason, detail);
        }
        self.finish(id);
    }

    /// Takes over replies that were written without the session. Where the connection has ended, nobody waits for them.
    pub fn take_replies(&mut self, replies: &mut Replies) {
        for (lane, replies) in Lane::ALL.into_iter().zip(&mut replies.lanes) {
            if replies.ended == 0 {
                continue;
            }
            self.intake.end_many(lane, replies.ended_charge, replies.ended, replies.ended_requests);
            (replies.ended_charge, replies.ended, replies.ended_requests) = (0, 0, 0);
            if self.phase == Phase::Up {
                self.lanes.append(lane, &mut replies.batch);
            } else {
                replies.batch.clear();
            }
        }
        let compressed = replies.take_totals();
        self.statistics.compressed.0 += compressed.0;
        self.statistics.compressed.1 += compressed.1;
        replies.streams.drain(..).for_each(|correlation| self.streams.close(correlation));
        for (id, prepared) in replies.large.drain(..) {
            // Its size was checked when it was written.
            let _fits = self.reply_prepared(id, prepared);
        }
        replies.handed_over();
        self.end_if_drained();
    }

    /// Ends an inbound message without an answer: a one-way message that its handler is done with.
    #[inline]
    pub fn finish(&mut self, id: InboundId) {
        self.streams.close(id.correlation);
        self.intake.end(&id);
        self.end_if_drained();
    }

    /// Takes no new messages, ends what is under way, then ends the connection.
    pub fn drain(&mut self, now: Duration) {
        if self.phase != Phase::Up {
            self.close(CloseReason::Local);
            return;
        }
        if self.drain.is_draining() {
            return;
        }
        let deadline = now + self.config.drain_timeout;
        match self.side {
            Side::Dialer { .. } => self.drain = Drain::Ending { deadline },
            Side::Acceptor => {
                self.push_control(&GoAway { last: false, accepted: self.intake.accepted() });
                let token = self.liveness.ask(now);
                self.ping_due = Some(token);
                self.drain = Drain::Warned { token, deadline };
            }
        }
        // Those who wait for credits or slots find out that there will be none.
        self.unblock();
        self.end_if_drained();
    }

    /// Ends the connection at once. Every request gets its outcome; the other side is told where there is something to tell.
    pub fn close(&mut self, reason: CloseReason) {
        if self.phase == Phase::Closed {
            return;
        }
        let was_up = self.phase == Phase::Up;
        self.end(reason);
        if was_up && reason == CloseReason::Local {
            self.push_fence();
        }
        if let Some(code) = reason.code() {
            self.push_control(&Close { code: code as u16 });
        }
    }

    /// The socket under the session is gone.
    pub fn handle_lost(&mut self, loss: Loss) {
        self.say_held_farewell();
        self.close(CloseReason::Lost(loss));
        self.lanes.clear();
        self.reassembly.clear();
    }

    /// Tells what time it is: requests accepted since the last time count from now. Whatever else is given a time does the
    /// same; an owner that only queues frames calls it as soon as it can.
    #[inline]
    pub fn tell_time(&mut self, now: Duration) {
        self.requests.stamp(now);
        if self.requests.in_flight() > 0 {
            self.liveness.set_busy(now, true);
        }
    }

    /// How to compress a message that is encoded elsewhere, and the largest frame that it is cut into; `None` where it is sent as
    /// it is.
    pub fn compression_for(&mut self, lane: Lane, message_type: MessageType, bytes: u32) -> Option<(Codec, u32)> {
        let writer = &mut self.lanes.writer;
        let codec = writer.compression.choose(lane, message_type, bytes)?;
        Some((codec, writer.frame_bytes_max))
    }

    /// What compression elsewhere has made of a message.
    pub fn count_compressed(&mut self, message_type: MessageType, raw_bytes: u64, compressed_bytes: u64) {
        self.lanes.writer.compression.record(message_type, raw_bytes, compressed_bytes);
    }

    /// Tells the wall clock, as the time since 1970, so that peers can tell how far their clocks are apart. A clock that is set
    /// is told again.
    pub fn tell_wall_clock(&mut self, now: Duration, wall: Duration) {
        self.liveness.set_wall(now, wall);
    }

    // What it has for its owner.

    /// The next frames for the socket: urgent ones first, about `batch_bytes` at once.
    pub fn take_batch(&mut self, now: Duration) -> Option<Batch> {
        self.tell_time(now);
        self.push_due(now);
        if self.lanes.is_empty() || self.is_corked(now) {
            return None;
        }
        let batch = self.next_batch();
        if batch.is_some() {
            return batch;
        }
        // Frames that nobody waited for any more may have been the last thing in the way of a pong or of the farewell.
        self.end_if_drained();
        self.push_due(now);
        self.next_batch()
    }

    /// Whether the frames that are there wait for more: for the configured time, unless one of them is urgent or they fill a
    /// batch.
    fn is_corked(&mut self, now: Duration) -> bool {
        if self.config.batch_delay_us == 0 || self.phase != Phase::Up {
            return false;
        }
        let delay = Duration::from_micros(self.config.batch_delay_us.into());
        let waits = !self.lanes.is_urgent() && self.lanes.queued_bytes() < self.lanes.batch_bytes();
        if waits && now.saturating_sub(*self.corked_since.get_or_insert(now)) < delay {
            return true;
        }
        self.corked_since = None;
        false
    }

    fn next_batch(&mut self) -> Option<Batch> {
        let Self { lanes, requests, statistics, .. } = self;
        let hand_over = |id, ordinal| requests.hand_over(id, ordinal);
        let batch = lanes.take(&mut statistics.sent, &mut statistics.lanes, hand_over);
        if self.lanes.take_freed() {
            self.unblock();
        }
        self.statistics.bytes_sent += batch.as_ref().map_or(0, |batch| batch.buffer().len() as u64);
        batch
    }

    /// Gives a written batch back, for its memory.
    pub fn recycle(&mut self, batch: Batch) {
        self.lanes.recycle(batch);
        self.end_if_drained();
    }

    /// Whether [`take_batch`](Self::take_batch) may have something.
    pub fn wants_write(&self) -> bool {
        self.lanes.is_ready() || self.owes()
    }

    /// Whether the protocol has something to say.
    fn owes(&self) -> bool {
        let owes_pong = || if self.may_say_pong() { self.pong_due.is_some() } else { self.sign_of_life_due };
        let owes_credit = || self.intake.any_credit_due() || !self.stream_limits_due.is_empty();
        self.phase == Phase::Up && (self.ping_due.is_some() || owes_pong() || owes_credit())
    }

    /// The next message for a handler on this lane, in the order in which they were sent.
    pub fn poll_message(&mut self, lane: Lane) -> Option<Inbound> {
        self.intake.pop(lane)
    }

    /// Moves all messages for handlers into `into`, lane by lane, from the lanes that are wanted.
    pub fn take_messages(&mut self, wanted: impl Fn(Lane) -> bool, into: &mut VecDeque<Inbound>) {
        if self.intake.is_empty() {
            return;
        }
        Lane::ALL.into_iter().filter(|lane| wanted(*lane)).for_each(|lane| self.intake.take(lane, into));
    }

    /// Gives a message back that its owner has not begun with; it is the lane's next one again.
    pub fn put_back(&mut self, message: Inbound) {
        if self.phase == Phase::Closed && message.id.wants_reply() {
            self.finish(message.id);
        } else {
            self.intake.put_back(message);
        }
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether [`poll_event`](Self::poll_event) has something, or requests have ended that were not drained.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty() || self.requests.has_completed()
    }

    /// Whether requests have ended that were not drained.
    #[inline]
    pub fn has_completed(&self) -> bool {
        self.requests.has_completed()
    }

    /// Moves the ids of the session's own requests that ended since the last call into `into`.
    pub fn drain_completed(&mut self, into: &mut Vec<RequestId>) {
        self.requests.drain_completed(into);
    }

    /// Moves the outcomes of outboxes' requests that ended since the last call into `into`.
    #[inline]
    pub fn drain_ended(&mut self, into: &mut Vec<(RequestId, Outcome)>) {
        self.requests.drain_ended(into);
        if !into.is_empty() {
            self.unblock();
        }
    }

    /// Whether messages can be sent.
    pub fn is_up(&self) -> bool {
        self.phase == Phase::Up && !self.drain.is_draining() && !self.peer_drains
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// The other side's hello, once it was accepted.
    pub fn peer(&self) -> Option<&Hello> {
        self.peer.as_deref()
    }

    /// Requests of ours that wait for an answer.
    pub fn requests_in_flight(&self) -> usize {
        self.requests.in_flight()
    }

    /// Inbound messages that handlers have not ended.
    pub fn inbound_open(&self) -> u32 {
        self.intake.open()
    }

    /// Bytes of one lane that wait for the socket.
    pub fn queued_bytes_of(&self, lane: Lane) -> usize {
        self.lanes.lane(lane).queued_bytes()
    }

    /// Bytes that wait for the socket.
    pub fn queued_bytes(&self) -> usize {
        self.lanes.queued_bytes()
    }

    /// What the connection has carried.
    pub fn statistics(&self) -> SessionStatistics {
        let Liveness { round_trip, clock_offset, .. } = self.liveness;
        let mut statistics = SessionStatistics { round_trip, clock_offset, ..self.statistics.clone() };
        for (lane, carried) in Lane::ALL.into_iter().zip(&mut statistics.lanes) {
            carried.queued_bytes = self.lanes.lane(lane).queued_bytes() as u64;
            carried.held_bytes = self.intake.held_bytes(lane);
        }
        let writer = &self.lanes.writer.compression;
        statistics.compressed.0 += writer.raw_bytes;
        statistics.compressed.1 += writer.compressed_bytes;
        statistics
    }
}
