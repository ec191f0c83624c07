//! Which message takes which connection, and how connections of one peer wait for each other.

use rdb_net_session::{CloseReason, Loss};
use rdb_net_types::Lane;

use super::{FIRST, bring_up, ms, peer, secs};
use crate::{Action, DialFailure, Epoch, Peer, PeerConfig, Slot, State};

fn striped(connections: u8) -> Peer {
    Peer::new(PeerConfig { connections, ..PeerConfig::default() }, 7)
}

#[test]
fn the_bulk_lane_has_its_own_connection_and_the_others_never_take_it() {
    for connections in [1, 4, 16] {
        for key in (0..1000).map(Some).chain([None]) {
            assert_eq!(Slot::of(connections, Lane::Bulk, key), Slot::Bulk);
            for lane in [Lane::System, Lane::Interactive, Lane::Replication] {
                let slot = Slot::of(connections, lane, key);
                assert!(matches!(slot, Slot::Main(number) if number < connections), "{slot:?}");
            }
        }
    }
}

#[test]
fn keys_spread_evenly_over_the_connections() {
    let mut counts = [0u32; 16];
    for key in 0..16_000 {
        let Slot::Main(number) = Slot::of(16, Lane::Interactive, Some(key)) else { panic!("a main connection") };
        counts[usize::from(number)] += 1;
    }
    assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
}

#[test]
fn slots_are_numbered_without_gaps() {
    for connections in 1..=16 {
        let numbers: Vec<usize> = Slot::all(connections).map(|slot| slot.index(connections)).collect();
        assert_eq!(numbers, (0..=usize::from(connections)).collect::<Vec<_>>());
    }
}

#[test]
fn each_slot_has_its_dial_and_nobody_dials_what_is_not_wanted() {
    let mut peer = striped(4);
    peer.want(ms(0), Slot::Main(2)).expect("idle");
    peer.want(ms(0), Slot::Bulk).expect("idle");
    assert_eq!(peer.poll_action(ms(0)), Action::Dial(Slot::Main(2)));
    assert_eq!(peer.poll_action(ms(0)), Action::Dial(Slot::Bulk));
    assert_eq!(peer.poll_action(ms(0)), Action::None);
}

#[test]
fn after_a_failure_one_dial_tries_before_the_others_follow() {
    let mut peer = striped(3);
    peer.want(ms(0), FIRST).expect("idle");
    peer.poll_action(ms(0));
    peer.handle_dial_failed(ms(0), FIRST, DialFailure::Refused);
    let now = secs(1);
    for number in 0..3 {
        peer.want(now, Slot::Main(number)).expect("the wait is over");
    }
    assert_eq!(peer.poll_action(now), Action::Dial(FIRST));
    assert_eq!(peer.poll_action(now), Action::None, "the others wait for it");
    peer.handle_up(now, FIRST);
    assert_eq!(peer.poll_action(now), Action::Dial(Slot::Main(1)));
    assert_eq!(peer.poll_action(now), Action::Dial(Slot::Main(2)));
}

#[test]
fn whoever_waits_for_a_dial_under_way_waits_on_when_another_fails() {
    let mut peer = striped(2);
    for number in 0..2 {
        peer.want(ms(0), Slot::Main(number)).expect("idle");
        assert_eq!(peer.poll_action(ms(0)), Action::Dial(Slot::Main(number)));
    }
    peer.handle_dial_failed(ms(1), Slot::Main(1), DialFailure::TimedOut);
    assert_eq!(peer.want(ms(1), FIRST), Ok(()));
    assert!(peer.want(ms(1), Slot::Main(1)).is_err());
    peer.handle_up(ms(2), FIRST);
    assert_eq!(peer.state(), State::Up { since: ms(2) });
    assert_eq!(peer.want(ms(2), Slot::Main(1)), Ok(()), "the peer is there");
}

#[test]
fn epochs_are_counted_by_slot() {
    let mut peer = striped(2);
    for round in 1..=3 {
        for slot in [FIRST, Slot::Main(1), Slot::Bulk] {
            assert_eq!(bring_up(&mut peer, secs(round * 40), slot), Epoch(round));
            assert_eq!(peer.epoch(slot), Some(Epoch(round)));
        }
        for slot in [FIRST, Slot::Main(1), Slot::Bulk] {
            peer.handle_ended(secs(round * 40 + 31), slot, Epoch(round), CloseReason::Lost(Loss::Eof));
            assert_eq!(peer.epoch(slot), None);
        }
        peer.hurry(secs(round * 40 + 40));
    }
}

#[test]
fn the_end_of_a_former_epoch_changes_nothing() {
    let mut peer = peer();
    let former = bring_up(&mut peer, ms(0), FIRST);
    peer.handle_ended(ms(1), FIRST, former, CloseReason::Local);
    let present = bring_up(&mut peer, ms(2), FIRST);
    peer.handle_ended(ms(3), FIRST, former, CloseReason::Lost(Loss::Reset));
    assert_eq!((peer.epoch(FIRST), present), (Some(Epoch(2)), Epoch(2)));
}

#[test]
fn a_lent_connection_ends_a_wait_and_its_dial_is_not_needed_any_more() {
    let mut peer = peer();
    peer.want(ms(0), FIRST).expect("idle");
    peer.poll_action(ms(0));
    assert!(peer.is_dial_needed(ms(1), FIRST));
    let epoch = peer.handle_lent(ms(1), FIRST);
    assert!(!peer.is_dial_needed(ms(1), FIRST));
    peer.handle_dial_dropped(FIRST);
    assert_eq!(peer.poll_action(secs(7200)), Action::None, "it is neither idle nor old");
    assert_eq!(peer.unused_since(FIRST), None, "and not evicted");
    peer.handle_ended(secs(7200), FIRST, epoch, CloseReason::Lost(Loss::Eof));
    assert_eq!(peer.want(secs(7200), FIRST), Ok(()));
    assert_eq!(peer.poll_action(secs(7200)), Action::Dial(FIRST));
}
