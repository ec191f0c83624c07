//! The clock that sessions and peers are driven by: time since this process chose its origin.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Later than any process runs: a hundred years.
const FAR_AWAY: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A monotonic clock: the runtime's, so that it stands still where a test has stopped time. Copies of one clock agree.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock whose origin is now.
    pub fn start() -> Self {
        Self { origin: tokio::time::Instant::now().into_std() }
    }

    /// The origin.
    pub fn origin(&self) -> Instant {
        self.origin
    }

    /// The time since the origin.
    #[inline]
    pub fn now(&self) -> Duration {
        tokio::time::Instant::now().into_std().saturating_duration_since(self.origin)
    }

    /// When that time is, for the runtime's timers; one beyond all clocks is far away.
    pub fn instant(&self, at: Duration) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.origin.checked_add(at).unwrap_or_else(|| self.origin + FAR_AWAY))
    }
}

/// The time since 1970, by this machine's wall clock; 0 for one that stands before.
pub(crate) fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
