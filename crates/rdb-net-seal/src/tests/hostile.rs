//! Packets that were changed, cut or made up: refused, counted, without a trace.

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::{NOW, keyring, member, open, seal};
use crate::{PacketSeal, Refused};

/// Everything that a packet may change in a receiver, but counters of refusals and of keys derived.
fn state(member: &PacketSeal) -> impl PartialEq + std::fmt::Debug + use<> {
    let statistics = member.statistics();
    let opened = (statistics.packets_opened, statistics.bytes_opened, statistics.senders, statistics.senders_evicted);
    (member.senders().windows(), opened, member.keyring().list(super::secs(0)))
}

/// A receiver that knows the sender, or does not, and a packet that it has not seen.
fn receiver_and_packet(knows_sender: bool, plaintext: &[u8]) -> (PacketSeal, Vec<u8>) {
    let keyring = keyring(1);
    let (mut a, mut b) = (member("a", &keyring), member("b", &keyring));
    if knows_sender {
        open(&mut b, &seal(&mut a, b"hello")).expect("opened");
    }
    (b, seal(&mut a, plaintext))
}

#[test]
fn s14_every_bit_flip_is_refused_and_changes_nothing_but_counters() {
    for knows_sender in [false, true] {
        let (mut b, packet) = receiver_and_packet(knows_sender, b"some gossip");
        let before = state(&b);
        for bit in 0..packet.len() * 8 {
            let mut flipped = packet.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let expected = match bit / 8 {
                0 => Refused::UnknownVersion,
                2..=5 => Refused::UnknownKey,
                _ => Refused::Forged,
            };
            assert_eq!(open(&mut b, &flipped), Err(expected), "bit {bit}");
        }
        assert_eq!(state(&b), before);
        assert_eq!(b.statistics().refused_in_all(), packet.len() as u64 * 8);
        assert_eq!(open(&mut b, &packet), Ok(b"some gossip".to_vec()), "the packet itself still opens");
    }
}

#[test]
fn every_truncation_and_every_tail_is_refused() {
    let (mut b, packet) = receiver_and_packet(true, b"some gossip");
    let before = state(&b);
    for length in 0..packet.len() {
        let expected = if length < 60 { Refused::TooShort } else { Refused::Forged };
        assert_eq!(open(&mut b, &packet[..length]), Err(expected), "{length} bytes");
    }
    assert_eq!(open(&mut b, &[&packet[..], &[0]].concat()), Err(Refused::Forged));
    assert_eq!(state(&b), before);
}

proptest! {
    #[test]
    fn s14_no_change_of_any_packet_is_accepted(
        plaintext in vec(any::<u8>(), 0..1_400),
        changes in vec((any::<proptest::sample::Index>(), 1..=255_u8), 1..8),
    ) {
        let (mut b, packet) = receiver_and_packet(true, &plaintext);
        let before = state(&b);
        let mut changed = packet.clone();
        for (place, by) in changes {
            changed[place.index(packet.len())] ^= by;
        }
        if changed != packet {
            prop_assert!(open(&mut b, &changed).is_err());
            prop_assert!(state(&b) == before);
        }
        prop_assert_eq!(open(&mut b, &packet), Ok(plaintext));
    }

    /// S14.
    #[test]
    fn noise_is_refused(mut noise in vec(any::<u8>(), 0..200), is_dressed in any::<bool>()) {
        let keyring = keyring(1);
        let mut b = member("b", &keyring);
        if is_dressed && noise.len() > 6 {
            noise[0] = 0xa1;
            noise[2..6].copy_from_slice(&super::key(1).id().as_u32().to_be_bytes());
        }
        prop_assert!(b.open_in_place(&mut noise, NOW).is_err());
        prop_assert_eq!(b.statistics().senders, 0);
    }
}

#[test]
fn s15_forgers_take_no_memory() {
    let (mut b, packet) = receiver_and_packet(true, b"some gossip");
    let before = state(&b);
    for index in 0..10_000_u32 {
        // Each of another sender, in another life.
        let mut forged = packet.clone();
        forged[6..10].copy_from_slice(&index.to_be_bytes());
        assert_eq!(open(&mut b, &forged), Err(Refused::Forged));
    }
    assert_eq!(state(&b), before);
    assert_eq!(b.statistics().refused(Refused::Forged), 10_000);
}
