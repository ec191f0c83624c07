//! Messages of several frames: how they travel, whom they hold up, what they may cost, and how they end early.

use bytes::Bytes;
use rdb_net_types::{Effect, Lane, LogEntry, OverloadScope, QueryResponse, Reason, ReplicationLog, Tuple};
use rdb_net_wire::{Flags, FrameBuffer, FrameHead, Prepared, Raw, control_type, split_frame};

use super::pair::{ASK, MILLISECOND, Pair, SECOND, message, on, within};
use crate::{Budget, CloseReason, CompressionConfig, Config, Loss, SendError};

const FRAME: u32 = 4096;

/// Frames of 4 KiB, windows of 16 KiB, nothing compressed.
fn narrow() -> Config {
    Config {
        frame_bytes_max: FRAME,
        lane_credit_bytes: [16 * 1024; 4],
        compression: CompressionConfig::off(),
        batch_bytes: 8 * 1024,
        ..Config::default()
    }
}

/// Lane, flags and length of each frame that a side has written.
fn written(mut wire: &[u8]) -> Vec<(u8, Flags, usize)> {
    let mut frames = Vec::new();
    while let Some((frame, behind)) = split_frame(wire) {
        frames.push((frame[14], Flags(u16::from_be_bytes([frame[12], frame[13]])), frame.len()));
        wire = behind;
    }
    frames
}

/// Moves bytes, and lets handlers answer at once, until the request has its outcome.
fn answer_all(pair: &mut Pair, bytes: usize) {
    for _ in 0..1000 {
        pair.drive();
        let inbound = pair.acceptor.pop_all();
        if inbound.is_empty() {
            return;
        }
        for inbound in inbound {
            pair.acceptor.session.reply(inbound.id, &message(bytes)).expect("not too large");
        }
    }
    panic!("the two never fall silent");
}

#[test]
fn a_message_and_a_reply_of_a_hundred_frames_arrive_through_windows_of_four() {
    for lane in Lane::ALL {
        let mut pair = Pair::up(narrow());
        let id = pair.dialer.session.request(on(lane), &message(400_000)).expect("queued");
        pair.drive();
        let inbound = pair.acceptor.pop().expect("it is whole");
        assert_eq!((inbound.lane, inbound.body.len(), inbound.message_type), (lane, 400_000, ASK));
        pair.acceptor.session.reply(inbound.id, &message(500_000)).expect("not too large");
        pair.drive();
        let reply = pair.outcome(id).expect("ended").expect("answered");
        assert_eq!(reply.into_payload(), message(500_000).payload);
        let sent = pair.dialer.session.statistics();
        assert_eq!(sent.lanes[lane as usize].messages_sent, 1 + if lane == Lane::System { 1 } else { 0 });
    }
}

#[test]
fn one_way_messages_of_all_sizes_keep_their_order() {
    let mut pair = Pair::up(narrow());
    let sizes = [10, 30_000, 20, 4_100, 30, 40_000, 40];
    let (mut sent, mut arrived) = (0, Vec::new());
    while arrived.len() < sizes.len() {
        while sent < sizes.len() && pair.dialer.session.one_way(Lane::Replication, &message(sizes[sent])).is_ok() {
            sent += 1;
        }
        pair.drive();
        for inbound in pair.acceptor.pop_all() {
            arrived.push(inbound.body.len());
            pair.acceptor.session.finish(inbound.id);
        }
    }
    assert_eq!(arrived, sizes);
}

#[test]
fn urgent_frames_wait_for_no_more_than_a_batch_of_a_large_message() {
    let mut pair =
        Pair::up(Config { lane_credit_bytes_first: [1 << 20; 4], lane_credit_bytes: [1 << 20; 4], ..narrow() });
    pair.dialer.session.one_way(Lane::Bulk, &message(500_000)).expect("queued");
    pair.dialer.write_batch(pair.now).expect("the first part");
    assert!(pair.dialer.wire.len() < 13_000);
    pair.dialer.wire.clear();
    for lane in [Lane::Interactive, Lane::System] {
        pair.dialer.session.one_way(lane, &message(5)).expect("queued");
    }
    pair.dialer.write_batch(pair.now).expect("the urgent ones first");
    let lanes: Vec<u8> = written(&pair.dialer.wire).iter().map(|(lane, ..)| *lane).take(3).collect();
    assert_eq!(lanes, [0, 1, 3]);
}

#[test]
fn the_protocols_own_messages_wait_for_no_large_one_of_the_system_lane() {
    let mut pair =
        Pair::up(Config { lane_credit_bytes_first: [1 << 20; 4], lane_credit_bytes: [1 << 20; 4], ..narrow() });
    pair.dialer.session.one_way(Lane::System, &message(500_000)).expect("queued");
    pair.dialer.write_batch(pair.now).expect("the first part");
    pair.dialer.wire.clear();
    let ping = rdb_net_wire::Ping { token: 7 };
    pair.dialer.feed(pair.now, &super::pair::control(&ping));
    pair.dialer.write_batch(pair.now).expect("the pong and more");
    let (_, first) = rdb_net_wire::split_frame(&pair.dialer.wire).map(|(frame, _)| (0, frame[7])).expect("a frame");
    assert_eq!(u16::from(first), control_type::PONG.0);
}

#[test]
fn lanes_share_a_connection_by_their_weights() {
    let wide = [8 << 20; 4];
    let mut pair = Pair::up(Config { lane_credit_bytes_first: wide, lane_credit_bytes: wide, ..narrow() });
    for lane in [Lane::Bulk, Lane::Replication, Lane::Interactive] {
        pair.dialer.session.one_way(lane, &message(6_000_000)).expect("queued");
    }
    let mut sent = [0usize; 4];
    while sent.iter().sum::<usize>() < 5_000_000 {
        pair.dialer.write_batch(pair.now).expect("much waits");
        written(&std::mem::take(&mut pair.dialer.wire))
            .iter()
            .for_each(|(lane, _, bytes)| sent[*lane as usize] += bytes);
    }
    let share = |lane: Lane| sent[lane as usize] as f64 / sent[Lane::Bulk as usize] as f64;
    assert!((7.0..9.0).contains(&share(Lane::Interactive)), "{sent:?}");
    assert!((3.5..4.5).contains(&share(Lane::Replication)), "{sent:?}");
}

/// S13: memory is reserved before it is held, within the budgets of peer and process.
#[test]
fn a_message_without_memory_for_it_is_refused_with_whose_limit_it_is() {
    for (peer, process, scope) in [(50_000, u64::MAX, OverloadScope::Peer), (u64::MAX, 50_000, OverloadScope::Process)]
    {
        let mut pair = Pair::up(narrow());
        let budget = Budget::peer(&Budget::process(process), peer);
        pair.acceptor.session.set_budget(&budget);
        let refused = pair.dialer.session.request(on(Lane::Interactive), &message(60_000)).expect("queued");
        let taken = pair.dialer.session.request(on(Lane::Bulk), &message(40_000)).expect("queued");
        pair.drive();
        assert_eq!(pair.failure(refused), (Effect::NotStarted, Reason::Overloaded(scope)));
        assert!((40_000..45_000).contains(&budget.reserved_bytes()));
        let inbound = pair.acceptor.pop_all();
        assert_eq!(inbound.len(), 1);
        assert_eq!(pair.acceptor.session.statistics().out_of_memory, 1);
        // Its memory is free for the next one as soon as the handler is done.
        inbound.into_iter().for_each(|inbound| pair.acceptor.session.finish(inbound.id));
        assert_eq!(budget.reserved_bytes(), 0);
        assert!(pair.outcome(taken).is_none());
        pair.dialer.session.one_way(Lane::Interactive, &message(60_000)).expect("queued");
        pair.drive();
        let again = pair.dialer.session.request(on(Lane::Interactive), &message(40_000)).expect("queued");
        answer_all(&mut pair, 3);
        assert!(pair.outcome(again).expect("ended").is_ok(), "the lane goes on behind what was thrown away");
        assert_eq!((pair.acceptor.session.statistics().out_of_memory, budget.reserved_bytes()), (2, 0));
    }
}

#[test]
fn a_reply_without_memory_for_it_leaves_its_caller_in_doubt_and_the_connection_unharmed() {
    let mut pair = Pair::up(narrow());
    let budget = Budget::process(50_000);
    pair.dialer.session.set_budget(&budget);
    let id = pair.request(on(Lane::Interactive));
    answer_all(&mut pair, 60_000);
    assert_eq!(pair.failure(id), (Effect::Unknown, Reason::Overloaded(OverloadScope::Process)));
    let id = pair.request(on(Lane::Interactive));
    answer_all(&mut pair, 40_000);
    let mut reply = pair.outcome(id).expect("ended").expect("answered");
    assert!(budget.reserved_bytes() >= 40_000, "until its caller has it");
    reply.release();
    assert_eq!((budget.reserved_bytes(), reply.body.len()), (0, 40_000));
}

#[test]
fn what_reading_a_message_needs_is_charged_and_not_what_it_takes_on_the_wire() {
    let mut pair =
        Pair::up(Config { lane_credit_bytes_first: [100_000; 4], lane_credit_bytes: [100_000; 4], ..narrow() });
    let rows = QueryResponse { result: vec![Tuple::default(); 3000], ..QueryResponse::default() };
    pair.dialer.session.one_way(Lane::Interactive, &rows).expect("queued");
    let refused = pair.dialer.session.one_way(Lane::Interactive, &message(1));
    assert_eq!(refused, Err(SendError::NoCredit), "3,000 empty rows take 3 KB on the wire and 108 KB in memory");
    pair.drive();
    assert_eq!(pair.acceptor.session.statistics().lanes[1].held_bytes / 1000, 108);
    let budget = Budget::process(200_000);
    pair.acceptor.session.set_budget(&budget);
    let rows = QueryResponse { result: vec![Tuple::default(); 6000], ..QueryResponse::default() };
    let id = pair.dialer.session.request(on(Lane::Bulk), &rows).expect("queued");
    pair.drive();
    assert_eq!(pair.failure(id), (Effect::NotStarted, Reason::Overloaded(OverloadScope::Process)));
}

/// A large request of which some frames have arrived.
fn begun(pair: &mut Pair, timeout: Option<std::time::Duration>) -> crate::RequestId {
    let options = timeout.map_or(on(Lane::Interactive), within);
    let id = pair.dialer.session.request(options, &message(100_000)).expect("queued");
    pair.dialer.write_batch(pair.now).expect("the first frames");
    let bytes = std::mem::take(&mut pair.dialer.wire);
    pair.acceptor.feed(pair.now, &bytes);
    assert!(!written(&bytes).is_empty());
    id
}

/// A request is answered, and nothing is left of those before it.
fn goes_on(pair: &mut Pair, budget: &Budget) {
    let id = pair.dialer.session.request(on(Lane::Interactive), &message(50_000)).expect("queued");
    answer_all(pair, 1);
    assert!(pair.outcome(id).expect("ended").is_ok());
    assert_eq!(budget.reserved_bytes(), 0);
    assert_eq!(pair.acceptor.session.statistics().lanes[1].held_bytes, 0);
    assert_eq!(pair.dialer.session.queued_bytes(), 0);
}

#[test]
fn a_request_given_up_half_way_is_never_seen_and_frees_its_lane_and_memory() {
    let mut pair = Pair::up(narrow());
    let budget = Budget::process(1 << 20);
    pair.acceptor.session.set_budget(&budget);
    let id = begun(&mut pair, None);
    assert!(budget.reserved_bytes() > 100_000);
    pair.dialer.session.cancel(pair.now, id);
    pair.drive();
    assert_eq!((pair.acceptor.session.inbound_open(), budget.reserved_bytes()), (0, 0));
    goes_on(&mut pair, &budget);
}

#[test]
fn a_request_that_expires_half_way_was_not_sent() {
    let mut pair = Pair::up(narrow());
    let budget = Budget::process(1 << 20);
    pair.acceptor.session.set_budget(&budget);
    let id = begun(&mut pair, Some(20 * MILLISECOND));
    pair.now = 20 * MILLISECOND;
    pair.dialer.session.handle_timeout(pair.now);
    assert_eq!(pair.failure(id), (Effect::NotSent, Reason::Expired), "a part of a message starts no handler");
    pair.drive();
    goes_on(&mut pair, &budget);
}

#[test]
fn a_request_that_waits_for_credits_expires_and_frees_its_lane() {
    let mut pair = Pair::up(Config { lane_credit_bytes: [5000; 4], ..narrow() });
    pair.dialer.session.one_way(Lane::Interactive, &message(4000)).expect("queued");
    pair.dialer.session.one_way(Lane::Interactive, &message(1000)).expect("queued");
    let id = pair.dialer.session.request(within(20 * MILLISECOND), &message(100_000));
    assert_eq!(id, Err(SendError::NoCredit));
    pair.feed_acceptor();
    let held = pair.acceptor.pop_all();
    pair.dialer.is_writable_told();
    held.into_iter().take(1).for_each(|inbound| pair.acceptor.session.finish(inbound.id));
    pair.drive();
    let id = pair.dialer.session.request(within(20 * MILLISECOND), &message(100_000)).expect("queued");
    pair.dialer.session.tell_time(pair.now);
    pair.feed_acceptor();
    pair.now = SECOND;
    pair.dialer.session.handle_timeout(pair.now);
    pair.drive();
    assert_eq!(pair.failure(id), (Effect::NotSent, Reason::Expired));
    assert_eq!(pair.dialer.session.queued_bytes(), 0);
}

#[test]
fn a_reply_whose_caller_has_left_stops_half_way() {
    let mut pair = Pair::up(narrow());
    let budget = Budget::process(1 << 20);
    pair.dialer.session.set_budget(&budget);
    let id = pair.request(on(Lane::Interactive));
    pair.feed_acceptor();
    let inbound = pair.acceptor.pop().expect("arrived");
    pair.acceptor.session.reply(inbound.id, &message(500_000)).expect("not too large");
    pair.acceptor.write_batch(pair.now).expect("the first frames");
    let bytes = std::mem::take(&mut pair.acceptor.wire);
    pair.dialer.feed(pair.now, &bytes);
    assert!(budget.reserved_bytes() > 500_000);
    pair.dialer.session.cancel(pair.now, id);
    assert_eq!(budget.reserved_bytes(), 0, "at once");
    pair.feed_acceptor();
    pair.acceptor.write_all(pair.now);
    assert!(pair.acceptor.wire.len() < 10_000, "{} more bytes", pair.acceptor.wire.len());
    pair.drive();
    let id = pair.request(on(Lane::Interactive));
    answer_all(&mut pair, 100_000);
    assert!(pair.outcome(id).expect("ended").is_ok());
}

#[test]
fn a_connection_lost_half_way_ends_everything_and_no_handler_saw_it() {
    let mut pair = Pair::up(narrow());
    let budget = Budget::process(1 << 20);
    pair.acceptor.session.set_budget(&budget);
    let id = begun(&mut pair, None);
    pair.dialer.session.handle_lost(Loss::Reset);
    pair.acceptor.session.handle_lost(Loss::Reset);
    assert_eq!(pair.failure(id), (Effect::NotSent, Reason::ConnectionLost));
    assert_eq!((budget.reserved_bytes(), pair.acceptor.pop_all().len()), (0, 0));
}

#[test]
fn a_drain_waits_for_what_is_half_way() {
    let mut pair = Pair::up(narrow());
    let id = begun(&mut pair, None);
    pair.acceptor.session.drain(pair.now);
    pair.drive();
    assert_eq!(pair.reply_to_all(), 1);
    pair.drive();
    assert!(pair.outcome(id).expect("ended").is_ok());
    assert_eq!(pair.acceptor.close_reason(), Some(CloseReason::Local));
}

#[test]
fn windows_widen_for_those_who_use_them_and_within_the_budget() {
    let wide = Config { lane_credit_bytes_first: [16 * 1024; 4], lane_credit_bytes: [256 * 1024; 4], ..narrow() };
    for (budget, most) in [(u64::MAX, 250 * 1024), (256 * 1024, 60 * 1024), (0, 15 * 1024)] {
        let mut pair = Pair::up(wide.clone());
        let process = Budget::process(budget);
        pair.acceptor.session.set_budget(&process);
        let mut sent = 0;
        for _ in 0..40 {
            sent = 0;
            while pair.dialer.session.one_way(Lane::Bulk, &message(900)).is_ok() {
                sent += 1000;
            }
            pair.drive();
            pair.acceptor.pop_all().into_iter().for_each(|inbound| pair.acceptor.session.finish(inbound.id));
            pair.drive();
        }
        assert!(sent >= most && sent <= most + most / 4 + 2000, "{sent} bytes against {most}");
        assert!(process.reserved_bytes() <= budget.min(240 * 1024));
        assert_eq!(pair.dialer.session.statistics().lanes[0].held_bytes, 0);
    }
}

#[test]
fn an_older_side_gets_two_lanes_and_one_frame() {
    let mut pair = Pair::new(narrow(), narrow());
    pair.dialer.write_all(pair.now);
    let hello = std::mem::take(&mut pair.dialer.wire);
    pair.acceptor.feed(pair.now, &hello);
    pair.acceptor.write_all(pair.now);
    // The acceptor's hello, as the first version would have said it.
    let mut older = crate::hello::hello(&narrow(), &super::pair::identity("acceptor"), &crate::Side::Acceptor);
    (older.features, older.codecs, older.message_bytes_max) = (0, Vec::new(), older.frame_bytes_max);
    pair.acceptor.wire.clear();
    pair.dialer.feed(pair.now, &super::pair::control(&older));
    for lane in [Lane::Replication, Lane::Bulk] {
        pair.dialer.session.one_way(lane, &message(5)).expect("queued");
    }
    let refused = pair.dialer.session.one_way(Lane::Bulk, &message(5000));
    assert!(matches!(refused, Err(SendError::Encode(_))), "{refused:?}");
    pair.dialer.write_all(pair.now);
    assert!(written(&pair.dialer.wire).iter().all(|(lane, ..)| *lane == Lane::Interactive as u8));
}

#[test]
fn compressed_messages_arrive_as_they_were_and_are_charged_as_they_are() {
    let compressing = Config { compression: CompressionConfig::default(), ..narrow() };
    let mut pair = Pair::up(compressing);
    let sizes = [500, 2_000, 4_000, 40_000];
    for bytes in sizes {
        pair.dialer.session.one_way(Lane::Replication, &message(bytes)).expect("queued");
        pair.dialer.write_batch(pair.now).expect("queued");
        // Of the largest one, what its credits allow.
        let on_the_wire = pair.dialer.wire.len();
        assert_eq!(on_the_wire < bytes / 4, bytes > 1024, "{bytes} bytes became {on_the_wire}");
        pair.drive();
        let inbound = pair.acceptor.pop().expect("arrived");
        assert_eq!(inbound.body.len(), bytes);
        let held = pair.acceptor.session.statistics().lanes[2].held_bytes as usize;
        // What came in fragments holds memory of the budget, and no credits.
        assert_eq!(held, if bytes <= 4_000 { bytes + 36 + 64 } else { 0 });
        pair.acceptor.session.finish(inbound.id);
        pair.drive();
    }
    let (before, after) = pair.dialer.session.statistics().compressed;
    assert!(before >= 6_000 && after < before / 4, "{before} became {after}");
}

/// The frames of a large message, as a peer of any intention would write them.
fn frames(lane: Lane, correlation: u64, flags: Flags) -> Vec<Vec<u8>> {
    let large = message(10_000);
    let mut prepared = Prepared::new(&large).expect("not too large");
    let head = FrameHead { message_type: ASK, flags: flags.with(Flags::CHECKSUM), lane, correlation };
    let mut frames = Vec::new();
    while !prepared.is_done() {
        let mut buffer = FrameBuffer::new();
        let mark = buffer.push_part(head, &mut prepared, FRAME);
        buffer.seal(&mark, 0);
        frames.push(buffer.to_vec());
    }
    frames
}

#[track_caller]
fn breaks(frames: &[Vec<u8>]) {
    let mut pair = Pair::up(narrow());
    let budget = Budget::process(1 << 20);
    pair.acceptor.session.set_budget(&budget);
    frames.iter().for_each(|frame| pair.acceptor.feed(pair.now, frame));
    assert!(
        matches!(pair.acceptor.close_reason(), Some(CloseReason::Protocol(_))),
        "{:?}",
        pair.acceptor.close_reason()
    );
    assert_eq!(budget.reserved_bytes(), 0);
}

#[test]
fn fragments_that_are_not_a_message_in_its_order_end_the_connection() {
    let one = frames(Lane::Bulk, 7, Flags::default());
    let other = frames(Lane::Bulk, 8, Flags::default());
    let whole = super::pair::frame(&message(5), Flags::default(), Lane::Bulk, 9);
    breaks(&one[1..]);
    breaks(&[one[0].clone(), one[0].clone()]);
    breaks(&[one[0].clone(), one[2].clone()]);
    breaks(&[one[0].clone(), other[1].clone()]);
    breaks(&[one[0].clone(), other[0].clone()]);
    breaks(&[one[0].clone(), whole]);
    breaks(&frames(Lane::Bulk, 0, Flags::default()));
    breaks(&frames(Lane::Bulk, 7, Flags::ONE_WAY));
}

#[test]
fn fragments_of_different_lanes_mix_and_a_cancel_ends_its_own() {
    let mut pair = Pair::up(narrow());
    let [bulk, interactive] =
        [(Lane::Bulk, 7), (Lane::Interactive, 8)].map(|(lane, id)| frames(lane, id, Flags::default()));
    let empty = Raw { message_type: control_type::CANCEL, payload: Default::default() };
    let cancel = |id| super::pair::frame(&empty, Flags::ONE_WAY, Lane::System, id);
    let sent = [&bulk[0], &interactive[0], &bulk[1], &cancel(8), &cancel(99), &bulk[2]];
    sent.into_iter().for_each(|frame| pair.acceptor.feed(pair.now, frame));
    interactive.iter().for_each(|frame| pair.acceptor.feed(pair.now, frame));
    assert_eq!(pair.acceptor.close_reason(), None);
    let arrived: Vec<_> = pair.acceptor.pop_all().iter().map(|inbound| (inbound.lane, inbound.body.len())).collect();
    assert_eq!(arrived, [(Lane::Interactive, 10_000), (Lane::Bulk, 10_000)]);
}

#[test]
fn a_prepared_message_is_kept_by_its_caller_until_it_is_accepted() {
    let mut pair = Pair::up(narrow());
    while pair.dialer.session.one_way(Lane::Bulk, &message(1000)).is_ok() {}
    let mut prepared = Prepared::new(&message(9000));
    assert_eq!(pair.dialer.session.one_way_prepared(Lane::Bulk, &mut prepared), Err(SendError::NoCredit));
    assert!(prepared.is_some());
    assert_eq!(pair.dialer.session.one_way_prepared(Lane::Interactive, &mut prepared), Ok(()));
    assert!(prepared.is_none());
}

/// It is charged like one that was never prepared: its struct by what it becomes.
#[test]
fn prepared_messages_of_one_frame_are_charged_by_both_sides_alike() {
    let mut pair = Pair::up(narrow());
    let entry = LogEntry { index: 1, epoch: 1, data: Bytes::new() };
    let log = ReplicationLog { entries: vec![entry; 900], ..ReplicationLog::default() };
    let (mut prepared, mut arrived) = (Prepared::new(&log), 0);
    assert!(prepared.as_ref().is_some_and(|prepared| prepared.fits_frame(FRAME)));
    while arrived < 100 {
        while pair.dialer.session.one_way_prepared(Lane::Replication, &mut prepared).is_ok() {
            prepared = Prepared::new(&log);
        }
        pair.drive();
        assert_eq!((pair.dialer.close_reason(), pair.acceptor.close_reason()), (None, None), "after {arrived}");
        for inbound in pair.acceptor.pop_all() {
            arrived += 1;
            pair.acceptor.session.finish(inbound.id);
        }
    }
}
