//! Compressed bodies: any bytes as what a codec wrote, what a codec wrote with a fault, and what it wrote as it is.

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use rdb_net_types::{Lane, MessageType};
use rdb_net_wire::{
    Body, COMPRESSION_RATIO_MAX, Codec, Codecs, Flags, FrameBuffer, FrameHead, FrameRules, Prepared, frame_length,
    split_frame,
};

use crate::compressed::{self, Copied};
use crate::frames::{self, Fault, Written};
use crate::memory;

/// The largest body that the reader takes.
const RAW_BYTES_MAX: u32 = 64 * 1024;
/// What reading a body may hold beside the body.
const BODY_BYTES: u64 = 256;

fn rules() -> FrameRules {
    FrameRules {
        codecs: Codecs::built_in(),
        fragments: true,
        streams: true,
        raw_bytes_max: RAW_BYTES_MAX,
        ..FrameRules::plain(false)
    }
}

/// The first byte decides: a frame, a body as a codec might have written it, or what a codec is to write.
pub(crate) fn run(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let input = &mut Unstructured::new(rest);
    // An input that ends too early says nothing.
    let _end = match kind % 4 {
        0 => {
            read(rest);
            Ok(())
        }
        1 => foreign(input),
        2 => own(input),
        _ => in_parts(input),
    };
}

fn codec(input: &mut Unstructured<'_>) -> Result<Codec> {
    input.choose(&Codec::ALL).copied()
}

/// Reads a whole frame and its body. Before the declared length was checked nothing is set aside, and then no more than it.
fn read(frame: &[u8]) -> Option<Body> {
    if frame_length(frame, u32::MAX) != Ok(Some(frame.len())) {
        return None;
    }
    let read = memory::within(0, "an envelope", || rules().read(frame)).ok()?;
    let bytes = Bytes::copy_from_slice(frame);
    let mut permitted = BODY_BYTES;
    if read.codec.is_some() {
        assert!(read.raw_bytes <= RAW_BYTES_MAX, "a body of {} bytes", read.raw_bytes);
        assert!(u64::from(read.raw_bytes) <= read.body.len() as u64 * u64::from(COMPRESSION_RATIO_MAX));
        permitted += u64::from(read.raw_bytes);
    }
    let body = memory::within(permitted, "a body", || Body::unpacked(&read, &bytes, 0)).ok()?;
    assert_eq!(body.len(), read.raw_bytes as usize, "a body is as long as was declared");
    Some(body)
}

/// A body that somebody else has written, under any length.
fn foreign(input: &mut Unstructured<'_>) -> Result<()> {
    let codec = codec(input)?;
    let (near, any) = (input.int_in_range(0..=300u32)?, input.arbitrary()?);
    let raw_bytes = *input.choose(&[near, any, RAW_BYTES_MAX, RAW_BYTES_MAX + 1, u32::MAX])?;
    let extensions = if input.ratio(1u8, 4)? { [3, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0].to_vec() } else { Vec::new() };
    let more = if input.ratio(1u8, 4)? { Flags::MORE } else { Flags::default() };
    let written = Written {
        message_type: MessageType::FIRST_APPLICATION,
        flags: Flags(u16::from(codec.number()) << 4).with(more),
        lane: 1,
        correlation: 1,
        deadline_us: 0,
        extensions,
        body: input.bytes(input.len())?.to_vec(),
        raw_bytes: Some(raw_bytes),
        fault: Fault::None,
    };
    read(&written.bytes());
    Ok(())
}

/// Bytes that are worth compressing: pieces that repeat.
fn raw(input: &mut Unstructured<'_>, bytes_max: usize) -> Result<Vec<u8>> {
    let mut raw = Vec::new();
    while !input.is_empty() && raw.len() < bytes_max {
        let length = input.int_in_range(1..=24usize)?.min(input.len());
        let piece = input.bytes(length)?;
        let times = *input.choose(&[1, 1, 3, 100, 3000])?;
        (0..times).for_each(|_| raw.extend_from_slice(piece));
    }
    raw.truncate(bytes_max);
    Ok(raw)
}

/// What a codec wrote comes back; with a fault it is refused, or is something else of the declared length.
fn own(input: &mut Unstructured<'_>) -> Result<()> {
    let codec = codec(input)?;
    let fault: [u8; 4] = input.arbitrary()?;
    let raw = raw(input, RAW_BYTES_MAX as usize)?;
    let frame = compressed::frame(codec, &raw);
    let body = read(&frame).expect("our own frame");
    assert_eq!(body.structure(), raw);
    let at = 32 + usize::from(u16::from_be_bytes([fault[0], fault[1]])) % (frame.len() - 32).max(1);
    if at < frame.len() - 4 {
        read(&frames::patched(frame.clone(), at, &[fault[2]]));
    }
    let lie = (raw.len() as u32).wrapping_add(i32::from(fault[3] as i8) as u32);
    let told = read(&frames::patched(frame, 28, &lie.to_be_bytes()));
    assert!(told.is_none() || lie == raw.len() as u32, "a lie about the length is found out");
    Ok(())
}

/// A message that was compressed block by block comes back from its frames.
fn in_parts(input: &mut Unstructured<'_>) -> Result<()> {
    let codec = codec(input)?;
    let frame_bytes_max = input.int_in_range(4096..=RAW_BYTES_MAX)?;
    let raw = raw(input, 4 * RAW_BYTES_MAX as usize)?;
    let mut prepared = Prepared::new(&Copied(&raw)).expect("small enough");
    let (before, after) = prepared.compress(codec, frame_bytes_max);
    assert!(before == raw.len() as u64 && after <= before);
    let head =
        FrameHead { message_type: prepared.message_type(), flags: Flags::CHECKSUM, lane: Lane::Bulk, correlation: 1 };
    let mut buffer = FrameBuffer::new();
    let (mut parts, parts_max) = (0, prepared.parts_max(frame_bytes_max));
    loop {
        let mark = buffer.push_part(head, &mut prepared, frame_bytes_max);
        assert!(mark.wire_bytes <= frame_bytes_max);
        buffer.seal(&mark, 0);
        parts += 1;
        if prepared.is_done() {
            break;
        }
    }
    assert!(parts <= parts_max, "{parts} frames instead of {parts_max} at most");
    let written = buffer.to_vec();
    let (mut rest, mut whole) = (&written[..], Vec::new());
    while let Some((frame, behind)) = split_frame(rest) {
        whole.extend_from_slice(&read(frame).expect("our own frame").into_bytes());
        rest = behind;
    }
    assert_eq!(whole, raw);
    Ok(())
}
