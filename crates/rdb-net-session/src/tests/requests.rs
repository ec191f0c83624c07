//! Requests and their ends: replies, errors, deadlines, cancellation, loss.

use std::time::Duration;

use rdb_net_types::{Effect, Lane, OverloadScope, Reason};
use rdb_net_wire::{EncodeError, control_type};

use super::pair::{ASK, MILLISECOND, Pair, SECOND, TELL, answer, message, on, ring, within};
use crate::{CloseReason, Config, Event, Loss, RequestOptions, SendError};

fn cancelled(event: &Event) -> bool {
    matches!(event, Event::Cancelled { .. })
}

#[test]
fn each_request_gets_the_reply_that_names_it() {
    let mut pair = Pair::up(Config::default());
    let [first, second] = [(); 2].map(|()| pair.request(on(Lane::Interactive)));
    pair.feed_acceptor();
    let mut inbound = pair.acceptor.pop_all();
    assert_eq!(inbound.len(), 2);
    let (late, early) = (inbound.remove(0), inbound.remove(0));
    assert_eq!((late.message_type, late.id.correlation(), late.id.wants_reply()), (ASK, first.correlation(), true));
    pair.now += 30 * MILLISECOND;
    pair.acceptor.session.reply(early.id, &answer("second")).expect("small enough");
    pair.acceptor.session.reply(late.id, &answer("first")).expect("small enough");
    pair.drive();
    let mut ended = Vec::new();
    pair.dialer.session.drain_completed(&mut ended);
    assert_eq!(ended, [second, first]);
    for (id, text) in [(first, "first"), (second, "second")] {
        let reply = pair.outcome(id).expect("ended").expect("with a reply");
        assert_eq!((reply.message_type, reply.body.structure()), (TELL, text.as_bytes()));
        assert_eq!(reply.round_trip, 30 * MILLISECOND);
        assert_eq!(pair.outcome(id), None, "an outcome is taken once");
    }
    assert_eq!((pair.dialer.session.requests_in_flight(), pair.acceptor.session.inbound_open()), (0, 0));
}

#[test]
fn an_error_reply_carries_effect_reason_and_words() {
    let mut pair = Pair::up(Config::default());
    let ids = [(); 2].map(|()| pair.request(on(Lane::System)));
    pair.feed_acceptor();
    let overloaded = Reason::Overloaded(OverloadScope::Handler);
    for (inbound, (effect, reason, text)) in pair
        .acceptor
        .pop_all()
        .into_iter()
        .zip([(Effect::NotStarted, overloaded, ""), (Effect::Unknown, Reason::HandlerFailed, "disk full")])
    {
        pair.acceptor.session.reply_error(inbound.id, effect, reason, text);
    }
    pair.drive();
    assert_eq!(pair.failure(ids[0]), (Effect::NotStarted, overloaded));
    let error = pair.outcome(ids[1]).expect("ended").expect_err("failed");
    assert_eq!((error.effect, error.reason), (Effect::Unknown, Reason::HandlerFailed));
    assert_eq!(error.detail.as_deref(), Some("disk full"));
}

#[test]
fn a_reply_that_is_larger_than_the_caller_takes_is_told_to_both() {
    let mut pair = Pair::up(Config { message_bytes_max: 0, ..Config::default() });
    let id = pair.request(on(Lane::Interactive));
    pair.feed_acceptor();
    let inbound = pair.acceptor.pop().expect("arrived");
    let refused = pair.acceptor.session.reply(inbound.id, &message(300_000));
    assert!(matches!(refused, Err(EncodeError::TooLarge { limit: 262_144, .. })), "{refused:?}");
    pair.drive();
    assert_eq!(pair.failure(id), (Effect::Unknown, Reason::TooLarge));
    assert_eq!(pair.acceptor.session.inbound_open(), 0);
}

#[test]
fn a_request_that_is_larger_than_the_other_side_takes_is_not_queued() {
    let small = Config { frame_bytes_max: 4096, message_bytes_max: 4096, ..Config::default() };
    let mut pair = Pair::up_with(Config::default(), small);
    let refused = pair.dialer.session.request(on(Lane::Bulk), &message(5000));
    assert!(matches!(refused, Err(SendError::Encode(EncodeError::TooLarge { limit: 4096, .. }))), "{refused:?}");
    assert_eq!((pair.dialer.session.requests_in_flight(), pair.dialer.session.wants_write()), (0, false));
}

#[test]
fn a_request_given_up_before_its_handler_began_is_seen_by_none() {
    let mut pair = Pair::up(Config::default());
    let [given_up, other] = [0, 1].map(|_| pair.request(on(Lane::Interactive)));
    pair.dialer.write_all(pair.now);
    pair.dialer.session.cancel(pair.now, given_up);
    pair.feed_acceptor();
    let inbound = pair.acceptor.pop_all();
    assert_eq!(inbound.iter().map(|inbound| inbound.id.correlation()).collect::<Vec<_>>(), [other.correlation()]);
    assert_eq!(pair.acceptor.session.inbound_open(), 1);
    inbound.into_iter().for_each(|inbound| pair.acceptor.session.finish(inbound.id));
    assert_eq!(pair.acceptor.session.statistics().lanes[1].held_bytes, 0, "its credits come back");
}

#[test]
fn a_one_way_message_arrives_and_nobody_answers() {
    let mut pair = Pair::up(Config::default());
    pair.dialer.session.one_way(Lane::Replication, &message(5)).expect("queued");
    pair.drive();
    let inbound = pair.acceptor.pop().expect("arrived");
    assert_eq!((inbound.id.wants_reply(), inbound.deadline, inbound.body.structure().len()), (false, None, 5));
    pair.acceptor.session.reply(inbound.id, &answer("nobody hears this")).expect("dropped");
    pair.drive();
    assert_eq!((pair.acceptor.session.inbound_open(), pair.dialer.session.statistics().late_replies), (0, 0));
}

#[test]
fn the_deadline_travels_as_remaining_time() {
    let mut pair = Pair::up(Config::default());
    pair.now = SECOND;
    pair.request(within(50 * MILLISECOND));
    pair.request(within(Duration::ZERO));
    pair.now += 20 * MILLISECOND;
    pair.feed_acceptor();
    let deadlines: Vec<_> = pair.acceptor.pop_all().into_iter().map(|inbound| inbound.deadline).collect();
    let due_already = pair.now + Duration::from_micros(1);
    assert_eq!(deadlines, [Some(SECOND + 50 * MILLISECOND), Some(due_already)]);
}

#[test]
fn a_request_that_expires_in_the_queue_was_not_sent_and_never_is() {
    let mut pair = Pair::up(Config::default());
    let expired = pair.request(within(10 * MILLISECOND));
    let sent = pair.request(within(SECOND));
    assert_eq!(pair.dialer.session.poll_timeout(), Some(10 * MILLISECOND));
    pair.now = 10 * MILLISECOND;
    ring(&mut pair.dialer, pair.now);
    assert_eq!(pair.failure(expired), (Effect::NotSent, Reason::Expired));
    pair.drive();
    let arrived: Vec<_> = pair.acceptor.pop_all().into_iter().map(|inbound| inbound.id.correlation()).collect();
    assert_eq!(arrived, [sent.correlation()]);
}

#[test]
fn a_request_that_expires_after_it_was_sent_may_have_been_acted_on() {
    let mut pair = Pair::up(Config::default());
    let id = pair.request(within(10 * MILLISECOND));
    pair.feed_acceptor();
    pair.advance(10 * MILLISECOND);
    assert_eq!(pair.failure(id), (Effect::Unknown, Reason::Expired));
    assert_eq!(pair.reply_to_all(), 1);
    pair.drive();
    assert_eq!(pair.dialer.session.statistics().late_replies, 1);
    assert_eq!(pair.dialer.close_reason(), None, "a late reply harms nothing");
}

#[test]
fn many_deadlines_ring_at_most_once_a_millisecond() {
    let mut pair = Pair::up(Config::default());
    let ids: Vec<_> = (1..=1000).map(|us| pair.request(within(Duration::from_micros(us * 5)))).collect();
    let mut rings = 0;
    while pair.dialer.session.requests_in_flight() > 0 {
        pair.now = pair.dialer.session.poll_timeout().expect("requests wait");
        ring(&mut pair.dialer, pair.now);
        rings += 1;
    }
    assert!(rings <= 7, "{rings} rings for 5 ms");
    assert!(pair.now <= 6 * MILLISECOND, "nobody waits much longer than asked: {:?}", pair.now);
    assert!(ids.into_iter().all(|id| pair.failure(id) == (Effect::NotSent, Reason::Expired)));
}

#[test]
fn a_late_reply_does_not_reach_the_next_request_in_its_slot() {
    let mut pair = Pair::up(Config::default());
    let first = pair.request(on(Lane::Interactive));
    pair.feed_acceptor();
    pair.dialer.session.cancel(pair.now, first);
    let second = pair.request(on(Lane::Interactive));
    assert_eq!(first.slot(), second.slot());
    let inbound = pair.acceptor.pop().expect("the first arrived");
    pair.acceptor.session.reply(inbound.id, &answer("to the first")).expect("small enough");
    pair.feed_dialer();
    assert_eq!((pair.outcome(second), pair.dialer.session.statistics().late_replies), (None, 1));
    pair.drive();
    assert_eq!(pair.reply_to_all(), 1);
    pair.drive();
    assert!(pair.outcome(second).expect("ended").is_ok());
}

#[test]
fn a_request_given_up_in_the_queue_is_never_sent() {
    let mut pair = Pair::up(Config::default());
    let given_up = pair.request(on(Lane::Interactive));
    pair.dialer.session.cancel(pair.now, given_up);
    let sent = pair.request(on(Lane::Interactive));
    pair.drive();
    let arrived: Vec<_> = pair.acceptor.pop_all().into_iter().map(|inbound| inbound.id.correlation()).collect();
    assert_eq!((arrived, pair.acceptor.count(cancelled)), (vec![sent.correlation()], 0));
    assert_eq!(pair.outcome(given_up), None);
}

#[test]
fn a_request_given_up_after_it_was_sent_is_told_to_its_handler() {
    let mut pair = Pair::up(Config::default());
    let id = pair.request(on(Lane::Interactive));
    pair.feed_acceptor();
    let inbound = pair.acceptor.pop().expect("arrived");
    pair.dialer.session.cancel(pair.now, id);
    pair.dialer.session.cancel(pair.now, id);
    pair.drive();
    assert_eq!(pair.acceptor.count(cancelled), 1);
    assert_eq!(pair.acceptor.events.last(), Some(&Event::Cancelled { correlation: id.correlation() }));
    pair.acceptor.session.finish(inbound.id);
    assert_eq!((pair.acceptor.session.inbound_open(), pair.dialer.session.requests_in_flight()), (0, 0));
}

#[test]
fn giving_up_a_request_that_has_ended_tells_nobody() {
    let mut pair = Pair::up(Config::default());
    let id = pair.request(on(Lane::Interactive));
    pair.feed_acceptor();
    pair.reply_to_all();
    pair.feed_dialer();
    pair.dialer.session.cancel(pair.now, id);
    pair.drive();
    assert_eq!((pair.acceptor.count(cancelled), pair.outcome(id)), (0, None));
}

#[test]
fn a_full_table_of_requests_blocks_until_a_slot_is_free() {
    let mut pair = Pair::up(Config { requests_max: 2, ..Config::default() });
    let [first, second] = [(); 2].map(|()| pair.request(on(Lane::Interactive)));
    let third = |pair: &mut Pair| pair.dialer.session.request(on(Lane::System), &message(1));
    assert_eq!(third(&mut pair), Err(SendError::NoSlot));
    pair.feed_acceptor();
    pair.reply_to_all();
    pair.feed_dialer();
    assert!(!pair.dialer.is_writable_told(), "an outcome that nobody took still has its slot");
    assert!(pair.outcome(first).is_some());
    pair.dialer.collect(pair.now);
    assert!(pair.dialer.is_writable_told());
    third(&mut pair).expect("a slot is free");
    assert_eq!(third(&mut pair), Err(SendError::NoSlot));
    pair.dialer.session.cancel(pair.now, second);
    pair.dialer.collect(pair.now);
    assert!(pair.dialer.is_writable_told(), "a slot that is given up wakes those who wait for one");
    third(&mut pair).expect("a slot is free");
}

#[test]
fn a_time_out_never_costs_the_connection_however_slow_the_handlers_are() {
    let mut pair = Pair::up(Config { requests_max: 4, ..Config::default() });
    let old: Vec<_> = (0..4).map(|_| pair.request(within(10 * MILLISECOND))).collect();
    pair.drive();
    pair.advance(20 * MILLISECOND);
    assert!(old.into_iter().all(|id| pair.failure(id) == (Effect::Unknown, Reason::Expired)));
    let new = pair.request(within(SECOND));
    pair.drive();
    assert_eq!((pair.dialer.close_reason(), pair.acceptor.close_reason()), (None, None));
    assert_eq!(pair.failure(new).0, Effect::NotStarted);
    assert_eq!(pair.reply_to_all(), 4);
    let again = pair.request(within(SECOND));
    pair.drive();
    assert_eq!(pair.reply_to_all(), 1);
    pair.drive();
    assert!(pair.outcome(again).expect("ended").is_ok());
}

#[test]
fn one_way_messages_take_no_place_of_requests() {
    let mut pair = Pair::up(Config { requests_max: 2, ..Config::default() });
    (0..50).for_each(|_| pair.dialer.session.one_way(Lane::Interactive, &message(1)).expect("credits"));
    let id = pair.request(on(Lane::Interactive));
    pair.drive();
    assert_eq!((pair.acceptor.close_reason(), pair.acceptor.session.inbound_open()), (None, 51));
    assert_eq!(pair.reply_to_all(), 51);
    pair.drive();
    assert!(pair.outcome(id).expect("ended").is_ok());
}

#[test]
fn a_lost_connection_tells_what_may_have_been_acted_on() {
    let check = |end: fn(&mut Pair)| {
        let mut pair = Pair::up(Config::default());
        let answered = pair.request(on(Lane::Interactive));
        let sent = pair.request(on(Lane::Interactive));
        pair.feed_acceptor();
        let inbound = pair.acceptor.pop().expect("arrived");
        pair.acceptor.session.reply(inbound.id, &answer("in time")).expect("small enough");
        pair.feed_dialer();
        let queued = pair.request(on(Lane::Bulk));
        end(&mut pair);
        pair.dialer.collect(pair.now);
        assert!(pair.outcome(answered).expect("ended").is_ok());
        assert_eq!(pair.failure(sent), (Effect::Unknown, Reason::ConnectionLost));
        assert_eq!(pair.failure(queued), (Effect::NotSent, Reason::ConnectionLost));
        let refused = pair.dialer.session.request(on(Lane::System), &message(1));
        assert_eq!(refused, Err(SendError::NotUp));
        pair.dialer.close_reason().expect("it ended")
    };
    assert_eq!(check(|pair| pair.dialer.session.handle_lost(Loss::Reset)), CloseReason::Lost(Loss::Reset));
    assert_eq!(check(|pair| pair.dialer.session.close(CloseReason::Local)), CloseReason::Local);
}

#[test]
fn a_lost_session_writes_nothing_more() {
    let mut pair = Pair::up(Config::default());
    pair.request(on(Lane::Interactive));
    pair.dialer.session.close(CloseReason::Local);
    assert!(pair.dialer.session.wants_write(), "the farewell");
    pair.dialer.session.handle_lost(Loss::Io);
    assert!(!pair.dialer.session.wants_write() && pair.dialer.session.take_batch(pair.now).is_none());
    pair.dialer.collect(pair.now);
    assert_eq!(pair.dialer.close_reason(), Some(CloseReason::Local));
}

#[test]
fn the_mark_of_an_idempotent_request_is_on_the_wire() {
    let mut pair = Pair::up(Config::default());
    for idempotent in [false, true] {
        let options = RequestOptions { idempotent, ..on(Lane::Interactive) };
        pair.request(options);
        pair.dialer.write_all(pair.now);
        let bytes = std::mem::take(&mut pair.dialer.wire);
        let frame = rdb_net_wire::decode_frame(&bytes, true).expect("whole");
        assert_eq!(frame.head.flags.has(rdb_net_wire::Flags::IDEMPOTENT), idempotent);
        assert_ne!(frame.head.message_type, control_type::REPLY);
    }
}
