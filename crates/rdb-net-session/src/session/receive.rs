//! What the other side's frames do.
//!
//! Every byte here is a stranger's until the hello was accepted and a peer's after it: what breaks the protocol ends the
//! connection, what is merely too much is answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rdb_net_types::{Effect, Lane, MessageType, OverloadScope, Reason, RefusalReason, RequestError};
use rdb_net_wire::{
    Body, Close, CloseCode, Credit, DecodeError, ErrorReply, Fence, Flags, FrameHead, GoAway, Hello, Message, Ping,
    Pong, Reject, StreamCredit, control_type,
};

use super::{HELLO_BYTES_MAX, Phase, Session};
use crate::arrivals::{Arrived, Special};
use crate::costs::{Costs, frame_charge};
use crate::drain::Drain;
use crate::event::{Event, Held, Inbound, InboundId, Reply};
use crate::liveness::Liveness;
use crate::reassembly::{Part, Reassembly, Whole};
use crate::requests::{RequestId, nanoseconds};
use crate::{Arrivals, CloseReason, Reservation, Side, Terms, hello};

/// Replies up to this size need no memory of the budget: there are no more of them than requests in flight.
const FREE_REPLY_BYTES_MAX: usize = 16 * 1024;

/// Frames of one type and lane, one behind the other: counted together.
#[derive(Default)]
struct Run {
    message_type: MessageType,
    lane: Option<Lane>,
    messages: u64,
    bytes: u64,
}

/// What a message for a handler says beside its body.
struct TakenIn {
    head: FrameHead,
    deadline_us: u32,
    stream_window: u32,
}

impl TakenIn {
    #[inline]
    fn of(frame: &Arrived) -> Self {
        Self { head: frame.head, deadline_us: frame.deadline_us, stream_window: frame.stream_window() }
    }
}

impl Session {
    /// Takes every whole frame out of the buffer; what remains is the beginning of one.
    pub fn handle_input(&mut self, now: Duration, input: &mut BytesMut) {
        if input.is_empty() {
            return;
        }
        let mut arrivals = Arrivals::default();
        while arrivals.read(self.terms(), input) {
            self.handle_arrivals(now, &mut arrivals);
        }
        self.handle_arrivals(now, &mut arrivals);
        if self.phase == Phase::Closed {
            input.clear();
        }
    }

    /// What is agreed of frames at the moment.
    pub fn terms(&self) -> Terms {
        let greets = matches!(self.phase, Phase::AwaitingHello | Phase::AwaitingDecision);
        Terms {
            frame_bytes_max: if greets { HELLO_BYTES_MAX } else { self.config.frame_bytes_max },
            rules: self.rules,
            dials: matches!(self.side, Side::Dialer { .. }),
            one_by_one: self.phase == Phase::AwaitingHello,
            is_up: !greets,
            peer: self.peer_terms,
        }
    }

    /// Takes in what was read, however little of a frame it was.
    pub fn handle_arrivals(&mut self, now: Duration, arrivals: &mut Arrivals) {
        if self.apart.is_some() {
            self.handle_apart(now, arrivals);
        } else {
            self.take_arrivals(now, arrivals);
        }
    }

    #[inline]
    pub(super) fn take_arrivals(&mut self, now: Duration, arrivals: &mut Arrivals) {
        self.tell_time(now);
        self.liveness.received(now);
        self.statistics.bytes_received += arrivals.wire_bytes;
        let now_ns = nanoseconds(now);
        let mut run = Run::default();
        for arrived in arrivals.frames.drain(..) {
            if self.phase == Phase::Closed {
                break;
            }
            let FrameHead { message_type, lane, flags, .. } = arrived.head;
            if run.message_type != message_type || run.lane != Some(lane) {
                self.count_run(&run);
                run = Run { message_type, lane: Some(lane), ..Run::default() };
            }
            run.bytes += u64::from(arrived.wire_bytes);
            run.messages += u64::from(!flags.has(Flags::MORE));
            self.handle_frame(now, now_ns, arrived);
            if matches!(self.drain, Drain::Ending { .. }) {
                // The frame that ends a drain is the last one, whatever was read along with it.
                self.forget_unwaited();
                self.end_if_drained();
            }
        }
        self.count_run(&run);
        self.forget_unwaited();
        self.after_completions(now);
        if let Some(error) = arrivals.problem {
            self.close(CloseReason::Frame(error));
        }
        if arrivals.misplaced {
            self.close(CloseReason::Protocol("a frame on another lane's stream"));
        }
        arrivals.clear();
    }

    fn count_run(&mut self, run: &Run) {
        let Some(lane) = run.lane else { return };
        let carried = &mut self.statistics.lanes[lane as usize];
        carried.bytes_received += run.bytes;
        carried.messages_received += run.messages;
        if run.messages > 0 {
            self.statistics.received.add(run.message_type, run.messages);
        }
    }

    #[inline]
    fn handle_frame(&mut self, now: Duration, now_ns: u64, mut frame: Arrived) {
        if self.phase == Phase::Up {
            if frame.special.is_some() && frame.fragment().is_some() {
                return self.handle_fragment(now, now_ns, &mut frame);
            }
            if frame.head.flags.has(Flags::RESPONSE) {
                return self.handle_reply(now_ns, frame);
            }
            if !frame.head.message_type.is_control() || frame.head.message_type == control_type::MEMBERSHIP_SYNC {
                return self.handle_message(now_ns, frame);
            }
        }
        self.handle_control_frame(now, &frame);
    }

    /// A message of the protocol itself, or one at a time when nothing else may come.
    fn handle_control_frame(&mut self, now: Duration, frame: &Arrived) {
        match frame.head.message_type {
            // Either side may end the connection at any point of the hello, and refuse the other one after it.
            control_type::REJECT => self.handle_reject(&frame.body),
            control_type::CLOSE => self.handle_close(&frame.body),
            control_type::HELLO => match self.phase {
                Phase::AwaitingHello => self.handle_hello(now, &frame.body),
                Phase::Up => self.close(CloseReason::Protocol("a second hello")),
                _ => self.close(CloseReason::Protocol("a message before the hello's answer")),
            },
            _ if self.phase == Phase::Up => {
                if self.handle_control(now, frame).is_err() {
                    self.close(CloseReason::Protocol("a control message that cannot be read"));
                }
            }
            _ if self.phase == Phase::AwaitingHello => {
                self.close(CloseReason::Protocol("a message before the hello"));
            }
            _ => self.close(CloseReason::Protocol("a message before the hello's answer")),
        }
    }

    fn handle_reject(&mut self, body: &Body) {
        let reason = Reject::decode(body).ok().and_then(|reject| reject.reason());
        // A reason that only a newer version knows is still a refusal of the hello.
        self.close(CloseReason::Refused(reason.unwrap_or(RefusalReason::Malformed)));
    }

    pub(super) fn handle_close(&mut self, body: &Body) {
        // A code that only a newer version knows still ends the connection.
        let code = Close::decode(body).ok().and_then(|close| CloseCode::from_code(close.code));
        self.close(CloseReason::Peer(code.unwrap_or(CloseCode::Normal)));
    }

    fn handle_hello(&mut self, now: Duration, body: &Body) {
        let is_dialer = matches!(self.side, Side::Dialer { .. });
        let Ok(theirs) = Hello::decode(body) else {
            self.reject(RefusalReason::Malformed);
            return;
        };
        if let Err(reason) = hello::check(&self.config, &self.identity, &self.side, &theirs) {
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

    pub(super) fn come_up(&mut self, now: Duration) {
        let Some(peer) = &self.peer else { return };
        self.peer_terms = hello::peer_terms(&self.config, peer, self.config.checksum || peer.checksum);
        self.told_costs = if self.peer_terms.lanes { self.own_costs.clone() } else { Costs::default() };
        self.rules = hello::rules(&self.config, self.peer_terms.checksum);
        let writer = &mut self.lanes.writer;
        writer.frame_bytes_max = self.peer_terms.frame_bytes_max;
        writer.costs = Arc::new(Costs::new(&peer.costs));
        writer.compression.set_codec(self.peer_terms.codec);
        for lane in Lane::ALL {
            let limit = peer.credits.get(lane as usize).copied().unwrap_or(0);
            self.lanes.lane_mut(lane).raise_limit(limit);
        }
        let wall_origin = self.liveness.wall_origin();
        self.liveness = Liveness::new(&self.config, hello::peer_liveness(peer), self.heartbeats.is_some(), now);
        self.liveness.set_wall_origin(wall_origin);
        self.phase = Phase::Up;
    }

    #[inline]
    fn handle_reply(&mut self, now_ns: u64, frame: Arrived) {
        if self.reassembly.is_open(frame.head.lane) {
            self.reassembly.end(frame.head.correlation);
            if self.reassembly.is_open(frame.head.lane) {
                return self.close(CloseReason::Protocol("a reply between the fragments of another"));
            }
        }
        if frame.head.flags.has(Flags::STREAM) || frame.body.len() > FREE_REPLY_BYTES_MAX {
            return self.handle_special_reply(now_ns, frame);
        }
        self.complete(now_ns, frame.head, frame.body, Held::default());
    }

    /// A reply of a stream, or one that needs memory of the budget.
    #[cold]
    fn handle_special_reply(&mut self, now_ns: u64, frame: Arrived) {
        let mut held = Held::default();
        if frame.body.len() > FREE_REPLY_BYTES_MAX && !frame.head.flags.has(Flags::ERROR) {
            match self.budget.reserve(self.reply_cost(&frame, frame.body.len() as u32)) {
                Ok(reservation) => held = Held::new(Some(reservation)),
                Err(scope) => return self.refuse_reply(frame.head, scope),
            }
        }
        self.complete_any(now_ns, frame.head, frame.body, held);
    }

    fn complete_any(&mut self, now_ns: u64, head: FrameHead, body: Body, held: Held) {
        if head.flags.has(Flags::STREAM) {
            self.complete_item(now_ns, head, body, held);
        } else {
            self.complete(now_ns, head, body, held);
        }
    }

    /// Ends a request with its reply.
    #[inline]
    fn complete(&mut self, now_ns: u64, head: FrameHead, body: Body, reservation: Held) {
        if head.flags.has(Flags::ERROR) {
            return self.complete_with_error(now_ns, head, &body);
        }
        let id = RequestId::from_correlation(head.correlation);
        let Self { requests, statistics, .. } = self;
        let waited = requests.complete(id, |started_ns| {
            let round_trip = Duration::from_nanos(now_ns.saturating_sub(started_ns));
            statistics.latency.record(round_trip);
            statistics.replies += 1;
            Ok(Reply { message_type: head.message_type, body, round_trip, reservation })
        });
        statistics.late_replies += u64::from(!waited);
    }

    #[cold]
    fn complete_with_error(&mut self, now_ns: u64, head: FrameHead, body: &Body) {
        let id = RequestId::from_correlation(head.correlation);
        let Self { requests, statistics, .. } = self;
        let waited = requests.complete(id, |started_ns| {
            statistics.latency.record(Duration::from_nanos(now_ns.saturating_sub(started_ns)));
            Err(error_of(body))
        });
        statistics.late_replies += u64::from(!waited);
    }

    /// Ends a request whose reply there is no memory for. The other side need not go on with a stream.
    pub(super) fn refuse_reply(&mut self, head: FrameHead, scope: OverloadScope) {
        self.statistics.out_of_memory += 1;
        let error = RequestError::new(Effect::Unknown, Reason::Overloaded(scope)).because("no memory for the reply");
        let waited = self.requests.complete(RequestId::from_correlation(head.correlation), |_| Err(error));
        if waited && head.flags.has(Flags::STREAM) {
            self.push_cancel(head.lane, head.correlation);
        }
    }

    /// Takes a reply of a stream in.
    fn complete_item(&mut self, now_ns: u64, head: FrameHead, body: Body, reservation: Held) {
        let reply = |started_ns| {
            let round_trip = Duration::from_nanos(now_ns.saturating_sub(started_ns));
            Reply { message_type: head.message_type, body, round_trip, reservation }
        };
        match self.requests.push_item(RequestId::from_correlation(head.correlation), reply) {
            Some(true) => {}
            Some(false) => self.close(CloseReason::CreditExceeded),
            None => self.statistics.late_replies += 1,
        }
    }

    /// What a reply needs in memory once it is read.
    fn reply_cost(&self, frame: &Arrived, total_bytes: u32) -> u64 {
        let structure_bytes = total_bytes.saturating_sub(frame.body.attachment_bytes());
        Reassembly::cost(total_bytes) + self.own_costs.beyond_bytes(frame.head.message_type, structure_bytes)
    }

    /// A part of a message or of a reply.
    #[cold]
    fn handle_fragment(&mut self, now: Duration, now_ns: u64, frame: &mut Arrived) {
        let is_reply = frame.head.flags.has(Flags::RESPONSE);
        if !is_reply {
            if !self.may_come(frame) {
                return;
            }
            let (lane, charge) = (frame.head.lane, frame_charge(frame.sizes()));
            if !self.intake.admit(lane, charge) {
                return self.close(CloseReason::CreditExceeded);
            }
            // Memory was reserved for the whole, or the part is thrown away: either way it holds no credits.
            self.intake.turn_away(lane, charge);
        }
        match self.reassembly.place(frame) {
            Err(problem) => self.close(CloseReason::Protocol(problem)),
            Ok(Part::First) => {
                let reservation = self.reserve_message(frame, is_reply);
                self.reassembly.begin(now, frame, reservation);
            }
            Ok(Part::Later) => {
                if let Some(whole) = self.reassembly.add(now, frame) {
                    frame.special =
                        Some(Box::new(Special { stream_window: whole.stream_window, ..Special::default() }));
                    self.handle_whole(now_ns, frame, is_reply, whole);
                }
            }
        }
    }

    /// Reserves memory for a message of which the first part is here. Where there is none, or nobody waits for it, its sender
    /// is told, if it can be.
    fn reserve_message(&mut self, frame: &Arrived, is_reply: bool) -> Option<Reservation> {
        let total_bytes = frame.fragment().map_or(frame.body.len() as u32, |fragment| fragment.total_bytes);
        let correlation = frame.head.correlation;
        if is_reply {
            if !self.requests.is_waiting(RequestId::from_correlation(correlation)) {
                self.statistics.late_replies += 1;
                return None;
            }
            return match self.budget.reserve(self.reply_cost(frame, total_bytes)) {
                Ok(reservation) => Some(reservation),
                Err(scope) => {
                    self.refuse_reply(frame.head, scope);
                    None
                }
            };
        }
        let refused = if correlation != 0 && self.intake.open_requests() >= self.config.requests_max {
            self.statistics.refused += 1;
            OverloadScope::Requests
        } else {
            match self.budget.reserve(self.reply_cost(frame, total_bytes)) {
                Ok(reservation) => return Some(reservation),
                Err(scope) => {
                    self.statistics.out_of_memory += 1;
                    scope
                }
            }
        };
        if correlation != 0 {
            self.push_error(frame.head.lane, correlation, Effect::NotStarted, Reason::Overloaded(refused), "");
        }
        None
    }

    /// A message, or a reply, of which the last part is here.
    fn handle_whole(&mut self, now_ns: u64, frame: &Arrived, is_reply: bool, whole: Whole) {
        let Whole { body, reservation, .. } = whole;
        if is_reply {
            if reservation.is_some() {
                self.complete_any(now_ns, frame.head, body, Held::new(reservation));
            }
            return;
        }
        self.intake.count(frame.head.lane);
        if reservation.is_some() {
            self.take_in(now_ns, TakenIn::of(frame), body, 0, Held::new(reservation));
        }
    }

    fn handle_control(&mut self, now: Duration, frame: &Arrived) -> Result<(), DecodeError> {
        let body = &frame.body;
        match frame.head.message_type {
            control_type::PING => {
                self.pong_due = Some(Ping::decode(body)?.token);
                self.sign_of_life_due = true;
            }
            control_type::PONG => self.handle_pong(now, Pong::decode(body)?),
            control_type::CREDIT => {
                let credit = Credit::decode(body)?;
                let risen =
                    Lane::from_u8(credit.lane).is_some_and(|lane| self.lanes.lane_mut(lane).raise_limit(credit.limit));
                if risen {
                    self.unblock();
                }
            }
            control_type::STREAM_CREDIT => {
                let correlation = frame.head.correlation;
                if self.streams.raise_limit(correlation, StreamCredit::decode(body)?.limit) {
                    self.events.push_back(Event::StreamWritable { correlation });
                }
            }
            control_type::CANCEL => {
                self.streams.close(frame.head.correlation);
                self.reassembly.end(frame.head.correlation);
                self.lanes.abandon_reply(frame.head.correlation);
                self.intake.withdraw(frame.head.correlation, self.config.requests_max);
                self.events.push_back(Event::Cancelled { correlation: frame.head.correlation });
            }
            control_type::FENCE => self.raise_fence(&Fence::decode(body)?),
            control_type::GO_AWAY => {
                let go_away = GoAway::decode(body)?;
                self.handle_go_away(now, &go_away);
            }
            _ => self.statistics.unknown_control += 1,
        }
        Ok(())
    }

    fn handle_pong(&mut self, now: Duration, Pong { token, clock_us }: Pong) {
        self.liveness.answered(now, token, clock_us);
        if let Drain::Warned { token: asked, deadline } = self.drain
            // The answer to a later question also proves that what was sent before the warning has arrived.
            && token >= asked
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
            // Those who wait for credits or slots find out that there will be none.
            self.unblock();
        }
        if go_away.last {
            for lane in Lane::ALL {
                let accepted = go_away.accepted.get(lane as usize).copied().unwrap_or(0);
                self.requests.end_beyond(lane, accepted, Reason::Draining);
            }
            if !self.drain.is_draining() {
                self.drain = Drain::Ending { deadline: now + self.config.drain_timeout };
            }
        }
        self.after_completions(now);
        self.end_if_drained();
    }

    /// Whether a message may come at all: the other side made the connection, its ids fit, and the last word is not said.
    #[inline]
    fn may_come(&mut self, frame: &Arrived) -> bool {
        if matches!(self.side, Side::Dialer { .. }) {
            self.close(CloseReason::Protocol("a message on a connection that only answers"));
            return false;
        }
        let one_way = frame.head.flags.has(Flags::ONE_WAY);
        if one_way != (frame.head.correlation == 0) {
            self.close(CloseReason::Protocol("a correlation id that does not fit the flags"));
            return false;
        }
        if matches!(self.drain, Drain::Ending { .. }) {
            // The last word is said: the sender is told by its count that no handler saw this one.
            self.statistics.discarded += 1;
            return false;
        }
        true
    }

    #[inline]
    fn handle_message(&mut self, now_ns: u64, frame: Arrived) {
        if !self.may_come(&frame) {
            return;
        }
        let head = frame.head;
        if self.reassembly.is_open(head.lane) {
            return self.close(CloseReason::Protocol("a message between the fragments of another"));
        }
        let (lane, charge) = (head.lane, self.told_costs.charge(head.message_type, frame.sizes()));
        if !self.intake.admit(lane, charge) {
            self.close(CloseReason::CreditExceeded);
            return;
        }
        self.intake.count(lane);
        if head.correlation != 0 && self.intake.open_requests() >= self.config.requests_max {
            self.refuse_request(lane, charge, head.correlation);
            return;
        }
        let mut held = Held::default();
        if !self.peer_terms.lanes {
            let uncharged = self.own_costs.beyond_bytes(head.message_type, frame.sizes().structure_bytes);
            if uncharged > 0 {
                let Some(reservation) = self.reserve_uncharged(head, charge, uncharged) else { return };
                held = Held::new(Some(reservation));
            }
        }
        let taken_in = TakenIn::of(&frame);
        self.take_in(now_ns, taken_in, frame.body, charge, held);
    }

    /// Reserves what reading adds to a message of a dialer that is too old to be charged for it. Where there is no memory, the
    /// message goes no further, and its sender is told, if it can be.
    #[cold]
    fn reserve_uncharged(&mut self, head: FrameHead, charge: u64, bytes: u64) -> Option<Reservation> {
        match self.budget.reserve(bytes) {
            Ok(reservation) => Some(reservation),
            Err(scope) => {
                self.statistics.out_of_memory += 1;
                self.intake.turn_away(head.lane, charge);
                if head.correlation != 0 {
                    self.push_error(head.lane, head.correlation, Effect::NotStarted, Reason::Overloaded(scope), "");
                }
                None
            }
        }
    }

    /// Keeps a message for its handler.
    #[inline(always)]
    fn take_in(&mut self, now_ns: u64, arrived: TakenIn, body: Body, charge: u64, reservation: Held) {
        let TakenIn { head, deadline_us, stream_window } = arrived;
        let deadline_ns = now_ns + u64::from(deadline_us) * 1000;
        let wants_stream = head.flags.has(Flags::STREAM) && head.correlation != 0;
        if wants_stream {
            self.streams.open(head.correlation, stream_window);
        }
        self.intake.push(Inbound {
            wants_stream,
            id: InboundId { correlation: head.correlation, lane: head.lane, charge, reservation, wants_stream },
            message_type: head.message_type,
            lane: head.lane,
            deadline: (deadline_us != 0).then(|| Duration::from_nanos(deadline_ns)),
            body,
        });
    }

    /// Answers a request for which there is no place. That is no breach: the other side's slot is free as soon as its caller
    /// has given up, while our handler may still be at work. The answers are bounded by the credits, which come back only when
    /// the socket takes what we write.
    fn refuse_request(&mut self, lane: Lane, charge: u64, correlation: u64) {
        self.statistics.refused += 1;
        self.intake.turn_away(lane, charge);
        self.push_error(lane, correlation, Effect::NotStarted, Reason::Overloaded(OverloadScope::Requests), "");
    }
}

/// What an error reply says.
#[cold]
fn error_of(body: &Body) -> RequestError {
    let Ok(error) = ErrorReply::decode(body) else {
        return RequestError::new(Effect::Unknown, Reason::Malformed).because("the error reply cannot be read");
    };
    let (effect, reason) = error.outcome();
    let outcome = RequestError::new(effect, reason);
    let error = ErrorReply::new(effect, reason, &error.detail);
    if error.detail.is_empty() { outcome } else { outcome.because(&error.detail) }
}
