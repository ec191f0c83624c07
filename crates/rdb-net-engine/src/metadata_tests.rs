//! Round trips, other versions, and bytes that are no description.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use rdb_net_types::{BootId, Incarnation, NodeId, NodeState};

use super::*;

fn gossip() -> SocketAddr {
    "10.0.0.1:7001".parse().expect("legal")
}

fn record(meta: Vec<u8>) -> MemberRecord {
    MemberRecord {
        id: NodeId::new("n1").expect("legal"),
        boot: BootId(7),
        incarnation: Incarnation::first_of(3),
        address: gossip(),
        state: NodeState::Suspect,
        versions: rdb_swim::Versions::SPOKEN,
        meta: Bytes::from(meta),
    }
}

fn rich() -> NodeInfo {
    let mut node = NodeInfo::new(NodeId::new("n1").expect("legal"), "db1.example.com:7000".parse().expect("legal"));
    node.gossip_address = Some("db1.example.com:7001".parse().expect("legal"));
    node.admin_address = Some("127.0.0.1:7002".parse().expect("legal"));
    node.boot = BootId(7);
    node.incarnation = Incarnation::first_of(3);
    node.state = NodeState::Suspect;
    node.version = "1.2.3".to_owned();
    node.protocol = ProtocolRange { min: 1, max: 4 };
    node.capabilities = BTreeSet::from([Capability::Read, Capability::Custom("vector".to_owned())]);
    node.resources = Resources { cpu_millicores: Some(8_000), memory_bytes: None, disk_bytes: Some(1 << 40) };
    node.locality = Locality { region: "eu".to_owned(), zone: "eu-1".to_owned(), rack: String::new() };
    node.weight = Weight::new(2.5).expect("legal");
    node.labels = BTreeMap::from([("tier".to_owned(), "gold".to_owned())]);
    node
}

#[test]
fn a_description_comes_back_whole() {
    assert_eq!(decode(&record(encode(&rich(), gossip()))), Ok(rich()));
}

#[test]
fn a_plain_gossip_address_is_not_said_twice() {
    let plain = NodeInfo { gossip_address: Some(NodeAddress::from(gossip())), ..rich() };
    let named = encode(&rich(), gossip());
    assert!(encode(&plain, gossip()).len() < named.len());
    assert_eq!(decode(&record(encode(&plain, gossip()))), Ok(plain));
}

#[test]
fn an_older_writer_leaves_defaults_and_a_newer_ones_fields_are_passed_over() {
    let mut older = Vec::new();
    put(&mut older, &1u32);
    put(&mut older, &rich().address);
    let node = decode(&record(older)).expect("an address is enough");
    assert_eq!((node.address, node.version.as_str(), node.weight), (rich().address, "", Weight::default()));

    let mut newer = encode(&rich(), gossip());
    newer[0] = FIELDS as u8 + 1;
    newer.extend_from_slice(b"something new");
    assert_eq!(decode(&record(newer)), Ok(rich()));
}

#[test]
fn a_member_that_cannot_be_read_has_no_transport() {
    for meta in [vec![], b"hello".to_vec(), vec![9], vec![0]] {
        assert_eq!(decode(&record(meta.clone())), Err(Undecodable));
        let node = unknown(&record(meta));
        assert_eq!((node.address.to_string().as_str(), node.state), ("10.0.0.1:0", NodeState::Suspect));
    }
}

/// hashicorp/consul #3023: the one float that gossip carries is a node's weight, and it is a number or the whole is not taken.
#[test]
fn a_weight_that_is_no_number_is_taken_from_nobody() {
    let sound = encode(&rich(), gossip());
    let weight = 2.5f64.to_le_bytes();
    let at = sound.windows(8).position(|bytes| bytes == weight).expect("it travels as its bits");
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e300] {
        let mut meta = sound.clone();
        meta[at..at + 8].copy_from_slice(&value.to_le_bytes());
        assert_eq!(decode(&record(meta)), Err(Undecodable), "{value}");
    }
}

/// S18: what a node tells of itself makes no lines of a log, moves no cursor, and is no longer than a text may be.
#[test]
fn texts_of_others_are_visible_and_short() {
    let mut node = rich();
    node.version = "1.0\nERROR forged".to_owned();
    node.capabilities = BTreeSet::from([Capability::Custom("\x1b[2J".to_owned())]);
    node.locality.zone = "a\u{202e}b".to_owned();
    node.labels = BTreeMap::from([("t\0".to_owned(), "x".repeat(300))]);
    let seen = decode(&record(encode(&node, gossip()))).expect("it can be read");
    assert_eq!(seen.version, "1.0\u{fffd}ERROR forged");
    assert_eq!(seen.capabilities, BTreeSet::from([Capability::Custom("\u{fffd}[2J".to_owned())]));
    assert_eq!(seen.locality.zone, "a\u{fffd}b");
    assert_eq!(seen.labels, BTreeMap::from([("t\u{fffd}".to_owned(), "x".repeat(256))]));
}

proptest! {
    /// S18.
    #[test]
    fn no_control_character_of_another_node_is_in_its_description(version: String, name: String, value: String) {
        let node = NodeInfo { version, labels: BTreeMap::from([(name, value)]), ..rich() };
        let seen = decode(&record(encode(&node, gossip()))).expect("it can be read");
        let texts = seen.labels.iter().flat_map(|(name, value)| [name, value]).chain([&seen.version]);
        prop_assert!(texts.into_iter().all(|text| text.len() <= 256 && !text.chars().any(char::is_control)));
    }

    #[test]
    fn any_bytes_are_read_or_refused(meta in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = decode(&record(meta));
    }

    #[test]
    fn a_damaged_description_is_read_or_refused(at in 0usize..200, byte: u8, cut in 0usize..300) {
        let mut meta = encode(&rich(), gossip());
        let at = at % meta.len();
        meta[at] = byte;
        meta.truncate(cut);
        let _ = decode(&record(meta));
    }
}
