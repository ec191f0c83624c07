//! Streams of replies: in order, within their credits, and ended once.

use rdb_net_types::{Effect, Lane, OverloadScope, Reason};
use rdb_net_wire::{Flags, Prepared, StreamCredit};

use super::pair::{End, MILLISECOND, Pair, answer, frame, message, on, within};
use crate::{Budget, CloseReason, Config, Event, Inbound, Loss, RequestId, RequestOptions, SendError, StreamNews};

const WINDOW: u32 = 2000;

fn open(pair: &mut Pair, options: RequestOptions) -> (RequestId, Inbound) {
    let mut prepared = Prepared::new(&message(8));
    let id = pair.dialer.session.open_stream(options, WINDOW, &mut prepared).expect("accepted");
    pair.dialer.session.tell_time(pair.now);
    pair.drive();
    let inbound = pair.acceptor.pop().expect("arrived");
    assert!(inbound.wants_stream && inbound.id.wants_reply() && pair.dialer.session.is_stream(id));
    (id, inbound)
}

/// Lengths of the replies that came, and how the stream ended.
fn take(end: &mut End, id: RequestId) -> (Vec<usize>, Option<crate::Outcome>) {
    let mut lengths = Vec::new();
    loop {
        match end.session.take_stream(id) {
            None => return (lengths, None),
            Some(StreamNews::Reply(reply)) => lengths.push(reply.body.len()),
            Some(StreamNews::End(outcome)) => return (lengths, Some(outcome)),
        }
    }
}

#[test]
fn replies_come_in_order_and_the_end_behind_them() {
    let mut pair = Pair::up(Config::default());
    let (id, inbound) = open(&mut pair, on(Lane::Interactive));
    for bytes in [10, 0, 300] {
        pair.acceptor.session.reply_item(inbound.id.stream(), &message(bytes)).expect("credits");
    }
    pair.drive();
    let mut completed = Vec::new();
    pair.dialer.session.drain_completed(&mut completed);
    assert!(completed.contains(&id), "its owner is told that there is something to take");
    pair.acceptor.session.reply(inbound.id, &answer("end")).expect("small");
    pair.drive();
    let (lengths, end) = take(&mut pair.dialer, id);
    assert_eq!((lengths, end.expect("ended").expect("well").body.len()), (vec![10, 0, 300], 3));
    assert!(!pair.dialer.session.is_stream(id) && pair.dialer.session.take_stream(id).is_none());
}

#[test]
fn whether_the_other_side_may_have_acted_is_known_before_the_end() {
    let mut pair = Pair::up(Config::default());
    let effect = |pair: &Pair, id| pair.dialer.session.effect(id);
    let mut prepared = Prepared::new(&message(8));
    let waiting = pair.dialer.session.open_stream(on(Lane::Interactive), WINDOW, &mut prepared).expect("accepted");
    assert_eq!(effect(&pair, waiting), Effect::NotSent, "it waits for the socket");
    pair.dialer.session.cancel(pair.now, waiting);
    pair.drive();
    assert!(pair.acceptor.pop().is_none(), "and is not sent any more");
    let (id, inbound) = open(&mut pair, on(Lane::Interactive));
    assert_eq!(effect(&pair, id), Effect::Unknown);
    let reason = Reason::Overloaded(OverloadScope::Handler);
    pair.acceptor.session.reply_error(inbound.id, Effect::NotStarted, reason, "busy");
    pair.drive();
    assert_eq!(effect(&pair, id), Effect::NotStarted, "its end was not taken yet");
}

#[test]
fn a_writer_stops_at_the_credits_of_its_stream_and_goes_on_when_replies_are_taken() {
    let mut pair = Pair::up(Config::default());
    let (id, inbound) = open(&mut pair, on(Lane::Interactive));
    let fill = |pair: &mut Pair| {
        let mut written = 0;
        while pair.acceptor.session.reply_item(inbound.id.stream(), &message(100)).is_ok() {
            written += 1;
        }
        assert_eq!(pair.acceptor.session.reply_item(inbound.id.stream(), &message(100)), Err(SendError::NoCredit));
        written
    };
    // A reply of 100 bytes costs 164: twelve fit 2,000, and one overdraws.
    assert_eq!(fill(&mut pair), 13);
    let (mut written, mut taken) = (13, 0);
    for _ in 0..100 {
        pair.drive();
        let (lengths, end) = take(&mut pair.dialer, id);
        assert!(end.is_none() && !lengths.is_empty(), "the stream is stuck after {taken} of {written}");
        taken += lengths.len();
        pair.drive();
        written += fill(&mut pair);
    }
    assert!(pair.acceptor.count(|event| matches!(event, Event::StreamWritable { .. })) >= 50);
    assert_eq!(pair.dialer.close_reason(), None);
    // Other requests of the lane go on meanwhile.
    let other = pair.request(on(Lane::Interactive));
    pair.drive();
    pair.reply_to_all();
    pair.drive();
    assert!(pair.outcome(other).expect("ended").is_ok());
}

#[test]
fn a_reply_of_many_frames_is_one_reply() {
    let mut pair = Pair::up(Config { frame_bytes_max: 4096, ..Config::default() });
    let (id, inbound) = open(&mut pair, on(Lane::Bulk));
    pair.acceptor.session.reply_item(inbound.id.stream(), &message(50_000)).expect("credits");
    pair.drive();
    assert_eq!(take(&mut pair.dialer, id).0, [50_000]);
    pair.drive();
    let mut prepared = Prepared::new(&message(9_000));
    pair.acceptor.session.reply_item_prepared(inbound.id.stream(), &mut prepared).expect("credits came back");
    assert!(prepared.is_none());
    pair.acceptor.session.reply_error(inbound.id, Effect::Unknown, Reason::HandlerFailed, "disk full");
    pair.drive();
    let (lengths, end) = take(&mut pair.dialer, id);
    assert_eq!((lengths, end.expect("ended").expect_err("failed").reason), (vec![9_000], Reason::HandlerFailed));
}

/// What ends a stream, and what its caller is told.
type Ending = (fn(&mut Pair, RequestId), Option<(Effect, Reason)>);

#[test]
fn a_stream_ends_once_whatever_ends_it_and_frees_its_memory() {
    let ends: [Ending; 4] = [
        (|pair, id| assert!(pair.dialer.session.cancel(pair.now, id)), None),
        (|pair, _| pair.dialer.session.handle_lost(Loss::Reset), Some((Effect::Unknown, Reason::ConnectionLost))),
        (
            |pair, _| {
                pair.now += 50 * MILLISECOND;
                pair.dialer.session.handle_timeout(pair.now);
            },
            Some((Effect::Unknown, Reason::Expired)),
        ),
        (|pair, _| pair.acceptor.session.close(CloseReason::Local), Some((Effect::Unknown, Reason::ConnectionLost))),
    ];
    for (end, expected) in ends {
        let mut pair = Pair::up(Config::default());
        let budget = Budget::process(10_000);
        pair.dialer.session.set_budget(&budget);
        let (id, inbound) = open(&mut pair, within(50 * MILLISECOND));
        assert_eq!(budget.reserved_bytes(), u64::from(WINDOW));
        pair.acceptor.session.reply_item(inbound.id.stream(), &message(100)).expect("credits");
        pair.drive();
        end(&mut pair, id);
        if !pair.dialer.session.is_closed() {
            pair.drive();
        }
        let (lengths, outcome) = take(&mut pair.dialer, id);
        let told = outcome.map(|outcome| outcome.expect_err("no end of the handler's"));
        assert_eq!(told.map(|error| (error.effect, error.reason)), expected);
        assert_eq!(lengths.len(), if expected.is_some() { 1 } else { 0 }, "what came before the end is not lost");
        assert_eq!(budget.reserved_bytes(), 0);
        // Its handler may go on writing for a moment.
        let late = pair.acceptor.session.reply_item(inbound.id.stream(), &message(1));
        assert!(late.is_ok() || late == Err(SendError::NotUp));
        pair.acceptor.session.finish(inbound.id);
        assert_eq!(pair.acceptor.session.inbound_open(), 0);
    }
}

#[test]
fn a_stream_without_memory_for_its_window_is_not_opened() {
    let mut pair = Pair::up(Config::default());
    pair.dialer.session.set_budget(&Budget::process(1000));
    let mut prepared = Prepared::new(&message(8));
    let refused = pair.dialer.session.open_stream(on(Lane::Bulk), WINDOW, &mut prepared);
    assert_eq!(refused, Err(SendError::NoMemory(OverloadScope::Process)));
    assert!(prepared.is_some() && pair.dialer.session.requests_in_flight() == 0);
}

#[test]
fn replies_beyond_the_credits_are_a_breach() {
    let mut pair = Pair::up(Config::default());
    let (id, _inbound) = open(&mut pair, on(Lane::Interactive));
    let item = frame(&message(900), Flags::RESPONSE.with(Flags::STREAM), Lane::Interactive, id.correlation());
    (0..3).for_each(|_| pair.dialer.feed(pair.now, &item));
    assert_eq!(pair.dialer.close_reason(), None);
    pair.dialer.feed(pair.now, &item);
    assert_eq!(pair.dialer.close_reason(), Some(CloseReason::CreditExceeded));
}

#[test]
fn what_belongs_to_no_stream_is_counted_and_dropped() {
    let mut pair = Pair::up(Config::default());
    let plain = pair.request(on(Lane::Interactive));
    pair.drive();
    for correlation in [plain.correlation(), 1 << 40] {
        let item = frame(&message(9), Flags::RESPONSE.with(Flags::STREAM), Lane::Interactive, correlation);
        pair.dialer.feed(pair.now, &item);
        let credit = StreamCredit { limit: u64::MAX };
        pair.acceptor.feed(pair.now, &frame(&credit, Flags::ONE_WAY, Lane::System, correlation));
    }
    assert_eq!((pair.dialer.close_reason(), pair.acceptor.close_reason()), (None, None));
    assert_eq!(pair.dialer.session.statistics().late_replies, 2);
    pair.reply_to_all();
    pair.drive();
    assert!(pair.outcome(plain).expect("ended").is_ok());
}

#[test]
fn an_older_side_is_not_asked_for_a_stream() {
    let mut pair = Pair::new(Config::default(), Config::default());
    pair.dialer.write_all(pair.now);
    let mut older = crate::hello::hello(&Config::default(), &super::pair::identity("acceptor"), &crate::Side::Acceptor);
    older.features = 0;
    pair.dialer.feed(pair.now, &super::pair::control(&older));
    let mut prepared = Prepared::new(&message(8));
    let refused = pair.dialer.session.open_stream(on(Lane::Bulk), WINDOW, &mut prepared);
    assert_eq!(refused, Err(SendError::NoStreams));
}
