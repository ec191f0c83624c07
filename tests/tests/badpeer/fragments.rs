//! Messages in fragments that are out of order, or of sizes that a part of a message cannot have.

use rdb_net_tests::{extended, flagged, frame, message, part, patched};
use rdb_net_types::{Lane, Payload};
use rdb_net_wire::{FRAGMENT_BYTES_MIN, Flags, FrameError, Raw, control_type};

use crate::case::{Case, Counted, Said};
use crate::world::ECHO;

/// A large enough part of a message.
pub(crate) const PART: usize = 4 * 1024;
/// The largest message.
pub(crate) const MESSAGE_BYTES_MAX: u32 = 64 * 1024 * 1024;

pub(crate) fn cases() -> Vec<Case> {
    [orders(), sizes(), neighbours()].concat()
}

/// The part of a request's body that begins at this offset.
pub(crate) fn of(id: u64, has_more: bool, total: usize, offset: usize, bytes: usize) -> Vec<u8> {
    part(message(ECHO, id, vec![7; bytes]), has_more, total as u32, offset as u32)
}

pub(crate) fn on(lane: Lane, frame: Vec<u8>) -> Vec<u8> {
    patched(frame, 14, &[lane as u8])
}

pub(crate) fn cancel(id: u64) -> Vec<u8> {
    patched(frame(&Raw { message_type: control_type::CANCEL, payload: Payload::new() }), 16, &id.to_be_bytes())
}

fn orders() -> Vec<Case> {
    let total = 3 * PART;
    let first = of(1, true, total, 0, PART);
    let second = of(1, true, total, PART, PART);
    let last = of(1, false, total, 2 * PART, PART);
    let whole = [first.clone(), second.clone(), last.clone()].concat();
    let answer = [first.clone(), flagged(second.clone(), Flags::RESPONSE)].concat();
    let other_type = patched(second.clone(), 6, &0x8001u16.to_be_bytes());
    vec![
        Case::lives("fragments", "a request in three fragments", whole, &[Said::Reply(1)]),
        Case::breach("fragment_not_first", "a fragment without those before it", last.clone()),
        Case::breach("fragment_missing", "fragments without the one between", [first.clone(), last].concat()),
        Case::breach("fragment_doubled", "the first fragment twice", first.repeat(2)),
        Case::breach(
            "fragment_overlaps",
            "a fragment that begins within the one before",
            [first.clone(), of(1, true, total, PART / 2, PART)].concat(),
        ),
        Case::breach(
            "fragment_total_falls",
            "a second fragment of a smaller message",
            [first.clone(), of(1, false, 2 * PART, PART, PART)].concat(),
        ),
        Case::breach(
            "fragment_total_grows",
            "a second fragment of a larger message",
            [first.clone(), of(1, true, total + 1, PART, PART)].concat(),
        ),
        Case::breach(
            "fragment_other_id",
            "a second fragment under another correlation id",
            [first.clone(), of(2, true, total, PART, PART)].concat(),
        ),
        Case::breach("fragment_turns_answer", "a request whose second fragment is one of an answer", answer),
        Case::breach("fragment_other_type", "a second fragment of another type", [first, other_type].concat()),
    ]
}

fn sizes() -> Vec<Case> {
    let bad = |name, sends, bytes| Case::bad_frame(name, sends, bytes, FrameError::Fragment);
    let too_large = FrameError::MessageTooLarge { total: 0, limit: 0 };
    let least = FRAGMENT_BYTES_MIN as usize;
    let beyond = [of(1, true, 2 * PART, 0, PART), of(1, false, 2 * PART, PART, PART + 1)].concat();
    let above = of(1, true, MESSAGE_BYTES_MAX as usize + 1, 0, PART);
    let attachment = extended(of(1, true, 2 * PART, 0, PART), &[4, 2, 0, 0, 0, 0, 0x20, 1]);
    let short = extended(flagged(message(ECHO, 1, vec![7; PART]), Flags::MORE), &[3, 2, 0, 0, 0, 0, 0x20, 0]);
    let plain = extended(message(ECHO, 1, vec![7; PART]), &[3, 3, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0]);
    vec![
        bad("fragment_beyond_total", "a fragment that ends beyond the total", beyond),
        bad("fragment_total_0", "a fragment of a message of no bytes", of(1, true, 0, 0, PART)),
        bad("fragment_offset_4_gib", "a fragment at an offset of 4 GiB", of(1, true, PART, u32::MAX as usize, PART)),
        Case::bad_frame("message_above_max", "a fragment of 64 MiB and a byte", above, too_large),
        Case::bad_frame(
            "message_4_gib",
            "a fragment of 4 GiB",
            of(1, true, u32::MAX as usize, 0, PART),
            FrameError::MessageTooLarge { total: 0, limit: 0 },
        ),
        bad("fragment_small", "a first fragment of 2,047 bytes", of(1, true, PART, 0, least - 1)),
        Case::lives(
            "fragment_smallest",
            "fragments of 2,048 bytes and of one",
            [of(1, true, least + 1, 0, least), of(1, false, least + 1, least, 1)].concat(),
            &[Said::Reply(1)],
        ),
        bad(
            "fragment_last_empty",
            "a last fragment of no bytes",
            [of(1, true, PART + 1, 0, PART), of(1, false, PART + 1, PART + 1, 0)].concat(),
        ),
        bad("fragment_of_all", "one fragment that is the whole message", of(1, false, PART, 0, PART)),
        bad("fragment_first_ends", "a last fragment that does not reach the total", plain),
        bad("fragment_attachment", "an attachment longer than the message", attachment),
        Case::bad_frame("fragment_cut", "a fragment extension of 2 words", short, FrameError::Extension),
    ]
}

fn neighbours() -> Vec<Case> {
    let first = of(1, true, 2 * PART, 0, PART);
    let last = of(1, false, 2 * PART, PART, PART);
    let answer = |frame| flagged(patched(frame, 6, &control_type::REPLY.0.to_be_bytes()), Flags::RESPONSE);
    let between = [first.clone(), message(ECHO, 2, "x"), last.clone()].concat();
    let beside = [first.clone(), on(Lane::System, message(ECHO, 2, "x")), last.clone()].concat();
    let given_up = [first.clone(), cancel(1), message(ECHO, 2, "x")].concat();
    let behind_cancel = [first.clone(), cancel(1), last.clone()].concat();
    let other_cancel = [first.clone(), cancel(9), last.clone()].concat();
    let ping = |frame| patched(flagged(frame, Flags::ONE_WAY), 6, &control_type::PING.0.to_be_bytes());
    let pings = [ping(patched(first.clone(), 16, &[0; 8])), ping(patched(last.clone(), 16, &[0; 8]))].concat();
    let late = Counted { late_replies: 1, ..Counted::NOTHING };
    vec![
        Case::breach("message_between", "a request between the fragments of another", between),
        Case::lives(
            "message_beside",
            "a request on another lane between fragments",
            beside,
            &[Said::Reply(2), Said::Reply(1)],
        ),
        Case::lives("fragments_given_up", "a first fragment, its cancel, a request", given_up, &[Said::Reply(2)]),
        Case::breach("fragment_behind_cancel", "a first fragment, its cancel, the rest", behind_cancel),
        Case::lives("cancel_of_another", "a cancel of nothing between fragments", other_cancel, &[Said::Reply(1)]),
        Case::lives(
            "reply_to_nothing_in_fragments",
            "an answer to nothing in two fragments",
            [answer(first), answer(last)].concat(),
            &[],
        )
        .counted(late),
        Case::lives("ping_in_fragments", "a ping in two fragments", pings, &[])
            .counted(Counted { dropped: 1, ..Counted::NOTHING }),
    ]
}
