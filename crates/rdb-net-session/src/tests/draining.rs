//! Ending a connection without losing what is under way.

use rdb_net_types::{Effect, Lane, Reason};
use rdb_net_wire::{CloseCode, Flags, GoAway, Ping};

use super::pair::{End, MILLISECOND, Pair, SECOND, control, frame, identity, message, on, ring, within};
use crate::{CloseReason, Config, Event, SendError, Side};

const FAREWELL: Option<CloseReason> = Some(CloseReason::Peer(CloseCode::Normal));
const LOCAL: Option<CloseReason> = Some(CloseReason::Local);

#[test]
fn an_acceptor_that_drains_finishes_everything_that_was_accepted_by_the_dialer() {
    let mut pair = Pair::up(Config { batch_bytes: 1000, ..Config::default() });
    let sent = pair.request(on(Lane::Interactive));
    pair.feed_acceptor();
    let queued: Vec<_> = (0..100).map(|_| pair.request(on(Lane::Bulk))).collect();
    pair.acceptor.session.drain(pair.now);
    assert!(!pair.acceptor.session.is_up());
    pair.feed_dialer();
    assert_eq!(pair.dialer.count(|event| *event == Event::GoAway), 1);
    let refused = pair.dialer.session.request(on(Lane::System), &message(1));
    assert_eq!(refused, Err(SendError::NotUp));
    // The answer to the acceptor's question must not overtake what is queued: the last word would not count it.
    pair.drive();
    assert_eq!((pair.acceptor.close_reason(), pair.reply_to_all()), (None, 101));
    pair.drive();
    assert!(queued.into_iter().chain([sent]).all(|id| matches!(pair.outcome(id), Some(Ok(_)))));
    let ended = pair.dialer.close_reason();
    assert!(pair.acceptor.close_reason() == LOCAL && ended.is_some_and(|reason| reason.is_orderly()), "{ended:?}");
    assert_eq!(pair.dialer.count(|event| *event == Event::GoAway), 1, "the last word is no second warning");
}

#[test]
fn what_lies_beyond_the_last_word_was_not_started() {
    let mut pair = Pair::up(Config::default());
    pair.dialer.session.one_way(Lane::Interactive, &message(1)).expect("credits");
    let taken = pair.request(on(Lane::Interactive));
    let beyond = pair.request(within(9 * SECOND));
    let urgent = pair.request(on(Lane::System));
    pair.feed_acceptor();
    let queued = pair.request(on(Lane::Interactive));
    pair.dialer.feed(pair.now, &control(&GoAway { last: true, accepted: vec![1, 2, 0, 0] }));
    assert_eq!(pair.failure(beyond), (Effect::NotStarted, Reason::Draining));
    assert_eq!(pair.failure(queued), (Effect::NotSent, Reason::Draining));
    assert_eq!((pair.outcome(taken), pair.outcome(urgent)), (None, None));
    pair.dialer.write_all(pair.now);
    assert!(pair.dialer.wire.is_empty(), "what was told as not sent is not sent");
    pair.reply_to_all();
    pair.feed_dialer();
    assert!(matches!((pair.outcome(taken), pair.outcome(urgent)), (Some(Ok(_)), Some(Ok(_)))));
    assert_eq!(pair.dialer.close_reason(), LOCAL);
}

#[test]
fn no_handler_sees_what_comes_after_the_last_word() {
    let mut pair = Pair::up(Config::default());
    let open = pair.request(on(Lane::Interactive));
    pair.drive();
    pair.acceptor.session.drain(pair.now);
    pair.drive();
    let late = frame(&message(1), Flags(0), Lane::Interactive, 77 << 32);
    pair.acceptor.feed(pair.now, &late);
    assert_eq!(pair.acceptor.session.inbound_open(), 1);
    assert_eq!((pair.reply_to_all(), pair.acceptor.session.statistics().discarded), (1, 1));
    pair.drive();
    assert!(pair.outcome(open).expect("ended").is_ok());
    assert_eq!(pair.acceptor.close_reason(), LOCAL);
}

#[test]
fn an_idle_connection_drains_in_one_round_trip() {
    for drained in [true, false] {
        let mut pair = Pair::up(Config::default());
        let end = if drained { &mut pair.acceptor } else { &mut pair.dialer };
        end.session.drain(pair.now);
        end.session.drain(pair.now);
        pair.drive();
        let reasons = (pair.acceptor.close_reason(), pair.dialer.close_reason());
        assert!(reasons.0.is_some_and(|reason| reason.is_orderly()), "{reasons:?}");
        assert!(reasons.1.is_some_and(|reason| reason.is_orderly()), "{reasons:?}");
    }
}

#[test]
fn a_dialer_that_drains_waits_for_its_replies() {
    let mut pair = Pair::up(Config::default());
    let id = pair.request(on(Lane::Interactive));
    pair.dialer.session.drain(pair.now);
    assert_eq!(pair.dialer.session.one_way(Lane::System, &message(1)), Err(SendError::NotUp));
    pair.drive();
    pair.advance(SECOND);
    assert_eq!((pair.dialer.close_reason(), pair.reply_to_all()), (None, 1));
    pair.drive();
    assert!(pair.outcome(id).expect("ended").is_ok());
    assert_eq!((pair.dialer.close_reason(), pair.acceptor.close_reason()), (LOCAL, FAREWELL));
}

#[test]
fn what_is_read_along_with_the_last_reply_of_a_drain_is_not_looked_at() {
    let mut pair = Pair::up(Config::default());
    let id = pair.request(on(Lane::Interactive));
    pair.drive();
    pair.dialer.session.drain(pair.now);
    pair.dialer.write_all(pair.now);
    let reply = frame(&message(1), Flags::RESPONSE, Lane::Interactive, id.correlation());
    // A dialer is asked nothing: by itself this would end the connection as a breach of the protocol.
    let breach = frame(&message(1), Flags::ONE_WAY, Lane::Interactive, 0);
    pair.dialer.feed(pair.now, &[reply, breach].concat());
    assert!(pair.outcome(id).expect("ended").is_ok());
    assert_eq!(pair.dialer.close_reason(), LOCAL);
}

#[test]
fn one_way_messages_before_a_farewell_still_reach_their_handlers() {
    let mut pair = Pair::up(Config::default());
    (0..3).for_each(|_| pair.dialer.session.one_way(Lane::Replication, &message(1)).expect("credits"));
    pair.dialer.session.drain(pair.now);
    // Messages and farewell arrive in one read.
    pair.drive();
    assert_eq!((pair.dialer.close_reason(), pair.acceptor.close_reason()), (LOCAL, FAREWELL));
    let inbound = pair.acceptor.pop_all();
    assert_eq!((inbound.len(), pair.acceptor.session.inbound_open()), (3, 3));
    inbound.into_iter().for_each(|inbound| pair.acceptor.session.finish(inbound.id));
    assert_eq!(pair.acceptor.session.inbound_open(), 0);
}

#[test]
fn messages_of_a_peer_that_broke_the_protocol_are_forgotten() {
    let mut pair = Pair::up(Config::default());
    pair.request(on(Lane::Interactive));
    pair.dialer.session.one_way(Lane::Interactive, &message(1)).expect("credits");
    pair.feed_acceptor();
    pair.acceptor.feed(pair.now, b"nonsense");
    assert!(pair.acceptor.pop().is_none());
    assert_eq!(pair.acceptor.session.inbound_open(), 0);
}

#[test]
fn a_drain_ends_at_its_deadline_and_says_what_may_have_been_done() {
    let mut pair = Pair::up(Config::default());
    let id = pair.request(on(Lane::Interactive));
    pair.drive();
    pair.acceptor.session.drain(pair.now);
    pair.drive();
    pair.advance(10 * SECOND - MILLISECOND);
    assert_eq!((pair.acceptor.close_reason(), pair.outcome(id)), (None, None));
    pair.advance(MILLISECOND);
    assert!(pair.acceptor.session.is_closed() && pair.dialer.session.is_closed());
    assert_eq!(pair.failure(id), (Effect::Unknown, Reason::ConnectionLost));
}

#[test]
fn a_last_word_does_not_prolong_a_drain_that_is_under_way() {
    let mut pair = Pair::up(Config { keep_alive_busy: 100 * SECOND, ..Config::default() });
    pair.request(on(Lane::Interactive));
    pair.dialer.write_all(pair.now);
    pair.dialer.session.drain(pair.now);
    pair.now = 9 * SECOND;
    pair.dialer.feed(pair.now, &control(&GoAway { last: true, accepted: vec![9; 4] }));
    ring(&mut pair.dialer, 10 * SECOND);
    assert_eq!(pair.dialer.close_reason(), LOCAL);
}

#[test]
fn a_drain_before_the_hello_is_answered_closes_at_once() {
    let mut dialer = End::new(Config::default(), identity("dialer"), Side::Dialer { target: None });
    dialer.session.drain(SECOND);
    dialer.collect(SECOND);
    assert_eq!(dialer.close_reason(), LOCAL);
}

#[test]
fn blocked_senders_are_woken_by_a_drain_to_go_elsewhere() {
    let blocked = || {
        let mut pair = Pair::up(Config { lane_credit_bytes: [8192; 4], frame_bytes_max: 4096, ..Config::default() });
        while pair.dialer.session.one_way(Lane::Interactive, &message(1000)).is_ok() {}
        pair.drive();
        assert!(!pair.dialer.is_writable_told());
        pair
    };
    let mut pair = blocked();
    pair.acceptor.session.drain(pair.now);
    pair.feed_dialer();
    assert!(pair.dialer.is_writable_told());
    let mut pair = blocked();
    pair.dialer.session.drain(pair.now);
    pair.dialer.collect(pair.now);
    assert!(pair.dialer.is_writable_told());
}

#[test]
fn a_drain_does_not_wait_for_frames_that_nobody_waits_for() {
    let mut pair = Pair::up(Config::default());
    let given_up = pair.request(on(Lane::Interactive));
    pair.dialer.session.drain(pair.now);
    pair.dialer.session.cancel(pair.now, given_up);
    pair.dialer.write_all(pair.now);
    assert_eq!(pair.dialer.close_reason(), LOCAL);
    pair.drive();
    assert_eq!((pair.acceptor.close_reason(), pair.acceptor.session.inbound_open()), (FAREWELL, 0));
}

#[test]
fn frames_that_nobody_waits_for_do_not_hold_the_last_word_up() {
    let mut pair = Pair::up(Config::default());
    let open = pair.request(on(Lane::Interactive));
    pair.drive();
    let given_up = pair.request(on(Lane::Interactive));
    pair.dialer.session.cancel(pair.now, given_up);
    pair.acceptor.session.drain(pair.now);
    pair.feed_dialer();
    pair.dialer.write_batch(pair.now).expect("the answer to the drain's question");
    pair.drive();
    assert_eq!(pair.reply_to_all(), 1);
    pair.drive();
    assert!(pair.outcome(open).expect("ended").is_ok());
    assert_eq!(pair.acceptor.close_reason(), LOCAL);
}

#[test]
fn a_drain_that_ends_when_a_question_is_due_leaves_nothing_to_write() {
    let mut pair = Pair::up(Config::default());
    let id = pair.request(within(SECOND));
    pair.dialer.write_all(pair.now);
    pair.dialer.session.drain(pair.now);
    pair.now = SECOND;
    ring(&mut pair.dialer, pair.now);
    assert_eq!((pair.dialer.close_reason(), pair.failure(id)), (LOCAL, (Effect::Unknown, Reason::Expired)));
    pair.dialer.session.handle_lost(crate::Loss::Io);
    assert!(!pair.dialer.session.wants_write(), "the socket can be let go");
}

#[test]
fn the_answer_to_a_later_question_also_brings_the_last_word() {
    let mut pair = Pair::up(Config { keep_alive_idle: SECOND, ..Config::default() });
    let id = pair.request(on(Lane::Interactive));
    pair.drive();
    pair.acceptor.session.drain(pair.now);
    // While the socket takes nothing, a sign of life comes, and the keep-alive asks anew.
    pair.acceptor.feed(pair.now, &control(&Ping { token: 5 }));
    pair.now += SECOND;
    ring(&mut pair.acceptor, pair.now);
    pair.drive();
    assert_eq!(pair.reply_to_all(), 1);
    pair.drive();
    assert!(pair.outcome(id).expect("ended").is_ok());
    assert_eq!(pair.acceptor.close_reason(), LOCAL);
}
