//! Lines of the log that strangers can cause: one a second of each reason, with the number of those left out.
//!
//! Who may cause a line for each try fills the disk or hides what matters. Counters count every try; the log says that there are
//! some.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

/// How far two lines of one reason are apart.
const APART: Duration = Duration::from_secs(1);

/// When each reason was last written, and how many lines of it were left out since. Reasons are of a fixed set.
#[derive(Debug, Default)]
pub(crate) struct SparseLog {
    reasons: Mutex<BTreeMap<&'static str, Written>>,
}

#[derive(Debug)]
struct Written {
    at: Duration,
    left_out: u64,
}

impl SparseLog {
    /// Whether a line of this reason is to be written at this time: then how many were left out since the last one.
    pub(crate) fn admit(&self, now: Duration, reason: &'static str) -> Option<u64> {
        let mut reasons = self.reasons.lock().expect("no code panics while it holds this lock");
        let Some(written) = reasons.get_mut(reason) else {
            reasons.insert(reason, Written { at: now, left_out: 0 });
            return Some(0);
        };
        if now.saturating_sub(written.at) < APART {
            written.left_out += 1;
            return None;
        }
        written.at = now;
        Some(std::mem::take(&mut written.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S25: a thousand refused tries in three seconds are three lines, and none of the tries is lost from sight.
    #[test]
    fn a_reason_is_written_once_a_second_with_the_number_of_those_left_out() {
        let log = SparseLog::default();
        let at = Duration::from_millis;
        let written: Vec<(u64, u64)> =
            (0..=3000).step_by(3).filter_map(|now| Some((now, log.admit(at(now), "accept")?))).collect();
        assert_eq!(written, [(0, 0), (1002, 333), (2004, 333)]);
        assert_eq!(log.admit(at(3000), "unknown_issuer"), Some(0), "another reason has lines of its own");
        assert_eq!(log.admit(at(9000), "accept"), Some(332));
        assert_eq!(log.admit(at(20_000), "accept"), Some(0), "nothing was left out meanwhile");
    }
}
