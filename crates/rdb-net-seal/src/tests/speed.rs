//! How long a packet takes. Run in release: `cargo test --release -p rdb-net-seal -- --ignored --nocapture speed`.

use std::hint::black_box;
use std::time::Instant;

use super::{NOW, keyring, member};
use crate::{PACKET_OVERHEAD_BYTES, PacketKind};

const PACKETS: u32 = 200_000;

#[test]
#[ignore = "a measurement"]
fn speed_of_sealing_and_opening() {
    for packet_bytes in [200, 1_400] {
        let keyring = keyring(1);
        let (mut a, mut b) = (member("a", &keyring), member("b", &keyring));
        let plaintext = vec![7; packet_bytes - PACKET_OVERHEAD_BYTES];
        let mut packets: Vec<Vec<u8>> = (0..PACKETS).map(|_| Vec::with_capacity(packet_bytes)).collect();
        let started = Instant::now();
        for packet in &mut packets {
            a.seal_into(packet, PacketKind::GOSSIP, black_box(&plaintext), NOW).expect("sealed");
        }
        let sealing = started.elapsed() / PACKETS;
        let started = Instant::now();
        for packet in &mut packets {
            black_box(b.open_in_place(packet, NOW).expect("opened"));
        }
        let opening = started.elapsed() / PACKETS;
        let started = Instant::now();
        for packet in &mut packets {
            packet[6] ^= 1;
            black_box(b.open_in_place(packet, NOW).expect_err("forged"));
        }
        let refusing = started.elapsed() / PACKETS;
        println!(
            "{packet_bytes} bytes: seal {} ns, open {} ns, refuse a forged one of an unknown sender {} ns",
            sealing.as_nanos(),
            opening.as_nanos(),
            refusing.as_nanos()
        );
    }
}
