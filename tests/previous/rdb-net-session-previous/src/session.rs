//! The machine itself: what its owner asks for and takes out. What comes in is in `receive`, what goes out in `send`, what time
//! does in `time`.

mod receive;
mod send;
mod time;

use std::collections::VecDeque;
use std::time::Duration;

use rdb_net_types::{Effect, Lane, Reason, RefusalReason};
use rdb_net_wire::{Close, Encode, EncodeError, Flags, GoAway, Hello, Raw, Reject, control_type};

use crate::config::carrier;
use crate::drain::Drain;
use crate::event::{Event, Inbound, InboundId, Outcome};
use crate::inbound::Intake;
use crate::lanes::{Batch, Lanes, Sending, charge};
use crate::liveness::Liveness;
use crate::requests::{RequestId, Requests, nanoseconds};
use crate::{CloseReason, Config, Identity, Loss, Outbox, Replies, SessionStatistics, Side};

/// The largest frame before the hello was accepted: a stranger makes us hold no more.
const HELLO_BYTES_MAX: u32 = 8 * 1024;

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
    /// The type is one of the protocol's own, which only the session itself sends. The caller is at fault.
    #[error("the message type belongs to the protocol itself")]
    ReservedType,
    /// The connection is not up, drains, or has ended. Use another one.
    #[error("the connection takes no messages")]
    NotUp,
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
    checksum: bool,
    lanes: Lanes,
    intake: Intake,
    requests: Requests,
    liveness: Liveness,
    drain: Drain,
    peer_drains: bool,
    ping_due: Option<u64>,
    pong_due: Option<u64>,
    blocked: bool,
    events: VecDeque<Event>,
    statistics: SessionStatistics,
}

impl Session {
    /// A session over a connection that has just been made. The dialer's hello is ready to be sent.
    pub fn new(config: Config, identity: Identity, side: Side, now: Duration) -> Self {
        let is_dialer = matches!(side, Side::Dialer { .. });
        let overdraft = charge(config.frame_bytes_max);
        let mut session = Self {
            hello_deadline: now + config.hello_timeout,
            lanes: Lanes::new(config.batch_bytes, HELLO_BYTES_MAX),
            intake: Intake::new(config.lane_credit_bytes, overdraft),
            liveness: Liveness::new(&config, config.liveness, now),
            config,
            identity,
            side,
            phase: Phase::AwaitingHello,
            peer: None,
            checksum: true,
            requests: Requests::default(),
            drain: Drain::None,
            peer_drains: false,
            ping_due: None,
            pong_due: None,
            blocked: false,
            events: VecDeque::new(),
            statistics: SessionStatistics::default(),
        };
        if is_dialer {
            session.push_hello();
        }
        session
    }

    // What the owner asks for.

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
        let lane = carrier(options.lane);
        self.check_sendable(lane, message.message_type())?;
        if self.requests.occupied() >= self.own_requests_max() {
            self.blocked = true;
            return Err(SendError::NoSlot);
        }
        let id = self.requests.insert(lane, options.timeout);
        let flags = if options.idempotent { Flags::IDEMPOTENT } else { Flags::default() };
        let head = self.head(message.message_type(), flags, lane, id.correlation());
        let sending = Sending::new(head, Some(id), true);
        if let Err(error) = self.lanes.push(sending, message) {
            self.requests.cancel(id);
            return Err(error.into());
        }
        Ok(id)
    }

    /// Queues a message that nobody answers. `Ok` means queued.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing was queued.
    pub fn one_way(&mut self, lane: Lane, message: &(impl Encode + ?Sized)) -> Result<(), SendError> {
        let lane = carrier(lane);
        self.check_sendable(lane, message.message_type())?;
        let head = self.head(message.message_type(), Flags::ONE_WAY, lane, 0);
        let sending = Sending::new(head, None, true);
        Ok(self.lanes.push(sending, message)?)
    }

    /// Outboxes for this session, to be asked for once and before the first request. Each takes requests as soon as it was
    /// [collected](Self::collect) while the session is up.
    pub fn outboxes(&mut self, count: u32) -> Vec<Outbox> {
        debug_assert!(self.requests.occupied() == 0, "the numbers of slots are shared out once");
        self.requests.stride = count + 1;
        (1..=count).map(|number| Outbox::new(number, count + 1, self.terms())).collect()
    }

    /// Half of the requests that the other side takes are the outboxes', in equal parts; the rest is the session's own.
    fn outbox_requests_max(&self) -> usize {
        let requests_max = self.peer.as_ref().map_or(0, |peer| peer.requests_max) as usize;
        let outboxes = self.requests.stride as usize - 1;
        if outboxes == 0 { 0 } else { requests_max / (2 * outboxes) }
    }

    fn own_requests_max(&self) -> usize {
        let requests_max = self.peer.as_ref().map_or(0, |peer| peer.requests_max) as usize;
        requests_max - self.outbox_requests_max() * (self.requests.stride as usize - 1)
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
        outbox.agree(self.outbox_requests_max(), self.terms(), takes);
        if others_may_send {
            self.unblock();
        }
        self.tell_time(now);
    }

    /// Gives a request up. If it may have reached the other side, its handler is told. `false` where the session does not know
    /// it: it was not collected, or its outcome was taken.
    pub fn cancel(&mut self, now: Duration, id: RequestId) -> bool {
        let known = self.requests.holds(id);
        if self.requests.cancel(id) == Some(true) && self.phase == Phase::Up {
            let head = self.head(control_type::CANCEL, Flags::ONE_WAY, Lane::System, id.correlation());
            let empty = Raw { message_type: control_type::CANCEL, payload: Default::default() };
            self.push_uncharged(head, &empty);
        }
        self.unblock();
        self.after_completions(now);
        known
    }

    /// Takes the outcome of a request that ended; `None` while it waits, and after it was taken.
    #[inline]
    pub fn take_outcome(&mut self, id: RequestId) -> Option<Outcome> {
        let outcome = self.requests.take(id)?;
        self.unblock();
        Some(outcome)
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
        match self.lanes.push(sending, message) {
            Ok(()) => {
                self.finish(id);
                Ok(())
            }
            Err(error) => {
                self.reply_error(id, Effect::Unknown, Reason::TooLarge, &error.to_string());
                Err(error)
            }
        }
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
        replies.handed_over();
        self.end_if_drained();
    }

    /// Ends an inbound message without an answer: a one-way message that its handler is done with.
    #[inline]
    pub fn finish(&mut self, id: InboundId) {
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
        self.end(reason);
        if let Some(code) = reason.code() {
            self.push_control(&Close { code: code as u16 });
        }
    }

    /// The socket under the session is gone.
    pub fn handle_lost(&mut self, loss: Loss) {
        self.close(CloseReason::Lost(loss));
        self.lanes.clear();
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

    // What it has for its owner.

    /// The next frames for the socket: urgent ones first, about `batch_bytes` at once.
    pub fn take_batch(&mut self, now: Duration) -> Option<Batch> {
        self.tell_time(now);
        self.push_due();
        if self.lanes.is_empty() {
            return None;
        }
        let batch = self.next_batch();
        if batch.is_some() {
            return batch;
        }
        // Frames that nobody waited for any more may have been the last thing in the way of a pong or of the farewell.
        self.end_if_drained();
        self.push_due();
        self.next_batch()
    }

    fn next_batch(&mut self) -> Option<Batch> {
        let Self { lanes, requests, statistics, .. } = self;
        let batch = lanes.take(&mut statistics.sent, |id, ordinal| requests.hand_over(id, ordinal));
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
        let owes = || self.ping_due.is_some() || self.pong_due.is_some() || self.intake.any_credit_due();
        !self.lanes.is_empty() || (self.phase == Phase::Up && owes())
    }

    /// The next message for a handler on this lane, in the order in which they were sent.
    pub fn poll_message(&mut self, lane: Lane) -> Option<Inbound> {
        self.intake.pop(lane)
    }

    /// Moves all messages for handlers into `into`, lane by lane: those of the System lane, and those of the others where they
    /// are wanted.
    pub fn take_messages(&mut self, data_too: bool, into: &mut VecDeque<Inbound>) {
        if self.intake.is_empty() {
            return;
        }
        let lanes = if data_too { &Lane::ALL[..] } else { &[Lane::System] };
        lanes.iter().for_each(|lane| self.intake.take(*lane, into));
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

    /// Moves the ids of the requests that ended since the last call into `into`.
    pub fn drain_completed(&mut self, into: &mut Vec<RequestId>) {
        self.requests.drain_completed(into);
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

    /// Bytes that wait for the socket.
    pub fn queued_bytes(&self) -> usize {
        self.lanes.queued_bytes()
    }

    /// What the connection has carried.
    pub fn statistics(&self) -> SessionStatistics {
        SessionStatistics { round_trip: self.liveness.round_trip, ..self.statistics.clone() }
    }
}
