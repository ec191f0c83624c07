//! Peers that break the protocol: the connection ends with a reason that says how, and every request has its outcome.

use std::time::Duration;

use bytes::BytesMut;
use rdb_net_types::{Effect, Lane, Payload, Reason};
use rdb_net_wire::{
    Close, CloseCode, Credit, Flags, FrameBuffer, FrameError, FrameHead, HEADER_BYTES, Ping, Raw, control_type,
};

use super::pair::{ASK, End, Pair, SECOND, answer, control, frame, identity, message, on, within};
use crate::{CloseReason, Config, Event, Side};

const REQUEST: Flags = Flags(0);

/// What a dialer with two requests, one sent and one queued, makes of these bytes.
#[track_caller]
fn check_dialer(bytes: &[u8], reason: CloseReason) {
    let mut pair = Pair::up(Config::default());
    let sent = pair.request(within(5 * SECOND));
    pair.dialer.write_all(pair.now);
    let queued = pair.request(on(Lane::Interactive));
    pair.dialer.feed(pair.now, bytes);
    assert_eq!(pair.dialer.close_reason(), Some(reason));
    assert_eq!(pair.failure(sent), (Effect::Unknown, Reason::ConnectionLost));
    assert_eq!(pair.failure(queued), (Effect::NotSent, Reason::ConnectionLost));
    assert_eq!((pair.outcome(sent), pair.outcome(queued)), (None, None));
    assert_eq!(pair.dialer.session.poll_timeout(), None);
}

/// What an acceptor makes of these bytes, and what it says before it goes.
#[track_caller]
fn check_acceptor(bytes: &[u8], reason: CloseReason) {
    let mut pair = Pair::up(Config::default());
    pair.acceptor.feed(pair.now, bytes);
    assert_eq!(pair.acceptor.close_reason(), Some(reason));
    pair.feed_dialer();
    let code = reason.code().expect("the peer is told");
    assert_eq!(pair.dialer.close_reason(), Some(CloseReason::Peer(code)));
}

#[test]
fn bytes_that_are_no_frame_end_the_connection() {
    check_dialer(b"HTTP/1.1 200 OK\r\n", CloseReason::Frame(FrameError::Magic { found: *b"HTTP" }));
    check_dialer(b"RX", CloseReason::Frame(FrameError::Magic { found: [b'R', b'X', 0, 0] }));
    let mut old = control(&Ping { token: 1 });
    old[5] = 9;
    check_acceptor(&old, CloseReason::Frame(FrameError::Version { found: 9 }));
    let mut flipped = control(&Ping { token: 1 });
    *flipped.last_mut().expect("not empty") ^= 1;
    check_acceptor(&flipped, CloseReason::Frame(FrameError::Checksum));
}

/// S7: the header is judged before a byte of a body is there.
#[test]
fn a_size_that_lies_is_caught_by_the_header_alone() {
    let mut huge = control(&Ping { token: 1 });
    huge[8..12].copy_from_slice(&u32::MAX.to_be_bytes());
    let too_large = CloseReason::Frame(FrameError::TooLarge { size: u32::MAX, limit: 256 * 1024 });
    check_acceptor(&huge[..HEADER_BYTES], too_large);
    let mut tiny = control(&Ping { token: 1 });
    tiny[8..12].copy_from_slice(&3u32.to_be_bytes());
    check_acceptor(&tiny, CloseReason::Frame(FrameError::TooSmall { size: 3 }));
}

/// S7, S12.
#[test]
fn a_stranger_may_not_send_large_frames() {
    let mut acceptor = End::new(Config::default(), identity("acceptor"), Side::Acceptor);
    let mut header = control(&Ping { token: 1 });
    header[8..12].copy_from_slice(&10_000u32.to_be_bytes());
    assert_eq!(acceptor.session.terms().bytes_wanted(&header[..HEADER_BYTES]), 0);
    acceptor.feed(Duration::ZERO, &header[..HEADER_BYTES]);
    let limit = FrameError::TooLarge { size: 10_000, limit: 8192 };
    assert_eq!(acceptor.close_reason(), Some(CloseReason::Frame(limit)));
}

#[test]
fn half_a_header_and_then_silence_ends_with_the_hello_time() {
    let mut pair = Pair::new(Config::default(), Config::default());
    pair.acceptor.feed(pair.now, b"RDBN\0\x01");
    assert_eq!(pair.acceptor.session.terms().bytes_wanted(b"RDBN\0\x01"), 0);
    pair.dialer.session.handle_lost(crate::Loss::Io);
    pair.dialer.collect(pair.now);
    pair.advance(3 * SECOND);
    assert_eq!(pair.acceptor.close_reason(), Some(CloseReason::HelloTimeout));
}

#[test]
fn half_a_frame_and_then_silence_ends_with_the_keep_alive() {
    let mut pair = Pair::up(Config::default());
    let ping = control(&Ping { token: 1 });
    pair.acceptor.feed(pair.now, &ping[..20]);
    assert_eq!(pair.acceptor.session.terms().bytes_wanted(&ping[..20]), ping.len() - 20);
    let ends = pair.now + 65 * SECOND;
    while let Some(next) = pair.acceptor.session.poll_timeout() {
        super::pair::ring(&mut pair.acceptor, next);
        pair.now = next;
    }
    assert_eq!((pair.acceptor.close_reason(), pair.now), (Some(CloseReason::Silent), ends));
}

#[test]
fn a_second_hello_is_a_breach() {
    let hello = crate::hello::hello(&Config::default(), &identity("dialer"), &Side::Acceptor);
    check_acceptor(&control(&hello), CloseReason::Protocol("a second hello"));
    check_dialer(&control(&hello), CloseReason::Protocol("a second hello"));
}

#[test]
fn a_message_before_the_hello_is_a_breach() {
    let mut acceptor = End::new(Config::default(), identity("acceptor"), Side::Acceptor);
    acceptor.feed(Duration::ZERO, &frame(&message(1), REQUEST, Lane::Interactive, 1 << 32));
    assert_eq!(acceptor.close_reason(), Some(CloseReason::Protocol("a message before the hello")));
    assert!(acceptor.pop().is_none());
}

#[test]
fn a_message_before_the_hello_is_answered_is_a_breach() {
    let mut pair = Pair::new(Config::default(), Config::default());
    pair.acceptor.accepts = false;
    pair.feed_acceptor();
    pair.acceptor.feed(pair.now, &frame(&message(1), REQUEST, Lane::Interactive, 1 << 32));
    assert_eq!(pair.acceptor.close_reason(), Some(CloseReason::Protocol("a message before the hello's answer")));
}

#[test]
fn an_acceptor_that_asks_instead_of_answering_is_in_breach() {
    let asked = frame(&message(1), REQUEST, Lane::Interactive, 1 << 32);
    check_dialer(&asked, CloseReason::Protocol("a message on a connection that only answers"));
}

#[test]
fn a_correlation_id_must_fit_the_flags() {
    let reason = CloseReason::Protocol("a correlation id that does not fit the flags");
    check_acceptor(&frame(&message(1), REQUEST, Lane::Interactive, 0), reason);
    check_acceptor(&frame(&message(1), Flags::ONE_WAY, Lane::Interactive, 7), reason);
}

#[test]
fn a_control_message_that_cannot_be_read_is_a_breach() {
    let reason = CloseReason::Protocol("a control message that cannot be read");
    for message_type in [control_type::PING, control_type::PONG, control_type::CREDIT, control_type::GO_AWAY] {
        check_acceptor(&control(&Raw { message_type, payload: Payload::from("\u{7f}") }), reason);
    }
}

#[test]
fn a_control_message_of_a_newer_version_is_ignored_and_counted() {
    let mut pair = Pair::up(Config::default());
    let newer = Raw { message_type: rdb_net_types::MessageType(0x00fe), payload: Payload::from("?") };
    pair.acceptor.feed(pair.now, &control(&newer));
    pair.acceptor.feed(pair.now, &control(&Credit { lane: 77, limit: u64::MAX }));
    assert_eq!((pair.acceptor.close_reason(), pair.acceptor.session.statistics().unknown_control), (None, 1));
}

#[test]
fn a_farewell_is_not_answered() {
    let mut pair = Pair::up(Config::default());
    pair.dialer.feed(pair.now, &control(&Close { code: 6 }));
    assert_eq!(pair.dialer.close_reason(), Some(CloseReason::Peer(CloseCode::Shutdown)));
    assert!(pair.dialer.session.take_batch(pair.now).is_none());
    pair.acceptor.feed(pair.now, &control(&Close { code: 999 }));
    assert_eq!(pair.acceptor.close_reason(), Some(CloseReason::Peer(CloseCode::Normal)));
}

#[test]
fn a_reply_that_nobody_asked_for_is_counted_and_dropped() {
    let mut pair = Pair::up(Config::default());
    for correlation in [0, 1, 1 << 32, u64::MAX] {
        pair.dialer.feed(pair.now, &frame(&answer("?"), Flags::RESPONSE, Lane::Interactive, correlation));
        pair.acceptor.feed(pair.now, &frame(&answer("?"), Flags::RESPONSE, Lane::Interactive, correlation));
    }
    assert_eq!((pair.dialer.close_reason(), pair.acceptor.close_reason()), (None, None));
    assert_eq!(pair.dialer.session.statistics().late_replies, 4);
    assert_eq!(pair.acceptor.session.statistics().late_replies, 4);
}

#[test]
fn more_than_the_credits_and_two_frames_is_a_breach() {
    let mut pair = Pair::up(Config { lane_credit_bytes: [256 * 1024; 4], ..Config::default() });
    let large = frame(&message(200_000), Flags::ONE_WAY, Lane::Bulk, 0);
    // The first fits, the second overdraws by less than a frame, as an honest sender may; and so may one behind the last
    // fragment of a large message.
    (0..3).for_each(|_| pair.acceptor.feed(pair.now, &large));
    assert_eq!(pair.acceptor.close_reason(), None);
    pair.acceptor.feed(pair.now, &large);
    assert_eq!(pair.acceptor.close_reason(), Some(CloseReason::CreditExceeded));
    pair.feed_dialer();
    assert_eq!(pair.dialer.close_reason(), Some(CloseReason::Peer(CloseCode::Credit)));
}

#[test]
fn requests_beyond_the_agreed_number_are_answered_and_not_started() {
    let config = Config { requests_max: 2, ..Config::default() };
    let mut pair = Pair::up(config);
    for correlation in 1..=4 {
        pair.acceptor.feed(pair.now, &frame(&message(1), REQUEST, Lane::Interactive, correlation << 32));
    }
    assert_eq!((pair.acceptor.close_reason(), pair.acceptor.session.inbound_open()), (None, 2));
    assert_eq!(pair.acceptor.session.statistics().refused, 2);
    assert_eq!(pair.acceptor.pop_all().len(), 2);
}

/// S10: a request that is refused is no free frame.
#[test]
fn refused_requests_cost_credits_until_their_answers_are_written() {
    let config = Config { requests_max: 1, lane_credit_bytes: [8192; 4], frame_bytes_max: 4096, ..Config::default() };
    let request = |correlation: u64| frame(&message(100), REQUEST, Lane::Interactive, correlation << 32);
    let mut pair = Pair::up(config.clone());
    for correlation in 1..500 {
        pair.acceptor.feed(pair.now, &request(correlation));
        pair.acceptor.write_all(pair.now);
    }
    assert_eq!((pair.acceptor.close_reason(), pair.acceptor.session.statistics().refused), (None, 498));
    let mut pair = Pair::up(config);
    (1..500).for_each(|correlation| pair.acceptor.feed(pair.now, &request(correlation)));
    let reason = pair.acceptor.close_reason();
    assert_eq!(reason, Some(CloseReason::CreditExceeded), "a peer that reads no answers cannot make us hold many");
}

#[test]
fn a_frame_without_the_agreed_checksum_is_refused() {
    let bare = {
        let head = FrameHead { message_type: ASK, flags: Flags::ONE_WAY, lane: Lane::Interactive, correlation: 0 };
        let mut buffer = FrameBuffer::new();
        let mark = buffer.push(head, &message(1), 4096).expect("small enough");
        buffer.seal(&mark, 0);
        buffer.to_vec()
    };
    check_acceptor(&bare, CloseReason::Frame(FrameError::Checksum));
    let without = Config { checksum: false, ..Config::default() };
    // One side that wants it is enough.
    let mut pair = Pair::up_with(without.clone(), Config::default());
    pair.acceptor.feed(pair.now, &bare);
    assert_eq!(pair.acceptor.close_reason(), Some(CloseReason::Frame(FrameError::Checksum)));
    let mut pair = Pair::up(without);
    pair.acceptor.feed(pair.now, &bare);
    assert_eq!((pair.acceptor.close_reason(), pair.acceptor.pop_all().len()), (None, 1));
    pair.dialer.session.one_way(Lane::Interactive, &message(1)).expect("credits");
    pair.dialer.write_all(pair.now);
    assert_eq!(pair.dialer.wire, bare);
}

#[test]
fn what_follows_a_breach_in_the_same_read_is_not_looked_at() {
    let mut pair = Pair::up(Config::default());
    let mut read = frame(&message(1), REQUEST, Lane::Interactive, 0);
    read.extend(frame(&message(1), REQUEST, Lane::Interactive, 1 << 32));
    pair.acceptor.feed(pair.now, &read);
    assert!(pair.acceptor.session.is_closed() && pair.acceptor.pop().is_none());
    let mut late = BytesMut::from(&read[..]);
    pair.acceptor.session.handle_input(pair.now, &mut late);
    assert!(late.is_empty(), "a closed session keeps nothing");
}

/// S10: frames that cost their sender nothing cost this side as little.
#[test]
fn a_flood_of_pings_costs_one_pong() {
    let mut pair = Pair::up(Config::default());
    let flood: Vec<u8> = (0..1000).flat_map(|token| control(&Ping { token })).collect();
    pair.acceptor.feed(pair.now, &flood);
    let queued = pair.acceptor.session.queued_bytes();
    pair.acceptor.write_all(pair.now);
    assert_eq!((queued, pair.acceptor.wire), (0, control(&rdb_net_wire::Pong { token: 999, clock_us: 0 })));
    assert_eq!(pair.dialer.count(|event| matches!(event, Event::Closed(_))), 0);
}
