//! The protocol's own messages and their numbers.

use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
use rdb_net_types::{Effect, OverloadScope, Reason, RefusalReason};

use super::arbitrary::hello;
use super::body;
use crate::{Body, CloseCode, ErrorReply, GoAway, Hello, Message, Reject};

proptest! {
    #[test]
    fn a_hello_comes_back(hello in hello()) {
        prop_assert_eq!(Hello::decode(&body(&hello)), Ok(hello));
    }

    #[test]
    fn a_go_away_comes_back(last: bool, accepted: Vec<u64>) {
        let go_away = GoAway { last, accepted };
        prop_assert_eq!(GoAway::decode(&body(&go_away)), Ok(go_away));
    }

    #[test]
    fn any_bytes_are_a_hello_or_malformed(bytes: Vec<u8>) {
        let _ = Hello::decode(&Body::new(bytes.into(), &[]));
    }

    #[test]
    fn a_detail_is_cut_between_characters(detail: String, repeated in 1usize..200) {
        let detail = detail.repeat(repeated);
        let reply = ErrorReply::new(Effect::Unknown, Reason::HandlerFailed, &detail);
        prop_assert!(detail.starts_with(&reply.detail));
        prop_assert!(reply.detail.len() <= 1024);
        // A character has at most four bytes, so no more than three are lost to the border.
        prop_assert!(reply.detail.len() == detail.len() || reply.detail.len() > 1020);
    }
}

#[test]
fn close_codes_have_the_numbers_of_the_wire() {
    let names = ["normal", "protocol", "credit", "state", "silent", "shutdown", "evicted", "untrusted"];
    for (code, name) in (1..).zip(names) {
        let close = CloseCode::from_code(code).expect("known");
        assert_eq!((close as u16, close.name()), (code, name));
    }
    for code in [0, 9, u16::MAX] {
        assert_eq!(CloseCode::from_code(code), None);
    }
}

#[test]
fn a_refusal_of_a_newer_version_has_no_reason_here() {
    let reject = |code| Reject { code, retry_after_ms: 0 };
    assert_eq!(reject(7).reason(), Some(RefusalReason::ConnectionLimit));
    assert_eq!(reject(999).reason(), None);
}

#[track_caller]
fn check(effect: Effect, reason: Reason, code: u16, told: (Effect, Reason)) {
    let reply = ErrorReply::new(effect, reason, "detail");
    assert_eq!(reply.code, code);
    let decoded = ErrorReply::decode(&body(&reply)).expect("our own");
    assert_eq!(decoded, reply);
    assert_eq!(decoded.outcome(), told);
}

#[test]
fn an_error_reply_tells_effect_and_reason() {
    let kept = [
        (Reason::Expired, 1),
        (Reason::Overloaded(OverloadScope::Handler), 2),
        (Reason::Overloaded(OverloadScope::Process), 3),
        (Reason::UnknownType, 4),
        (Reason::TooLarge, 5),
        (Reason::Malformed, 6),
        (Reason::HandlerFailed, 7),
        (Reason::HandlerPanicked, 8),
        (Reason::Cancelled, 9),
        (Reason::Draining, 10),
        (Reason::Overloaded(OverloadScope::Requests), 11),
        (Reason::Overloaded(OverloadScope::Peer), 12),
    ];
    for (reason, code) in kept {
        check(Effect::NotStarted, reason, code, (Effect::NotStarted, reason));
        check(Effect::Unknown, reason, code, (Effect::Unknown, reason));
    }
}

#[test]
fn what_the_caller_cannot_tell_apart_has_one_code() {
    let not_started = |reason| (Effect::NotStarted, reason);
    let overloaded = Reason::Overloaded(OverloadScope::Process);
    check(Effect::NotStarted, Reason::Overloaded(OverloadScope::Lane), 3, not_started(overloaded));
    check(Effect::NotSent, Reason::ShuttingDown, 10, not_started(Reason::Draining));
    check(Effect::Unknown, Reason::Unreachable, 7, (Effect::Unknown, Reason::HandlerFailed));
}

#[test]
fn an_error_of_a_newer_version_is_a_failure_with_its_detail() {
    let reply = ErrorReply { not_started: true, code: 999, detail: "new".to_owned() };
    assert_eq!(reply.outcome(), (Effect::NotStarted, Reason::HandlerFailed));
}
