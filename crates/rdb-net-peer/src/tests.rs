//! The machine, one sentence a test.

use std::time::Duration;

use proptest::prelude::*;
use rdb_net_session::{CloseReason, Loss};
use rdb_net_types::{RefusalReason, SeededRandom};

use crate::{Action, Backoff, BackoffConfig, DialFailure, Failure, Peer, PeerConfig, State};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn peer() -> Peer {
    Peer::new(PeerConfig::default(), 7)
}

#[test]
fn nothing_is_dialled_until_somebody_wants_it() {
    let mut peer = peer();
    assert_eq!(peer.poll_action(ms(0)), Action::None);
    assert_eq!(peer.want(ms(0)), Ok(()));
    assert_eq!(peer.poll_action(ms(0)), Action::Dial);
    assert_eq!(peer.poll_action(ms(0)), Action::None, "one dial at a time");
}

#[test]
fn a_failed_dial_is_told_at_once_until_the_next_is_due() {
    let mut peer = peer();
    peer.want(ms(0)).expect("idle");
    peer.poll_action(ms(0));
    peer.handle_dial_failed(ms(1), DialFailure::Refused);
    assert_eq!(peer.want(ms(2)), Err(Failure::Dial(DialFailure::Refused)));
    assert_eq!(peer.poll_action(ms(2)), Action::None, "nobody waits, so nothing is dialled");
    let State::Waiting { until, .. } = peer.state() else { panic!("waits") };
    assert_eq!(peer.want(until), Ok(()));
    assert_eq!(peer.poll_action(until), Action::Dial);
}

#[test]
fn a_kept_peer_is_dialled_again_and_again() {
    let mut peer = peer();
    peer.keep(true);
    let mut now = ms(0);
    for _ in 0..20 {
        assert_eq!(peer.poll_action(now), Action::Dial);
        peer.handle_dial_failed(now, DialFailure::TimedOut);
        let Action::WaitUntil(until) = peer.poll_action(now) else { panic!("waits") };
        assert!(until > now && until <= now + ms(3000));
        now = until;
    }
}

#[test]
fn a_kept_connection_that_is_lost_is_made_anew_at_once() {
    let mut peer = peer();
    peer.keep(true);
    peer.poll_action(ms(0));
    peer.handle_up(ms(1));
    peer.handle_ended(ms(9), CloseReason::Lost(Loss::Reset));
    assert_eq!(peer.poll_action(ms(9)), Action::Dial);
}

#[test]
fn a_peer_that_was_given_up_is_not_dialled_again() {
    let mut peer = peer();
    peer.keep(true);
    peer.want(ms(0)).expect("idle");
    peer.give_up();
    assert_eq!(peer.poll_action(ms(0)), Action::None);
}

#[test]
fn a_refused_hello_is_not_repeated_blindly() {
    let mut peer = peer();
    peer.keep(true);
    peer.poll_action(ms(0));
    peer.handle_ended(ms(5), CloseReason::Refused(RefusalReason::Cluster));
    assert_eq!(peer.poll_action(ms(5)), Action::WaitUntil(ms(5) + PeerConfig::default().refused_wait));
    assert_eq!(peer.want(ms(6)), Err(Failure::Hello(RefusalReason::Cluster)));
    peer.hurry(ms(7));
    assert_eq!(peer.poll_action(ms(7)), Action::Dial, "unless something has changed");
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
