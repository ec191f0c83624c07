//! Memory of the hot path, and its bounds.

use allocation_counter::measure;

use super::{NOW, keyring, member, member_with, ms, open_at, seal, seal_at};
use crate::{PacketKind, Refused, SealConfig};

#[test]
fn sealing_and_opening_allocate_nothing_once_they_have_begun() {
    let keyring = keyring(1);
    let (mut a, mut b) = (member("a", &keyring), member("b", &keyring));
    let plaintext = [7; 1340];
    let mut packet = Vec::with_capacity(1_400);
    a.seal_into(&mut packet, PacketKind::GOSSIP, &plaintext, NOW).expect("sealed");
    b.open_in_place(&mut packet, NOW).expect("opened");
    let mut opened = 0;
    let measured = measure(|| {
        for _ in 0..1_000 {
            packet.clear();
            let sealed = a.seal_into(&mut packet, PacketKind::GOSSIP, &plaintext, NOW);
            opened += usize::from(sealed.is_ok() && b.open_in_place(&mut packet, NOW).is_ok());
        }
    });
    assert_eq!((opened, measured.count_total), (1_000, 0));
}

#[test]
fn refusals_of_known_senders_allocate_nothing() {
    let keyring = keyring(1);
    let (mut a, mut b) = (member("a", &keyring), member("b", &keyring));
    let captured = seal(&mut a, b"x");
    b.open_in_place(&mut captured.clone(), NOW).expect("opened");
    let mut buffer = captured.clone();
    let mut refused = 0;
    let measured = measure(|| {
        for index in 0..1_000 {
            buffer.copy_from_slice(&captured);
            buffer[45] ^= u8::from(index % 2 == 0);
            refused += usize::from(b.open_in_place(&mut buffer, NOW).is_err());
        }
    });
    assert_eq!((refused, measured.count_total), (1_000, 0));
    assert_eq!(b.statistics().refused(Refused::Forged), 500);
}

#[test]
fn s15_memory_does_not_grow_with_the_number_of_senders_beyond_the_limit() {
    let keyring = keyring(1);
    let config = SealConfig { senders_max: 64, ..SealConfig::default() };
    let mut receiver = member_with("receiver", &keyring, config, NOW);
    let packets: Vec<_> = (0..2_000_u64)
        .map(|index| {
            let now = NOW.later(ms(index));
            (now, seal_at(&mut member(&format!("sender-{index}"), &keyring), b"x", now))
        })
        .collect();
    let mut opened = 0;
    let measured = measure(|| {
        for (now, packet) in &packets {
            opened += usize::from(open_at(&mut receiver, packet, *now).is_ok());
        }
    });
    assert_eq!((opened, receiver.statistics().senders), (2_000, 64));
    // The table grows by doubling: for a moment two of them are there.
    assert!(measured.bytes_max < 64 * 1_024, "{} bytes", measured.bytes_max);
}
