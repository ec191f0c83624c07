//! Requests that were written without the session: they arrive, they end, and they spend no credits that nobody granted.

use rdb_net_types::{Effect, Lane, Reason};

use super::pair::{MILLISECOND, Pair, SECOND, message, on, ring, within};
use crate::{Config, Outbox, Outcome, RequestId, SendError};

/// A pair that is up, and outboxes of its dialer that were collected once.
fn pair_with_outboxes(acceptor: Config, count: u32) -> (Pair, Vec<Outbox>) {
    let mut pair = Pair::new(Config::default(), acceptor);
    let mut outboxes = pair.dialer.session.outboxes(count);
    assert_eq!(outboxes[0].request(on(Lane::Interactive), &message(1)), Err(SendError::NotUp));
    pair.drive();
    collect(&mut pair, &mut outboxes);
    (pair, outboxes)
}

fn collect(pair: &mut Pair, outboxes: &mut [Outbox]) {
    outboxes.iter_mut().for_each(|outbox| pair.dialer.session.collect(pair.now, outbox));
}

/// The outcomes that have come, told to the outboxes.
fn ended(pair: &mut Pair, outboxes: &mut [Outbox]) -> Vec<(RequestId, Outcome)> {
    let mut ended = Vec::new();
    pair.dialer.session.drain_ended(&mut ended);
    ended
        .iter()
        .for_each(|(id, _)| assert_eq!(outboxes.iter_mut().filter_map(|it| it.end(*id).then_some(())).count(), 1));
    ended
}

/// The outcomes that have come, of the session's own requests too.
fn all_ended(pair: &mut Pair, outboxes: &mut [Outbox]) -> Vec<Outcome> {
    let mut ids = Vec::new();
    pair.dialer.session.drain_completed(&mut ids);
    let own = ids.into_iter().filter_map(|id| pair.dialer.session.take_outcome(id)).collect::<Vec<_>>();
    ended(pair, outboxes).into_iter().map(|(_, outcome)| outcome).chain(own).collect()
}

#[test]
fn requests_of_several_outboxes_and_of_the_session_never_share_an_id() {
    let (mut pair, mut outboxes) = pair_with_outboxes(Config::default(), 3);
    for round in 0..3 {
        let mut ids: Vec<RequestId> = outboxes
            .iter_mut()
            .flat_map(|outbox| {
                [(); 5].map(|()| outbox.request(on(Lane::Interactive), &message(round)).expect("credits"))
            })
            .collect();
        ids.extend([(); 5].map(|()| pair.request(on(Lane::System))));
        let mut distinct = ids.clone();
        distinct.sort_by_key(|id| id.slot());
        distinct.dedup_by_key(|id| id.slot());
        assert_eq!((ids.len(), distinct.len()), (20, 20));
        collect(&mut pair, &mut outboxes);
        pair.drive();
        assert_eq!(pair.reply_to_all(), 20);
        pair.drive();
        let own: Vec<_> = ids[15..].iter().map(|id| pair.outcome(*id).expect("ended")).collect();
        let others = ended(&mut pair, &mut outboxes);
        assert!(own.iter().all(Result::is_ok) && others.iter().all(|(_, outcome)| outcome.is_ok()));
        assert_eq!(others.len(), 15);
    }
    assert_eq!(pair.dialer.session.requests_in_flight(), 0);
}

#[test]
fn a_request_that_was_given_up_before_it_was_collected_is_not_sent() {
    let (mut pair, mut outboxes) = pair_with_outboxes(Config::default(), 1);
    let [first, second, third] = [(); 3].map(|()| outboxes[0].request(on(Lane::Interactive), &message(9)).expect("ok"));
    assert!(outboxes[0].abandon(second) && !outboxes[0].abandon(second));
    assert!(!pair.dialer.session.cancel(pair.now, second), "the session has never heard of it");
    collect(&mut pair, &mut outboxes);
    assert!(!outboxes[0].end(second), "collecting ends it");
    pair.drive();
    let arrived: Vec<_> = pair.acceptor.pop_all().iter().map(|inbound| inbound.id.correlation()).collect();
    assert_eq!(arrived, [first.correlation(), third.correlation()]);
}

#[test]
fn a_request_that_was_given_up_after_it_was_collected_is_cancelled() {
    let (mut pair, mut outboxes) = pair_with_outboxes(Config::default(), 1);
    let id = outboxes[0].request(on(Lane::Interactive), &message(9)).expect("credits");
    collect(&mut pair, &mut outboxes);
    pair.drive();
    assert!(outboxes[0].abandon(id) && pair.dialer.session.cancel(pair.now, id));
    assert!(!outboxes[0].end(id), "nobody waits for it");
    pair.drive();
    let cancelled = |event: &crate::Event| matches!(event, crate::Event::Cancelled { correlation } if *correlation == id.correlation());
    assert_eq!(pair.acceptor.count(cancelled), 1);
    assert_eq!((pair.reply_to_all(), pair.acceptor.session.inbound_open()), (0, 0), "its handler had not begun");
}

#[test]
fn what_is_in_an_outbox_when_the_connection_ends_was_not_sent() {
    for drains in [true, false] {
        let (mut pair, mut outboxes) = pair_with_outboxes(Config::default(), 2);
        let ids = [0, 1].map(|which| outboxes[which].request(on(Lane::Interactive), &message(1)).expect("credits"));
        let reason = if drains {
            // Something under way keeps the connection.
            pair.request(on(Lane::Interactive));
            pair.drive();
            pair.acceptor.session.drain(pair.now);
            pair.drive();
            Reason::Draining
        } else {
            pair.dialer.session.handle_lost(crate::Loss::Reset);
            Reason::ConnectionLost
        };
        collect(&mut pair, &mut outboxes);
        let ended = ended(&mut pair, &mut outboxes);
        assert_eq!(ended.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids);
        for (_, outcome) in ended {
            let error = outcome.expect_err("not sent");
            assert_eq!((error.effect, error.reason), (Effect::NotSent, reason));
        }
        assert_eq!(outboxes[0].request(on(Lane::Interactive), &message(1)), Err(SendError::NotUp));
    }
}

#[test]
fn the_time_of_a_request_counts_from_when_it_is_collected() {
    let (mut pair, mut outboxes) = pair_with_outboxes(Config::default(), 1);
    let id = outboxes[0].request(within(10 * MILLISECOND), &message(1)).expect("credits");
    pair.now = SECOND;
    collect(&mut pair, &mut outboxes);
    assert_eq!(pair.dialer.session.poll_timeout(), Some(SECOND + 10 * MILLISECOND));
    pair.now += 10 * MILLISECOND;
    ring(&mut pair.dialer, pair.now);
    let ended = ended(&mut pair, &mut outboxes);
    assert!(matches!(&ended[..], [(of, Err(error))] if *of == id && error.reason == Reason::Expired), "{ended:?}");
}

#[test]
fn what_was_written_before_the_other_side_drains_is_still_sent() {
    let (mut pair, mut outboxes) = pair_with_outboxes(Config::default(), 2);
    let id = outboxes[1].request(on(Lane::Interactive), &message(1)).expect("credits");
    pair.acceptor.session.drain(pair.now);
    pair.acceptor.write_all(pair.now);
    pair.feed_dialer();
    collect(&mut pair, &mut outboxes);
    assert_eq!(outboxes[1].request(on(Lane::Interactive), &message(1)), Err(SendError::NotUp));
    pair.drive();
    assert_eq!(pair.reply_to_all(), 1);
    pair.drive();
    let ended = ended(&mut pair, &mut outboxes);
    assert!(matches!(&ended[..], [(of, Ok(_))] if *of == id), "{ended:?}");
}

#[test]
fn outboxes_that_are_not_used_starve_nobody() {
    for lane in [Lane::System, Lane::Interactive] {
        for used in [None, Some(0), Some(7)] {
            let (mut pair, mut outboxes) = pair_with_outboxes(Config::default(), 8);
            for round in 0..5000 {
                let own = used.and_then(|used: usize| outboxes[used].request(on(lane), &message(4000)).ok());
                if own.is_none() {
                    pair.dialer.session.request(on(lane), &message(4000)).unwrap_or_else(|error| {
                        panic!("round {round} on {lane:?}, with {used:?}: {error}");
                    });
                }
                if let Some(used) = used {
                    pair.dialer.session.collect(pair.now, &mut outboxes[used]);
                }
                pair.drive();
                assert_eq!(pair.reply_to_all(), 1);
                pair.drive();
                assert!(all_ended(&mut pair, &mut outboxes).iter().all(Result::is_ok));
            }
        }
    }
}

#[test]
fn a_grant_that_was_small_grows_when_credits_are_back() {
    let narrow = Config { frame_bytes_max: 4096, lane_credit_bytes: [40_000; 4], ..Config::default() };
    let (mut pair, mut outboxes) = pair_with_outboxes(narrow, 1);
    while pair.dialer.session.request(on(Lane::Interactive), &message(3900)).is_ok() {}
    // A small request still fits; the grant behind it is what is left, which is nothing.
    assert!(outboxes[0].request(on(Lane::Interactive), &message(1)).is_ok());
    collect(&mut pair, &mut outboxes);
    assert_eq!(outboxes[0].request(on(Lane::Interactive), &message(3000)), Err(SendError::NoCredit));
    pair.drive();
    pair.reply_to_all();
    pair.drive();
    collect(&mut pair, &mut outboxes);
    assert!(outboxes[0].request(on(Lane::Interactive), &message(3000)).is_ok());
}

#[test]
fn outboxes_and_session_together_never_overdraw_the_credits() {
    let narrow = Config { frame_bytes_max: 4096, lane_credit_bytes: [40_000; 4], ..Config::default() };
    let (mut pair, mut outboxes) = pair_with_outboxes(narrow, 4);
    let (mut refused, mut sent) = (0, 0);
    for round in 0..2000_usize {
        // Sizes that differ, so that the credits end at every place of a message.
        let bytes = (round * 37) % 3900;
        let which = round % 5;
        let result = match outboxes.get_mut(which) {
            Some(outbox) => outbox.request(on(Lane::Interactive), &message(bytes)),
            None => pair.dialer.session.request(on(Lane::Interactive), &message(bytes)),
        };
        match result {
            Ok(_) => sent += 1,
            Err(error) => {
                assert!(matches!(error, SendError::NoCredit | SendError::NoSlot), "{error}");
                refused += 1;
            }
        }
        if round % 7 == 0 {
            collect(&mut pair, &mut outboxes);
            pair.drive();
        }
        if round % 31 == 0 {
            pair.reply_to_all();
            pair.drive();
            assert!(all_ended(&mut pair, &mut outboxes).iter().all(Result::is_ok));
        }
        assert_eq!(pair.acceptor.close_reason(), None, "the acceptor admits all that was sent");
    }
    assert!(sent > 300 && refused > 300, "{sent} sent, {refused} refused");
}
