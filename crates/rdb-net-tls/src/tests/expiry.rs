//! When somebody is warned. S6.

use super::mint::DAY;
use crate::expiry::ExpiryWatch;
use crate::{Expiring, ExpiringKind, Fingerprint, UnixSeconds};

fn expiring(kind: ExpiringKind, name: &str, not_after: i64) -> Expiring {
    let not_after = UnixSeconds(not_after);
    Expiring { kind, name: name.to_owned(), fingerprint: Fingerprint::of(name.as_bytes()), not_after }
}

/// The marks that are passed at these times, in days before the end.
fn marks(watch: &mut ExpiryWatch, expiring: &Expiring, days_left: &[i64]) -> Vec<i64> {
    let mut passed = Vec::new();
    for days in days_left {
        let now = UnixSeconds(expiring.not_after.0 - days * DAY);
        let warnings = watch.check(std::slice::from_ref(expiring), now);
        assert!(warnings.iter().all(|warning| warning.seconds_left == days * DAY));
        passed.extend(warnings.iter().map(|warning| warning.days));
    }
    passed
}

/// S6: 30 days, 7 days and 1 day before the end, and at it.
#[test]
fn each_mark_is_told_once() {
    let certificate = expiring(ExpiringKind::Certificate, "n1", 1000 * DAY);
    let mut watch = ExpiryWatch::default();
    assert_eq!(marks(&mut watch, &certificate, &[365, 31, 30, 29, 8, 7, 6, 2, 1, 1, 0, -1]), [30, 7, 1, 0]);
}

#[test]
fn of_several_marks_only_the_last_is_told() {
    let certificate = expiring(ExpiringKind::Ca, "ca", 1000 * DAY);
    assert_eq!(marks(&mut ExpiryWatch::default(), &certificate, &[5, 4]), [7]);
    assert_eq!(marks(&mut ExpiryWatch::default(), &certificate, &[-5, -6]), [0]);
}

#[test]
fn a_renewed_certificate_begins_anew() {
    let (old, new) =
        (expiring(ExpiringKind::Certificate, "old", 10 * DAY), expiring(ExpiringKind::Certificate, "new", 40 * DAY));
    let mut watch = ExpiryWatch::default();
    assert_eq!(marks(&mut watch, &old, &[6]), [7]);
    assert_eq!(marks(&mut watch, &new, &[35, 30]), [30]);
    assert_eq!(marks(&mut watch, &old, &[6]), [7], "what is gone is forgotten");
}

#[test]
fn revocation_lists_are_told_of_on_their_last_day() {
    let list = expiring(ExpiringKind::RevocationList, "ca", 1000 * DAY);
    assert_eq!(marks(&mut ExpiryWatch::default(), &list, &[31, 7, 6, 1, 0]), [1, 0]);
}

#[test]
fn times_are_shown_as_people_write_them() {
    for (seconds, text) in [
        (0, "1970-01-01 00:00:00 UTC"),
        (951_782_400, "2000-02-29 00:00:00 UTC"),
        (1_709_251_199, "2024-02-29 23:59:59 UTC"),
        (1_767_225_600, "2026-01-01 00:00:00 UTC"),
        (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        (-1, "1969-12-31 23:59:59 UTC"),
    ] {
        assert_eq!(UnixSeconds(seconds).to_string(), text);
    }
}
