//! Heartbeats in packets beside the streams, which may get lost.

use std::time::Duration;

use bytes::Bytes;
use rdb_net_types::{Lane, MessageType};
use rdb_net_wire::{Ping, Pong, control_type, encode_datagram, read_datagram};

use super::pair::{End, MILLISECOND, SECOND, identity, on, ring};
use crate::{CloseReason, Config, Side};

/// Two ends that are up, packets beside the stream, and which of those get lost.
struct Pair {
    now: Duration,
    dialer: End,
    acceptor: End,
    loses: fn(MessageType) -> bool,
    sent: Vec<(MessageType, Duration)>,
}

impl Pair {
    fn up(loses: fn(MessageType) -> bool) -> Self {
        let end = |name, side| {
            let mut end = End::new(Config::default(), identity(name), side);
            end.session.set_datagrams();
            end
        };
        let dialer = end("dialer", Side::Dialer { target: None });
        let acceptor = end("acceptor", Side::Acceptor);
        let mut pair = Self { now: Duration::ZERO, dialer, acceptor, loses, sent: Vec::new() };
        pair.drive();
        assert!(pair.dialer.session.is_up() && pair.acceptor.session.is_up());
        pair
    }

    /// Moves packets and frames until there are none.
    fn drive(&mut self) {
        loop {
            self.dialer.write_all(self.now);
            self.acceptor.write_all(self.now);
            let frames = [std::mem::take(&mut self.dialer.wire), std::mem::take(&mut self.acceptor.wire)];
            let packets = [self.packets(true), self.packets(false)];
            if frames.iter().all(Vec::is_empty) && packets.iter().all(Vec::is_empty) {
                return;
            }
            self.acceptor.feed(self.now, &frames[0]);
            self.dialer.feed(self.now, &frames[1]);
            for (end, packets) in [(&mut self.acceptor, &packets[0]), (&mut self.dialer, &packets[1])] {
                for (message_type, body) in packets {
                    assert!(end.session.handle_datagram(self.now, *message_type, body));
                }
            }
        }
    }

    /// What one end sends beside the stream, and is not lost.
    fn packets(&mut self, of_dialer: bool) -> Vec<(MessageType, Bytes)> {
        let end = if of_dialer { &mut self.dialer } else { &mut self.acceptor };
        let mut packets = Vec::new();
        while let Some((message_type, packet)) = end.session.take_heartbeat(self.now) {
            self.sent.push((message_type, self.now));
            if !(self.loses)(message_type) {
                packets.extend(read_datagram(packet));
            }
        }
        packets
    }

    fn advance(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let due = [self.dialer.session.poll_timeout(), self.acceptor.session.poll_timeout()];
            let Some(next) = due.into_iter().flatten().min().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            ring(&mut self.dialer, self.now);
            ring(&mut self.acceptor, self.now);
            self.drive();
        }
        self.now = end;
    }

    fn on_streams(&self, message_type: MessageType) -> u64 {
        let mut sums = std::collections::BTreeMap::new();
        self.dialer.session.statistics().sent.add_to(&mut sums);
        self.acceptor.session.statistics().sent.add_to(&mut sums);
        sums.get(&message_type).copied().unwrap_or(0)
    }

    fn beside(&self, message_type: MessageType) -> usize {
        self.sent.iter().filter(|(sent, _)| *sent == message_type).count()
    }
}

#[test]
fn questions_and_answers_travel_beside_the_streams() {
    let mut pair = Pair::up(|_| false);
    pair.advance(600 * SECOND);
    let (asked, answered) = (pair.beside(control_type::PING), pair.beside(control_type::PONG));
    assert!((10..=22).contains(&asked), "{asked} questions in ten minutes");
    assert_eq!(asked, answered);
    assert_eq!((pair.on_streams(control_type::PING), pair.on_streams(control_type::PONG)), (0, 0));
    assert_eq!(pair.dialer.session.statistics().round_trip, Some(Duration::ZERO));
    assert_eq!((pair.dialer.close_reason(), pair.acceptor.close_reason()), (None, None));
}

#[test]
fn a_question_that_got_lost_is_asked_again_on_the_stream_after_a_quarter_of_the_patience() {
    for loses in [|kind| kind == control_type::PING, |kind| kind == control_type::PONG] {
        let mut pair = Pair::up(loses);
        pair.dialer.session.request(on(Lane::Interactive), &super::pair::message(8)).expect("taken");
        pair.dialer.session.tell_time(pair.now);
        pair.drive();
        pair.advance(SECOND);
        assert_eq!((pair.beside(control_type::PING), pair.on_streams(control_type::PING)), (1, 0));
        let quarter = Config::default().liveness / 4;
        pair.advance(quarter - MILLISECOND);
        assert_eq!(pair.on_streams(control_type::PING), 0);
        pair.advance(MILLISECOND);
        assert_eq!((pair.on_streams(control_type::PING), pair.on_streams(control_type::PONG)), (1, 1));
        pair.advance(600 * SECOND);
        assert_eq!(
            (pair.dialer.close_reason(), pair.acceptor.close_reason()),
            (None, None),
            "it lives without packets"
        );
    }
}

#[test]
fn silence_beside_the_streams_and_on_them_ends_the_connection_after_the_same_time() {
    let mut pair = Pair::up(|_| true);
    pair.dialer.session.request(on(Lane::Interactive), &super::pair::message(8)).expect("taken");
    pair.dialer.session.tell_time(pair.now);
    pair.dialer.write_all(pair.now);
    let mut rings = Vec::new();
    while let Some(next) = pair.dialer.session.poll_timeout() {
        ring(&mut pair.dialer, next);
        pair.dialer.write_all(next);
        rings.push(next);
    }
    let asked_again = SECOND + Config::default().liveness / 4;
    assert_eq!(rings, [SECOND, asked_again, SECOND + Config::default().liveness]);
    assert_eq!(pair.dialer.close_reason(), Some(CloseReason::Silent));
}

#[test]
fn a_pong_beside_the_streams_ends_no_drain() {
    let mut pair = Pair::up(|_| false);
    pair.acceptor.session.drain(pair.now);
    pair.acceptor.write_all(pair.now);
    assert_eq!(pair.on_streams(control_type::GO_AWAY), 1, "warned");
    let beside = encode_datagram(&Pong { token: u64::MAX, clock_us: 0 });
    let (kind, body) = read_datagram(beside).expect("a message");
    assert!(pair.acceptor.session.handle_datagram(pair.now, kind, &body));
    pair.acceptor.write_all(pair.now);
    assert_eq!(pair.on_streams(control_type::GO_AWAY), 1, "what was sent before the warning may not be there yet");
    pair.drive();
    assert_eq!(pair.on_streams(control_type::GO_AWAY), 2, "the pong on the stream says that it is");
}

#[test]
fn a_thousand_questions_at_once_are_answered_once_and_bytes_that_are_none_not_at_all() {
    let mut pair = Pair::up(|_| false);
    for token in 0..1000 {
        let (kind, body) = read_datagram(encode_datagram(&Ping { token })).expect("a message");
        assert!(pair.acceptor.session.handle_datagram(pair.now, kind, &body));
    }
    assert!(pair.acceptor.session.take_heartbeat(pair.now).is_some());
    assert!(pair.acceptor.session.take_heartbeat(pair.now).is_none());
    for kind in [control_type::PING, control_type::PONG] {
        assert!(pair.acceptor.session.handle_datagram(pair.now, kind, &Bytes::new()));
    }
    assert!(pair.acceptor.session.take_heartbeat(pair.now).is_none());
    assert!(!pair.acceptor.session.is_closed());
}
