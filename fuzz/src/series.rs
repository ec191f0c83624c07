//! Messages in fragments, out of any input: written as a node does it, then dropped, doubled, reordered, cut and changed.

use arbitrary::{Result, Unstructured};
use rdb_net_types::{Lane, MessageType, Payload};
use rdb_net_wire::{Codec, Encode, Flags, FrameBuffer, FrameHead, HEAD_BYTES, Ping, Prepared, Raw, control_type};

use crate::frames;

/// The largest message that is written: somewhat more than a session takes.
const MESSAGE_BYTES_MAX: usize = 18_000;
/// The smallest frames that are written: less than the smallest fragment, too.
const FRAME_BYTES: std::ops::RangeInclusive<u32> = 2000..=4096;
const CHANGES_MAX: usize = 3;

/// Where the fragment's extension has the length of the whole and the offset.
const TOTAL_AT: usize = HEAD_BYTES + 4;
const OFFSET_AT: usize = HEAD_BYTES + 8;

/// What the fragments are parts of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request or a one-way message.
    Message,
    /// A reply, or one of a stream.
    Reply,
}

/// One frame of the protocol's own, or of a small message.
fn single(message: &impl Encode, flags: Flags, lane: Lane, correlation: u64) -> Vec<u8> {
    let head =
        FrameHead { message_type: message.message_type(), flags: flags.with(Flags::CHECKSUM), lane, correlation };
    let mut buffer = FrameBuffer::new();
    let mark = buffer.push(head, message, *FRAME_BYTES.end()).expect("small enough");
    buffer.seal(&mark, 0);
    buffer.to_vec()
}

/// The frames of a message as a node writes them.
fn sound(input: &mut Unstructured<'_>, kind: Kind, lane: Lane) -> Result<(FrameHead, Vec<Vec<u8>>)> {
    let stream = if input.ratio(1u8, 4)? { Flags::STREAM } else { Flags::default() };
    let (message_type, flags, correlation) = match kind {
        Kind::Message if input.ratio(1u8, 4)? => (MessageType(0x8001), Flags::ONE_WAY, 0),
        Kind::Message => (MessageType(0x8001), stream, frames::correlation(input)?),
        Kind::Reply => (control_type::REPLY, Flags::RESPONSE.with(stream), frames::correlation(input)?),
    };
    let payload = Payload::from(vec![input.arbitrary()?; input.int_in_range(0..=MESSAGE_BYTES_MAX)?]);
    let mut prepared = Prepared::new(&Raw { message_type, payload }).expect("small enough");
    let frame_bytes_max = input.int_in_range(FRAME_BYTES)?;
    if input.ratio(1u8, 4)? {
        prepared.compress(*input.choose(&Codec::ALL)?, frame_bytes_max);
    }
    if kind == Kind::Message && stream == Flags::STREAM {
        prepared.ask_for_stream(input.int_in_range(0..=5000)?);
    }
    let head = FrameHead { message_type, flags: flags.with(Flags::CHECKSUM), lane, correlation };
    let mut parts = Vec::new();
    loop {
        let mut buffer = FrameBuffer::new();
        let mark = buffer.push_part(head, &mut prepared, frame_bytes_max);
        buffer.seal(&mark, 0);
        parts.push(buffer.to_vec());
        if prepared.is_done() {
            return Ok((head, parts));
        }
    }
}

/// The frames of one message, with a few changes.
pub(crate) fn series(input: &mut Unstructured<'_>, kind: Kind) -> Result<Vec<Vec<u8>>> {
    let lane = *input.choose(&Lane::ALL)?;
    let (head, mut parts) = sound(input, kind, lane)?;
    for _ in 0..input.int_in_range(0..=CHANGES_MAX)? {
        change(input, &head, &mut parts)?;
    }
    Ok(parts)
}

fn change(input: &mut Unstructured<'_>, head: &FrameHead, parts: &mut Vec<Vec<u8>>) -> Result<()> {
    if parts.is_empty() {
        return Ok(());
    }
    let which = input.int_in_range(0..=parts.len() - 1)?;
    let number = |input: &mut Unstructured<'_>| -> Result<u32> {
        if input.ratio(1u8, 4)? { input.arbitrary() } else { input.int_in_range(0..=20_000) }
    };
    match input.int_in_range(0..=11u8)? {
        0 => drop(parts.remove(which)),
        1 => parts.insert(which, parts[which].clone()),
        2 => parts.swap(which, 0),
        3 => parts.truncate(which),
        4 => {
            let cut = number(input)? as usize % parts[which].len().max(1);
            parts[which].truncate(cut);
        }
        5 => patch(parts, which, TOTAL_AT, &number(input)?.to_be_bytes()),
        6 => patch(parts, which, OFFSET_AT, &number(input)?.to_be_bytes()),
        7 => patch(parts, which, 14, &[input.int_in_range(0..=4u8)?]),
        8 => patch(parts, which, 16, &frames::correlation(input)?.to_be_bytes()),
        9 => {
            let cancel = Raw { message_type: control_type::CANCEL, payload: Payload::new() };
            parts.insert(which, single(&cancel, Flags::ONE_WAY, Lane::System, head.correlation));
        }
        10 => {
            let between = Raw { message_type: head.message_type, payload: Payload::from("between") };
            let flags = Flags(head.flags.0 & (Flags::RESPONSE.0 | Flags::ONE_WAY.0));
            let correlation = if head.correlation == 0 { 0 } else { frames::correlation(input)? };
            parts.insert(which, single(&between, flags, head.lane, correlation));
        }
        _ => parts.insert(which, single(&Ping { token: 1 }, Flags::ONE_WAY, Lane::System, 0)),
    }
    Ok(())
}

/// Changes a frame that is long enough.
fn patch(parts: &mut [Vec<u8>], which: usize, at: usize, bytes: &[u8]) {
    if parts[which].len() >= at + bytes.len() + 4 {
        let frame = std::mem::take(&mut parts[which]);
        parts[which] = frames::patched(frame, at, bytes);
    }
}
