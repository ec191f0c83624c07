//! Compressed bodies that are not what they say. S8.

use rdb_net_session::CloseReason;
use rdb_net_tests::{compressed, extended, flagged, message, part, patched};
use rdb_net_wire::{COMPRESSION_RATIO_MAX, CloseCode, Codec, Flags, FrameError};

use crate::case::{Case, Said};
use crate::world::{ECHO, FRAME_BYTES_MAX};

/// How much a connection reads at once.
const READ_BYTES: usize = 64 * 1024;
/// Where a frame has its body's raw length.
const RAW_AT: usize = 28;

pub(crate) fn cases() -> Vec<Case> {
    Codec::ALL.into_iter().flat_map(of).collect()
}

/// A request with these plain bytes under a codec's name.
fn claimed(codec: Codec, body: &[u8], raw_bytes: u32) -> Vec<u8> {
    let flags = Flags(u16::from(codec.number()) << 4);
    patched(flagged(message(ECHO, 1, body.to_vec()), flags), RAW_AT, &raw_bytes.to_be_bytes())
}

fn of(codec: Codec) -> Vec<Case> {
    let name = |what: &str| -> &'static str { format!("{}_{what}", codec.name()).leak() };
    if !codec.is_built_in() {
        let sends = "a codec that is not built in";
        return vec![Case::bad_frame(name("unknown"), sends, claimed(codec, b"body", 4), FrameError::NotAgreed)];
    }
    let raw = vec![7; 4000];
    let whole = compressed(codec, ECHO, 1, raw.clone()).expect("zeros can be compressed");
    let long = vec![7; FRAME_BYTES_MAX as usize + 1];
    let larger = compressed(codec, ECHO, 1, long).expect("zeros can be compressed");
    let lying = |raw_bytes: u32| patched(whole.clone(), RAW_AT, &raw_bytes.to_be_bytes());
    let refused =
        |what: &str, sends, bytes: Vec<u8>| Case::bad_frame(name(what), sends, bytes, FrameError::Compression);
    let ratio = claimed(codec, &[0x5a; 15], 15 * COMPRESSION_RATIO_MAX + 1);
    let full = compressed(codec, ECHO, 1, vec![7; FRAME_BYTES_MAX as usize]).expect("zeros can be compressed");
    let flood = full.repeat(READ_BYTES / full.len());
    let attached = extended(whole.clone(), &[4, 2, 0, 0, 0, 0, 0x0f, 0xa1]);
    vec![
        Case::lives(name("sound"), "a compressed request", whole.clone(), &[Said::Reply(1)]),
        refused("garbage", "bytes that the codec did not write", claimed(codec, b"garbage!", 64)),
        refused("empty", "a compressed body of no bytes, 4 raw", claimed(codec, b"", 4)),
        refused("raw_more", "a raw length of one byte more", lying(4001)),
        refused("raw_less", "a raw length of one byte less", lying(3999)),
        refused("raw_0", "a raw length of 0", lying(0)),
        refused("raw_4_gib", "a raw length of 4 GiB", lying(u32::MAX)),
        refused("ratio", "15 bytes that become more than 1,024 times as many", ratio),
        refused("larger_than_frame", "a body that becomes larger than a frame may be", larger),
        Case::bad_frame(
            name("fragment_total"),
            "a compressed last fragment that ends before the total",
            part(whole.clone(), false, 100_000, 0),
            FrameError::Fragment,
        ),
        Case::ends(
            name("flood"),
            "64 KiB of bodies that become 16 KiB each",
            flood,
            CloseReason::CreditExceeded,
            CloseCode::Credit,
        ),
        Case::bad_frame(name("attachment"), "an attachment longer than the raw body", attached, FrameError::Extension),
    ]
}
