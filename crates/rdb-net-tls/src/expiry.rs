//! What ends some day, and when to say so.

use std::collections::BTreeMap;
use std::fmt;

use crate::certificate::Fingerprint;
use crate::time::UnixSeconds;

const DAY_SECONDS: i64 = 86_400;

/// When certificates are warned of, in days before their end.
const CERTIFICATE_DAYS: [i64; 3] = [1, 7, 30];

/// Revocation lists are replaced every few days or weeks, so only the last day is worth a word.
const LIST_DAYS: [i64; 1] = [1];

/// What kind of thing ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ExpiringKind {
    /// The node's own certificate.
    Certificate,
    /// A CA between it and the one that is trusted.
    Intermediate,
    /// A CA that is trusted.
    Ca,
    /// A revocation list: by then it must have been replaced.
    RevocationList,
}

impl ExpiringKind {
    /// Its name, as metrics have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Intermediate => "intermediate",
            Self::Ca => "ca",
            Self::RevocationList => "revocation_list",
        }
    }
}

/// Something that ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiring {
    /// What it is.
    pub kind: ExpiringKind,
    /// Whose it is: an identity, or a subject.
    pub name: String,
    /// Its SHA-256.
    pub fingerprint: Fingerprint,
    /// When it ends.
    pub not_after: UnixSeconds,
}

impl Expiring {
    /// How long it is until then, for a metric; negative after it.
    pub fn seconds_left(&self, now: UnixSeconds) -> i64 {
        self.not_after.0.saturating_sub(now.0)
    }
}

impl fmt::Display for Expiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} (sha256 {})", self.kind.name(), self.name, self.fingerprint)
    }
}

/// A warning: this ends within so many days, or has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiryWarning {
    /// What ends.
    pub expiring: Expiring,
    /// The mark that it has passed: 30, 7 or 1 days; 0 once it has ended.
    pub days: i64,
    /// How long it is until then, in seconds; negative after it.
    pub seconds_left: i64,
}

impl fmt::Display for ExpiryWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expiring, days, .. } = self;
        match days {
            0 => write!(f, "{expiring} has ended at {}", expiring.not_after),
            days => write!(f, "{expiring} ends within {days} days, at {}", expiring.not_after),
        }
    }
}

/// Remembers what was warned of. It holds no more than the set in force has.
#[derive(Debug, Default)]
pub(crate) struct ExpiryWatch {
    /// The last mark of each.
    warned: BTreeMap<Fingerprint, i64>,
}

impl ExpiryWatch {
    /// Each mark that was passed since the last call, once; of several marks of one thing only the last.
    pub(crate) fn check(&mut self, expiring: &[Expiring], now: UnixSeconds) -> Vec<ExpiryWarning> {
        self.warned.retain(|fingerprint, _| expiring.iter().any(|one| one.fingerprint == *fingerprint));
        let mut warnings = Vec::new();
        for one in expiring {
            let seconds_left = one.seconds_left(now);
            let marks: &[i64] = match one.kind {
                ExpiringKind::RevocationList => &LIST_DAYS,
                _ => &CERTIFICATE_DAYS,
            };
            let passed = std::iter::once(&0).chain(marks).find(|days| seconds_left <= **days * DAY_SECONDS);
            let Some(days) = passed.copied() else { continue };
            if self.warned.get(&one.fingerprint).is_none_or(|last| days < *last) {
                self.warned.insert(one.fingerprint, days);
                warnings.push(ExpiryWarning { expiring: one.clone(), days, seconds_left });
            }
        }
        warnings
    }
}
