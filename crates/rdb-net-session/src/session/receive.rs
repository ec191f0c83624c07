//! What the other side's frames do.
//!
//! Every byte here is a stranger's until the hello was accepted and a peer's after it: what breaks the protocol ends the
//! connection, what is merely too much is answered.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rdb_net_types::{Effect, Lane, OverloadScope, Reason, RefusalReason, RequestError};
use rdb_net_wire::{
    Body, Close, CloseCode, Credit, DecodeError, ErrorReply, Flags, Frame, GoAway, Hello, Message, Ping, Pong, Reject,
    control_type, decode_frame, frame_length, split_frame,
};

use super::{HELLO_BYTES_MAX, Phase, Session};
use crate::config::carrier;
use crate::drain::Drain;
use crate::event::{Event, Inbound, InboundId, Reply};
use crate::lanes::charge;
use crate::liveness::Liveness;
use crate::requests::RequestId;
use crate::{CloseReason, Side, hello};

impl Session {
    /// Takes every whole frame out of the buffer; what remains is the beginning of one.
    pub fn handle_input(&mut self, now: Duration, input: &mut BytesMut) {
        if !input.is_empty() {
            self.liveness.received(now);
        }
        loop {
            if self.phase == Phase::Closed {
                input.clear();
                return;
            }
            let greeting = self.phase == Phase::AwaitingHello;
            let (whole, problem) = self.whole_frames(input);
            if whole > 0 {
                self.handle_frames(now, input.split_to(whole).freeze());
            }
            if let Some(reason) = problem {
                self.close(reason);
            } else if !greeting || whole == 0 {
                return;
            }
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

    fn frame_limit(&self) -> u32 {
        match self.phase {
            Phase::AwaitingHello | Phase::AwaitingDecision => HELLO_BYTES_MAX,
            Phase::Up | Phase::Closed => self.config.frame_bytes_max,
        }
    }

    /// How many bytes at the head of the buffer are whole frames, and what is wrong behind them.
    fn whole_frames(&self, input: &[u8]) -> (usize, Option<CloseReason>) {
        let mut whole = 0;
        loop {
            match frame_length(&input[whole..], self.frame_limit()) {
                Ok(Some(length)) if whole + length <= input.len() => whole += length,
                Ok(_) => return (whole, None),
                Err(error) => return (whole, Some(CloseReason::Frame(error))),
            }
            // The frame that brings the connection up also raises the limit for those behind it.
            if self.phase == Phase::AwaitingHello {
                return (whole, None);
            }
        }
    }

    fn handle_frames(&mut self, now: Duration, mut frames: Bytes) {
        self.statistics.bytes_received += frames.len() as u64;
        while self.phase != Phase::Closed
            && let Some((frame, _)) = split_frame(&frames)
        {
            let (required, length) = (self.phase == Phase::Up && self.checksum, frame.len());
            match decode_frame(frame, required) {
                Ok(frame) => self.handle_frame(now, &frame, &frames, length as u32),
                Err(error) => self.close(CloseReason::Frame(error)),
            }
            frames.advance(length);
        }
    }

    fn handle_frame(&mut self, now: Duration, frame: &Frame, bytes: &Bytes, wire_bytes: u32) {
        let message_type = frame.head.message_type;
        self.statistics.received.add(message_type, 1);
        match message_type {
            _ if self.phase == Phase::Closed => {}
            // Either side may end the connection at any point of the hello, and refuse the other one after it.
            control_type::REJECT => self.handle_reject(&Body::of(frame, bytes)),
            control_type::CLOSE => self.handle_close(&Body::of(frame, bytes)),
            control_type::HELLO => match self.phase {
                Phase::AwaitingHello => self.handle_hello(now, &Body::of(frame, bytes)),
                Phase::Up => self.close(CloseReason::Protocol("a second hello")),
                _ => self.close(CloseReason::Protocol("a message before the hello's answer")),
            },
            _ if self.phase == Phase::Up => self.handle_up(now, frame, bytes, wire_bytes),
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

    fn handle_up(&mut self, now: Duration, frame: &Frame, bytes: &Bytes, wire_bytes: u32) {
        if frame.head.flags.has(Flags::RESPONSE) {
            self.handle_reply(now, frame, bytes);
        } else if frame.head.message_type.is_control() && frame.head.message_type != control_type::MEMBERSHIP_SYNC {
            if self.handle_control(now, frame, &Body::of(frame, bytes)).is_err() {
                self.close(CloseReason::Protocol("a control message that cannot be read"));
            }
        } else {
            self.handle_message(now, frame, bytes, wire_bytes);
        }
    }

    fn handle_reply(&mut self, now: Duration, frame: &Frame, bytes: &Bytes) {
        let id = RequestId::from_correlation(frame.head.correlation);
        let message_type = frame.head.message_type;
        let is_error = frame.head.flags.has(Flags::ERROR);
        let ended = self.requests.complete(id, now, |round_trip| {
            let body = Body::of(frame, bytes);
            if is_error { Err(error_of(&body)) } else { Ok(Reply { message_type, body, round_trip }) }
        });
        match ended {
            Some(round_trip) => self.statistics.latency.record(round_trip),
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
        if matches!(self.side, Side::Acceptor) && matches!(self.drain, Drain::Ending { .. }) {
            // The last word is said: the sender is told by its count that no handler saw this one.
            self.statistics.discarded += 1;
            return;
        }
        let (lane, charge) = (carrier(frame.head.lane), charge(wire_bytes));
        if !self.intake.admit(lane, charge) {
            self.close(CloseReason::CreditExceeded);
            return;
        }
        if !one_way && self.intake.open_requests() >= self.config.requests_max {
            self.refuse_request(lane, charge, frame.head.correlation);
            return;
        }
        let message = Inbound {
            id: InboundId { correlation: frame.head.correlation, lane, charge },
            message_type: frame.head.message_type,
            lane: frame.head.lane,
            deadline: (frame.deadline_us != 0).then(|| now + Duration::from_micros(u64::from(frame.deadline_us))),
            body: Body::of(frame, bytes),
        };
        self.intake.push(message);
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
