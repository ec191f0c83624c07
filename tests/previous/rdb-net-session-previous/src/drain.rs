//! Ending a connection without losing what is under way.
//!
//! The acceptor warns, waits until everything that the dialer had accepted before the warning has arrived (one ping: a warned
//! dialer lets its answer leave behind all that is queued), then says how much it has taken: the last word. What comes after it
//! is discarded, so that no handler sees what the dialer tells its callers was not started. The dialer drains by itself: it
//! sends nothing new and waits for its replies.

use std::time::Duration;

/// How far a drain has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Drain {
    /// Nobody drains.
    #[default]
    None,
    /// The other side was warned and asked by this ping.
    Warned { token: u64, deadline: Duration },
    /// The last word is said, or none is needed; what is under way ends.
    Ending { deadline: Duration },
}

impl Drain {
    pub(crate) fn is_draining(self) -> bool {
        self != Self::None
    }

    pub(crate) fn deadline(self) -> Option<Duration> {
        match self {
            Self::None => None,
            Self::Warned { deadline, .. } | Self::Ending { deadline } => Some(deadline),
        }
    }
}
