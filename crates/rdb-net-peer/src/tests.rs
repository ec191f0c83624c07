//! The machine, one sentence a test.

mod dialing;
mod random;
mod recycling;
mod slots;

use std::time::Duration;

use crate::{Action, Epoch, Peer, PeerConfig, Slot};

const FIRST: Slot = Slot::FIRST;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn peer() -> Peer {
    Peer::new(PeerConfig::default(), 7)
}

/// Brings the slot's connection up.
#[track_caller]
fn bring_up(peer: &mut Peer, now: Duration, slot: Slot) -> Epoch {
    peer.want(now, slot).expect("it does not rest");
    assert_eq!(peer.poll_action(now), Action::Dial(slot));
    peer.handle_up(now, slot)
}

#[track_caller]
fn next_timeout(peer: &mut Peer, now: Duration) -> Duration {
    match peer.poll_action(now) {
        Action::WaitUntil(at) if at > now => at,
        action => panic!("{action:?} at {now:?}"),
    }
}
