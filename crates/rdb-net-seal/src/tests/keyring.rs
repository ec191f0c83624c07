//! Keys that come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{key, keyring, member, open, seal, secs};
use crate::{KEYS_MAX, KeyState, Keyring, KeyringError, Refused};

#[test]
fn the_first_key_is_the_primary_and_later_ones_are_not() {
    let keyring = Keyring::empty();
    assert_eq!(keyring.primary(), None);
    let first = keyring.install(key(1), secs(10)).expect("room");
    let second = keyring.install(key(2), secs(15)).expect("room");
    assert_eq!(keyring.primary(), Some(first));
    let list: Vec<_> = keyring.list(secs(20)).iter().map(|key| (key.id, key.state, key.age)).collect();
    assert_eq!(list, [(first, KeyState::Primary, secs(10)), (second, KeyState::Installed, secs(5))]);
}

#[test]
fn a_key_that_is_there_already_stays_as_it_is() {
    let keyring = keyring(1);
    seal(&mut member("a", &keyring), b"x");
    let before = keyring.list(secs(9));
    assert_eq!(keyring.install(key(1), secs(5)), Ok(key(1).id()));
    assert_eq!(keyring.list(secs(9)), before);
}

#[test]
fn a_full_keyring_takes_no_other_key() {
    let keyring = Keyring::empty();
    for byte in 0..KEYS_MAX as u8 {
        keyring.install(key(byte), Duration::ZERO).expect("room");
    }
    let id = key(99).id();
    assert_eq!(keyring.install(key(99), Duration::ZERO), Err(KeyringError::Full { id }));
    assert!(keyring.install(key(3), Duration::ZERO).is_ok(), "this one is there already");
    keyring.remove(key(3).id()).expect("not the primary");
    assert_eq!(keyring.install(key(99), Duration::ZERO), Ok(id));
}

#[test]
fn the_primary_is_not_removed_and_the_error_says_why() {
    let keyring = keyring(1);
    let id = key(1).id();
    let error = keyring.remove(id).expect_err("the primary");
    assert_eq!(error, KeyringError::IsPrimary { id });
    assert_eq!(
        error.to_string(),
        format!("key {id} is the primary key, which seals what this member sends; use another key before removing it")
    );
    assert!(keyring.contains(id));
}

#[test]
fn a_key_that_is_not_there_is_neither_used_nor_removed() {
    let keyring = keyring(1);
    let id = key(2).id();
    assert_eq!(keyring.use_key(id), Err(KeyringError::Unknown { id }));
    assert_eq!(keyring.remove(id), Err(KeyringError::Unknown { id }));
    assert_eq!(keyring.primary(), Some(key(1).id()));
}

#[test]
fn a_removed_key_opens_nothing_and_opens_again_where_it_is_installed_again() {
    let keyring = keyring(1);
    let (mut a, mut b) = (member("a", &super::keyring(1)), member("b", &keyring));
    assert!(open(&mut b, &seal(&mut a, b"x")).is_ok());
    let second = keyring.install(key(2), Duration::ZERO).expect("room");
    keyring.use_key(second).expect("installed");
    keyring.remove(key(1).id()).expect("not the primary");
    let packet = seal(&mut a, b"y");
    assert_eq!(open(&mut b, &packet), Err(Refused::UnknownKey));
    keyring.install(key(1), Duration::ZERO).expect("room");
    assert_eq!(open(&mut b, &packet), Ok(b"y".to_vec()));
    assert_eq!(open(&mut b, &packet), Err(Refused::Replayed), "the window is the sender's, not the key's");
}

#[test]
fn what_was_derived_from_a_removed_key_goes_with_the_next_packet() {
    let keyring = keyring(1);
    let (mut a, mut b, mut c) = (member("a", &keyring), member("b", &keyring), member("c", &keyring));
    for sender in [&mut a, &mut b] {
        assert!(open(&mut c, &seal(sender, b"x")).is_ok());
    }
    let second = keyring.install(key(2), Duration::ZERO).expect("room");
    keyring.use_key(second).expect("installed");
    assert!(open(&mut c, &seal(&mut a, b"y")).is_ok());
    assert_eq!(c.senders().derived_keys(), 3);
    keyring.remove(key(1).id()).expect("not the primary");
    assert!(open(&mut c, &[0xa1; 100]).is_err());
    assert_eq!(c.senders().derived_keys(), 1, "the one of the key that is left");
}

#[test]
fn a_sender_that_goes_back_to_a_key_repeats_no_nonce() {
    let keyring = keyring(1);
    let mut a = member("a", &keyring);
    let second = keyring.install(key(2), Duration::ZERO).expect("room");
    let mut counters = std::collections::HashSet::new();
    for round in 0..10 {
        let id = if round % 2 == 0 { key(1).id() } else { second };
        keyring.use_key(id).expect("installed");
        let packet = seal(&mut a, b"x");
        // Key name and counter: what the nonce is unique for.
        assert!(counters.insert((packet[2..6].to_vec(), packet[30..38].to_vec())));
    }
    // Nor does one whose key was removed meanwhile.
    keyring.use_key(key(1).id()).expect("installed");
    keyring.remove(second).expect("not the primary");
    keyring.install(key(2), Duration::ZERO).expect("room");
    keyring.use_key(second).expect("installed");
    let packet = seal(&mut a, b"x");
    assert!(counters.insert((packet[2..6].to_vec(), packet[30..38].to_vec())));
}

#[test]
fn the_list_counts_what_each_key_has_done() {
    let (ours, theirs) = (keyring(1), keyring(1));
    let (mut a, mut b) = (member("a", &ours), member("b", &theirs));
    for _ in 0..3 {
        assert!(open(&mut b, &seal(&mut a, &[0; 100])).is_ok());
    }
    let sealed = ours.list(secs(0))[0];
    assert_eq!((sealed.packets_sealed, sealed.bytes_sealed, sealed.packets_opened), (3, 300, 0));
    let opened = theirs.list(secs(0))[0];
    assert_eq!((opened.packets_sealed, opened.bytes_sealed, opened.packets_opened), (0, 0, 3));
}

#[test]
fn readers_see_whole_keyrings_while_keys_are_exchanged() {
    let keyring = keyring(1);
    let is_done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|index| {
            let (keyring, is_done) = (Arc::clone(&keyring), Arc::clone(&is_done));
            std::thread::spawn(move || {
                let (mut a, mut b) = (member(&format!("a-{index}"), &keyring), member(&format!("b-{index}"), &keyring));
                let mut opened = 0;
                while !is_done.load(Ordering::Relaxed) || opened == 0 {
                    // The key may be removed between the two, which is told as such, never as a forgery.
                    match open(&mut b, &seal(&mut a, b"x")) {
                        Ok(_) => opened += 1,
                        Err(reason) => assert_eq!(reason, Refused::UnknownKey),
                    }
                }
                opened
            })
        })
        .collect();
    for round in 0..2_000_u32 {
        let byte = 2 + (round % 200) as u8;
        let former = keyring.primary().expect("a key");
        let id = keyring.install(key(byte), Duration::ZERO).expect("room");
        keyring.use_key(id).expect("installed");
        keyring.remove(former).expect("not the primary");
    }
    is_done.store(true, Ordering::Relaxed);
    assert!(readers.into_iter().all(|reader| reader.join().expect("no panic") > 0));
}
