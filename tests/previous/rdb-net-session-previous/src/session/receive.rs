//! What the other side's frames do.
//!
//! Every byte here is a stranger's until the hello was accepted and a peer's after it: what breaks the protocol ends the
//! connection, what is merely too much is answered.

use std::time::Duration;

use bytes::BytesMut;
use rdb_net_types::{Effect, Lane, MessageType, OverloadScope, Reason, RefusalReason, RequestError};
use rdb_net_wire::{
    Body, Close, CloseCode, Credit, DecodeError, ErrorReply, Flags, GoAway, Hello, Message, Ping, Pong, Reject,
    control_type,
};

use super::{HELLO_BYTES_MAX, Phase, Session};
use crate::arrivals::Arrived;
use crate::config::carrier;
use crate::drain::Drain;
use crate::event::{Event, Inbound, InboundId, Reply};
use crate::lanes::charge;
use crate::liveness::Liveness;
use crate::requests::{RequestId, nanoseconds};
use crate::{Arrivals, CloseReason, Side, Terms, hello};

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
            peer_frame_bytes_max: self.lanes.frame_bytes_max,
            checksum: self.phase == Phase::Up && self.checksum,
            one_by_one: self.phase == Phase::AwaitingHello,
        }
    }

    /// Takes in what was read, however little of a frame it was.
    pub fn handle_arrivals(&mut self, now: Duration, arrivals: &mut Arrivals) {
        self.tell_time(now);
        self.liveness.received(now);
        self.statistics.bytes_received += arrivals.wire_bytes;
        let now_ns = nanoseconds(now);
        let mut counted: Option<(MessageType, u64)> = None;
        for arrived in &mut arrivals.frames {
            if self.phase == Phase::Closed {
                break;
            }
            let message_type = arrived.head.message_type;
            match &mut counted {
                Some((run, count)) if *run == message_type => *count += 1,
                _ => {
                    if let Some((run, count)) = counted.replace((message_type, 1)) {
                        self.statistics.received.add(run, count);
                    }
                }
            }
            self.handle_frame(now, now_ns, arrived);
        }
        if let Some((run, count)) = counted {
            self.statistics.received.add(run, count);
        }
        if let Some(error) = arrivals.problem {
            self.close(CloseReason::Frame(error));
        }
        arrivals.clear();
    }

    #[inline]
    fn handle_frame(&mut self, now: Duration, now_ns: u64, frame: &mut Arrived) {
        if self.phase == Phase::Up {
            if frame.head.flags.has(Flags::RESPONSE) {
                self.handle_reply(now_ns, frame);
                return self.after_completions(now);
            }
            if !frame.head.message_type.is_control() || frame.head.message_type == control_type::MEMBERSHIP_SYNC {
                return self.handle_message(now_ns, frame);
            }
        }
        self.handle_control_frame(now, frame);
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

    fn handle_close(&mut self, body: &Body) {
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

    pub(super) fn come_up(&mut self, now: Duration) {
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

    #[inline]
    fn handle_reply(&mut self, now_ns: u64, frame: &mut Arrived) {
        let id = RequestId::from_correlation(frame.head.correlation);
        let Self { requests, statistics, .. } = self;
        let waited = requests.complete(id, |started_ns| {
            let round_trip = Duration::from_nanos(now_ns.saturating_sub(started_ns));
            statistics.latency.record(round_trip);
            if frame.head.flags.has(Flags::ERROR) {
                return Err(error_of(&frame.body));
            }
            Ok(Reply { message_type: frame.head.message_type, body: std::mem::take(&mut frame.body), round_trip })
        });
        statistics.late_replies += u64::from(!waited);
    }

    fn handle_control(&mut self, now: Duration, frame: &Arrived) -> Result<(), DecodeError> {
        let body = &frame.body;
        match frame.head.message_type {
            control_type::PING => self.pong_due = Some(Ping::decode(body)?.token),
            control_type::PONG => self.handle_pong(now, Pong::decode(body)?.token),
            control_type::CREDIT => {
                let credit = Credit::decode(body)?;
                let risen =
                    Lane::from_u8(credit.lane).is_some_and(|lane| self.lanes.lane_mut(lane).raise_limit(credit.limit));
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
            _ => self.statistics.unknown_control += 1,
        }
        Ok(())
    }

    fn handle_pong(&mut self, now: Duration, token: u64) {
        self.liveness.answered(now, token);
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

    #[inline]
    fn handle_message(&mut self, now_ns: u64, frame: &mut Arrived) {
        if matches!(self.side, Side::Dialer { .. }) {
            self.close(CloseReason::Protocol("a message on a connection that only answers"));
            return;
        }
        let head = frame.head;
        let one_way = head.flags.has(Flags::ONE_WAY);
        if one_way != (head.correlation == 0) {
            self.close(CloseReason::Protocol("a correlation id that does not fit the flags"));
            return;
        }
        if matches!(self.drain, Drain::Ending { .. }) {
            // The last word is said: the sender is told by its count that no handler saw this one.
            self.statistics.discarded += 1;
            return;
        }
        let (lane, charge) = (carrier(head.lane), charge(frame.wire_bytes));
        if !self.intake.admit(lane, charge) {
            self.close(CloseReason::CreditExceeded);
            return;
        }
        if !one_way && self.intake.open_requests() >= self.config.requests_max {
            self.refuse_request(lane, charge, head.correlation);
            return;
        }
        let deadline_ns = now_ns + u64::from(frame.deadline_us) * 1000;
        self.intake.push(Inbound {
            id: InboundId { correlation: head.correlation, lane, charge },
            message_type: head.message_type,
            lane: head.lane,
            deadline: (frame.deadline_us != 0).then(|| Duration::from_nanos(deadline_ns)),
            body: std::mem::take(&mut frame.body),
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
    if error.detail.is_empty() { outcome } else { outcome.because(&error.detail) }
}
