//! What goes out: frames of callers and handlers, the protocol's own answers, and the end.

use std::time::Duration;

use rdb_net_types::{Effect, Lane, MessageType, OverloadScope, Reason};
use rdb_net_wire::{Credit, Encode, ErrorReply, Flags, FrameHead, Ping, Pong, Raw, StreamCredit, control_type};

use super::{Phase, SendError, Session};
use crate::batch::Sending;
use crate::drain::Drain;
use crate::event::Event;
use crate::outbox::check_type;
use crate::{CloseReason, Side, hello};

impl Session {
    #[inline]
    pub(super) fn check_sendable(&mut self, lane: Lane, message_type: MessageType) -> Result<(), SendError> {
        check_type(message_type)?;
        if !self.is_up() || matches!(self.side, Side::Acceptor) {
            return Err(SendError::NotUp);
        }
        if !self.lanes.lane(lane).has_credit() {
            self.blocked = true;
            return Err(SendError::NoCredit);
        }
        Ok(())
    }

    #[inline]
    pub(super) fn head(&self, message_type: MessageType, flags: Flags, lane: Lane, correlation: u64) -> FrameHead {
        let flags = if self.peer_terms.checksum { flags.with(Flags::CHECKSUM) } else { flags };
        FrameHead { message_type, flags, lane, correlation }
    }

    pub(super) fn push_hello(&mut self) {
        let hello = hello::hello(&self.config, &self.identity, &self.side);
        self.push_control(&hello);
    }

    pub(super) fn push_control(&mut self, message: &impl Encode) {
        self.push_uncharged(self.control_head(message.message_type()), message);
    }

    /// Queues a message of the protocol itself, before all others.
    pub(super) fn push_uncharged(&mut self, head: FrameHead, message: &impl Encode) {
        let pushed = self.lanes.push_control(head, message);
        debug_assert!(pushed.is_ok(), "the protocol's own messages fit the smallest frame: {pushed:?}");
    }

    /// The head of a message of the protocol itself.
    pub(super) fn control_head(&self, message_type: MessageType) -> FrameHead {
        self.head(message_type, Flags::ONE_WAY, Lane::System, 0)
    }

    /// Tells the other side that a request of this lane is given up: not before the request itself has come.
    pub(super) fn push_cancel(&mut self, lane: Lane, correlation: u64) {
        let head = FrameHead { correlation, ..self.control_head(control_type::CANCEL) };
        let cancel = Raw { message_type: control_type::CANCEL, payload: Default::default() };
        if self.apart.is_none() || lane == Lane::System {
            return self.push_uncharged(head, &cancel);
        }
        let pushed = self.lanes.push_front(lane, head, &cancel);
        debug_assert!(pushed.is_ok(), "the protocol's own messages fit the smallest frame: {pushed:?}");
    }

    pub(super) fn push_error(&mut self, lane: Lane, correlation: u64, effect: Effect, reason: Reason, detail: &str) {
        let head = self.head(control_type::REPLY, Flags::RESPONSE.with(Flags::ERROR), lane, correlation);
        let reason = match reason {
            // The first version has one word for all limits but the handler's, and reads others as a failed handler.
            Reason::Overloaded(OverloadScope::Requests | OverloadScope::Peer) if !self.peer_terms.lanes => {
                Reason::Overloaded(OverloadScope::Process)
            }
            reason => reason,
        };
        let pushed = self.lanes.push(Sending::new(head, None, false), &ErrorReply::new(effect, reason, detail));
        debug_assert!(pushed.is_ok(), "an error reply fits the smallest frame: {pushed:?}");
    }

    /// Writes the answers that the protocol owes: at most one pong and one credit a lane, however often they were asked for.
    pub(super) fn push_due(&mut self, now: Duration) {
        if self.phase != Phase::Up {
            return;
        }
        if let Some(token) = self.ping_due.take() {
            self.push_control(&Ping { token });
        }
        let clock_us = self.liveness.wall_us(now);
        if self.may_say_pong() {
            self.sign_of_life_due = false;
            if let Some(token) = self.pong_due.take() {
                if self.peer_drains {
                    self.push_fence();
                }
                self.push_control(&Pong { token, clock_us });
            }
        } else if std::mem::take(&mut self.sign_of_life_due) {
            self.push_control(&Pong { token: 0, clock_us });
        }
        for id in std::mem::take(&mut self.stream_limits_due) {
            if let Some(limit) = self.requests.take_stream_limit(id) {
                let credit = StreamCredit { limit };
                let head = FrameHead { correlation: id.correlation(), ..self.control_head(credit.message_type()) };
                self.push_uncharged(head, &credit);
            }
        }
        if !self.intake.any_credit_due() {
            return;
        }
        for lane in Lane::ALL {
            if let Some(limit) = self.intake.credit_due(lane, &self.budget) {
                self.push_control(&Credit { lane: lane as u8, limit });
            }
        }
    }

    /// To a side that drains, the pong says that nothing more comes: it leaves behind everything that is queued. Until then a
    /// pong that answers nothing says that we live.
    pub(super) fn may_say_pong(&self) -> bool {
        !self.peer_drains || self.lanes.is_empty()
    }

    #[inline]
    pub(super) fn unblock(&mut self) {
        if std::mem::take(&mut self.blocked) {
            self.events.push_back(Event::Writable);
        }
    }

    /// Large messages whose requests have ended wait for no credits.
    #[inline]
    pub(super) fn forget_unwaited(&mut self) {
        let Self { lanes, requests, .. } = self;
        if lanes.has_large() {
            lanes.forget_unwaited(|id| requests.is_waiting(id));
        }
    }

    #[inline]
    pub(super) fn after_completions(&mut self, now: Duration) {
        if self.requests.in_flight() == 0 {
            self.liveness.set_busy(now, false);
            self.end_if_drained();
        }
    }

    /// A drained session ends when nothing is under way in either direction.
    #[inline]
    pub(super) fn end_if_drained(&mut self) {
        let ending = matches!(self.drain, Drain::Ending { .. });
        if ending && self.requests.in_flight() == 0 && self.intake.open() == 0 && self.lanes.is_empty() {
            self.close(CloseReason::Local);
        }
    }

    pub(super) fn end(&mut self, reason: CloseReason) {
        self.phase = Phase::Closed;
        self.lanes.clear();
        self.reassembly.clear();
        self.streams.clear();
        self.stream_limits_due.clear();
        // One-way messages that came before a farewell are still for their handlers; nobody waits for a reply any more.
        let said_farewell = reason.is_orderly() && reason != CloseReason::Local;
        self.intake.abandon(|message| !said_farewell || message.id.wants_reply());
        self.ping_due = None;
        self.pong_due = None;
        self.sign_of_life_due = false;
        self.requests.end_all(match reason {
            CloseReason::Refused(refusal) | CloseReason::Rejected(refusal) => Reason::Refused(refusal),
            _ => Reason::ConnectionLost,
        });
        self.events.push_back(Event::Closed(reason));
    }
}
