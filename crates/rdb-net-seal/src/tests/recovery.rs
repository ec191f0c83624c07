//! The member that asks.

use super::{key, keyring, member, ms, open, seal, secs};
use crate::{KeyringOffer, Recovery, RecoveryAction, RecoveryConfig, Refused};

#[test]
fn a_member_that_misses_nothing_asks_nothing() {
    let mut recovery = Recovery::new(RecoveryConfig::default());
    assert_eq!(recovery.poll_action(secs(100)), RecoveryAction::None);
}

#[test]
fn a_member_that_missed_the_key_asks_at_once_and_recovers() {
    let (theirs, ours) = (keyring(2), keyring(1));
    let (mut a, mut b) = (member("a", &theirs), member("b", &ours));
    let mut recovery = Recovery::new(RecoveryConfig::default());
    assert_eq!(open(&mut b, &seal(&mut a, b"x")), Err(Refused::UnknownKey));
    recovery.handle_unknown_key();
    assert_eq!(recovery.poll_action(secs(0)), RecoveryAction::Ask);
    let answer = KeyringOffer::encode(&theirs).expect("keys");
    let accepted = KeyringOffer::decode(&answer).expect("legal").accept(&ours, secs(0)).expect("room");
    recovery.handle_offer(accepted.is_news());
    assert_eq!(open(&mut b, &seal(&mut a, b"x")), Ok(b"x".to_vec()));
    assert_eq!(open(&mut a, &seal(&mut b, b"y")), Ok(b"y".to_vec()));
    assert_eq!(recovery.poll_action(secs(1)), RecoveryAction::None);
    assert_eq!(ours.primary(), Some(key(2).id()));
}

#[test]
fn s16_a_flood_under_unknown_keys_makes_few_questions() {
    let mut recovery = Recovery::new(RecoveryConfig::default());
    let mut asked_at = Vec::new();
    // Ten minutes of a thousand such packets a second; nobody answers.
    for now in (0..600_000).map(ms) {
        recovery.handle_unknown_key();
        match recovery.poll_action(now) {
            RecoveryAction::Ask => asked_at.push(now),
            action => assert!(matches!(action, RecoveryAction::WaitUntil(at) if at > now)),
        }
    }
    let expected = [0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303, 363, 423, 483, 543].map(secs);
    assert_eq!(asked_at, expected);
    assert_eq!(recovery.questions(), expected.len() as u64);
}

#[test]
fn an_answer_with_news_makes_the_next_question_come_soon_again() {
    let mut recovery = Recovery::new(RecoveryConfig::default());
    for now in [0, 10, 20, 30] {
        recovery.handle_unknown_key();
        assert_eq!(recovery.poll_action(secs(now)), RecoveryAction::Ask);
    }
    recovery.handle_offer(false);
    recovery.handle_unknown_key();
    assert_eq!(recovery.poll_action(secs(31)), RecoveryAction::WaitUntil(secs(38)));
    assert_eq!(recovery.poll_action(secs(38)), RecoveryAction::Ask);
    recovery.handle_offer(true);
    recovery.handle_unknown_key();
    let next = recovery.poll_action(secs(39));
    assert_eq!(next, RecoveryAction::WaitUntil(secs(54)), "what was set before the answer stands");
    assert_eq!(recovery.poll_action(secs(54)), RecoveryAction::Ask);
    recovery.handle_unknown_key();
    assert_eq!(recovery.poll_action(secs(54)), RecoveryAction::WaitUntil(secs(55)));
}
