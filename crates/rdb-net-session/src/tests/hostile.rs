//! What a peer of any intention, an unlucky order or a former version must not bring about.

use std::time::Duration;

use bytes::BytesMut;
use rdb_net_types::{Lane, LogEntry, MessageType, QueryRequest, ReplicationLog};
use rdb_net_wire::{Codec, Credit, Flags, FrameBuffer, FrameHead, Ping, Pong, Prepared, TypeCost, split_frame};

use super::pair::{ASK, End, MILLISECOND, Pair, SECOND, control, frame, identity, message, on, within};
use crate::{Arrivals, Budget, CompressionConfig, Config, Replies, SendError, Side};

#[test]
fn a_large_message_is_sent_though_small_ones_behind_it_have_overdrawn_the_credits() {
    let mut pair = Pair::up(Config::default());
    let mut large = Prepared::new(&message(20_000));
    pair.dialer.session.one_way_prepared(Lane::Bulk, &mut large).expect("credits");
    for _ in 0..2 {
        // The second overdraws them, as the last one may.
        pair.dialer.session.one_way(Lane::Bulk, &message(200_000)).expect("credits");
    }
    pair.drive();
    let arrived: Vec<_> = pair.acceptor.pop_all().iter().map(|inbound| inbound.body.len()).collect();
    assert_eq!(arrived, [20_000, 200_000, 200_000], "{} bytes are stuck", pair.dialer.session.queued_bytes());
}

/// A log of many small entries: its struct costs its reader far more than its bytes.
fn log(entries: usize, bytes: usize) -> ReplicationLog {
    let entry = |index| LogEntry { index: 1000 + index as u64, epoch: 3, data: vec![7; bytes].into() };
    ReplicationLog { entries: (0..entries).map(entry).collect(), ..ReplicationLog::default() }
}

#[test]
fn a_prepared_message_in_one_frame_is_charged_as_its_receiver_charges_it() {
    let mut pair = Pair::up(Config::default());
    let log = log(1000, 20);
    for _ in 0..20 {
        while pair.dialer.session.one_way_prepared(Lane::Replication, &mut Prepared::new(&log)).is_ok() {}
        pair.drive();
        assert_eq!(pair.acceptor.close_reason(), None, "both sides are honest");
        pair.acceptor.pop_all().into_iter().for_each(|inbound| pair.acceptor.session.finish(inbound.id));
        pair.drive();
    }
}

#[test]
fn a_request_for_a_stream_that_is_answered_beside_the_session_leaves_nothing_behind() {
    let mut pair = Pair::up(Config::default());
    let id = pair.dialer.session.open_stream(on(Lane::Bulk), 2000, &mut Prepared::new(&message(8))).expect("accepted");
    pair.drive();
    let inbound = pair.acceptor.pop().expect("arrived");
    let stream = inbound.id.stream();
    let mut replies = Replies::new(pair.acceptor.session.terms(), &CompressionConfig::off());
    replies.reply(inbound.id, &message(5)).expect("small");
    pair.acceptor.session.take_replies(&mut replies);
    pair.drive();
    assert!(pair.dialer.session.take_stream(id).is_some(), "it was answered");
    let late = pair.acceptor.session.reply_item(stream, &message(1));
    assert_eq!(late, Err(SendError::NotUp), "the session still keeps a stream whose request was answered");
}

/// How much memory is kept by the first message of a read.
fn kept_memory(pair: &mut Pair, read: &[u8]) -> usize {
    let mut input = BytesMut::from(read);
    pair.acceptor.session.handle_input(pair.now, &mut input);
    assert!(input.is_empty());
    drop(input);
    let inbound = pair.acceptor.pop().expect("arrived");
    let whole = inbound.body.into_bytes().try_into_mut().expect("nobody else has it");
    whole.capacity()
}

#[test]
fn a_small_message_before_a_reply_that_nobody_waits_for_keeps_its_own_memory_only() {
    let mut pair = Pair::up(Config::default());
    let mut read = frame(&message(1), Flags::ONE_WAY, Lane::Bulk, 0);
    read.extend(frame(&message(200_000), Flags::RESPONSE, Lane::Bulk, 1 << 40));
    let kept = kept_memory(&mut pair, &read);
    let charged = pair.acceptor.session.statistics().lanes[3].held_bytes as usize;
    assert!(kept <= 16 * charged, "a message that is charged {charged} bytes keeps {kept}");
}

#[test]
fn what_is_unpacked_of_one_read_is_bounded_by_the_credits() {
    let pair = Pair::up(Config::default());
    let query = QueryRequest { query: "x".repeat(250_000), ..QueryRequest::default() };
    let flags = Flags::RESPONSE.with(Flags::CHECKSUM);
    let head = FrameHead { message_type: MessageType::QUERY_REQUEST, flags, lane: Lane::Bulk, correlation: 1 << 40 };
    let mut buffer = FrameBuffer::new();
    let mark = buffer.push(head, &query, 256 * 1024).expect("fits");
    let (_, mark) = buffer.compress_last(&mark, Codec::Lz4).expect("it shrinks");
    buffer.seal(&mark, 0);
    let packed = buffer.to_vec();
    let mut input = BytesMut::new();
    while input.len() + packed.len() <= 256 * 1024 {
        input.extend_from_slice(&packed);
    }
    let (mut arrivals, wire_bytes) = (Arrivals::default(), input.len());
    arrivals.read(pair.acceptor.session.terms(), &mut input);
    let unpacked: usize = arrivals.frames.iter().map(|arrived| arrived.body.len()).sum();
    let credits: u64 = Config::default().lane_credit_bytes_first.iter().sum();
    let most = credits as usize + 4 * 256 * 1024;
    assert!(unpacked <= most, "{wire_bytes} bytes that nobody charges become {unpacked} at once, more than {most}");
}

#[test]
fn credits_of_a_stream_do_not_pile_up_while_the_other_side_reads_nothing() {
    let mut pair = Pair::up(Config::default());
    let options = on(Lane::Interactive);
    let id = pair.dialer.session.open_stream(options, 1000, &mut Prepared::new(&message(8))).expect("accepted");
    pair.drive();
    let flags = Flags::RESPONSE.with(Flags::STREAM);
    let item = frame(&message(100), flags, Lane::Interactive, id.correlation());
    for _ in 0..20_000 {
        pair.dialer.feed(pair.now, &item);
        if pair.dialer.session.is_closed() {
            // It has sent what nobody let it send.
            break;
        }
        assert!(pair.dialer.session.take_stream(id).is_some());
    }
    let queued = pair.dialer.session.queued_bytes();
    assert!(queued < 1000, "{queued} bytes wait that say what the last of them says");
}

/// The message types of the frames that a side has written.
fn types(mut wire: &[u8]) -> Vec<u16> {
    let mut types = Vec::new();
    while let Some((frame, behind)) = split_frame(wire) {
        types.push(u16::from_be_bytes([frame[6], frame[7]]));
        wire = behind;
    }
    types
}

#[test]
fn a_pong_waits_for_no_credits_of_a_large_message_on_the_system_lane() {
    let credits = [32 * 1024; 4];
    let config = Config {
        frame_bytes_max: 4096,
        lane_credit_bytes: credits,
        lane_credit_bytes_first: credits,
        ..Config::default()
    };
    let mut pair = Pair::up(config);
    // Slow handlers hold most of the lane's credits.
    (0..26).for_each(|_| pair.dialer.session.one_way(Lane::System, &message(1000)).expect("credits"));
    pair.dialer.session.one_way(Lane::System, &message(60_000)).expect("credits");
    pair.drive();
    pair.dialer.feed(pair.now, &control(&Ping { token: 99 }));
    pair.dialer.write_all(pair.now);
    let pongs = types(&pair.dialer.wire).into_iter().filter(|it| *it == 4).count();
    pair.dialer.wire.clear();
    assert_eq!(pongs, 1, "the pong is queued behind a message that has no credits");
}

#[test]
fn slow_handlers_of_the_system_lane_do_not_make_a_connection_silent() {
    let credits = [32 * 1024; 4];
    let config = Config {
        frame_bytes_max: 4096,
        lane_credit_bytes: credits,
        lane_credit_bytes_first: credits,
        ..Config::default()
    };
    let mut pair = Pair::up(config);
    (0..26).for_each(|_| pair.dialer.session.one_way(Lane::System, &message(1000)).expect("credits"));
    pair.dialer.session.one_way(Lane::System, &message(60_000)).expect("credits");
    pair.drive();
    pair.advance(60 * SECOND);
    assert_eq!((pair.dialer.close_reason(), pair.acceptor.close_reason()), (None, None));
}

#[test]
fn credits_and_pongs_wait_for_no_more_than_a_batch_of_a_large_reply_on_the_system_lane() {
    let mut pair = Pair::up(Config::default());
    pair.request(on(Lane::System));
    pair.drive();
    let inbound = pair.acceptor.pop().expect("arrived");
    pair.acceptor.session.reply(inbound.id, &message(10_000_000)).expect("not too large");
    pair.acceptor.write_batch(pair.now).expect("its first part");
    pair.acceptor.wire.clear();
    pair.acceptor.feed(pair.now, &control(&Ping { token: 99 }));
    pair.acceptor.write_batch(pair.now).expect("the pong first");
    let written = std::mem::take(&mut pair.acceptor.wire);
    assert!(types(&written).contains(&4), "the pong waits for {} bytes", pair.acceptor.session.queued_bytes());
}

#[test]
fn a_pong_with_an_absurd_clock_harms_nobody() {
    for clock_us in [1 << 63, (1 << 63) + 1, u64::MAX, i64::MAX as u64] {
        let mut pair = Pair::up(Config::default());
        pair.dialer.session.tell_wall_clock(pair.now, Duration::from_secs(1_700_000_000));
        pair.now += 20 * SECOND;
        super::pair::ring(&mut pair.dialer, pair.now);
        pair.dialer.write_all(pair.now);
        for token in 0..4 {
            pair.dialer.feed(pair.now, &control(&Pong { token, clock_us }));
        }
        assert_eq!(pair.dialer.close_reason(), None);
    }
}

#[test]
fn a_large_message_and_granted_credits_together_stay_within_what_is_admitted() {
    let credits = [64 * 1024; 4];
    let config = Config {
        frame_bytes_max: 4096,
        lane_credit_bytes: credits,
        lane_credit_bytes_first: credits,
        ..Config::default()
    };
    for bytes in (12_000..20_000).step_by(100) {
        let mut pair = Pair::new(config.clone(), config.clone());
        let mut outbox = pair.dialer.session.outboxes(1).pop().expect("one");
        pair.drive();
        pair.dialer.session.collect(pair.now, &mut outbox);
        // Everything but what the outbox was granted is used up, and a large message may overdraw it.
        while pair.dialer.session.one_way(Lane::Interactive, &message(500)).is_ok()
            && pair.dialer.session.queued_bytes() < 47_500
        {}
        pair.dialer.session.one_way(Lane::Interactive, &message(bytes)).expect("one message overdraws");
        pair.drive();
        while outbox.request(on(Lane::Interactive), &message(500)).is_ok() {}
        pair.dialer.session.collect(pair.now, &mut outbox);
        pair.drive();
        assert_eq!(pair.acceptor.close_reason(), None, "both sides are honest; the large message has {bytes} bytes");
    }
}

#[test]
fn a_dialer_of_the_first_version_is_charged_as_it_counts() {
    let mut acceptor = End::new(Config::default(), identity("acceptor"), Side::Acceptor);
    let mut older = crate::hello::hello(&Config::default(), &identity("dialer"), &Side::Dialer { target: None });
    (older.features, older.codecs, older.costs) = (0, Vec::new(), Vec::new());
    acceptor.feed(Duration::ZERO, &control(&older));
    acceptor.write_all(Duration::ZERO);
    // It knows of no costs of types: its bytes are all that it counts, and they are within its credits.
    let log = frame(&log(2000, 1), Flags::ONE_WAY, Lane::Interactive, 0);
    let count = 256 * 1024 / (log.len() + 64);
    (0..count).for_each(|_| acceptor.feed(Duration::ZERO, &log));
    assert_eq!(acceptor.close_reason(), None, "{count} frames of {} bytes are within the credits", log.len());
}

#[test]
fn the_wide_windows_of_idle_connections_leave_memory_for_messages() {
    let process = Budget::process(1 << 20);
    let mut pairs: Vec<Pair> = (0..4).map(|_| Pair::up(Config::default())).collect();
    for pair in &mut pairs {
        pair.acceptor.session.set_budget(&Budget::peer(&process, 512 * 1024));
        for _ in 0..50 {
            while pair.dialer.session.one_way(Lane::Replication, &message(4000)).is_ok() {}
            pair.drive();
            pair.acceptor.pop_all().into_iter().for_each(|inbound| pair.acceptor.session.finish(inbound.id));
            pair.drive();
        }
        pair.advance(600 * SECOND);
        assert_eq!(pair.acceptor.session.inbound_open(), 0);
    }
    // Nothing has been held for minutes.
    let pair = &mut pairs[0];
    let id = pair.dialer.session.request(on(Lane::Bulk), &message(300_000)).expect("queued");
    pair.drive();
    assert!(pair.acceptor.pop().is_some(), "{:?} with {} bytes reserved", pair.outcome(id), process.reserved_bytes());
}

#[test]
fn a_request_that_was_not_sent_gives_back_all_that_it_cost() {
    let mut pair = Pair::new(Config::default(), Config::default());
    pair.dialer.write_all(pair.now);
    let mut theirs = crate::hello::hello(&Config::default(), &identity("acceptor"), &Side::Acceptor);
    theirs.costs = vec![TypeCost { message_type: ASK.0, bytes_per_byte: u16::MAX }];
    pair.dialer.feed(pair.now, &control(&theirs));
    pair.dialer.feed(pair.now, &control(&Credit { lane: Lane::Bulk as u8, limit: 20_000_000_000 }));
    for round in 0..10 {
        let id = pair.dialer.session.request(on(Lane::Bulk), &message(100_000));
        let id = id.unwrap_or_else(|error| panic!("nothing was ever sent, and round {round} meets {error}"));
        pair.dialer.session.cancel(pair.now, id);
        pair.dialer.write_all(pair.now);
    }
}

#[test]
fn an_expired_request_frees_what_has_come_of_its_reply() {
    let mut pair = Pair::up(Config { frame_bytes_max: 4096, ..Config::default() });
    let budget = Budget::process(1 << 20);
    pair.dialer.session.set_budget(&budget);
    let id = pair.request(within(50 * MILLISECOND));
    pair.drive();
    let inbound = pair.acceptor.pop().expect("arrived");
    pair.acceptor.session.reply(inbound.id, &message(400_000)).expect("not too large");
    pair.acceptor.write_batch(pair.now).expect("its first part");
    let part = std::mem::take(&mut pair.acceptor.wire);
    pair.dialer.feed(pair.now, &part);
    assert!(budget.reserved_bytes() > 400_000);
    pair.now += 60 * MILLISECOND;
    super::pair::ring(&mut pair.dialer, pair.now);
    assert!(pair.outcome(id).expect("expired").is_err());
    assert_eq!(budget.reserved_bytes(), 0, "nobody waits for it any more");
}

#[test]
fn a_message_that_the_peer_puts_together_is_not_cut_for_one_that_does_not() {
    let compressing = Config { compression: CompressionConfig::default(), ..Config::default() };
    let mut pair = Pair::new(compressing.clone(), compressing.clone());
    pair.dialer.write_all(pair.now);
    let mut theirs = crate::hello::hello(&compressing, &identity("acceptor"), &Side::Acceptor);
    theirs.features = 0;
    pair.dialer.feed(pair.now, &control(&theirs));
    pair.dialer.wire.clear();
    let mut prepared = Prepared::new(&message(200_000));
    let compression = pair.dialer.session.compression_for(Lane::Interactive, ASK, 200_000);
    assert_eq!(compression, None, "blocks are fragments");
    pair.dialer.session.one_way_prepared(Lane::Interactive, &mut prepared).expect("it fits a frame");
    pair.dialer.write_all(pair.now);
    let wire = std::mem::take(&mut pair.dialer.wire);
    let (first, _) = split_frame(&wire).expect("a frame");
    let flags = Flags(u16::from_be_bytes([first[12], first[13]]));
    assert!(!flags.has(Flags::MORE), "a side that puts no fragments together gets one");
}

#[test]
fn a_large_request_that_was_refused_waits_for_no_credits() {
    let credits = [32 * 1024; 4];
    let config = Config {
        frame_bytes_max: 4096,
        lane_credit_bytes: credits,
        lane_credit_bytes_first: credits,
        ..Config::default()
    };
    let mut pair = Pair::up(config);
    pair.acceptor.session.set_budget(&Budget::process(1000));
    // Slow handlers hold most of the lane's credits.
    (0..26).for_each(|_| pair.dialer.session.one_way(Lane::Interactive, &message(1000)).expect("credits"));
    let id = pair.dialer.session.request(on(Lane::Interactive), &message(60_000)).expect("credits");
    pair.drive();
    assert!(pair.outcome(id).expect("it was refused").is_err());
    pair.drive();
    let queued = pair.dialer.session.queued_bytes();
    assert_eq!(queued, 0, "bytes that nobody waits for stand at the head of their lane");
}

#[test]
fn requests_that_are_held_for_long_leave_the_rest_of_the_window_to_others() {
    let mut pair = Pair::up(Config::default());
    // Subscriptions: some more than half of the first window, and a third of the requests that may be open.
    for _ in 0..1300 {
        pair.request(on(Lane::Interactive));
    }
    pair.drive();
    let _held = pair.acceptor.pop_all();
    for round in 0..3000 {
        let id = pair.dialer.session.request(on(Lane::Interactive), &message(8));
        let id = id.unwrap_or_else(|error| panic!("all others have ended, and number {round} meets: {error}"));
        pair.drive();
        pair.reply_to_all();
        pair.drive();
        assert!(pair.outcome(id).expect("ended").is_ok());
    }
}

#[test]
fn a_message_that_never_goes_on_does_not_keep_its_memory_for_ever() {
    let mut pair = Pair::up(Config::default());
    let budget = Budget::process(128 << 20);
    pair.acceptor.session.set_budget(&budget);
    let mut large = Prepared::new(&message(60 << 20)).expect("below 4 GiB");
    let flags = Flags::CHECKSUM;
    let head = FrameHead { message_type: ASK, flags, lane: Lane::Bulk, correlation: 1 << 32 };
    let mut buffer = FrameBuffer::new();
    let mark = buffer.push_part(head, &mut large, 4096);
    buffer.seal(&mark, 0);
    pair.acceptor.feed(pair.now, &buffer.to_vec());
    // Its sender answers every question whether it lives.
    pair.advance(600 * SECOND);
    assert_eq!(budget.reserved_bytes(), 0, "4 KiB that came ten minutes ago hold memory for 60 MiB");
}
