//! The bytes, as an independent implementation (Python's `cryptography`) makes them of the documented layout.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use super::{NOW, cluster, from_hex, member, node};
use crate::packet::Epoch;
use crate::{
    DiskFiles, FileConfig, FileKind, FileOwner, Flaw, GossipKey, KeyId, Keyring, KeyringOffer, LoadedFrom,
    PACKET_OVERHEAD_BYTES, PacketKind, PacketSeal, RotationOrder, SealConfig, SealedFile, StoreKey,
};

const PACKET: &str = "a101312dd178ffb97922e8316a01e0e1e2e3e4e5e6e7e8e9eaebecedeeef0000
    000000000001018bcfe5687b807a9303d475482d4d9407d4990bc45c7aacbe16";

const SEALED_FILE: &str = "52444246010100011f258722d2aeb39300000000000000070000000000000007
    5e06ed68aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    aaaaaaaabbbbbbbbbbbbbbbbbbbbbbbb61853888a61364c03013af250065dddc
    f325f771b9c8c2";

const CLEAR_FILE: &str = "52444246010000011f258722d2aeb39300000000000000070000000000000007
    0000000000000000000000000000000000000000000000000000000000000000
    000000000000000000000000000000006d656d62657273dc63fa01394e6f5e59
    a0a6cf9ec5e893";

fn counting() -> [u8; 32] {
    std::array::from_fn(|index| index as u8)
}

fn counting_keyring() -> Arc<Keyring> {
    Arc::new(Keyring::with_key(GossipKey::take(&mut counting()), Duration::ZERO))
}

#[test]
fn a_packet_has_these_bytes() {
    let epoch = Epoch(std::array::from_fn(|index| 0xe0 + index as u8));
    let config = SealConfig::default();
    let keyring = counting_keyring();
    let mut sender = PacketSeal::with_epoch(keyring, &cluster("rustydb"), &node("node-1"), config, NOW, epoch);
    // What stands in the buffer already stays.
    let mut out = b"before".to_vec();
    sender.seal_into(&mut out, PacketKind::GOSSIP, b"ping", NOW).expect("sealed");
    assert_eq!(out[..6], *b"before");
    assert_eq!(out[6..], from_hex(PACKET));
    assert_eq!(out.len() - 6, b"ping".len() + PACKET_OVERHEAD_BYTES);
    assert_eq!(PACKET_OVERHEAD_BYTES, 60);
}

#[test]
fn a_packet_of_these_bytes_opens() {
    let mut receiver = member("node-2", &counting_keyring());
    let mut packet = from_hex(PACKET);
    let opened = receiver.open_in_place(&mut packet, NOW).expect("opened");
    assert_eq!(opened.plaintext, b"ping");
    assert_eq!(opened.kind, PacketKind::GOSSIP);
    assert_eq!(opened.sender, crate::SenderId::of(&node("node-1")));
    assert_eq!(opened.key, KeyId::from_u32(0x312d_d178));
}

#[test]
fn an_offer_has_these_bytes() {
    let keyring = counting_keyring();
    let second = keyring.install(GossipKey::take(&mut [0x55; 32]), Duration::ZERO).expect("installed");
    keyring.use_key(second).expect("installed");
    let mut expected = from_hex("01 01 02 00");
    expected.extend([0x55; 32]);
    expected.extend(counting());
    let encoded = KeyringOffer::encode(&keyring).expect("keys");
    assert_eq!(encoded[..], expected);
    let decoded = KeyringOffer::decode(&encoded).expect("legal");
    assert_eq!(decoded.primary(), KeyId::from_u32(0x9c1a_811c));
    assert_eq!(decoded.ids().collect::<Vec<_>>(), [KeyId::from_u32(0x9c1a_811c), KeyId::from_u32(0x312d_d178)]);
}

#[test]
fn orders_have_these_bytes() {
    let id = KeyId::from_u32(0x0102_0304);
    assert_eq!(RotationOrder::Use(id).encode()[..], from_hex("01 02 01020304"));
    assert_eq!(RotationOrder::Remove(id).encode()[..], from_hex("01 03 01020304"));
}

#[track_caller]
fn file(bytes: &[u8], keys: Vec<StoreKey>) -> (tempfile::TempDir, SealedFile<DiskFiles>) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("members");
    std::fs::File::create(&path).and_then(|mut file| file.write_all(bytes)).expect("written");
    let owner = FileOwner::of(&cluster("rustydb"), &node("node-1"));
    (folder, SealedFile::new(DiskFiles, path, FileKind::MEMBERSHIP, owner, keys, FileConfig::default()))
}

#[test]
fn a_sealed_file_of_these_bytes_loads() {
    let (_folder, mut file) = file(&from_hex(SEALED_FILE), vec![StoreKey::take(&mut counting())]);
    let loaded = file.load();
    assert_eq!(loaded.payload.as_deref(), Some(&b"members"[..]));
    assert_eq!((loaded.from, loaded.generation), (LoadedFrom::Current, 7));
}

#[test]
fn a_sealed_file_names_its_key_where_that_is_not_configured() {
    let (_folder, mut file) = file(&from_hex(SEALED_FILE), Vec::new());
    let loaded = file.load();
    assert_eq!(loaded.from, LoadedFrom::Nothing);
    assert_eq!(loaded.problems[0].flaw, Flaw::UnknownKey { id: KeyId::from_u32(0x5e06_ed68) });
}

#[test]
fn a_clear_file_has_these_bytes() {
    let (_folder, mut file) = file(&from_hex(CLEAR_FILE), Vec::new());
    let loaded = file.load();
    assert_eq!(loaded.payload.as_deref(), Some(&b"members"[..]));
    assert_eq!((loaded.from, loaded.generation), (LoadedFrom::Current, 7));
    file.save(b"members").expect("saved");
    // All but the generation and the checksum that covers it.
    let written = std::fs::read(file.path()).expect("a file");
    let golden = from_hex(CLEAR_FILE);
    assert_eq!(written[..23], golden[..23]);
    assert_eq!(written[23], golden[23] + 1);
    assert_eq!(written[24..87], golden[24..87]);
}
