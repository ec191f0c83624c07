//! Who may open what, and what sealing costs in bytes and counters.

use std::sync::Arc;
use std::time::Duration;

use super::{NOW, cluster, key, keyring, member, member_with, node, open, open_at, seal, seal_at, secs};
use crate::packet::HEADER_BYTES;
use crate::{
    Keyring, PACKET_OVERHEAD_BYTES, PLAINTEXT_BYTES_MAX, PacketKind, PacketSeal, Refused, SealConfig, SealError,
    plaintext_bytes_max,
};

#[test]
fn what_one_member_seals_another_opens() {
    let keyring = keyring(1);
    let (mut a, mut b) = (member("a", &keyring), member("b", &keyring));
    let plaintexts = [&b""[..], b"x", &[7; 1340], &[9; PLAINTEXT_BYTES_MAX]];
    for plaintext in plaintexts {
        let packet = seal(&mut a, plaintext);
        assert_eq!(packet.len(), plaintext.len() + PACKET_OVERHEAD_BYTES);
        assert_eq!(open(&mut b, &packet), Ok(plaintext.to_vec()));
    }
    let bytes: usize = plaintexts.iter().map(|plaintext| plaintext.len() + PACKET_OVERHEAD_BYTES).sum();
    assert_eq!((a.statistics().packets_sealed, a.statistics().bytes_sealed), (4, bytes as u64));
    assert_eq!((b.statistics().packets_opened, b.statistics().bytes_opened), (4, bytes as u64));
    assert_eq!(b.statistics().refused_in_all(), 0);
    assert_eq!((b.statistics().senders, b.statistics().keys_derived), (1, 1));
}

#[test]
fn the_limit_of_a_network_leaves_room_for_the_envelope() {
    let keyring = keyring(1);
    let packet = seal(&mut member("a", &keyring), &vec![0; plaintext_bytes_max(1_400)]);
    assert_eq!(packet.len(), 1_400);
    assert_eq!(plaintext_bytes_max(PACKET_OVERHEAD_BYTES - 1), 0);
}

#[test]
fn a_plaintext_that_fits_no_datagram_is_not_sealed() {
    let keyring = keyring(1);
    let mut out = b"as before".to_vec();
    let bytes = PLAINTEXT_BYTES_MAX + 1;
    let result = member("a", &keyring).seal_into(&mut out, PacketKind::GOSSIP, &vec![0; bytes], NOW);
    assert_eq!(result, Err(SealError::TooLong { bytes }));
    assert_eq!(out, b"as before");
}

#[test]
fn nothing_is_sealed_or_opened_before_there_is_a_key() {
    let empty = Arc::new(Keyring::empty());
    let mut joining = member("joining", &empty);
    let mut out = Vec::new();
    assert_eq!(joining.seal_into(&mut out, PacketKind::GOSSIP, b"x", NOW), Err(SealError::NoKey));
    assert!(out.is_empty());
    let packet = seal(&mut member("a", &keyring(1)), b"x");
    assert_eq!(open(&mut joining, &packet), Err(Refused::UnknownKey));
    empty.install(key(1), Duration::ZERO).expect("room");
    assert_eq!(open(&mut joining, &packet), Ok(b"x".to_vec()));
    assert!(joining.seal_into(&mut out, PacketKind::GOSSIP, b"x", NOW).is_ok());
}

#[test]
fn s2_a_packet_of_another_cluster_is_forged_even_if_the_key_is_the_same() {
    let keyring = keyring(1);
    let config = SealConfig::default();
    let mut other =
        PacketSeal::new(Arc::clone(&keyring), &cluster("staging"), &node("a"), config, NOW).expect("random");
    let mut b = member("b", &keyring);
    assert_eq!(open(&mut b, &seal(&mut other, b"x")), Err(Refused::Forged));
    assert_eq!(b.statistics().senders, 0);
}

#[test]
fn the_kind_of_a_packet_is_bound_to_it() {
    let keyring = keyring(1);
    let (mut a, mut b) = (member("a", &keyring), member("b", &keyring));
    let mut packet = Vec::new();
    a.seal_into(&mut packet, PacketKind(9), b"x", NOW).expect("sealed");
    let mut changed = packet.clone();
    changed[1] = PacketKind::GOSSIP.0;
    assert_eq!(open(&mut b, &changed), Err(Refused::Forged));
    assert_eq!(b.open_in_place(&mut packet, NOW).expect("opened").kind, PacketKind(9));
}

#[test]
fn a_packet_that_comes_back_is_from_myself_and_one_of_my_twin_is_not() {
    let keyring = keyring(1);
    let (mut a, mut twin) = (member("a", &keyring), member("a", &keyring));
    let (packet, other) = (seal(&mut a, b"a"), seal(&mut twin, b"twin"));
    assert_eq!(open(&mut a, &packet), Err(Refused::FromMyself));
    assert_eq!(open(&mut a, &other), Ok(b"twin".to_vec()));
    assert_eq!(a.sender(), twin.sender());
}

#[test]
fn two_nodes_of_one_name_do_not_use_up_each_others_counters() {
    let keyring = keyring(1);
    let (mut a, mut twin, mut b) = (member("a", &keyring), member("a", &keyring), member("b", &keyring));
    for index in 0..2_000_u32 {
        let plaintext = index.to_be_bytes();
        let (one, other) = (seal(&mut a, &plaintext), seal(&mut twin, &plaintext));
        assert_ne!(one[HEADER_BYTES..], other[HEADER_BYTES..], "another key, another ciphertext");
        assert_eq!(open(&mut b, &one), Ok(plaintext.to_vec()));
        assert_eq!(open(&mut b, &other), Ok(plaintext.to_vec()));
    }
    assert_eq!(b.statistics().senders, 2);
}

#[test]
fn a_restarted_sender_is_heard_at_once_and_its_former_life_not_again() {
    let keyring = keyring(1);
    let mut b = member("b", &keyring);
    let mut former = member("a", &keyring);
    let packets: Vec<_> = (0..100).map(|_| seal(&mut former, b"former")).collect();
    assert!(packets.iter().all(|packet| open(&mut b, packet).is_ok()));
    drop(former);
    let mut restarted = member("a", &keyring);
    assert!(open(&mut b, &seal(&mut restarted, b"restarted")).is_ok());
    assert!(packets.iter().all(|packet| open(&mut b, packet) == Err(Refused::Replayed)));
}

#[test]
fn the_same_plaintext_is_never_sealed_to_the_same_bytes() {
    let keyring = keyring(1);
    let mut a = member("a", &keyring);
    let packets: std::collections::HashSet<_> =
        (0..1_000).map(|_| seal(&mut a, b"the same")[HEADER_BYTES..].to_vec()).collect();
    assert_eq!(packets.len(), 1_000);
}

#[test]
fn s14_the_last_counter_seals_and_then_nothing_does() {
    let keyring = keyring(1);
    let (mut a, mut b) = (member("a", &keyring), member("b", &keyring));
    a.set_counter(u64::MAX - 1);
    assert!(open(&mut b, &seal(&mut a, b"last")).is_ok());
    for _ in 0..3 {
        let mut out = Vec::new();
        let result = a.seal_into(&mut out, PacketKind::GOSSIP, b"one more", NOW);
        assert_eq!((result, out.len()), (Err(SealError::CountersExhausted), 0));
    }
    // Another key does not help: the counter is the life's.
    let second = keyring.install(key(2), Duration::ZERO).expect("room");
    keyring.use_key(second).expect("installed");
    let result = a.seal_into(&mut Vec::new(), PacketKind::GOSSIP, b"one more", NOW);
    assert_eq!(result, Err(SealError::CountersExhausted));
}

#[track_caller]
fn wants_rotation_after(config: SealConfig, plaintext: &[u8], packets: usize) {
    let keyring = keyring(1);
    let mut a = member_with("a", &keyring, config, NOW);
    for sealed in 0..packets {
        assert!(!a.wants_rotation(), "after {sealed}");
        seal(&mut a, plaintext);
    }
    assert!(a.wants_rotation());
    // It still seals: a cluster whose rotation does not come about must not fall silent.
    seal(&mut a, plaintext);
    let second = keyring.install(key(2), Duration::ZERO).expect("room");
    keyring.use_key(second).expect("installed");
    assert!(!a.wants_rotation());
}

#[test]
fn a_key_that_has_sealed_enough_asks_for_another() {
    wants_rotation_after(SealConfig { packets_per_key_max: 10, ..SealConfig::default() }, b"", 10);
    wants_rotation_after(SealConfig { bytes_per_key_max: 1_000, ..SealConfig::default() }, &[0; 100], 10);
}

#[test]
fn clocks_may_be_apart_as_far_as_the_limits_say() {
    let keyring = keyring(1);
    let (mut a, mut b) =
        (member("a", &keyring), member_with("b", &keyring, SealConfig::default(), NOW.earlier(secs(100))));
    let check = |b: &mut PacketSeal, a: &mut PacketSeal, sealed_at, expected: Result<(), Refused>| {
        assert_eq!(open(b, &seal_at(a, b"x", sealed_at)).map(drop), expected, "{sealed_at:?}");
    };
    let millisecond = Duration::from_millis(1);
    check(&mut b, &mut a, NOW.earlier(secs(60)), Ok(()));
    check(&mut b, &mut a, NOW.earlier(secs(60) + millisecond), Err(Refused::TooOld));
    check(&mut b, &mut a, NOW.later(secs(30)), Ok(()));
    check(&mut b, &mut a, NOW.later(secs(30) + millisecond), Err(Refused::TooNew));
}

#[test]
fn what_was_refused_for_its_time_is_not_taken_for_a_replay_later() {
    let keyring = keyring(1);
    let (mut a, mut b) = (member("a", &keyring), member("b", &keyring));
    let early = seal_at(&mut a, b"early", NOW.later(secs(40)));
    assert_eq!(open(&mut b, &early), Err(Refused::TooNew));
    assert_eq!(open_at(&mut b, &early, NOW.later(secs(40))), Ok(b"early".to_vec()));
}

#[test]
fn names_of_reasons_are_stable_and_each_is_counted_by_itself() {
    let names = Refused::ALL.map(Refused::name);
    let expected =
        ["too_short", "unknown_version", "unknown_key", "forged", "from_myself", "too_old", "too_new", "replayed"];
    assert_eq!(names, expected);

    let keyring = keyring(1);
    let (mut a, mut b) = (member("a", &keyring), member("b", &keyring));
    let packet = seal(&mut a, b"x");
    assert!(open(&mut b, &packet).is_ok());
    let mut forged = packet.clone();
    forged[50] ^= 1;
    let own = seal(&mut b, b"x");
    let cases = [
        (packet[..59].to_vec(), Refused::TooShort),
        ([b"RS\x01", &packet[3..]].concat(), Refused::UnknownVersion),
        (seal(&mut member("c", &super::keyring(2)), b"x"), Refused::UnknownKey),
        (forged, Refused::Forged),
        (own, Refused::FromMyself),
        (seal_at(&mut a, b"x", NOW.earlier(secs(61))), Refused::TooOld),
        (seal_at(&mut a, b"x", NOW.later(secs(31))), Refused::TooNew),
        (packet, Refused::Replayed),
    ];
    for (times, (packet, reason)) in cases.iter().enumerate() {
        for _ in 0..=times {
            assert_eq!(open(&mut b, packet).err(), Some(*reason));
        }
        assert_eq!(b.statistics().refused(*reason), times as u64 + 1);
    }
    assert_eq!(b.statistics().refused_in_all(), (1..=8).sum::<u64>());
    assert_eq!(b.statistics().packets_opened, 1);
}
