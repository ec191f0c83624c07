//! After what was due is done, the next thing is due later.
//!
//! Source: the house's contract of pure machines. A timer that is due for ever takes the processor of a node that has nothing to do.

use std::time::Duration;

use super::Invariant;

#[derive(Debug)]
pub(crate) struct TimerMovesOn;

impl Invariant for TimerMovesOn {
    fn name(&self) -> &'static str {
        "timer-moves-on"
    }

    fn timed(&mut self, now: Duration, next: Option<Duration>) -> Result<(), String> {
        match next {
            Some(at) if at <= now => Err(format!("what was due is done, and it is due at {at:?} still")),
            _ => Ok(()),
        }
    }
}
