//! Lanes that have a stream each: what one is late with holds up no other, and an end waits for all.

use std::time::Duration;

use bytes::BytesMut;
use rdb_net_types::{Effect, Lane, Reason};
use rdb_net_wire::{CloseCode, Fence, Flags};

use super::pair::{SECOND, answer, control, frame, identity, message, on};
use crate::{Arrivals, CloseReason, Config, Event, Inbound, Loss, RequestId, Session, Side};

const LANES: usize = Lane::ALL.len();

/// A small generator, so that a seed is an order of arrival.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// A session, the streams that it writes, and what of the other side's it has read.
struct End {
    session: Session,
    wires: [Vec<u8>; LANES],
    inputs: [BytesMut; LANES],
    arrivals: Arrivals,
    events: Vec<Event>,
}

impl End {
    fn new(name: &str, side: Side, config: Config) -> Self {
        let mut session = Session::new(config, identity(name), side, Duration::ZERO);
        session.set_apart();
        let (wires, inputs) = Default::default();
        Self { session, wires, inputs, arrivals: Arrivals::default(), events: Vec::new() }
    }

    fn write(&mut self, now: Duration) {
        // The last of one lane may be what the System lane's farewell has waited for.
        while Lane::ALL.into_iter().any(|lane| self.session.wants_write_of(lane)) {
            for lane in Lane::ALL {
                while let Some(mut batch) = self.session.take_batch_of(now, lane) {
                    batch.seal(now);
                    self.wires[lane as usize].extend(batch.buffer().to_vec());
                    self.session.recycle(batch);
                }
            }
        }
        self.collect(now);
    }

    fn collect(&mut self, now: Duration) {
        while let Some(event) = self.session.poll_event() {
            if matches!(event, Event::Hello(_)) {
                self.session.accept(now);
            }
            self.events.push(event);
        }
    }

    fn feed(&mut self, now: Duration, lane: Lane, bytes: &[u8]) {
        let input = &mut self.inputs[lane as usize];
        input.extend_from_slice(bytes);
        self.arrivals.begin_lane(lane);
        loop {
            let more = self.arrivals.read(self.session.terms(), input);
            self.session.handle_arrivals(now, &mut self.arrivals);
            if !more {
                break;
            }
        }
        self.collect(now);
    }

    fn pop_all(&mut self) -> Vec<Inbound> {
        let session = &mut self.session;
        Lane::ALL
            .into_iter()
            .flat_map(|lane| std::iter::from_fn(|| session.poll_message(lane)).collect::<Vec<_>>())
            .collect()
    }

    fn closed(&self) -> Option<CloseReason> {
        self.events.iter().find_map(|event| match event {
            Event::Closed(reason) => Some(*reason),
            _ => None,
        })
    }
}

struct Pair {
    now: Duration,
    dice: Dice,
    dialer: End,
    acceptor: End,
}

impl Pair {
    fn up(seed: u64) -> Self {
        let config = Config { batch_bytes: 4096, frame_bytes_max: 8192, ..Config::default() };
        let dialer = End::new("dialer", Side::Dialer { target: None }, config.clone());
        let acceptor = End::new("acceptor", Side::Acceptor, config);
        let mut pair = Self { now: Duration::ZERO, dice: Dice(seed), dialer, acceptor };
        pair.drive(|_| {});
        assert!(pair.dialer.session.is_up() && pair.acceptor.session.is_up());
        pair
    }

    /// Moves some of one stream, chosen by the dice. Returns whether there was something.
    fn step(&mut self) -> bool {
        self.dialer.write(self.now);
        self.acceptor.write(self.now);
        let mut choices = Vec::new();
        for lane in Lane::ALL {
            choices.extend(
                (!self.dialer.wires[lane as usize].is_empty() && !is_closed(&self.acceptor, lane))
                    .then_some((true, lane)),
            );
            choices.extend(
                (!self.acceptor.wires[lane as usize].is_empty() && !is_closed(&self.dialer, lane))
                    .then_some((false, lane)),
            );
        }
        if choices.is_empty() {
            return false;
        }
        let (to_acceptor, lane) = choices[self.dice.below(choices.len())];
        let (from, to) = match to_acceptor {
            true => (&mut self.dialer, &mut self.acceptor),
            false => (&mut self.acceptor, &mut self.dialer),
        };
        let wire = &mut from.wires[lane as usize];
        let count = 1 + self.dice.below(wire.len().min(5000));
        let bytes: Vec<u8> = wire.drain(..count).collect();
        to.feed(self.now, lane, &bytes);
        true
    }

    /// Until both are silent; each time something has moved, the acceptor's owner has a look.
    fn drive(&mut self, mut look: impl FnMut(&mut End)) {
        for _ in 0..100_000 {
            let moved = self.step();
            look(&mut self.acceptor);
            if !moved && !self.step() {
                return;
            }
        }
        panic!("the two never fall silent");
    }

    fn request(&mut self, lane: Lane, bytes: usize) -> RequestId {
        let id = self.dialer.session.request(on(lane), &message(bytes)).expect("credits");
        self.dialer.session.tell_time(self.now);
        id
    }
}

/// Whether a driver would leave this stream unread.
fn is_closed(end: &End, lane: Lane) -> bool {
    match lane {
        Lane::System => end.session.is_fenced(),
        _ => !end.session.terms().is_up(),
    }
}

fn reply_to_all(acceptor: &mut End) {
    for inbound in acceptor.pop_all() {
        acceptor.session.reply(inbound.id, &answer("done")).expect("small enough");
    }
}

#[test]
fn an_acceptor_that_drains_finishes_what_the_dialer_has_accepted_in_whatever_order_the_lanes_arrive() {
    for seed in 0..200 {
        let mut pair = Pair::up(seed);
        let mut ids = Vec::new();
        for number in 0..40 {
            let lane = Lane::ALL[pair.dice.below(LANES)];
            // As many as there are credits for.
            ids.extend(pair.dialer.session.request(on(lane), &message([10, 1000, 9000][number % 3])));
            pair.dialer.session.tell_time(pair.now);
        }
        assert!(ids.len() > 20);
        for _ in 0..pair.dice.below(50) {
            pair.step();
        }
        pair.acceptor.session.drain(pair.now);
        pair.drive(reply_to_all);
        for id in ids {
            let outcome = pair.dialer.session.take_outcome(id).expect("it has ended");
            outcome.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
        assert_eq!(pair.acceptor.closed(), Some(CloseReason::Local), "seed {seed}");
        assert!(
            pair.dialer.closed().is_some_and(|reason| reason.is_orderly()),
            "seed {seed}: {:?}",
            pair.dialer.closed()
        );
    }
}

#[test]
fn a_dialer_that_drains_loses_no_message_in_whatever_order_the_lanes_arrive() {
    for seed in 0..200 {
        let mut pair = Pair::up(seed);
        for _ in 0..60 {
            let lane = Lane::ALL[pair.dice.below(LANES)];
            pair.dialer.session.one_way(lane, &message(2000)).expect("credits");
        }
        pair.dialer.session.drain(pair.now);
        let mut taken = 0;
        pair.drive(|acceptor| {
            for inbound in acceptor.pop_all() {
                acceptor.session.finish(inbound.id);
                taken += 1;
            }
        });
        assert_eq!(taken, 60, "seed {seed}");
        assert_eq!(pair.acceptor.closed(), Some(CloseReason::Peer(CloseCode::Normal)), "seed {seed}");
    }
}

#[test]
fn a_farewell_waits_for_what_was_sent_before_it() {
    let mut pair = Pair::up(1);
    pair.dialer.session.one_way(Lane::Bulk, &message(100)).expect("credits");
    pair.dialer.session.drain(pair.now);
    pair.dialer.write(pair.now);
    let [system, .., bulk] = std::mem::take(&mut pair.dialer.wires);
    pair.acceptor.feed(pair.now, Lane::System, &system);
    assert!(pair.acceptor.session.is_fenced() && pair.acceptor.closed().is_none(), "the message is not here yet");
    pair.acceptor.feed(pair.now, Lane::Bulk, &bulk);
    assert_eq!(pair.acceptor.closed(), Some(CloseReason::Peer(CloseCode::Normal)));
    assert_eq!(pair.acceptor.pop_all().len(), 1);
}

#[test]
fn a_farewell_that_waits_in_vain_is_one_all_the_same() {
    let mut pair = Pair::up(1);
    pair.dialer.session.one_way(Lane::Bulk, &message(100)).expect("credits");
    pair.dialer.session.drain(pair.now);
    pair.dialer.write(pair.now);
    let system = std::mem::take(&mut pair.dialer.wires[Lane::System as usize]);
    pair.acceptor.feed(pair.now, Lane::System, &system);
    pair.acceptor.session.handle_lost(Loss::Eof);
    pair.acceptor.collect(pair.now);
    assert_eq!(pair.acceptor.closed(), Some(CloseReason::Peer(CloseCode::Normal)));
}

#[test]
fn a_request_is_given_up_on_its_own_lane_and_never_before_it_came() {
    for seed in 0..50 {
        let mut pair = Pair::up(seed);
        let (small, large) = (pair.request(Lane::Bulk, 10), pair.request(Lane::Replication, 60_000));
        for _ in 0..pair.dice.below(20) {
            pair.step();
        }
        pair.dialer.session.cancel(pair.now, small);
        pair.dialer.session.cancel(pair.now, large);
        let after = pair.request(Lane::Replication, 60_000);
        pair.drive(reply_to_all);
        assert_eq!((pair.dialer.closed(), pair.acceptor.closed()), (None, None), "seed {seed}");
        assert!(matches!(pair.dialer.session.take_outcome(after), Some(Ok(_))), "seed {seed}");
        assert_eq!(pair.acceptor.session.inbound_open(), 0, "seed {seed}");
    }
}

#[test]
fn a_late_lane_holds_up_no_other() {
    let mut pair = Pair::up(1);
    let (late, quick) = (pair.request(Lane::Bulk, 10), pair.request(Lane::Interactive, 10));
    pair.dialer.write(pair.now);
    let quick_bytes = std::mem::take(&mut pair.dialer.wires[Lane::Interactive as usize]);
    pair.acceptor.feed(pair.now, Lane::Interactive, &quick_bytes);
    reply_to_all(&mut pair.acceptor);
    pair.acceptor.write(pair.now);
    let reply = std::mem::take(&mut pair.acceptor.wires[Lane::Interactive as usize]);
    pair.dialer.feed(pair.now, Lane::Interactive, &reply);
    assert!(matches!(pair.dialer.session.take_outcome(quick), Some(Ok(_))));
    assert_eq!(pair.dialer.session.take_outcome(late), None);
}

#[test]
fn a_frame_on_another_lanes_stream_ends_the_connection() {
    let astray = CloseReason::Protocol("a frame on another lane's stream");
    let ping = control(&rdb_net_wire::Ping { token: 1 });
    let request = frame(&message(10), Flags::default(), Lane::Interactive, 1 << 32);
    for (on, bytes, expected) in [
        (Lane::Bulk, &request, Some(astray)),
        (Lane::System, &request, Some(astray)),
        (Lane::Interactive, &request, None),
        (Lane::Interactive, &ping, Some(astray)),
        (Lane::System, &ping, None),
    ] {
        let mut pair = Pair::up(1);
        let waiting = pair.request(Lane::Interactive, 10);
        pair.acceptor.feed(pair.now, on, bytes);
        assert_eq!(pair.acceptor.closed(), expected, "on {on:?}");
        if expected.is_some() {
            pair.drive(|_| {});
            assert_eq!(pair.dialer.closed(), Some(CloseReason::Peer(CloseCode::State)));
            let error = pair.dialer.session.take_outcome(waiting).expect("ended").expect_err("lost");
            assert_eq!((error.effect, error.reason), (Effect::Unknown, Reason::ConnectionLost));
        }
    }
}

#[test]
fn a_fence_that_is_never_reached_holds_no_more_than_one_read_and_the_connection_no_longer_than_it_is_alive() {
    let mut pair = Pair::up(1);
    let fence = control(&Fence { sent_bytes: vec![0, u64::MAX, 0, 0] });
    pair.acceptor.feed(pair.now, Lane::System, &[fence, control(&rdb_net_wire::Ping { token: 1 })].concat());
    assert!(pair.acceptor.session.is_fenced());
    // Nothing more of that stream is read, so nothing more is held; a peer that says nothing else is silent.
    for _ in 0..100 {
        pair.now += SECOND;
        pair.acceptor.session.handle_timeout(pair.now);
        pair.acceptor.collect(pair.now);
    }
    assert_eq!(pair.acceptor.closed(), Some(CloseReason::Silent));
}

#[test]
fn a_fence_means_nothing_where_one_stream_carries_all_lanes() {
    let mut pair = super::pair::Pair::up(Config::default());
    pair.acceptor.feed(pair.now, &control(&Fence { sent_bytes: vec![u64::MAX; 4] }));
    let id = pair.request(on(Lane::Interactive));
    pair.drive();
    pair.reply_to_all();
    pair.drive();
    assert!(matches!(pair.outcome(id), Some(Ok(_))));
}
