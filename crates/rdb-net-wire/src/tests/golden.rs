//! The golden files: the bytes of every message, as another implementation has to write and read them.
//!
//! Each file in `golden/` holds one message as two frames, without and with a checksum. With `RDB_UPDATE_GOLDEN=1` in the
//! environment the files are written; otherwise their bytes must be exactly those that the crate writes, and must be read
//! back as the message. A file changes only with a new wire version.

use std::collections::BTreeSet;
use std::path::PathBuf;

use bytes::Bytes;
use rdb_net_types::MessageSpec;

use super::vectors::{self, Vector};
use super::{checked, read_first, sealed, with_extensions};
use crate::{
    Body, CHECKSUM_BYTES, Codec, Codecs, Flags, FrameBuffer, FrameHead, FrameRules, HEAD_BYTES, HEADER_BYTES, Prepared,
    control_type, decode_frame, frame_length,
};

fn updates() -> bool {
    std::env::var_os("RDB_UPDATE_GOLDEN").is_some_and(|value| value == "1")
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn frames(vector: &Vector) -> [Vec<u8>; 2] {
    [vector.head, checked(vector.head)].map(|head| {
        let frame = sealed(head, vector.message.as_ref(), vector.deadline_us);
        if vector.extensions.is_empty() { frame } else { with_extensions(&frame, vector.extensions) }
    })
}

/// The file's text: the parts of each frame under their names.
fn text(vector: &Vector) -> String {
    let mut text = format!("# {}: a frame without a checksum, then the same with one\n", vector.name);
    for frame in frames(vector) {
        let flags = Flags(u16::from_be_bytes([frame[12], frame[13]]));
        let body_start = HEADER_BYTES + usize::from(frame[15]) * 4;
        let body_end = frame.len() - if flags.has(Flags::CHECKSUM) { CHECKSUM_BYTES } else { 0 };
        let structure_end = body_end - crate::Encode::attachment_bytes(vector.message.as_ref());
        let parts = [
            ("header", 0..HEADER_BYTES),
            ("envelope", HEADER_BYTES..HEAD_BYTES),
            ("extensions", HEAD_BYTES..body_start),
            (if vector.has_structure() { "struct" } else { "opaque body" }, body_start..structure_end),
            ("attachment", structure_end..body_end),
            ("checksum", body_end..frame.len()),
        ];
        for (name, range) in parts.into_iter().filter(|(_, range)| !range.is_empty()) {
            text.push_str(&format!("\n# {name}\n"));
            for line in frame[range].chunks(16) {
                let bytes: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
                text.push_str(&bytes.join(" "));
                text.push('\n');
            }
        }
    }
    text
}

fn parse(text: &str) -> Vec<u8> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let bytes = lines.flat_map(str::split_ascii_whitespace);
    bytes.map(|byte| u8::from_str_radix(byte, 16).expect("two hexadecimal digits")).collect()
}

/// Reads the two frames and asks the vector whether they are its message.
#[track_caller]
fn check_read(vector: &Vector, golden: &Bytes) {
    let mut rest = golden.clone();
    for head in [vector.head, checked(vector.head)] {
        let length = frame_length(&rest, 4096).expect("ours").expect("whole");
        let bytes = rest.split_to(length);
        let read = decode_frame(&bytes, head.flags.has(Flags::CHECKSUM));
        let Ok(frame) = read else {
            assert_eq!(read.err(), vector.refused, "{}", vector.name);
            continue;
        };
        assert_eq!(vector.refused, None, "{} is refused", vector.name);
        assert_eq!((frame.head, frame.deadline_us), (head, vector.deadline_us), "{}", vector.name);
        assert!(vector.reads(Body::of(&frame, &bytes)), "{} is read as something else", vector.name);
    }
    assert!(rest.is_empty(), "{}: bytes behind the second frame", vector.name);
}

#[test]
fn every_message_has_the_bytes_of_its_golden_file() {
    let update = updates();
    for vector in vectors::all() {
        let path = folder().join(vector.name).with_extension("hex");
        if update {
            std::fs::write(&path, text(&vector)).expect("the folder of golden files can be written");
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let golden = Bytes::from(parse(&golden));
        assert_eq!(golden, frames(&vector).concat(), "{}", vector.name);
        check_read(&vector, &golden);
    }
}

/// What a message was before it grew is read for ever: missing fields have their defaults.
#[test]
fn the_files_of_older_writers_are_read() {
    for vector in vectors::older() {
        let path = folder().join("older").join(vector.name).with_extension("hex");
        let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        check_read(&vector, &Bytes::from(parse(&golden)));
    }
}

#[test]
fn no_golden_file_is_without_its_message() {
    let files = std::fs::read_dir(folder()).expect("a folder").map(|file| file.expect("readable").path());
    let files = files.filter(|path| path.is_file()).map(|path| path.file_name().map(|name| name.to_owned()));
    let files = files.map(|name| name.and_then(|name| name.into_string().ok()).expect("plain"));
    let files: BTreeSet<String> = files.collect();
    let names = vectors::all().into_iter().map(|vector| vector.name).chain(SERIES.map(|(name, ..)| name));
    let names: BTreeSet<String> = names.map(|name| format!("{name}.hex")).collect();
    assert_eq!(files, names);
}

#[test]
fn every_message_type_has_a_golden_file() {
    let vectors = vectors::all();
    let pinned: BTreeSet<_> = vectors.iter().map(|vector| vector.head.message_type).collect();
    let cluster = MessageSpec::TABLE.iter().map(|row| row.message_type);
    let control = [
        control_type::HELLO,
        control_type::REJECT,
        control_type::PING,
        control_type::PONG,
        control_type::CREDIT,
        control_type::CANCEL,
        control_type::GO_AWAY,
        control_type::CLOSE,
        control_type::STREAM_CREDIT,
        control_type::FENCE,
        control_type::MEMBERSHIP_SYNC,
        control_type::REPLY,
    ];
    for message_type in cluster.chain(control) {
        assert!(pinned.contains(&message_type), "{message_type}");
    }
}

/// Written by hand from `docs/wire-format.md`, with a checksum from a bitwise CRC-32C: the golden files come from the crate,
/// this does not.
#[test]
fn a_query_written_by_hand_is_what_the_crate_writes() {
    #[rustfmt::skip]
    let by_hand = [
        b'R', b'D', b'B', b'N', 0, 1, 0x01, 0x10, 0, 0, 0, 39,
        0, 0xc0, 1, 7, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0x27, 0x10, 0, 0, 0, 7,
        0x04, 2, 0, 0, 0, 0, 0, 1,
        3, 0xac, 0x02, 0, 1, b'q',
        9,
        0x61, 0xd0, 0x43, 0x5a,
    ];
    let query =
        rdb_net_types::QueryRequest { query_id: 300, fragment: 0, query: "q".to_owned(), parameters: vec![9].into() };
    let head = FrameHead {
        message_type: rdb_net_types::MessageType::QUERY_REQUEST,
        flags: Flags::CHECKSUM.with(Flags::IDEMPOTENT),
        lane: rdb_net_types::Lane::Interactive,
        correlation: 0x0000_0001_0000_0002,
    };
    assert_eq!(sealed(head, &query, 10_000), by_hand);
    assert!(matches!(read_first(&by_hand, true), Ok(Some((_, 51)))));
}

/// A message that is cut or compressed: the name of its file, how it is compressed, its body.
type Series = (&'static str, Option<Codec>, fn() -> Vec<u8>);

/// Files of fragments and compressed bodies. What a codec writes may change with its library, so of a compressed body only the
/// reading is pinned.
const SERIES: [Series; 5] = [
    ("fragments", None, || (0..9000u32).map(|index| (index % 251) as u8).collect()),
    ("compressed_lz4", Some(Codec::Lz4), || vec![7; 3000]),
    ("compressed_snappy", Some(Codec::Snappy), || vec![7; 3000]),
    ("compressed_zstd", Some(Codec::Zstd), || (0..3000u32).map(|index| (index / 100) as u8).collect()),
    ("compressed_fragments", Some(Codec::Lz4), || (0..20_000u32).map(|index| (index / 64) as u8).collect()),
];

/// The frames of a request of the application with this body, none larger than 4 KiB.
fn series(codec: Option<Codec>, body: Vec<u8>) -> Vec<u8> {
    let message = super::application(body);
    let mut prepared = Prepared::new(&message).expect("not too large");
    if let Some(codec) = codec {
        prepared.compress(codec, 4096);
    }
    let mut buffer = FrameBuffer::new();
    while !prepared.is_done() {
        let mark = buffer.push_part(checked(super::request_head(message.message_type)), &mut prepared, 4096);
        buffer.seal(&mark, 0);
    }
    buffer.to_vec()
}

/// Puts the frames of a stream together again.
#[track_caller]
fn put_together(mut stream: Bytes) -> Body {
    let rules =
        FrameRules { codecs: Codecs::built_in(), fragments: true, raw_bytes_max: 4096, ..FrameRules::plain(true) };
    let (mut pieces, mut attachment_bytes, mut total) = (Vec::new(), 0, 0);
    while !stream.is_empty() {
        let length = frame_length(&stream, 4096).expect("ours").expect("whole");
        let bytes = stream.split_to(length);
        let frame = rules.read(&bytes).expect("agreed");
        let offset = frame.fragment.map_or(0, |fragment| fragment.offset);
        assert_eq!(offset, total, "in order");
        total += frame.raw_bytes;
        attachment_bytes = attachment_bytes.max(frame.attachment_bytes);
        assert_eq!(frame.head.flags.has(Flags::MORE), !stream.is_empty());
        pieces.push(Body::unpacked(&frame, &bytes, 0).expect("readable").into_bytes());
    }
    Body::of_pieces(pieces, attachment_bytes)
}

#[test]
fn fragments_and_compressed_bodies_are_read_from_their_golden_files() {
    let update = updates();
    for (name, codec, body) in SERIES {
        if codec.is_some_and(|codec| !codec.is_built_in()) {
            println!("SKIPPED {name}: the codec is not built in");
            continue;
        }
        let path = folder().join(name).with_extension("hex");
        let stream = series(codec, body());
        if update {
            let lines = stream.chunks(16).map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>());
            let lines: Vec<String> = lines.map(|line| line.join(" ")).collect();
            let text = format!("# {name}: the frames of one message, with checksums\n{}\n", lines.join("\n"));
            std::fs::write(&path, text).expect("the folder of golden files can be written");
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let golden = Bytes::from(parse(&golden));
        assert_eq!(put_together(golden.clone()).into_bytes(), body(), "{name}");
        assert_eq!(put_together(stream.clone().into()).into_bytes(), body(), "{name}");
        assert!(codec.is_some() || golden == stream, "{name}");
    }
}
