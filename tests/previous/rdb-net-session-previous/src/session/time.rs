//! What the passing of time does: the hello's time, requests' deadlines, the drain's, and the keep-alive.

use std::time::Duration;

use super::{Phase, Session};
use crate::CloseReason;
use crate::liveness::Due;

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
                self.requests.expire(now);
                self.after_completions(now);
                if self.drain.deadline().is_some_and(|deadline| now >= deadline) {
                    self.close(CloseReason::Local);
                }
                if self.phase == Phase::Closed {
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
}
