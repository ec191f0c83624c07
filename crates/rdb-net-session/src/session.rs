//! The machine itself: what each input does.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rdb_net_types::{Effect, Lane, MessageType, Reason, RefusalReason, RequestError};
use rdb_net_wire::{
    Body, Close, CloseCode, Credit, DecodeError, Encode, EncodeError, ErrorReply, Flags, Frame, FrameHead, GoAway, Hello,
    Message, Ping, Pong, Raw, Reject, control_type, decode_frame, frame_length,
};

use crate::config::carrier;
use crate::drain::Drain;
use crate::event::{Event, Inbound, InboundId, Outcome, Reply};
use crate::inbound::Intake;
use crate::lanes::{Batch, Lanes, Sending, charge};
use crate::liveness::{Due, Liveness};
use crate::requests::{RequestId, Requests};
use crate::{CloseReason, Config, Identity, Loss, SessionStatistics, Side, hello};

/// The largest frame before the hello was accepted: a stranger makes us hold no more.
const HELLO_BYTES_MAX: u32 = 8 * 1024;

/// How a request travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestOptions {
    /// The lane.
    pub lane: Lane,
    /// When the caller stops waiting, by the session's clock; `None` waits for as long as the connection lives.
    pub deadline: Option<Duration>,
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

    /// Sends a request; its end is told by [`drain_completed`](Self::drain_completed).
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing was queued, so the effect is `NotSent`.
    pub fn request(
        &mut self,
        now: Duration,
        options: RequestOptions,
        message: &(impl Encode + ?Sized),
    ) -> Result<RequestId, SendError> {
        let lane = carrier(options.lane);
        self.check_sendable(lane)?;
        let requests_max = self.peer.as_ref().map_or(0, |peer| peer.requests_max);
        if self.requests.occupied() >= requests_max as usize {
            self.blocked = true;
            return Err(SendError::NoSlot);
        }
        let id = self.requests.insert(now, lane, options.deadline);
        let flags = if options.idempotent { Flags::IDEMPOTENT } else { Flags::default() };
        let head = self.head(message.message_type(), flags, lane, id.correlation());
        let deadline = options.deadline.unwrap_or(Duration::MAX);
        let sending = Sending { head, deadline, request: Some(id), charged: true };
        if let Err(error) = self.lanes.push(sending, message) {
            self.requests.cancel(id);
            return Err(error.into());
        }
        self.liveness.set_busy(now, true);
        Ok(id)
    }

    /// Queues a message that nobody answers. `Ok` means queued.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing was queued.
    pub fn one_way(&mut self, lane: Lane, message: &(impl Encode + ?Sized)) -> Result<(), SendError> {
        let lane = carrier(lane);
        self.check_sendable(lane)?;
        let head = self.head(message.message_type(), Flags::ONE_WAY, lane, 0);
        let sending = Sending { head, deadline: Duration::MAX, request: None, charged: true };
        Ok(self.lanes.push(sending, message)?)
    }

    /// Gives a request up. If it may have reached the other side, its handler is told.
    pub fn cancel(&mut self, now: Duration, id: RequestId) {
        if self.requests.cancel(id) == Some(true) && self.phase == Phase::Up {
            let head = self.head(control_type::CANCEL, Flags::ONE_WAY, Lane::System, id.correlation());
            let empty = Raw { message_type: control_type::CANCEL, payload: Default::default() };
            self.push_uncharged(head, &empty);
        }
        self.after_completions(now);
    }

    /// Takes the outcome of a request that ended; `None` while it waits, and after it was taken.
    pub fn take_outcome(&mut self, id: RequestId) -> Option<Outcome> {
        let outcome = self.requests.take(id)?;
        self.unblock();
        Some(outcome)
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
        let sending = Sending { head, deadline: Duration::MAX, request: None, charged: false };
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
            let head = self.head(control_type::REPLY, Flags::RESPONSE.with(Flags::ERROR), id.lane, id.correlation);
            self.push_uncharged(head, &ErrorReply::new(effect, reason, detail));
        }
        self.finish(id);
    }

    /// Ends an inbound message without an answer: a one-way message that its handler is done with.
    pub fn finish(&mut self, id: InboundId) {
        self.intake.end(id.lane, id.charge);
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

    // What the socket and the clock tell.

    /// Takes every whole frame out of the buffer; what remains is the beginning of one.
    pub fn handle_input(&mut self, now: Duration, input: &mut BytesMut) {
        if self.phase == Phase::Closed {
            input.clear();
            return;
        }
        let whole = match self.whole_frames(input) {
            Ok(whole) => whole,
            Err((whole, reason)) => {
                self.handle_frames(now, input.split_to(whole).freeze());
                input.clear();
                self.close(reason);
                return;
            }
        };
        if !input.is_empty() {
            self.liveness.received(now);
        }
        if whole > 0 {
            self.handle_frames(now, input.split_to(whole).freeze());
        }
    }

    /// How many more bytes the frame at the head of the buffer needs, so that a reader can make room for them. Bounded by
    /// the largest frame; 0 where that is not known yet.
    pub fn bytes_wanted(&self, input: &[u8]) -> usize {
        match frame_length(input, self.frame_limit()) {
            Ok(Some(length)) => length.saturating_sub(input.len()),
            Ok(None) | Err(_) => 0,
        }
    }

    /// The socket under the session is gone.
    pub fn handle_lost(&mut self, loss: Loss) {
        self.close(CloseReason::Lost(loss));
        self.lanes.clear();
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Duration) {
        match self.phase {
            Phase::Closed => {}
            Phase::AwaitingHello | Phase::AwaitingDecision => {
                if now >= self.hello_deadline {
                    self.close(CloseReason::HelloTimeout);
                }
            }
            Phase::Up => {
                self.requests.expire(now);
                self.after_completions(now);
                if self.drain.deadline().is_some_and(|deadline| now >= deadline) {
                    self.close(CloseReason::Local);
                    return;
                }
                match self.liveness.due(now) {
                    Due::Nothing => {}
                    Due::Ask => self.ping_due = Some(self.liveness.ask(now)),
                    Due::Dead => self.close(CloseReason::Silent),
                }
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due next.
    pub fn poll_timeout(&self) -> Option<Duration> {
        match self.phase {
            Phase::Closed => None,
            Phase::AwaitingHello | Phase::AwaitingDecision => Some(self.hello_deadline),
            Phase::Up => {
                let due = [Some(self.liveness.timeout()), self.requests.next_deadline(), self.drain.deadline()];
                due.into_iter().flatten().min()
            }
        }
    }

    // What it has for its owner.

    /// The next frames for the socket: urgent ones first, about `batch_bytes` at once.
    pub fn take_batch(&mut self) -> Option<Batch> {
        self.push_due();
        let Self { lanes, requests, statistics, .. } = self;
        let batch = lanes.take(&mut statistics.sent, |id, ordinal| requests.hand_over(id, ordinal))?;
        self.statistics.bytes_sent += batch.buffer().len() as u64;
        Some(batch)
    }

    /// Gives a written batch back, for its memory.
    pub fn recycle(&mut self, batch: Batch) {
        self.lanes.recycle(batch);
        self.end_if_drained();
    }

    /// Whether [`take_batch`](Self::take_batch) may have something.
    pub fn wants_write(&self) -> bool {
        !self.lanes.is_empty()
            || self.ping_due.is_some()
            || self.pong_due.is_some()
            || (self.phase == Phase::Up && self.intake.any_credit_due())
    }

    /// The next message for a handler on this lane, in the order in which they were sent.
    pub fn poll_message(&mut self, lane: Lane) -> Option<Inbound> {
        self.intake.pop(lane)
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether [`poll_event`](Self::poll_event) has something, or requests have ended that were not drained.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty() || self.requests.has_completed()
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

/// What the other side's frames do.
impl Session {
    fn frame_limit(&self) -> u32 {
        match self.phase {
            Phase::AwaitingHello | Phase::AwaitingDecision => HELLO_BYTES_MAX,
            Phase::Up | Phase::Closed => self.config.frame_bytes_max,
        }
    }

    /// How many bytes at the head of the buffer are whole frames, and what is wrong behind them.
    fn whole_frames(&self, input: &[u8]) -> Result<usize, (usize, CloseReason)> {
        let mut whole = 0;
        loop {
            match frame_length(&input[whole..], self.frame_limit()) {
                Ok(Some(length)) if whole + length <= input.len() => whole += length,
                Ok(_) => return Ok(whole),
                Err(error) => return Err((whole, CloseReason::Frame(error))),
            }
            // The frame that brings the connection up also raises the limit for those behind it.
            if self.phase == Phase::AwaitingHello {
                return Ok(whole);
            }
        }
    }

    fn handle_frames(&mut self, now: Duration, mut frames: Bytes) {
        self.statistics.bytes_received += frames.len() as u64;
        while self.phase != Phase::Closed {
            let length = match frame_length(&frames, u32::MAX) {
                Ok(Some(length)) if length <= frames.len() => length,
                Ok(_) | Err(_) => return,
            };
            let required = self.phase == Phase::Up && self.checksum;
            match decode_frame(&frames[..length], required) {
                Ok(frame) => self.handle_frame(now, &frame, &frames, length as u32),
                Err(error) => self.close(CloseReason::Frame(error)),
            }
            bytes::Buf::advance(&mut frames, length);
        }
    }

    fn handle_frame(&mut self, now: Duration, frame: &Frame, bytes: &Bytes, wire_bytes: u32) {
        let message_type = frame.head.message_type;
        self.statistics.received.add(message_type);
        let is_hello = matches!(message_type, control_type::HELLO | control_type::REJECT);
        match (self.phase, is_hello) {
            (Phase::AwaitingHello, true) => self.handle_hello(now, message_type, &body_of(frame, bytes)),
            (Phase::Up, false) => self.handle_up(now, frame, bytes, wire_bytes),
            (Phase::AwaitingHello, false) => self.close(CloseReason::Protocol("a message before the hello")),
            (Phase::Up, true) => self.close(CloseReason::Protocol("a second hello")),
            (Phase::AwaitingDecision, _) => self.close(CloseReason::Protocol("a message before the hello's answer")),
            (Phase::Closed, _) => {}
        }
    }

    fn handle_hello(&mut self, now: Duration, message_type: MessageType, body: &Body) {
        let is_dialer = matches!(self.side, Side::Dialer { .. });
        if message_type == control_type::REJECT {
            let reason = Reject::decode(body).ok().and_then(|reject| reject.reason());
            // A reason that only a newer version knows is still a refusal of the hello.
            self.close(CloseReason::Refused(reason.unwrap_or(RefusalReason::Malformed)));
            return;
        }
        let Ok(theirs) = Hello::decode(body) else {
            self.reject(RefusalReason::Malformed);
            return;
        };
        if let Err(reason) = hello::check(&self.identity, &self.side, &theirs) {
            self.reject(reason);
            return;
        }
        self.peer = Some(Box::new(theirs.clone()));
        if is_dialer {
            self.come_up(now);
            self.events.push_back(Event::Up(Box::new(theirs)));
        } else {
            self.phase = Phase::AwaitingDecision;
            self.events.push_back(Event::Hello(Box::new(theirs)));
        }
    }

    fn come_up(&mut self, now: Duration) {
        let Some(peer) = &self.peer else { return };
        self.checksum = self.config.checksum || peer.checksum;
        self.lanes.frame_bytes_max = peer.frame_bytes_max.min(self.config.frame_bytes_max);
        for lane in Lane::ALL {
            let limit = peer.credits.get(lane as usize).copied().unwrap_or(0);
            self.lanes.lane_mut(lane).raise_limit(limit);
        }
        self.liveness = Liveness::new(&self.config, hello::peer_liveness(peer), now);
        self.phase = Phase::Up;
    }

    fn handle_up(&mut self, now: Duration, frame: &Frame, bytes: &Bytes, wire_bytes: u32) {
        if frame.head.flags.has(Flags::RESPONSE) {
            self.handle_reply(now, frame, bytes);
        } else if frame.head.message_type.is_control() && frame.head.message_type != control_type::MEMBERSHIP_SYNC {
            if self.handle_control(now, frame, &body_of(frame, bytes)).is_err() {
                self.close(CloseReason::Protocol("a control message that cannot be read"));
            }
        } else {
            self.handle_message(now, frame, bytes, wire_bytes);
        }
    }

    fn handle_reply(&mut self, now: Duration, frame: &Frame, bytes: &Bytes) {
        let id = RequestId::from_correlation(frame.head.correlation);
        let body = body_of(frame, bytes);
        let outcome = if frame.head.flags.has(Flags::ERROR) {
            let error = ErrorReply::decode(&body).map(|error| (error.outcome(), error.detail));
            let ((effect, reason), detail) =
                error.unwrap_or(((Effect::Unknown, Reason::Malformed), "the error reply cannot be read".to_owned()));
            let error = RequestError::new(effect, reason);
            Err(if detail.is_empty() { error } else { error.because(&detail) })
        } else {
            Ok((frame.head.message_type, body))
        };
        let ended = self.requests.complete(id, |started| {
            let round_trip = now.saturating_sub(started);
            outcome.map(|(message_type, body)| Reply { message_type, body, round_trip })
        });
        match ended {
            Some(started) => self.statistics.latency.record(now.saturating_sub(started)),
            None => self.statistics.late_replies += 1,
        }
        self.after_completions(now);
    }

    fn handle_control(&mut self, now: Duration, frame: &Frame, body: &Body) -> Result<(), DecodeError> {
        match frame.head.message_type {
            control_type::PING => self.pong_due = Some(Ping::decode(body)?.token),
            control_type::PONG => self.handle_pong(now, Pong::decode(body)?.token),
            control_type::CREDIT => {
                let credit = Credit::decode(body)?;
                let risen = Lane::from_u8(credit.lane).is_some_and(|lane| {
                    self.lanes.lane_mut(lane).raise_limit(credit.limit)
                });
                if risen {
                    self.unblock();
                }
            }
            control_type::CANCEL => {
                self.events.push_back(Event::Cancelled { correlation: frame.head.correlation });
            }
            control_type::GO_AWAY => {
                let go_away = GoAway::decode(body)?;
                self.handle_go_away(now, &go_away);
            }
            control_type::CLOSE => {
                let code = CloseCode::from_code(Close::decode(body)?.code).unwrap_or(CloseCode::Normal);
                self.close(CloseReason::Peer(code));
            }
            _ => self.statistics.unknown_control += 1,
        }
        Ok(())
    }

    fn handle_pong(&mut self, now: Duration, token: u64) {
        self.liveness.answered(now, token);
        if let Drain::Warned { token: asked, deadline } = self.drain
            && asked == token
        {
            self.push_control(&GoAway { last: true, accepted: self.intake.accepted() });
            self.drain = Drain::Ending { deadline };
            self.end_if_drained();
        }
    }

    fn handle_go_away(&mut self, now: Duration, go_away: &GoAway) {
        if !self.peer_drains {
            self.peer_drains = true;
            self.events.push_back(Event::GoAway);
        }
        if go_away.last {
            for lane in Lane::ALL {
                let accepted = go_away.accepted.get(lane as usize).copied().unwrap_or(0);
                self.requests.end_beyond(lane, accepted, Reason::Draining);
            }
            self.drain = Drain::Ending { deadline: now + self.config.drain_timeout };
        }
        self.after_completions(now);
        self.end_if_drained();
    }

    fn handle_message(&mut self, now: Duration, frame: &Frame, bytes: &Bytes, wire_bytes: u32) {
        if matches!(self.side, Side::Dialer { .. }) {
            self.close(CloseReason::Protocol("a message on a connection that only answers"));
            return;
        }
        let one_way = frame.head.flags.has(Flags::ONE_WAY);
        if one_way != (frame.head.correlation == 0) {
            self.close(CloseReason::Protocol("a correlation id that does not fit the flags"));
            return;
        }
        if self.intake.open() >= self.config.requests_max && !one_way {
            self.close(CloseReason::Protocol("more requests than were agreed"));
            return;
        }
        let message = Inbound {
            id: InboundId {
                correlation: frame.head.correlation,
                lane: carrier(frame.head.lane),
                charge: charge(wire_bytes),
            },
            message_type: frame.head.message_type,
            lane: frame.head.lane,
            deadline: (frame.deadline_us != 0).then(|| now + Duration::from_micros(u64::from(frame.deadline_us))),
            body: body_of(frame, bytes),
        };
        if !self.intake.push(message) {
            self.close(CloseReason::CreditExceeded);
        }
    }
}

/// What goes out.
impl Session {
    fn check_sendable(&mut self, lane: Lane) -> Result<(), SendError> {
        if !self.is_up() || matches!(self.side, Side::Acceptor) {
            return Err(SendError::NotUp);
        }
        if !self.lanes.lane(lane).has_credit() {
            self.blocked = true;
            return Err(SendError::NoCredit);
        }
        Ok(())
    }

    fn head(&self, message_type: MessageType, flags: Flags, lane: Lane, correlation: u64) -> FrameHead {
        let flags = if self.checksum { flags.with(Flags::CHECKSUM) } else { flags };
        FrameHead { message_type, flags, lane, correlation }
    }

    fn push_hello(&mut self) {
        let hello = hello::hello(&self.config, &self.identity, &self.side);
        self.push_control(&hello);
    }

    fn push_control(&mut self, message: &impl Encode) {
        let head = self.head(message.message_type(), Flags::ONE_WAY, Lane::System, 0);
        self.push_uncharged(head, message);
    }

    fn push_uncharged(&mut self, head: FrameHead, message: &impl Encode) {
        let sending = Sending { head, deadline: Duration::MAX, request: None, charged: false };
        let pushed = self.lanes.push(sending, message);
        debug_assert!(pushed.is_ok(), "the protocol's own messages fit the smallest frame: {pushed:?}");
    }

    /// Writes the answers that the protocol owes: at most one pong and one credit a lane, however often they were asked for.
    fn push_due(&mut self) {
        if self.phase != Phase::Up {
            return;
        }
        if let Some(token) = self.ping_due.take() {
            self.push_control(&Ping { token });
        }
        if let Some(token) = self.pong_due.take() {
            self.push_control(&Pong { token });
        }
        for lane in Lane::ALL {
            if let Some(limit) = self.intake.credit_due(lane) {
                self.push_control(&Credit { lane: lane as u8, limit });
            }
        }
    }

    fn unblock(&mut self) {
        if std::mem::take(&mut self.blocked) {
            self.events.push_back(Event::Writable);
        }
    }

    fn after_completions(&mut self, now: Duration) {
        if self.requests.in_flight() == 0 {
            self.liveness.set_busy(now, false);
            self.end_if_drained();
        }
    }

    /// A drained session ends when nothing is under way in either direction.
    fn end_if_drained(&mut self) {
        let ending = matches!(self.drain, Drain::Ending { .. });
        if ending && self.requests.in_flight() == 0 && self.intake.open() == 0 && self.lanes.is_empty() {
            self.close(CloseReason::Local);
        }
    }

    fn end(&mut self, reason: CloseReason) {
        self.phase = Phase::Closed;
        self.lanes.clear();
        self.intake.clear();
        self.ping_due = None;
        self.pong_due = None;
        self.requests.end_all(match reason {
            CloseReason::Refused(refusal) | CloseReason::Rejected(refusal) => Reason::Refused(refusal),
            _ => Reason::ConnectionLost,
        });
        self.events.push_back(Event::Closed(reason));
    }
}

fn body_of(frame: &Frame, bytes: &Bytes) -> Body {
    let slice = |range: &std::ops::Range<usize>| if range.is_empty() { Bytes::new() } else { bytes.slice(range.clone()) };
    Body { structure: slice(&frame.structure), attachment: slice(&frame.attachment) }
}
