//! Packets, keyrings, rotations and files, one sentence a test.

mod allocation;
mod crash;
mod files;
mod golden;
mod hostile;
mod keyring;
mod keys;
mod offers;
mod packets;
mod recovery;
mod replay;
mod rotating;
mod rotation;
mod secrets;
mod speed;
mod window;

use std::sync::Arc;
use std::time::Duration;

use rdb_net_types::{ClusterId, NodeId};

use crate::{GossipKey, KEY_BYTES, Keyring, PacketKind, PacketSeal, Refused, SealConfig, StoreKey, UnixTime};

const NOW: UnixTime = UnixTime::from_millis(1_700_000_000_123);

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn key(byte: u8) -> GossipKey {
    GossipKey::take(&mut [byte; KEY_BYTES])
}

fn store_key(byte: u8) -> StoreKey {
    StoreKey::take(&mut [byte; KEY_BYTES])
}

fn keyring(byte: u8) -> Arc<Keyring> {
    Arc::new(Keyring::with_key(key(byte), Duration::ZERO))
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("legal")
}

fn cluster(name: &str) -> ClusterId {
    ClusterId::new(name).expect("legal")
}

/// A member of the cluster that all tests share.
fn member(name: &str, keyring: &Arc<Keyring>) -> PacketSeal {
    member_with(name, keyring, SealConfig::default(), NOW)
}

fn member_with(name: &str, keyring: &Arc<Keyring>, config: SealConfig, started_at: UnixTime) -> PacketSeal {
    PacketSeal::new(Arc::clone(keyring), &cluster("rustydb"), &node(name), config, started_at).expect("random bytes")
}

#[track_caller]
fn seal_at(from: &mut PacketSeal, plaintext: &[u8], now: UnixTime) -> Vec<u8> {
    let mut packet = Vec::new();
    from.seal_into(&mut packet, PacketKind::GOSSIP, plaintext, now).expect("sealed");
    packet
}

#[track_caller]
fn seal(from: &mut PacketSeal, plaintext: &[u8]) -> Vec<u8> {
    seal_at(from, plaintext, NOW)
}

/// Opens a copy. What the packet held, or why it was refused.
fn open_at(to: &mut PacketSeal, packet: &[u8], now: UnixTime) -> Result<Vec<u8>, Refused> {
    to.open_in_place(&mut packet.to_vec(), now).map(|opened| opened.plaintext.to_vec())
}

fn open(to: &mut PacketSeal, packet: &[u8]) -> Result<Vec<u8>, Refused> {
    open_at(to, packet, NOW)
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
