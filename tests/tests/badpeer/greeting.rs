//! What comes before or instead of a sound hello. S1, S2, S18.

use rdb_net_tests::{End, extended, frame, hello, message, patched, sealed};
use rdb_net_types::{ClusterId, NodeId, Payload, ProtocolRange, RefusalReason};
use rdb_net_wire::{Close, CloseCode, Credit, FrameError, Hello, Ping, Raw, Reject, TypeCost, control_type};

use crate::case::{Case, Counted};
use crate::world::{BOOT, ECHO};

pub(crate) fn sound() -> Hello {
    hello("stranger")
}

/// The struct of a hello in a frame without any fault.
fn hello_of(structure: impl Into<Vec<u8>>) -> Vec<u8> {
    frame(&Raw { message_type: control_type::HELLO, payload: Payload::from(structure.into()) })
}

/// The struct of the sound hello, changed.
fn rewritten(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let whole = frame(&sound());
    let mut structure = whole[32..whole.len() - 4].to_vec();
    change(&mut structure);
    hello_of(structure)
}

/// The sound hello, whose last field is a list of no costs, with a list of 10,000 that ends at once.
fn lying_costs() -> Vec<u8> {
    rewritten(|structure| {
        structure.pop();
        structure.extend_from_slice(&[0x90, 0x4e]);
    })
}

/// The sound hello with another text for the node id; its fields stand behind the count and the cluster.
fn named(name: &[u8]) -> Vec<u8> {
    rewritten(|structure| {
        let at = 1 + 1 + "rustydb".len();
        let old = 1 + "stranger".len();
        let new = [&[u8::try_from(name.len()).expect("short")], name].concat();
        structure.splice(at..at + old, new);
    })
}

pub(crate) fn cases() -> Vec<Case> {
    [strangers(), refusals(), tolerated(), out_of_order()].concat()
}

/// Who speaks another protocol.
fn strangers() -> Vec<Case> {
    const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let magic = FrameError::Magic { found: [0; 4] };
    let wrong = |at: usize| patched(frame(&sound()), at, b"?");
    let version = |version: u16| patched(frame(&sound()), 4, &version.to_be_bytes());
    let mut corrupt = frame(&sound());
    corrupt[40] ^= 1;
    vec![
        Case::no_frame("garbage", "256 bytes of 0x5a", [0x5a; 256], magic),
        Case::no_frame("http", "an HTTP request", *b"GET / HTTP/1.1\r\nhost: n1\r\n\r\n", magic),
        Case::no_frame("tls", "the beginning of a TLS client hello", CLIENT_HELLO, magic),
        Case::no_frame("magic_0", "a hello with the first byte of the magic wrong", wrong(0), magic),
        Case::no_frame("magic_1", "a hello with the second byte of the magic wrong", wrong(1), magic),
        Case::no_frame("magic_2", "a hello with the third byte of the magic wrong", wrong(2), magic),
        Case::no_frame("magic_3", "a hello with the fourth byte of the magic wrong", wrong(3), magic),
        Case::no_frame("magic_first_byte_only", "one byte, which is wrong", *b"?", magic),
        Case::no_frame("version_0", "wire version 0 in the header", version(0), FrameError::Version { found: 0 }),
        Case::no_frame("version_2", "wire version 2 in the header", version(2), FrameError::Version { found: 2 }),
        Case::no_frame("hello_bad_checksum", "a hello with a flipped bit", corrupt, FrameError::Checksum),
        Case::no_frame(
            "costs_too_many",
            "a hello with the costs of 10,000 types",
            with_costs(10_000),
            FrameError::TooLarge { size: 0, limit: 0 },
        ),
        Case::no_frame(
            "hello_too_large",
            "a hello with a token of 8 KiB",
            frame(&Hello { token: vec![7; 8192], ..sound() }),
            FrameError::TooLarge { size: 0, limit: 0 },
        ),
    ]
}

/// Hellos that are refused.
fn refusals() -> Vec<Case> {
    use RefusalReason::{Cluster, DuplicateNode, Malformed, SelfConnection, TargetNode, Version};
    let id = |name: &str| NodeId::new(name).expect("legal");
    let with = |change: fn(&mut Hello)| {
        let mut hello = sound();
        change(&mut hello);
        frame(&hello)
    };
    let range = |min: u16, max: u16| frame(&Hello { protocol: ProtocolRange { min, max }, ..sound() });
    let other = ClusterId::new("another").expect("legal");
    let himself = frame(&Hello { node: id("n1"), boot: BOOT, ..sound() });
    vec![
        Case::refused("hello_empty", "a hello of no bytes", hello_of(Vec::new()), Malformed),
        Case::refused("hello_garbage", "a hello of 64 bytes 0xff", hello_of(vec![0xff; 64]), Malformed),
        Case::refused(
            "hello_cut",
            "a hello whose last bytes are missing",
            rewritten(|bytes| bytes.truncate(40)),
            Malformed,
        ),
        Case::refused(
            "hello_fewer_fields",
            "a hello that says that it has 17 fields",
            rewritten(|bytes| bytes[0] = 17),
            Malformed,
        ),
        Case::refused(
            "hello_lying_length",
            "a cluster name of 2^63 bytes",
            hello_of(*b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
            Malformed,
        ),
        Case::refused("cluster", "a hello of another cluster", frame(&Hello { cluster: other, ..sound() }), Cluster),
        Case::refused(
            "target",
            "a hello for another node",
            frame(&Hello { target: Some(id("n9")), ..sound() }),
            TargetNode,
        ),
        Case::refused(
            "own_name",
            "a hello under the node's own name",
            frame(&Hello { node: id("n1"), ..sound() }),
            DuplicateNode,
        ),
        Case::refused("own_process", "a hello with the node's own name and boot", himself, SelfConnection),
        Case::refused("later_versions", "a hello that speaks versions 2 to 9", range(2, 9), Version),
        Case::refused("no_versions", "a hello that speaks versions 9 to 1", range(9, 1), Version),
        Case::refused(
            "reads_tiny_frames",
            "a hello that reads frames of 16 bytes",
            with(|hello| hello.frame_bytes_max = 16),
            Malformed,
        ),
        Case::refused("no_requests", "a hello that takes no requests", with(|hello| hello.requests_max = 0), Malformed),
        Case::refused("costs_lying_length", "a hello with 10,000 costs that are not there", lying_costs(), Malformed),
        Case::refused("name_empty", "a node id of no bytes", named(b""), Malformed),
        Case::refused("name_too_long", "a node id of 65 letters", named(&[b'a'; 65]), Malformed),
        Case::refused(
            "name_unicode",
            "a node id in Cyrillic with a direction mark",
            named("ноль\u{202e}".as_bytes()),
            Malformed,
        ),
        Case::refused("name_control", "a node id with a line break and an escape", named(b"a\n\x1b[2J"), Malformed),
        Case::refused("name_no_text", "a node id that is no UTF-8", named(b"\xff\xfe\xc0"), Malformed),
    ]
}

/// A hello with the costs of so many types.
fn with_costs(types: u16) -> Vec<u8> {
    let costs = (0..types).map(|number| TypeCost { message_type: number % 128, bytes_per_byte: 127 }).collect();
    frame(&Hello { costs, ..sound() })
}

/// Hellos that a later version may send.
fn tolerated() -> Vec<Case> {
    let features = frame(&Hello { features: u64::MAX, ..sound() });
    let codecs = frame(&Hello { codecs: vec![200; 40], ..sound() });
    let credits = frame(&Hello { credits: vec![u64::MAX; 100], ..sound() });
    let no_credits = frame(&Hello { credits: Vec::new(), ..sound() });
    let later = rewritten(|structure| {
        structure[0] += 1;
        structure.extend_from_slice(b"later");
    });
    // Without the flag and without the four bytes that it announces.
    let mut unsummed = frame(&sound());
    unsummed.truncate(unsummed.len() - 4);
    let size = u32::try_from(unsummed.len() - 12).expect("small");
    unsummed[8..12].copy_from_slice(&size.to_be_bytes());
    unsummed[12..14].copy_from_slice(&0x0004u16.to_be_bytes());
    vec![
        Case::welcome("features_unknown", "a hello with every feature bit", features),
        Case::welcome("codecs_unknown", "a hello with unknown codecs", codecs),
        Case::welcome("credits_of_many_lanes", "a hello with credits for a hundred lanes", credits),
        Case::welcome("credits_of_no_lane", "a hello with credits for no lane", no_credits),
        Case::welcome("costs_many", "a hello with the costs of 2,000 types", with_costs(2000)),
        Case::welcome("hello_longer", "a hello with a twentieth field", later),
        Case::welcome(
            "hello_extension",
            "a hello with an unknown extension",
            extended(frame(&sound()), &[0x77, 1, 0, 0]),
        ),
        Case::welcome("hello_without_checksum", "a hello without a checksum", unsummed),
        Case::welcome("hello_on_lane_3", "a hello on the Bulk lane", patched(frame(&sound()), 14, &[3])),
        Case::welcome(
            "hello_odd_flags",
            "a hello with flags that have no meaning",
            patched(frame(&sound()), 12, &[0xfe, 0x44]),
        ),
    ]
}

/// Frames before the connection is up.
fn out_of_order() -> Vec<Case> {
    let state =
        |name, sends, bytes: Vec<u8>| Case::first(name, sends, bytes, End::Closed(CloseCode::State), "protocol");
    let request = message(ECHO, 1, "early");
    let twice = [frame(&sound()), frame(&sound())].concat();
    let behind = [frame(&sound()), request.clone()].concat();
    let reject = frame(&Reject { code: RefusalReason::Draining.code(), retry_after_ms: 0 });
    let mut close =
        Case::first("close_first", "a close instead of a hello", frame(&Close { code: 1 }), End::Silent, "");
    close.counted = Counted::NOTHING;
    let long = sealed([frame(&Ping { token: 1 }), vec![0; 64]].concat());
    vec![
        state("ping_first", "a ping instead of a hello", frame(&Ping { token: 1 })),
        state("credit_first", "credits instead of a hello", frame(&Credit { lane: 0, limit: 1 })),
        state("request_first", "a request instead of a hello", request),
        state("two_hellos", "two hellos in one write", twice),
        state("request_behind_hello", "a request behind the hello, before its answer", behind),
        Case::first("reject_first", "a refusal instead of a hello", reject, End::Silent, "draining"),
        state("frame_and_rest", "a ping instead of a hello, and 64 bytes more", long),
        close,
        Case::breach("hello_again", "a second hello when the connection is up", frame(&sound())),
    ]
}
