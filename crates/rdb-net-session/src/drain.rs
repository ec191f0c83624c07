//! Ending a connection without losing what is under way.
//!
//! The acceptor warns, waits until everything that was sent before the warning has arrived (one ping, since a connection keeps
//! its order), then says how much it has taken: the last word. What a dialer sent beyond it was seen by no handler. The dialer
//! drains by itself: it sends nothing new and waits for its replies.

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
