//! Lanes, credits, batches and what is counted.

use bytes::Bytes;
use rdb_net_types::{Lane, MessageType, Payload};
use rdb_net_wire::{Credit, Raw, control_type};

use super::pair::{ASK, MILLISECOND, Pair, SECOND, control, message, on, ring, within};
use crate::costs::MESSAGE_CHARGE;
use crate::lane::QUEUED_BYTES_MAX;
use crate::{CompressionConfig, Config, SendError};

const WINDOW: u64 = 64 * 1024;

fn narrow() -> Config {
    Config { lane_credit_bytes: [WINDOW; 4], frame_bytes_max: 16 * 1024, ..Config::default() }
}

/// Sends messages of 1,000 bytes until the credits are used up.
fn fill(pair: &mut Pair, lane: Lane) -> usize {
    let mut sent = 0;
    loop {
        match pair.dialer.session.one_way(lane, &message(1000)) {
            Ok(()) => sent += 1,
            Err(error) => {
                assert_eq!(error, SendError::NoCredit);
                return sent;
            }
        }
    }
}

#[test]
fn a_sender_stops_at_its_credits_and_goes_on_when_handlers_have_finished() {
    let mut pair = Pair::up(narrow());
    let cost = 1000 + 32 + 4 + MESSAGE_CHARGE as usize;
    let window = (WINDOW as usize).div_ceil(cost);
    assert_eq!(fill(&mut pair, Lane::Interactive), window, "one message overdraws, by less than its size");
    pair.drive();
    assert_eq!(pair.acceptor.close_reason(), None);
    assert!(!pair.dialer.is_writable_told(), "credits come back when handlers finish, not when bytes arrive");
    let inbound = pair.acceptor.pop_all();
    assert_eq!(inbound.len(), window);
    for (finished, message) in inbound.into_iter().enumerate() {
        pair.acceptor.session.finish(message.id);
        pair.drive();
        if finished == 0 {
            assert!(pair.dialer.is_writable_told(), "the other side has nothing left, so it is told at once");
            assert_eq!(fill(&mut pair, Lane::Interactive), 1);
        }
    }
    pair.drive();
    assert!(fill(&mut pair, Lane::Interactive) >= window / 2, "later of half a window at once");
    pair.drive();
    pair.acceptor.pop_all().into_iter().for_each(|inbound| pair.acceptor.session.finish(inbound.id));
    pair.drive();
    assert!(pair.dialer.session.one_way(Lane::Interactive, &message(1)).is_ok());
}

#[test]
fn credits_never_run_dry_whatever_the_sizes() {
    let mut pair = Pair::up(narrow());
    let sizes = [1, 16_000, 3, 9_000, 15_999, 100, 12_345];
    let mut sent = 0;
    for round in 0..500 {
        while pair.dialer.session.one_way(Lane::Bulk, &message(sizes[(sent + round) % sizes.len()])).is_ok() {
            sent += 1;
        }
        pair.drive();
        assert_eq!(pair.acceptor.close_reason(), None, "the limit is never exceeded by more than a message");
        let inbound = pair.acceptor.pop_all();
        assert!(!inbound.is_empty(), "round {round}: the sender is stuck");
        inbound.into_iter().for_each(|inbound| pair.acceptor.session.finish(inbound.id));
        pair.drive();
    }
}

#[test]
fn a_lane_without_credits_does_not_block_the_others() {
    for full in Lane::ALL {
        let mut pair = Pair::up(narrow());
        fill(&mut pair, full);
        for lane in Lane::ALL {
            let sent = pair.dialer.session.one_way(lane, &message(1));
            assert_eq!(sent, if lane == full { Err(SendError::NoCredit) } else { Ok(()) });
        }
    }
}

#[test]
fn system_frames_overtake_queued_data_and_order_holds_within_a_lane() {
    let mut pair = Pair::up(Config::default());
    for lane in [Lane::Interactive, Lane::Bulk, Lane::Interactive, Lane::System] {
        pair.dialer.session.one_way(lane, &message(1 + lane as usize)).expect("credits");
    }
    pair.dialer.write_batch(pair.now).expect("all of them in one write");
    assert!(!pair.dialer.session.wants_write());
    // The frames' lanes and lengths, as they were written.
    let mut sizes = Vec::new();
    let mut rest = &pair.dialer.wire[..];
    while let Some((frame, behind)) = rdb_net_wire::split_frame(rest) {
        sizes.push((frame[14], frame.len() - 36));
        rest = behind;
    }
    assert_eq!(sizes, [(0, 1), (1, 2), (1, 2), (3, 4)]);
}

#[test]
fn a_queued_request_that_ends_gives_its_credits_back_and_wakes_the_blocked() {
    let mut pair = Pair::up(narrow());
    let mut ids = Vec::new();
    while let Ok(id) = pair.dialer.session.request(within(10 * MILLISECOND), &message(1000)) {
        ids.push(id);
    }
    pair.dialer.session.tell_time(pair.now);
    pair.now = 10 * MILLISECOND;
    ring(&mut pair.dialer, pair.now);
    assert!(ids.iter().all(|id| pair.outcome(*id).is_some()));
    pair.dialer.collect(pair.now);
    pair.dialer.is_writable_told();
    assert_eq!(pair.dialer.session.one_way(Lane::Interactive, &message(1)), Err(SendError::NoCredit));
    pair.dialer.write_all(pair.now);
    assert!(pair.dialer.wire.is_empty(), "none of them is sent");
    assert!(pair.dialer.is_writable_told(), "no credit message will ever come for them");
    assert_eq!(fill(&mut pair, Lane::Interactive), (WINDOW as usize).div_ceil(1000 + 36 + 64));
}

#[test]
fn a_peer_that_promises_everything_does_not_make_us_hold_everything() {
    let mut pair =
        Pair::up(Config { frame_bytes_max: 1024 * 1024, compression: CompressionConfig::off(), ..Config::default() });
    pair.dialer.feed(pair.now, &control(&Credit { lane: Lane::Bulk as u8, limit: u64::MAX }));
    let payload = Payload::from(Bytes::from(vec![0; 1_000_000]));
    let large = Raw { message_type: ASK, payload };
    let sent = (0..1000).take_while(|_| pair.dialer.session.one_way(Lane::Bulk, &large).is_ok()).count();
    assert!(sent < 20 && pair.dialer.session.queued_bytes() <= QUEUED_BYTES_MAX + 1024 * 1024, "{sent}");
    let writes = std::iter::from_fn(|| pair.dialer.session.take_batch(pair.now)).take(3).count();
    pair.dialer.collect(pair.now);
    assert!(writes == 3 && pair.dialer.is_writable_told(), "room in the queue is told like credits");
    assert!(pair.dialer.session.one_way(Lane::Bulk, &large).is_ok());
}

#[test]
fn a_batch_is_about_as_large_as_was_asked_for() {
    let mut pair = Pair::up(Config { batch_bytes: 10_000, ..Config::default() });
    (0..100).for_each(|_| pair.dialer.session.one_way(Lane::Interactive, &message(1000)).expect("credits"));
    let queued = pair.dialer.session.queued_bytes();
    let batches: Vec<usize> = std::iter::from_fn(|| pair.dialer.write_batch(pair.now)).collect();
    assert_eq!(batches.iter().sum::<usize>(), queued);
    let (last, full) = batches.split_last().expect("some");
    assert!(full.iter().all(|bytes| (10_000..11_100).contains(bytes)) && *last < 11_100, "{batches:?}");
    assert_eq!(pair.dialer.session.queued_bytes(), 0);
}

#[test]
fn frames_wait_for_others_as_long_as_is_configured_and_urgent_ones_do_not() {
    let delay = std::time::Duration::from_micros(200);
    let mut pair = Pair::up(Config { batch_delay_us: 200, batch_bytes: 4000, ..Config::default() });
    let send = |pair: &mut Pair, lane, bytes| pair.dialer.session.one_way(lane, &message(bytes)).expect("credits");
    send(&mut pair, Lane::Bulk, 10);
    assert!(pair.dialer.write_batch(pair.now).is_none() && pair.dialer.session.wants_write());
    pair.now += delay / 2;
    send(&mut pair, Lane::Interactive, 10);
    assert!(pair.dialer.write_batch(pair.now).is_none());
    pair.now += delay / 2;
    assert_eq!(pair.dialer.write_batch(pair.now), Some(2 * 46), "both, when the first has waited long enough");
    send(&mut pair, Lane::Bulk, 10);
    assert!(pair.dialer.write_batch(pair.now).is_none(), "the next one begins anew");
    send(&mut pair, Lane::Bulk, 5000);
    assert!(pair.dialer.write_batch(pair.now).is_some(), "a full batch waits no longer");
    send(&mut pair, Lane::Bulk, 10);
    send(&mut pair, Lane::System, 10);
    assert!(pair.dialer.write_batch(pair.now).is_some(), "an urgent frame takes the others along");
}

#[test]
fn a_burst_is_one_batch() {
    let mut pair = Pair::up(Config::default());
    let ids: Vec<_> = (0..64).map(|_| pair.request(on(Lane::Interactive))).collect();
    let batch = pair.dialer.session.take_batch(pair.now).expect("queued");
    assert_eq!(batch.frames(), ids.len());
    pair.dialer.session.recycle(batch);
    assert!(!pair.dialer.session.wants_write());
}

/// Everything that a scripted conversation leaves behind, when bytes arrive in pieces of this size.
fn conversation(piece: usize) -> String {
    let mut pair = Pair::new(narrow(), narrow());
    let mut log = String::new();
    let mut requests = Vec::new();
    for round in 0..40u64 {
        pair.now += MILLISECOND;
        if pair.dialer.session.is_up() {
            for size in [0, 10, 5000, 16_000] {
                let sent = pair.dialer.session.one_way(Lane::Replication, &message(size));
                log += &format!("{sent:?}\n");
            }
            requests.extend(pair.dialer.session.request(within(SECOND), &message(100)));
        }
        pair.dialer.write_all(pair.now);
        let bytes = std::mem::take(&mut pair.dialer.wire);
        bytes.chunks(piece).for_each(|piece| pair.acceptor.feed(pair.now, piece));
        for inbound in pair.acceptor.pop_all() {
            log += &format!("{round}: {:?} {}\n", inbound.id, inbound.body.structure().len());
            pair.acceptor.session.reply(inbound.id, &message(50)).expect("small enough");
        }
        pair.acceptor.write_all(pair.now);
        let bytes = std::mem::take(&mut pair.acceptor.wire);
        bytes.chunks(piece).for_each(|piece| pair.dialer.feed(pair.now, piece));
    }
    let outcomes: Vec<_> = requests.into_iter().map(|id| pair.outcome(id)).collect();
    assert!(outcomes.len() > 30 && outcomes.iter().all(|outcome| matches!(outcome, Some(Ok(_)))));
    log + &format!("{outcomes:?} {:?} {:?}", pair.dialer.session.statistics(), pair.acceptor.session.statistics())
}

#[test]
fn it_does_not_matter_how_the_bytes_are_cut() {
    let whole = conversation(usize::MAX);
    for piece in [1, 2, 3, 11, 12, 13, 31, 37, 1000, 65_536] {
        assert!(conversation(piece) == whole, "pieces of {piece} bytes make a difference");
    }
}

#[test]
fn what_was_carried_is_counted() {
    let mut pair = Pair::up(Config::default());
    let before = pair.dialer.session.statistics();
    pair.request(on(Lane::Interactive));
    pair.request(on(Lane::System));
    pair.dialer.session.one_way(Lane::Bulk, &message(8)).expect("credits");
    pair.feed_acceptor();
    pair.now += 4 * MILLISECOND;
    assert_eq!(pair.reply_to_all(), 3);
    pair.drive();
    let (dialer, acceptor) = (pair.dialer.session.statistics(), pair.acceptor.session.statistics());
    assert_eq!(dialer.bytes_sent - before.bytes_sent, 3 * (8 + 32 + 4));
    assert_eq!((dialer.bytes_sent, dialer.bytes_received), (acceptor.bytes_received, acceptor.bytes_sent));
    let count = |counts: &crate::TypeCounts, message_type: MessageType| {
        let mut sums = Default::default();
        counts.add_to(&mut sums);
        sums.get(&message_type).copied().unwrap_or(0)
    };
    assert_eq!((count(&dialer.sent, ASK), count(&acceptor.received, ASK)), (3, 3));
    let hello = control_type::HELLO;
    assert_eq!((count(&dialer.sent, hello), count(&dialer.received, hello)), (1, 1));
    assert_eq!(dialer.latency.count(), 2);
    assert_eq!(dialer.latency.count_up_to(3 * MILLISECOND), 0);
    assert_eq!(dialer.latency.sum(), 8 * MILLISECOND);
}
