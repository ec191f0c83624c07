//! The wall clock, as packets tell it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970. Members compare their wall clocks by it: it is not the `now` of a state machine, which counts from
/// an origin of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixTime(u64);

impl UnixTime {
    /// A packet has 48 bits for the time: until the year 10889.
    const MAX: u64 = (1 << 48) - 1;

    /// The time by this machine's clock.
    pub fn now() -> Self {
        Self::of(SystemTime::now())
    }

    /// A time by the wall clock; 1970 where it is before.
    pub fn of(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// A time by its milliseconds; the latest one where they are more.
    pub const fn from_millis(ms: u64) -> Self {
        Self(if ms > Self::MAX { Self::MAX } else { ms })
    }

    /// Its milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// So much earlier, at the earliest in 1970.
    #[must_use]
    pub fn earlier(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(millis(by)))
    }

    /// So much later, at the latest at the end of time.
    #[must_use]
    pub fn later(self, by: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(millis(by)))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
