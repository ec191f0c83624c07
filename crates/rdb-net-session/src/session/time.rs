//! What the passing of time does: the hello's time, requests' deadlines, the drain's, and the keep-alive.

use std::time::Duration;

use rdb_net_types::{Effect, OverloadScope, Reason};
use rdb_net_wire::Flags;

use super::{Phase, Session};
use crate::liveness::Due;
use crate::requests::RequestId;
use crate::{CloseReason, Side};

impl Session {
    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.tell_time(now);
        match self.phase {
            Phase::Closed => {}
            Phase::AwaitingHello | Phase::AwaitingDecision => {
                if now >= self.hello_deadline {
                    self.close(CloseReason::HelloTimeout);
                }
            }
            Phase::Up => {
                if self.requests.expire(now) > 0 {
                    self.forget_unwaited();
                    if matches!(self.side, Side::Dialer { .. }) {
                        let Self { reassembly, requests, .. } = self;
                        reassembly.discard_unwaited(|id| requests.is_waiting(RequestId::from_correlation(id)));
                    }
                }
                self.give_up_parts(now);
                self.after_completions(now);
                if self.drain.deadline().is_some_and(|deadline| now >= deadline) {
                    self.close(CloseReason::Local);
                }
                if self.phase == Phase::Closed {
                    return;
                }
                match self.liveness.due(now) {
                    Due::Nothing => {}
                    Due::Ask => self.ask(now),
                    Due::AskAgain => self.ping_due = Some(self.liveness.ask(now)),
                    Due::Dead => self.close(CloseReason::Silent),
                }
            }
        }
    }

    /// Messages of which nothing more has come for long give their memory back, and their callers are told.
    fn give_up_parts(&mut self, now: Duration) {
        for head in self.reassembly.give_up(now, self.config.fragment_timeout) {
            self.statistics.out_of_memory += 1;
            if head.flags.has(Flags::RESPONSE) {
                self.refuse_reply(head, OverloadScope::Peer);
            } else if head.correlation != 0 {
                let reason = Reason::Overloaded(OverloadScope::Peer);
                self.push_error(head.lane, head.correlation, Effect::NotStarted, reason, "its parts came too slowly");
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due next.
    pub fn poll_timeout(&self) -> Option<Duration> {
        match self.phase {
            Phase::Closed => None,
            Phase::AwaitingHello | Phase::AwaitingDecision => Some(self.hello_deadline),
            Phase::Up => {
                let parts = self.reassembly.timeout(self.config.fragment_timeout);
                let due = [Some(self.liveness.timeout()), self.requests.next_deadline(), self.drain.deadline(), parts];
                due.into_iter().flatten().min()
            }
        }
    }
}
