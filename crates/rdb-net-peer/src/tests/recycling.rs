//! Idle connections close, old ones are replaced, and some give way.

use std::time::Duration;

use super::{FIRST, bring_up, ms, peer, secs};
use crate::{Action, DialFailure, Peer, PeerConfig, Slot};

/// Answers the machine's questions until it drains something or a time is over. Returns when it drained.
fn drained_at(
    peer: &mut Peer,
    from: Duration,
    to: Duration,
    mut was_used: impl FnMut(Duration) -> bool,
) -> Option<Duration> {
    let mut now = from;
    while now < to {
        match peer.poll_action(now) {
            Action::Look(slot) => peer.looked(now, slot, was_used(now)),
            Action::Drain(..) => return Some(now),
            Action::WaitUntil(at) => now = at,
            Action::None => return None,
            Action::Dial(slot) => panic!("{slot:?} is dialled at {now:?}"),
        }
    }
    None
}

/// Until the machine dials.
#[track_caller]
fn dialled_at(peer: &mut Peer, from: Duration) -> Duration {
    let mut now = from;
    loop {
        match peer.poll_action(now) {
            Action::Look(slot) => peer.looked(now, slot, false),
            Action::WaitUntil(at) => now = at,
            Action::Dial(FIRST) => return now,
            action => panic!("{action:?} at {now:?}"),
        }
    }
}

fn without_age(seed: u64) -> Peer {
    Peer::new(PeerConfig { age_max: None, ..PeerConfig::default() }, seed)
}

#[test]
fn an_idle_connection_closes_within_its_jittered_time() {
    let mut times = Vec::new();
    for seed in 0..50 {
        let mut peer = without_age(seed);
        bring_up(&mut peer, ms(0), FIRST);
        peer.looked(ms(0), FIRST, true);
        let at = drained_at(&mut peer, ms(0), secs(3600), |_| false).expect("it is idle");
        // 5 min ± 20 %, and 15 s more until it is found out.
        assert!((secs(240)..=secs(375)).contains(&at), "{at:?}");
        assert_eq!(peer.epoch(FIRST), None);
        assert_eq!(peer.poll_action(at), Action::None, "nobody wants another");
        times.push(at);
    }
    times.sort();
    assert!(times[49] - times[0] > secs(60), "not all at once");
}

#[test]
fn a_connection_that_was_never_used_closes_soon_but_not_while_it_is_kept() {
    let mut peer = without_age(1);
    bring_up(&mut peer, ms(0), FIRST);
    assert_eq!(drained_at(&mut peer, ms(0), secs(3600), |_| false), Some(secs(30)));

    let mut peer = without_age(1);
    peer.keep(true);
    let epoch = bring_up(&mut peer, secs(100), FIRST);
    assert_eq!(drained_at(&mut peer, secs(100), secs(3600), |_| false), None);
    peer.keep(false);
    let at = drained_at(&mut peer, secs(3600), secs(3700), |_| false).expect("there is nothing left that it is for");
    assert!(at <= secs(3615), "{at:?}");
    assert_ne!(peer.epoch(FIRST), Some(epoch));

    let config = PeerConfig { idle_timeout: Some(secs(8)), age_max: None, ..PeerConfig::default() };
    let mut peer = Peer::new(config, 1);
    bring_up(&mut peer, ms(0), FIRST);
    let at = drained_at(&mut peer, ms(0), secs(3600), |_| false).expect("the shorter time counts");
    assert!(at <= secs(13), "{at:?}");
}

#[test]
fn a_connection_that_is_used_stays_until_its_use_ends() {
    let mut peer = without_age(1);
    bring_up(&mut peer, ms(0), FIRST);
    let at = drained_at(&mut peer, ms(0), secs(36_000), |now| now < secs(10_000)).expect("it is idle at last");
    assert!((secs(10_000 + 240 - 15)..=secs(10_000 + 375)).contains(&at), "{at:?}");
}

#[test]
fn a_kept_connection_stays_and_closes_once_it_is_kept_no_more() {
    let mut peer = without_age(1);
    peer.keep(true);
    bring_up(&mut peer, ms(0), FIRST);
    bring_up(&mut peer, ms(0), Slot::Bulk);
    let at = drained_at(&mut peer, ms(0), secs(450), |_| false).expect("only the first connection is kept");
    assert_eq!((peer.epoch(FIRST).is_some(), peer.epoch(Slot::Bulk)), (true, None));
    assert_eq!(drained_at(&mut peer, at, secs(7200), |_| false), None);
    peer.keep(false);
    assert!(drained_at(&mut peer, secs(7200), secs(7300), |_| false).is_some());
}

#[test]
fn an_old_connection_is_replaced_before_it_drains() {
    for seed in 0..50 {
        let mut peer = Peer::new(PeerConfig { idle_timeout: None, ..PeerConfig::default() }, seed);
        peer.keep(true);
        let old = bring_up(&mut peer, ms(0), FIRST);
        let at = dialled_at(&mut peer, ms(0));
        assert!((secs(2880)..=secs(4320)).contains(&at), "{at:?}");
        assert!(matches!(peer.poll_action(at), Action::WaitUntil(_)), "one dial, and the old one serves on");
        assert_eq!(peer.epoch(FIRST), Some(old));
        let new = peer.handle_up(at + ms(5), FIRST);
        assert_eq!(new.0, old.0 + 1);
        assert_eq!(peer.poll_action(at + ms(5)), Action::Drain(FIRST, old));
        assert!(peer.is_kept());
        assert!(dialled_at(&mut peer, at + ms(5)) >= at + secs(2880));
    }
}

#[test]
fn an_old_connection_that_cannot_be_replaced_serves_on() {
    let mut peer = Peer::new(PeerConfig { idle_timeout: None, ..PeerConfig::default() }, 1);
    let old = bring_up(&mut peer, ms(0), FIRST);
    let mut now = ms(0);
    for _ in 0..5 {
        now = dialled_at(&mut peer, now);
        peer.handle_dial_failed(now, FIRST, DialFailure::TimedOut);
        assert_eq!((peer.epoch(FIRST), peer.want(now, FIRST)), (Some(old), Ok(())));
    }
    assert!(dialled_at(&mut peer, now) < secs(4400));
}

#[test]
fn without_times_nothing_is_recycled() {
    let config = PeerConfig { idle_timeout: None, age_max: None, ..PeerConfig::default() };
    let mut peer = Peer::new(config, 1);
    bring_up(&mut peer, ms(0), FIRST);
    assert_eq!(drained_at(&mut peer, ms(0), secs(1_000_000), |_| false), None);
}

#[test]
fn an_evicted_connection_drains_and_a_kept_one_is_not_offered() {
    let mut peer = peer();
    let epoch = bring_up(&mut peer, ms(3), FIRST);
    assert_eq!(peer.unused_since(FIRST), Some(ms(3)));
    peer.looked(ms(9), FIRST, true);
    assert_eq!(peer.unused_since(FIRST), Some(ms(9)));
    peer.keep(true);
    assert_eq!(peer.unused_since(FIRST), None);
    peer.keep(false);
    peer.evict(FIRST);
    assert_eq!(peer.poll_action(ms(10)), Action::Drain(FIRST, epoch));
    assert_eq!(peer.want(ms(10), FIRST), Ok(()));
    assert_eq!(peer.poll_action(ms(10)), Action::Dial(FIRST));
}
