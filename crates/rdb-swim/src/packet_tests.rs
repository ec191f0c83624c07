//! Round trips, golden bytes, and arbitrary bytes.

use proptest::prelude::*;

use super::*;

const CLUSTER: u32 = 0x0102_0304;

fn id(text: &str) -> NodeId {
    NodeId::new(text).expect("legal")
}

fn sender() -> Sender {
    Sender { version: 1, id: id("a"), boot: BootId(0x1112), incarnation: Incarnation::from_u64(0x0000_0021_0000_0022) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first part is the header and the sender, the same in every packet but for the kind.
#[track_caller]
fn golden(body: Body, updates: Vec<Update>, kind: &str, rest: &str) {
    let packet = Packet { sender: sender(), body, updates };
    let bytes = packet.encode(CLUSTER);
    let start = format!("5253 01 01020304 {kind} 0161 0000000000001112 0000002100000022").replace(' ', "");
    assert_eq!(hex(&bytes), start + &rest.replace(' ', ""));
    assert_eq!(Packet::decode(&bytes, Versions::SPOKEN, CLUSTER), Ok(packet));
}

#[test]
fn the_bytes_of_every_kind_never_change() {
    let (target, target_boot) = (id("bc"), BootId(7));
    let ping = Body::Ping { sequence: 300, target: target.clone(), target_boot };
    golden(ping, vec![], "01", "ac02 026263 0000000000000007");
    golden(Body::Ack { sequence: 1, digest: 0xd1 }, vec![], "02", "01 00000000000000d1");
    let relayed = Body::RelayedAck { sequence: 1, target: target.clone(), target_boot };
    golden(relayed, vec![], "08", "01 026263 0000000000000007");
    let request = Body::PingRequest { sequence: 2, target, target_boot, budget_ms: 500 };
    golden(request, vec![], "03", "02 026263 0000000000000007 f403");
    golden(Body::Nack { sequence: 3 }, vec![], "04", "03");
    golden(Body::Gossip, vec![], "05", "");
    golden(Body::Farewell { sequence: 4 }, vec![], "06", "04");
    golden(Body::FarewellAck { sequence: 5 }, vec![], "07", "05");
}

#[test]
fn the_bytes_of_every_record_never_change() {
    let accusation =
        Accusation { id: id("x"), incarnation: Incarnation::from_u64(0x0000_0001_0000_0002), from: id("y") };
    let alive = Alive {
        id: id("x"),
        incarnation: accusation.incarnation,
        boot: BootId(9),
        address: "10.0.0.1:7001".parse().expect("legal"),
        meta: Bytes::from_static(b"m"),
        versions: Versions::FIRST,
    };
    let alive_bytes = "1c 01 0178 0000000100000002 0000000000000009 04 0a000001 1b59 01 6d";
    golden(Body::Gossip, vec![Update::Alive(alive.clone())], "05", alive_bytes);
    let ranged = Alive { versions: Versions::new(1, 2).expect("a range"), ..alive.clone() };
    let ranged_bytes = "1e 01 0178 0000000100000002 0000000000000009 04 0a000001 1b59 01 6d 01 02";
    golden(Body::Gossip, vec![Update::Alive(ranged)], "05", ranged_bytes);
    let v6 = Alive { address: "[::1]:7001".parse().expect("legal"), meta: Bytes::new(), ..alive };
    let v6_bytes = "27 01 0178 0000000100000002 0000000000000009 06 00000000000000000000000000000001 1b59 00";
    golden(Body::Gossip, vec![Update::Alive(v6)], "05", v6_bytes);
    golden(Body::Gossip, vec![Update::Suspect(accusation.clone())], "05", "0d 02 0178 0000000100000002 0179");
    golden(Body::Gossip, vec![Update::Failed(accusation.clone())], "05", "0d 03 0178 0000000100000002 0179");
    golden(Body::Gossip, vec![Update::Refused(accusation.clone())], "05", "0d 05 0178 0000000100000002 0179");
    let left = Accusation { from: id("x"), ..accusation };
    golden(Body::Gossip, vec![Update::Left(left.clone())], "05", "0b 04 0178 0000000100000002");
    golden(Body::Gossip, vec![Update::Forgotten(left)], "05", "0b 06 0178 0000000100000002");
    let payload = Bytes::from_static(b"hi");
    let broadcast = Broadcast { origin: id("x"), boot: BootId(9), number: 300, payload };
    golden(Body::Gossip, vec![Update::Broadcast(broadcast)], "05", "10 07 0178 0000000000000009 ac02 02 6869");
}

#[test]
fn records_of_a_later_version_are_passed_over() {
    let left = Update::Left(Accusation { id: id("x"), incarnation: Incarnation::first_of(1), from: id("x") });
    let packet = Packet { sender: sender(), body: Body::Gossip, updates: vec![left] };
    let mut bytes = Packet { updates: vec![], ..packet.clone() }.encode(CLUSTER);
    // An unknown tag, and a known one that has grown at its end.
    bytes.extend_from_slice(&[3, 99, 1, 2]);
    bytes.extend_from_slice(&[13, 4, 1, b'x', 0, 0, 0, 1, 0, 0, 0, 0, 0xee, 0xee]);
    assert_eq!(Packet::decode(&bytes, Versions::SPOKEN, CLUSTER), Ok(packet));
}

#[test]
fn a_record_that_does_not_fit_leaves_no_trace() {
    let mut out = vec![0; 10];
    let update = Update::Left(Accusation { id: id("x"), incarnation: Incarnation::first_of(1), from: id("x") });
    assert!(!write_update(&mut out, 21, &update));
    assert_eq!(out.len(), 10);
    assert!(write_update(&mut out, 22, &update));
}

#[test]
fn every_cut_of_a_packet_is_an_error_or_a_shorter_packet() {
    let left = Update::Left(Accusation { id: id("x"), incarnation: Incarnation::first_of(1), from: id("x") });
    let body = Body::Ping { sequence: 1, target: id("t"), target_boot: BootId(2) };
    let bytes = Packet { sender: sender(), body, updates: vec![left] }.encode(CLUSTER);
    let readable: Vec<usize> =
        (0..bytes.len()).filter(|end| Packet::decode(&bytes[..*end], Versions::SPOKEN, CLUSTER).is_ok()).collect();
    assert_eq!(readable, [bytes.len() - 12], "only without its record is it whole");
}

#[test]
fn impossible_incarnations_are_refused() {
    let mut bytes = Packet { sender: sender(), body: Body::Gossip, updates: vec![] }.encode(CLUSTER);
    let end = bytes.len();
    bytes[end - 8..].fill(0xff);
    assert_eq!(Packet::decode(&bytes, Versions::SPOKEN, CLUSTER), Err(DecodeError::Value { field: "incarnation" }));
}

/// al8n/memberlist #165: a member whose name is too long for a packet cannot be probed.
#[test]
fn the_longest_names_fit_into_the_smallest_packet() {
    let longest = id(&"x".repeat(64));
    assert!(NodeId::new(&"x".repeat(65)).is_err());
    let config = crate::Config { packet_bytes_max: 512 + 300, ..crate::Config::lan() };
    assert_eq!(config.validate(), Ok(()));
    let smaller = crate::Config { packet_bytes_max: 512 + 299, ..config.clone() };
    assert!(smaller.validate().is_err(), "there is no smaller one");
    let most = Incarnation::from_u64(0xfffe_ffff_ffff_ffff);
    let (boot, sequence, target) = (BootId(u64::MAX), u32::MAX, longest.clone());
    let body = Body::PingRequest { sequence, target, target_boot: boot, budget_ms: u64::MAX };
    let word = Update::Alive(Alive {
        id: longest.clone(),
        incarnation: most,
        boot,
        address: "[ffff::1]:65535".parse().expect("legal"),
        meta: Bytes::from(vec![0; config.meta_bytes_max]),
        versions: Versions::new(1, 2).expect("a range"),
    });
    let mut packet = Vec::new();
    write_start(&mut packet, CLUSTER, &Sender { version: 1, id: longest, boot, incarnation: most }, &body);
    assert!(write_update(&mut packet, config.packet_bytes_max, &word), "{} bytes before its word", packet.len());
}

/// Only what can be told apart exactly.
const fn exact<T: Eq>() {}

/// hashicorp/consul #3023: a float that is no number spreads by gossip and spoils every sum that it enters. Nothing that members tell
/// each other is a float, so there is none to be checked: a field that is one has no total equality, and this does not compile.
#[test]
fn nothing_that_members_tell_each_other_is_a_float() {
    exact::<Packet>();
    exact::<crate::broadcast::Broadcast>();
    exact::<crate::summary::Summary>();
    exact::<crate::MemberRecord>();
    exact::<crate::Snapshot>();
    // Nor is one made of bytes on their way in or out.
    let codecs = [
        ("wire.rs", include_str!("wire.rs")),
        ("packet.rs", include_str!("packet.rs")),
        ("sync.rs", include_str!("sync.rs")),
        ("summary.rs", include_str!("summary.rs")),
        ("snapshot.rs", include_str!("snapshot.rs")),
        ("versions.rs", include_str!("versions.rs")),
    ];
    for (file, source) in codecs {
        let words = |float: &str| source.split(|at: char| !at.is_alphanumeric()).any(|word| word == float);
        assert!(!words("f32") && !words("f64"), "{file} handles floats");
    }
}

fn any_id() -> impl Strategy<Value = NodeId> {
    "[A-Za-z0-9._-]{1,64}".prop_map(|text| id(&text))
}

fn any_incarnation() -> impl Strategy<Value = Incarnation> {
    (0u64..0xffff_0000_0000_0000).prop_map(Incarnation::from_u64)
}

fn any_versions() -> impl Strategy<Value = Versions> {
    (1u8..=255, 0u8..=3).prop_map(|(lowest, more)| Versions::new(lowest, lowest.saturating_add(more)).expect("a range"))
}

fn any_update() -> impl Strategy<Value = Update> {
    let address = prop_oneof![
        (any::<[u8; 4]>(), any::<u16>()).prop_map(SocketAddr::from),
        (any::<[u8; 16]>(), any::<u16>()).prop_map(SocketAddr::from),
    ];
    let meta = proptest::collection::vec(any::<u8>(), 0..=512);
    let alive = (any_id(), any_incarnation(), any::<u64>(), address, meta, any_versions()).prop_map(
        |(id, incarnation, boot, address, meta, versions)| {
            Update::Alive(Alive { id, incarnation, boot: BootId(boot), address, meta: meta.into(), versions })
        },
    );
    let accusation = (any_id(), any_incarnation(), any_id(), 2u8..7).prop_map(|(id, incarnation, from, tag)| {
        let accusation = Accusation { id: id.clone(), incarnation, from };
        match tag {
            2 => Update::Suspect(accusation),
            3 => Update::Failed(accusation),
            4 => Update::Left(Accusation { from: id, ..accusation }),
            5 => Update::Refused(accusation),
            _ => Update::Forgotten(Accusation { from: id, ..accusation }),
        }
    });
    let payload = proptest::collection::vec(any::<u8>(), 0..=512);
    let broadcast = (any_id(), any::<u64>(), any::<u64>(), payload).prop_map(|(origin, boot, number, payload)| {
        Update::Broadcast(Broadcast { origin, boot: BootId(boot), number, payload: payload.into() })
    });
    prop_oneof![alive, accusation, broadcast]
}

fn any_body() -> impl Strategy<Value = Body> {
    prop_oneof![
        (any::<u32>(), any_id(), any::<u64>()).prop_map(|(sequence, target, boot)| Body::Ping {
            sequence,
            target,
            target_boot: BootId(boot)
        }),
        (any::<u32>(), any_id(), any::<u64>()).prop_map(|(sequence, target, boot)| Body::RelayedAck {
            sequence,
            target,
            target_boot: BootId(boot)
        }),
        (any::<u32>(), any::<u64>()).prop_map(|(sequence, digest)| Body::Ack { sequence, digest }),
        (any::<u32>(), any_id(), any::<u64>(), any::<u64>()).prop_map(|(sequence, target, boot, budget_ms)| {
            Body::PingRequest { sequence, target, target_boot: BootId(boot), budget_ms }
        }),
        any::<u32>().prop_map(|sequence| Body::Nack { sequence }),
        Just(Body::Gossip),
        any::<u32>().prop_map(|sequence| Body::Farewell { sequence }),
        any::<u32>().prop_map(|sequence| Body::FarewellAck { sequence }),
    ]
}

proptest! {
    #[test]
    fn a_packet_reads_as_it_was_written(
        body in any_body(),
        updates in proptest::collection::vec(any_update(), 0..8),
        id in any_id(),
        boot: u64,
        incarnation in any_incarnation(),
    ) {
        let packet = Packet { sender: Sender { version: 1, id, boot: BootId(boot), incarnation }, body, updates };
        prop_assert_eq!(Packet::decode(&packet.encode(CLUSTER), Versions::SPOKEN, CLUSTER), Ok(packet));
    }

    #[test]
    fn any_bytes_are_a_packet_or_an_error(kind in 0u8..20, bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Packet::decode(&bytes, Versions::SPOKEN, CLUSTER);
        let mut headed = Vec::new();
        write_header(&mut headed, 1, CLUSTER, kind);
        headed.extend_from_slice(&bytes);
        let _ = Packet::decode(&headed, Versions::SPOKEN, CLUSTER);
    }
}
