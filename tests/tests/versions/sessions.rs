//! One behaviour of a mixed pair after the other, each with either version as the dialer.

use std::time::Duration;

use rdb_net_types::{
    ClusterMessage, CommitTransaction, Effect, Lane, OverloadScope, Reason, TransactionAck, TransactionId,
};

use crate::end::{Arrived, Limits};
use crate::pair::{BOTH, Dials, Pair, log, plain, prepare};

const SECOND: Duration = Duration::from_secs(1);

fn ack(id: u128) -> ClusterMessage {
    TransactionAck { txn_id: TransactionId(id) }.into()
}

/// The lane that a message of this lane travels on between the two.
fn carrier(lane: Lane) -> Lane {
    if lane == Lane::System { Lane::System } else { Lane::Interactive }
}

#[test]
fn the_hello_is_accepted_and_may_arrive_in_single_bytes() {
    for dials in BOTH {
        for seed in 0..20 {
            let mut pair = Pair::new(dials, Limits::default(), seed);
            pair.drive();
            assert!(pair.dialer.is_up() && pair.acceptor.is_up(), "{dials:?}");
            pair.check_honest();
        }
    }
}

#[test]
fn requests_and_one_way_messages_of_all_lanes_arrive_and_are_answered() {
    for dials in BOTH {
        let mut pair = Pair::up(dials, Limits::default());
        for lane in Lane::ALL {
            let asked: ClusterMessage = CommitTransaction { txn_id: TransactionId(lane as u128) }.into();
            let correlation = pair.dialer.request(pair.now, lane, Some(SECOND), &asked).expect("taken");
            assert!(pair.dialer.one_way(lane, &plain(10_000)));
            pair.drive();
            let [request, one_way] = <[Arrived; 2]>::try_from(pair.acceptor.arrived()).expect("both are here");
            assert_eq!((request.correlation, request.lane), (correlation, carrier(lane)), "{dials:?}");
            assert_eq!((request.message, one_way.message), (asked, plain(10_000)), "{dials:?}");
            assert_eq!((one_way.correlation, one_way.lane), (0, carrier(lane)), "{dials:?}");
            pair.acceptor.reply(request.number, &plain(9000));
            pair.acceptor.finish(one_way.number);
            pair.drive();
            let ClusterMessage::Application(answer) = plain(9000) else { unreachable!("it is one") };
            let expected = (answer.message_type, answer.payload.into_bytes().to_vec());
            assert_eq!(pair.dialer.outcomes(), [(correlation, Ok(expected))], "{dials:?}");
        }
        pair.check_honest();
        assert_eq!((pair.dialer.open(), pair.acceptor.open()), (0, 0));
    }
}

#[test]
fn a_message_that_fits_no_frame_is_refused_by_its_sender() {
    for dials in BOTH {
        let mut pair = Pair::up(dials, Limits::default());
        assert_eq!(pair.dialer.request(pair.now, Lane::Bulk, None, &plain(1 << 20)), None);
        assert!(!pair.dialer.one_way(Lane::Bulk, &plain(1 << 20)));
        assert!(pair.dialer.one_way(Lane::Bulk, &plain(10)), "the lane is not harmed");
        pair.drive();
        assert_eq!(pair.acceptor.arrived().len(), 1);
        pair.check_honest();
    }
}

#[test]
fn errors_are_told_and_a_deadline_passes() {
    for dials in BOTH {
        let mut pair = Pair::up(dials, Limits::default());
        for reason in [Reason::HandlerFailed, Reason::UnknownType, Reason::Malformed, Reason::HandlerPanicked] {
            let correlation = pair.dialer.request(pair.now, Lane::Bulk, None, &ack(1)).expect("taken");
            pair.drive();
            let arrived = pair.acceptor.arrived();
            pair.acceptor.reply_error(arrived[0].number, reason);
            pair.drive();
            assert_eq!(pair.dialer.outcomes(), [(correlation, Err((Effect::Unknown, reason)))], "{dials:?}");
        }
        let correlation = pair.dialer.request(pair.now, Lane::Bulk, Some(SECOND / 2), &ack(1)).expect("taken");
        pair.drive();
        pair.advance(SECOND);
        assert_eq!(pair.dialer.outcomes(), [(correlation, Err((Effect::Unknown, Reason::Expired)))], "{dials:?}");
        // The answer that nobody waits for any more harms nothing.
        let arrived = pair.acceptor.arrived();
        pair.acceptor.reply(arrived[0].number, &ack(1));
        pair.drive();
        pair.check_honest();
    }
}

#[test]
fn a_cancel_is_told_and_a_request_above_the_limit_is_refused_as_not_started() {
    for dials in BOTH {
        let mut pair = Pair::up(dials, Limits { requests_max: 2, ..Limits::default() });
        let given_up: Vec<u64> =
            (0..2).filter_map(|_| pair.dialer.request(pair.now, Lane::Interactive, None, &ack(1))).collect();
        assert_eq!(given_up.len(), 2);
        pair.drive();
        let arrived = pair.acceptor.arrived();
        given_up.iter().for_each(|correlation| pair.dialer.cancel(pair.now, *correlation));
        let beyond = pair.dialer.request(pair.now, Lane::Interactive, None, &ack(1)).expect("the slots are free");
        pair.drive();
        assert_eq!(pair.acceptor.cancelled(), given_up, "{dials:?}");
        // The first version has one word for this limit and that of memory.
        let refused = Err((Effect::NotStarted, Reason::Overloaded(OverloadScope::Process)));
        assert_eq!(pair.dialer.outcomes(), [(beyond, refused)], "{dials:?}");
        arrived.iter().for_each(|message| pair.acceptor.reply(message.number, &ack(1)));
        pair.drive();
        assert_eq!((pair.dialer.open(), pair.acceptor.open()), (0, 0));
        pair.check_honest();
    }
}

#[test]
fn silence_is_asked_about_and_answered() {
    for dials in BOTH {
        let mut pair = Pair::up(dials, Limits::default());
        let correlation = pair.dialer.request(pair.now, Lane::Interactive, None, &ack(1)).expect("taken");
        pair.advance(120 * SECOND);
        assert!(pair.dialer.is_up() && pair.acceptor.is_up(), "{dials:?}");
        let arrived = pair.acceptor.arrived();
        pair.acceptor.reply(arrived[0].number, &ack(1));
        pair.drive();
        assert!(matches!(&pair.dialer.outcomes()[..], [(ended, Ok(_))] if *ended == correlation), "{dials:?}");
        pair.check_honest();
    }
}

#[test]
fn a_drain_of_either_side_ends_everything_that_is_under_way() {
    for dials in BOTH {
        for acceptor_drains in [true, false] {
            let mut pair = Pair::up(dials, Limits::default());
            let request = |pair: &mut Pair| pair.dialer.request(pair.now, Lane::Interactive, None, &ack(1));
            let first = request(&mut pair).expect("taken");
            pair.drive();
            // One that the warning crosses on its way is still taken.
            let crossing = request(&mut pair).expect("taken");
            if acceptor_drains {
                pair.acceptor.drain(pair.now);
            } else {
                pair.dialer.drain(pair.now);
            }
            pair.drive();
            assert_eq!(request(&mut pair), None, "{dials:?}: no more are taken");
            let arrived = pair.acceptor.arrived();
            assert_eq!(arrived.len(), 2);
            arrived.iter().for_each(|message| pair.acceptor.reply(message.number, &ack(1)));
            pair.drive();
            let answered: Vec<u64> =
                pair.dialer.outcomes().iter().filter(|(_, outcome)| outcome.is_ok()).map(|(id, _)| *id).collect();
            assert_eq!(answered, [first, crossing], "{dials:?}");
            assert!(pair.dialer.ended().is_some() && pair.acceptor.ended().is_some(), "{dials:?}: it is over");
            pair.check_honest();
        }
    }
}

/// What is under way when a warned dialer holds much back: it says that it lives, and its messages still go out.
#[test]
fn a_drain_takes_what_was_accepted_before_it() {
    for dials in BOTH {
        let mut pair = Pair::up(dials, Limits::default());
        let sent = (0..200).take_while(|_| pair.dialer.one_way(Lane::Bulk, &plain(1000))).count();
        pair.acceptor.drain(pair.now);
        let mut taken = 0;
        for _ in 0..100 {
            pair.drive();
            for message in pair.acceptor.arrived() {
                taken += 1;
                pair.acceptor.finish(message.number);
            }
        }
        assert_eq!(taken, sent, "{dials:?}");
        assert!(pair.dialer.ended().is_some() && pair.acceptor.ended().is_some(), "{dials:?}: it is over");
        pair.check_honest();
    }
}

/// Messages of one kind, as many as credits let through, ended at random.
fn flood(dials: Dials, bytes: usize, message: impl Fn(u64) -> ClusterMessage) {
    let mut pair = Pair::up(dials, Limits { window_bytes: 64 * 1024, ..Limits::default() });
    let messages = (2_000_000 / bytes) as u64;
    let (mut sent, mut ended) = (0, 0);
    let mut open: Vec<Arrived> = Vec::new();
    while ended < messages {
        let before = (sent, ended);
        while sent < messages && pair.dialer.one_way(Lane::ALL[sent as usize % 4], &message(sent)) {
            sent += 1;
        }
        pair.drive();
        open.extend(pair.acceptor.arrived());
        pair.check_honest();
        let keeps = if pair.chance(0.5) { 0 } else { open.len() / 2 };
        while open.len() > keeps {
            let at = pair.index(open.len());
            pair.acceptor.finish(open.swap_remove(at).number);
            ended += 1;
        }
        pair.drive();
        assert!(before != (sent, ended) || !open.is_empty(), "{dials:?}: stuck after {sent} and {ended}");
    }
    pair.check_honest();
    assert_eq!(pair.acceptor.open(), 0);
}

#[test]
fn a_flood_through_small_credits_is_no_breach() {
    for dials in BOTH {
        flood(dials, 100, |_| plain(100));
        flood(dials, 7000, |number| plain(number as usize % 15_000));
    }
}

/// Their structs are many times larger in memory than on the wire, of which the first version knows nothing.
#[test]
fn a_flood_of_structs_that_are_large_in_memory_is_no_breach() {
    for dials in BOTH {
        flood(dials, 3000, |number| log(number, 900));
        flood(dials, 3000, |number| prepare(u128::from(number), 1400));
    }
}

#[test]
fn a_struct_of_an_old_dialer_that_there_is_no_memory_for_is_refused_and_harms_nothing() {
    let mut pair = Pair::up(Dials::Previous, Limits { budget_bytes: 30_000, ..Limits::default() });
    for round in 0..50 {
        assert!(pair.dialer.one_way(Lane::Replication, &log(round, 900)), "credits come back");
        let large = pair.dialer.request(pair.now, Lane::Replication, None, &log(round, 900)).expect("taken");
        let small = pair.dialer.request(pair.now, Lane::Replication, None, &log(round, 5)).expect("taken");
        pair.drive();
        let arrived = pair.acceptor.arrived();
        assert_eq!(arrived.iter().map(|message| message.correlation).collect::<Vec<_>>(), [small]);
        pair.acceptor.reply(arrived[0].number, &ack(1));
        pair.drive();
        let mut outcomes = pair.dialer.outcomes();
        outcomes.sort_by_key(|(correlation, _)| *correlation == small);
        let refused = Err((Effect::NotStarted, Reason::Overloaded(OverloadScope::Process)));
        assert_eq!(outcomes[0], (large, refused));
        assert!(outcomes[1].0 == small && outcomes[1].1.is_ok());
    }
    pair.check_honest();
}
