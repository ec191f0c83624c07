//! Frames that are wrong in themselves: sizes that lie, envelopes that do not fit, features that were not agreed. S7.

use rdb_net_session::CloseReason;
use rdb_net_tests::{End, extended, frame, message, patched};
use rdb_net_types::RefusalReason;
use rdb_net_wire::{CloseCode, Codec, FrameError, Ping, Raw, control_type};

use crate::case::{Case, Said};
use crate::world::{ECHO, FRAME_BYTES_MAX};

/// The largest frame before the hello.
const HELLO_BYTES_MAX: u32 = 8192;
const TOO_SMALL: FrameError = FrameError::TooSmall { size: 0 };
const TOO_LARGE: FrameError = FrameError::TooLarge { size: 0, limit: 0 };

pub(crate) fn cases() -> Vec<Case> {
    [sizes_before_hello(), sizes(), checksums(), envelopes(), flags()].concat()
}

fn ping() -> Vec<u8> {
    frame(&Ping { token: 7 })
}

fn request() -> Vec<u8> {
    message(ECHO, 1, "body")
}

/// A header that promises so many bytes behind it.
fn promising(size: u32) -> Vec<u8> {
    patched(ping(), 8, &size.to_be_bytes())
}

fn sizes_before_hello() -> Vec<Case> {
    let body_bytes = HELLO_BYTES_MAX as usize - 32 - 4;
    let largest = frame(&Raw { message_type: control_type::HELLO, payload: vec![0; body_bytes].into() });
    assert_eq!(largest.len(), HELLO_BYTES_MAX as usize);
    let end = End::Rejected(RefusalReason::Malformed.code());
    vec![
        Case::no_frame("size_0_first", "a size of 0 before the hello", promising(0), TOO_SMALL),
        Case::no_frame("size_19_first", "a size of 19 before the hello", promising(19), TOO_SMALL),
        Case::first("size_max_first", "a hello of 8,192 bytes, all 0", largest, end, "malformed"),
        Case::no_frame("size_max_1_first", "8,193 bytes before the hello", promising(HELLO_BYTES_MAX - 11), TOO_LARGE),
        Case::no_frame("size_4_gib_first", "4 GiB before the hello", promising(u32::MAX), TOO_LARGE),
    ]
}

fn sizes() -> Vec<Case> {
    let body_bytes = FRAME_BYTES_MAX as usize - 32 - 4;
    let largest = message(ECHO, 0, vec![7; body_bytes]);
    assert_eq!(largest.len(), FRAME_BYTES_MAX as usize);
    vec![
        Case::bad_frame("size_0", "a size of 0", promising(0), TOO_SMALL),
        Case::bad_frame("size_19", "a size of 19", promising(19), TOO_SMALL),
        Case::lives("size_max", "a message as large as was agreed", largest, &[]),
        Case::bad_frame("size_max_1", "one byte more than was agreed", promising(FRAME_BYTES_MAX - 11), TOO_LARGE),
        Case::bad_frame("size_4_gib", "a size of 4 GiB", promising(u32::MAX), TOO_LARGE),
    ]
}

fn checksums() -> Vec<Case> {
    let mut corrupt = request();
    corrupt[33] ^= 1;
    let mut missing = patched(request(), 12, &[0, 0]);
    missing.truncate(missing.len() - 4);
    let size = u32::try_from(missing.len() - 12).expect("small");
    missing[8..12].copy_from_slice(&size.to_be_bytes());
    let mut header = request();
    header[18] ^= 1;
    let mut zero = request();
    let length = zero.len();
    zero[length - 4..].fill(0);
    vec![
        Case::bad_frame("checksum_body", "a flipped bit in the body", corrupt, FrameError::Checksum),
        Case::bad_frame("checksum_envelope", "a flipped bit in the correlation id", header, FrameError::Checksum),
        Case::bad_frame("checksum_zero", "a checksum of 0", zero, FrameError::Checksum),
        Case::bad_frame("checksum_missing", "no flag and no checksum", missing, FrameError::Checksum),
        Case::bad_frame(
            "checksum_flag_off",
            "no flag, and the four bytes",
            patched(request(), 12, &[0, 0]),
            FrameError::Checksum,
        ),
    ]
}

fn envelopes() -> Vec<Case> {
    let extension = FrameError::Extension;
    let beyond = extended(request(), &[0x77, 9, 0, 0]);
    let empty = extended(request(), &[0x77, 0, 0, 0]);
    let attachment = |bytes: u32| extended(request(), &[&[4, 2, 0, 0], bytes.to_be_bytes().as_slice()].concat());
    let twice = [[4, 2, 0, 0, 0xff, 0xff, 0xff, 0xff], [4, 2, 0, 0, 0, 0, 0, 1]].concat();
    let lane = |lane: u8| patched(request(), 14, &[lane]);
    let words = |words: u8| patched(request(), 15, &[words]);
    let raw = |bytes: u32| patched(request(), 28, &bytes.to_be_bytes());
    vec![
        Case::bad_frame("extension_beyond", "an extension of 9 words where there is one", beyond, extension),
        Case::bad_frame("extension_of_nothing", "an extension of 0 words", empty, extension),
        Case::lives(
            "extension_unknown",
            "an unknown extension",
            extended(request(), &[0x77, 1, 9, 9]),
            &[Said::Reply(1)],
        ),
        Case::bad_frame("attachment_beyond", "an attachment longer than the body", attachment(5), extension),
        Case::bad_frame("attachment_4_gib", "an attachment of 4 GiB", attachment(u32::MAX), extension),
        Case::bad_frame(
            "attachment_short",
            "an attachment extension of 1 word",
            extended(request(), &[4, 1, 0, 0]),
            extension,
        ),
        Case::lives(
            "attachment_twice",
            "two attachment extensions, the first a lie",
            extended(request(), &twice),
            &[Said::Reply(1)],
        ),
        Case::bad_frame("words_4", "an envelope of 4 words", words(4), TOO_SMALL),
        Case::bad_frame("words_255", "an envelope that ends beyond the frame", words(255), TOO_SMALL),
        Case::bad_frame("raw_length_less", "a raw length of 3 for 4 bytes", raw(3), FrameError::NotAgreed),
        Case::bad_frame("raw_length_more", "a raw length of 4 GiB for 4 bytes", raw(u32::MAX), FrameError::NotAgreed),
        Case::bad_frame("lane_4", "lane 4", lane(4), FrameError::Lane { found: 4 }),
        Case::bad_frame("lane_255", "lane 255", lane(255), FrameError::Lane { found: 255 }),
        Case::ends(
            "garbage_behind_frame",
            "a sound request and garbage in one write",
            [request(), vec![0x5a; 64]].concat(),
            CloseReason::Frame(FrameError::Magic { found: [0; 4] }),
            CloseCode::Protocol,
        ),
    ]
}

fn flags() -> Vec<Case> {
    let with = |flags: u16| patched(request(), 12, &(0x0040 | flags).to_be_bytes());
    // A codec that this build has was agreed, and then four plain bytes are not what it writes.
    let plain = |codec: Codec| if codec.is_built_in() { FrameError::Compression } else { FrameError::NotAgreed };
    vec![
        Case::lives("flags_without_meaning", "a request with the flags 0xFE00", with(0xfe00), &[Said::Reply(1)]),
        Case::lives("flag_error_alone", "a request with the flag ERROR", with(0x0002), &[Said::Reply(1)]),
        Case::bad_frame("flag_more", "a request with the flag MORE", with(0x0008), FrameError::Extension),
        Case::bad_frame("flag_codec", "a request with one bit of CODEC", with(0x0010), plain(Codec::Lz4)),
        Case::bad_frame("flag_codecs", "a request with both bits of CODEC", with(0x0030), plain(Codec::Zstd)),
        Case::lives("flag_stream", "a request with the flag STREAM", with(0x0100), &[Said::Reply(1)]),
    ]
}
