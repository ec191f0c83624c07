//! Keys on their way from member to member.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert_eq, proptest};

use super::{key, keyring, member, open, seal};
use crate::{
    Accepted, KEYS_MAX, KeyId, Keyring, KeyringError, KeyringOffer, MessageError, OFFER_BYTES_MAX, RotationOrder,
};

const ZERO: Duration = Duration::ZERO;

fn offer_of(keyring: &Keyring) -> KeyringOffer {
    KeyringOffer::decode(&KeyringOffer::encode(keyring).expect("keys")).expect("legal")
}

fn keyring_of(bytes: &[u8]) -> Keyring {
    let keyring = Keyring::empty();
    for byte in bytes {
        keyring.install(key(*byte), ZERO).expect("room");
    }
    keyring
}

#[test]
fn a_joining_member_takes_the_whole_keyring_over() {
    let theirs = Arc::new(keyring_of(&[1, 2, 3]));
    theirs.use_key(key(2).id()).expect("installed");
    let ours = Arc::new(Keyring::empty());
    let accepted = offer_of(&theirs).accept(&ours, ZERO).expect("room");
    assert_eq!(accepted, Accepted { installed: 3, primary: Some(key(2).id()) });
    assert!(accepted.is_news());
    assert_eq!(open(&mut member("b", &ours), &seal(&mut member("a", &theirs), b"x")), Ok(b"x".to_vec()));
    assert_eq!(open(&mut member("a", &theirs), &seal(&mut member("b", &ours), b"y")), Ok(b"y".to_vec()));
}

#[test]
fn an_empty_keyring_offers_nothing() {
    assert!(KeyringOffer::encode(&Keyring::empty()).is_none());
}

#[test]
fn a_member_that_missed_a_rotation_takes_the_new_primary() {
    let ours = keyring_of(&[1]);
    let accepted = offer_of(&keyring_of(&[2])).accept(&ours, ZERO).expect("room");
    assert_eq!(accepted, Accepted { installed: 1, primary: Some(key(2).id()) });
    assert_eq!(ours.primary(), Some(key(2).id()));
    assert!(ours.contains(key(1).id()), "the former key still opens");
}

#[test]
fn a_member_that_is_ahead_is_not_set_back_by_one_that_is_behind() {
    let ours = keyring_of(&[1, 2]);
    ours.use_key(key(2).id()).expect("installed");
    let accepted = offer_of(&keyring_of(&[1])).accept(&ours, ZERO).expect("room");
    assert_eq!(accepted, Accepted { installed: 0, primary: None });
    assert!(!accepted.is_news());
    assert_eq!(ours.primary(), Some(key(2).id()));
}

#[test]
fn where_there_is_room_for_one_key_it_is_the_primary() {
    let ours = keyring_of(&[1, 2, 3, 4, 5, 6, 7]);
    // Of a build that does not put the primary first.
    let theirs = KeyringOffer::decode(&[&[1, 1, 2, 1][..], &[8; 32], &[9; 32]].concat()).expect("legal");
    let error = theirs.accept(&ours, ZERO).expect_err("no room for two");
    assert_eq!(error, KeyringError::Full { id: key(8).id() });
    assert_eq!(ours.primary(), Some(key(9).id()));
}

#[test]
fn the_longest_offer_is_as_long_as_its_limit() {
    let full = keyring_of(&[0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(KeyringOffer::encode(&full).expect("keys").len(), OFFER_BYTES_MAX);
    assert_eq!(offer_of(&full).ids().count(), KEYS_MAX);
}

#[test]
fn every_truncation_of_a_message_is_refused_and_so_is_a_tail() {
    let offer = KeyringOffer::encode(&keyring_of(&[1, 2, 3])).expect("keys");
    for length in 0..offer.len() {
        let error = KeyringOffer::decode(&offer[..length]).expect_err("cut");
        assert_eq!(error, MessageError::Length { bytes: length });
    }
    assert!(KeyringOffer::decode(&[&offer[..], &[0]].concat()).is_err());
    let order = RotationOrder::Use(key(1).id()).encode();
    assert!((0..order.len()).all(|length| RotationOrder::decode(&order[..length]).is_err()));
    assert!(RotationOrder::decode(&[&order[..], &[0]].concat()).is_err());
}

#[track_caller]
fn check_refuses(place: usize, byte: u8, expected: MessageError) {
    let mut offer = KeyringOffer::encode(&keyring_of(&[1, 2])).expect("keys").to_vec();
    offer[place] = byte;
    assert_eq!(KeyringOffer::decode(&offer).expect_err("changed"), expected);
}

#[test]
fn an_offer_that_is_none_is_refused_with_its_reason() {
    check_refuses(0, 2, MessageError::Version { version: 2 });
    check_refuses(1, 2, MessageError::Kind { kind: 2 });
    check_refuses(2, 0, MessageError::Count { keys: 0, primary: 0 });
    check_refuses(2, 9, MessageError::Count { keys: 9, primary: 0 });
    check_refuses(2, 1, MessageError::Length { bytes: 68 });
    check_refuses(3, 2, MessageError::Count { keys: 2, primary: 2 });
    let twice = [&[1, 1, 2, 0][..], &[7; 64]].concat();
    assert_eq!(KeyringOffer::decode(&twice).expect_err("twice"), MessageError::Twice { id: key(7).id() });
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic_and_orders_keep_their_meaning(bytes in vec(any::<u8>(), 0..300), id in any::<u32>()) {
        let _read = (KeyringOffer::decode(&bytes), RotationOrder::decode(&bytes));
        for order in [RotationOrder::Use(KeyId::from_u32(id)), RotationOrder::Remove(KeyId::from_u32(id))] {
            prop_assert_eq!(RotationOrder::decode(&order.encode()), Ok(order));
        }
    }
}

#[test]
fn orders_are_done_and_done_again() {
    let keyring = keyring(1);
    let second = keyring.install(key(2), ZERO).expect("room");
    let (first, remove) = (key(1).id(), RotationOrder::Remove(key(1).id()));
    assert_eq!(remove.apply(&keyring), Err(KeyringError::IsPrimary { id: first }));
    for _ in 0..2 {
        assert_eq!(RotationOrder::Use(second).apply(&keyring), Ok(()));
    }
    for _ in 0..2 {
        assert_eq!(remove.apply(&keyring), Ok(()));
    }
    assert_eq!(RotationOrder::Use(first).apply(&keyring), Err(KeyringError::Unknown { id: first }));
}
