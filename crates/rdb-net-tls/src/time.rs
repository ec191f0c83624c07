//! Points in time as certificates know them: seconds since 1970, no leap seconds.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::UnixTime;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};

/// A point in time, in seconds since the beginning of 1970 (UTC); negative before. Shown as `2026-03-01 12:00:00 UTC`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub i64);

impl From<UnixTime> for UnixSeconds {
    fn from(time: UnixTime) -> Self {
        Self(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for UnixSeconds {
    /// The civil date of a day number by Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0.div_euclid(86_400), self.0.rem_euclid(86_400));
        let shifted = days + 719_468;
        let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
    }
}

impl fmt::Debug for UnixSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Tells the time by which certificates are judged.
#[derive(Debug, Clone)]
pub struct Clock(Arc<dyn TimeProvider>);

impl Default for Clock {
    /// The system's.
    fn default() -> Self {
        Self(Arc::new(DefaultTimeProvider))
    }
}

impl Clock {
    /// One of your own: of a simulation, or of a test.
    pub fn new(provider: Arc<dyn TimeProvider>) -> Self {
        Self(provider)
    }

    pub(crate) fn provider(&self) -> Arc<dyn TimeProvider> {
        Arc::clone(&self.0)
    }

    /// Where the clock cannot tell, the end of time: nothing is valid then.
    pub fn now(&self) -> UnixTime {
        let end = UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::MAX));
        self.0.current_time().unwrap_or(end)
    }
}
