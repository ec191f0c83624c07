//! When a peer is dialled, and how long it is left alone.

use proptest::prelude::*;
use rdb_net_session::{CloseReason, Loss};
use rdb_net_types::{RefusalReason, SeededRandom};
use rdb_net_wire::CloseCode;

use super::{FIRST, bring_up, ms, next_timeout, peer, secs};
use crate::{Action, Backoff, BackoffConfig, DialFailure, Failure, Peer, PeerConfig, Slot, State};

const FAREWELL: CloseReason = CloseReason::Peer(CloseCode::Shutdown);
const RESET: CloseReason = CloseReason::Lost(Loss::Reset);

#[test]
fn nothing_is_dialled_until_somebody_wants_it() {
    let mut peer = peer();
    assert_eq!(peer.poll_action(ms(0)), Action::None);
    assert_eq!(peer.want(ms(0), FIRST), Ok(()));
    assert_eq!(peer.poll_action(ms(0)), Action::Dial(FIRST));
    assert_eq!(peer.poll_action(ms(0)), Action::None, "one dial at a time");
}

#[test]
fn a_failed_dial_is_told_at_once_until_the_next_is_due() {
    let mut peer = peer();
    peer.want(ms(0), FIRST).expect("idle");
    peer.poll_action(ms(0));
    peer.handle_dial_failed(ms(1), FIRST, DialFailure::Refused);
    for slot in [FIRST, Slot::Bulk] {
        assert_eq!(peer.want(ms(2), slot), Err(Failure::Dial(DialFailure::Refused)));
    }
    assert_eq!(peer.poll_action(ms(2)), Action::None, "nobody waits, so nothing is dialled");
    let State::Waiting { until, .. } = peer.state() else { panic!("waits") };
    assert_eq!(peer.want(until, FIRST), Ok(()));
    assert_eq!(peer.poll_action(until), Action::Dial(FIRST));
}

#[test]
fn a_kept_peer_is_dialled_again_and_again() {
    let mut peer = peer();
    peer.keep(true);
    let mut now = ms(0);
    for _ in 0..20 {
        assert_eq!(peer.poll_action(now), Action::Dial(FIRST));
        peer.handle_dial_failed(now, FIRST, DialFailure::TimedOut);
        let until = next_timeout(&mut peer, now);
        assert!(until <= now + secs(10));
        now = until;
    }
}

#[test]
fn a_kept_connection_that_is_lost_is_made_anew_at_once() {
    let mut peer = peer();
    peer.keep(true);
    peer.poll_action(ms(0));
    let epoch = peer.handle_up(ms(1), FIRST);
    peer.handle_ended(ms(9), FIRST, epoch, RESET);
    assert_eq!(peer.poll_action(ms(9)), Action::Dial(FIRST));
}

#[test]
fn a_peer_that_said_farewell_is_left_alone_for_a_moment_and_callers_wait() {
    let mut waits = Vec::new();
    for seed in 0..50 {
        let mut peer = Peer::new(PeerConfig::default(), seed);
        let epoch = bring_up(&mut peer, ms(0), FIRST);
        peer.handle_ended(ms(9), FIRST, epoch, FAREWELL);
        assert_eq!(peer.want(ms(9), FIRST), Ok(()), "it is not known to be away");
        let until = next_timeout(&mut peer, ms(9));
        assert!(until <= ms(9 + 50));
        assert_eq!(peer.poll_action(until), Action::Dial(FIRST));
        waits.push(until);
    }
    waits.sort();
    waits.dedup();
    assert!(waits.len() > 40, "they do not come back together");
}

#[test]
fn a_peer_whose_connections_do_not_last_is_dialled_ever_more_seldom() {
    let mut peer = peer();
    peer.keep(true);
    let (mut now, mut dials) = (ms(0), 0);
    while now < secs(100) {
        assert_eq!(peer.poll_action(now), Action::Dial(FIRST));
        dials += 1;
        let epoch = peer.handle_up(now, FIRST);
        peer.handle_ended(now + ms(1), FIRST, epoch, RESET);
        now += ms(1);
        if let Action::WaitUntil(until) = peer.poll_action(now) {
            now = until;
        } else {
            assert_eq!(dials, 1, "only the first loss is answered at once");
            peer.handle_dial_dropped(FIRST);
        }
    }
    assert!(dials < 60, "{dials} dials in 100 s");
}

#[test]
fn a_connection_that_was_stable_begins_a_new_series() {
    let mut peer = peer();
    peer.keep(true);
    let mut now = ms(0);
    for _ in 0..10 {
        assert_eq!(peer.poll_action(now), Action::Dial(FIRST));
        peer.handle_dial_failed(now, FIRST, DialFailure::TimedOut);
        now = next_timeout(&mut peer, now);
    }
    assert_eq!(peer.poll_action(now), Action::Dial(FIRST));
    let epoch = peer.handle_up(now, FIRST);
    now += secs(31);
    peer.handle_ended(now, FIRST, epoch, RESET);
    assert_eq!(peer.poll_action(now), Action::Dial(FIRST));
    peer.handle_dial_failed(now, FIRST, DialFailure::Refused);
    assert_eq!(next_timeout(&mut peer, now), now + ms(50));
}

#[test]
fn a_peer_that_was_given_up_is_not_dialled_again() {
    let mut peer = peer();
    peer.keep(true);
    peer.want(ms(0), FIRST).expect("idle");
    peer.give_up();
    assert_eq!(peer.poll_action(ms(0)), Action::None);
}

#[test]
fn a_refused_hello_is_not_repeated_blindly() {
    let mut peer = peer();
    peer.keep(true);
    peer.poll_action(ms(0));
    peer.handle_dial_ended(ms(5), FIRST, CloseReason::Refused(RefusalReason::Cluster));
    assert_eq!(peer.poll_action(ms(5)), Action::WaitUntil(ms(5) + PeerConfig::default().refused_wait));
    assert_eq!(peer.want(ms(6), FIRST), Err(Failure::Hello(RefusalReason::Cluster)));
    peer.hurry(ms(7));
    assert_eq!(peer.poll_action(ms(7)), Action::Dial(FIRST), "unless something has changed");
}

proptest! {
    #[test]
    fn every_wait_is_within_its_bounds(seed: u64, shortest_ms in 1..500u64, span_ms in 0..60_000u64) {
        let config = BackoffConfig { shortest: ms(shortest_ms), longest: ms(shortest_ms + span_ms) };
        let mut backoff = Backoff::new(config, SeededRandom::new(seed));
        for _ in 0..50 {
            let wait = backoff.next_wait();
            prop_assert!(wait >= config.shortest && wait <= config.longest);
        }
    }
}
