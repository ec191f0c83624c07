//! The keep-alive: when a silent peer is asked, and when it is called dead.

use std::time::Duration;

use rdb_net_types::{Effect, Lane, MessageType, Reason};
use rdb_net_wire::{Close, CloseCode, Ping, control_type};

use super::pair::{End, MILLISECOND, Pair, SECOND, control, on, ring};
use crate::{CloseReason, Config};

fn sent(end: &End, message_type: MessageType) -> u64 {
    let mut sums = Default::default();
    end.session.statistics().sent.add_to(&mut sums);
    sums.get(&message_type).copied().unwrap_or(0)
}

fn pings(pair: &Pair) -> (u64, u64) {
    (sent(&pair.dialer, control_type::PING), sent(&pair.acceptor, control_type::PING))
}

#[test]
fn an_idle_connection_is_asked_seldom_and_lives() {
    let mut pair = Pair::up(Config::default());
    pair.advance(60 * SECOND - MILLISECOND);
    assert_eq!(pings(&pair), (0, 0));
    pair.advance(MILLISECOND);
    let (dialer, acceptor) = pings(&pair);
    assert!(dialer + acceptor >= 1, "somebody asks");
    pair.advance(600 * SECOND);
    let (dialer, acceptor) = pings(&pair);
    assert!((10..=22).contains(&(dialer + acceptor)), "{dialer} + {acceptor} questions in ten minutes");
    assert_eq!((pair.dialer.close_reason(), pair.acceptor.close_reason()), (None, None));
    assert_eq!(pair.dialer.session.statistics().round_trip, Some(Duration::ZERO));
}

#[test]
fn a_connection_with_requests_in_flight_is_asked_soon() {
    let mut pair = Pair::up(Config::default());
    pair.advance(5 * SECOND);
    let id = pair.request(on(Lane::Interactive));
    pair.drive();
    pair.advance(SECOND - MILLISECOND);
    assert_eq!(pings(&pair), (0, 0));
    pair.advance(MILLISECOND);
    assert_eq!(pings(&pair), (1, 0));
    pair.advance(10 * SECOND);
    assert_eq!(pings(&pair), (11, 0));
    pair.reply_to_all();
    pair.drive();
    assert!(pair.outcome(id).expect("ended").is_ok());
    pair.advance(10 * SECOND);
    assert_eq!(pings(&pair), (11, 0), "and no longer than the request takes");
}

#[test]
fn any_byte_is_a_sign_of_life() {
    let mut pair = Pair::up(Config::default());
    pair.request(on(Lane::Interactive));
    pair.dialer.write_all(pair.now);
    let ping = control(&Ping { token: 1 });
    for byte in &ping[..ping.len() - 1] {
        pair.now += 900 * MILLISECOND;
        ring(&mut pair.dialer, pair.now);
        pair.dialer.feed(pair.now, std::slice::from_ref(byte));
    }
    assert_eq!((sent(&pair.dialer, control_type::PING), pair.dialer.close_reason()), (0, None));
}

#[test]
fn silence_after_a_question_ends_the_connection() {
    let mut pair = Pair::up(Config::default());
    pair.now = 2 * SECOND;
    let id = pair.request(on(Lane::Interactive));
    pair.dialer.write_all(pair.now);
    // Asked after the second in which the request got no answer, dead after the time for the answer.
    let mut rings = Vec::new();
    while let Some(next) = pair.dialer.session.poll_timeout() {
        ring(&mut pair.dialer, next);
        pair.dialer.write_all(next);
        rings.push(next);
    }
    assert_eq!(rings, [3 * SECOND, 8 * SECOND]);
    assert_eq!(pair.dialer.close_reason(), Some(CloseReason::Silent));
    assert_eq!(pair.failure(id), (Effect::Unknown, Reason::ConnectionLost));
    assert!(pair.dialer.wire.ends_with(&control(&Close { code: CloseCode::Silent as u16 })));
}

#[test]
fn an_acceptor_whose_dialer_fell_silent_finds_out_by_itself() {
    let mut pair = Pair::up(Config::default());
    while let Some(next) = pair.acceptor.session.poll_timeout() {
        pair.now = next;
        ring(&mut pair.acceptor, pair.now);
    }
    assert_eq!((pair.acceptor.close_reason(), pair.now), (Some(CloseReason::Silent), 65 * SECOND));
}

#[test]
fn a_strict_peer_hears_from_us_often_enough() {
    let strict = Config { liveness: 2 * SECOND, ..Config::default() };
    let pair = Pair::up_with(Config::default(), strict);
    assert_eq!(pair.dialer.session.poll_timeout(), Some(24 * SECOND));
    assert_eq!(pair.acceptor.session.poll_timeout(), Some(60 * SECOND));
}

#[test]
fn the_round_trip_is_measured_and_smoothed() {
    let mut pair = Pair::up(Config::default());
    for round_trip in [8 * MILLISECOND, 16 * MILLISECOND] {
        pair.now = pair.dialer.session.poll_timeout().expect("a keep-alive is due");
        ring(&mut pair.dialer, pair.now);
        pair.feed_acceptor();
        pair.now += round_trip;
        pair.feed_dialer();
    }
    assert_eq!(pair.dialer.session.statistics().round_trip, Some(9 * MILLISECOND));
}
