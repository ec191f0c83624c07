//! The machine as such: determinism, timers, and hostile bytes.

use proptest::prelude::*;
use rdb_net_types::{ClusterId, EvidenceKind};

use super::network::{Network, address, cluster, local, ms, secs};
use crate::{Config, DecodeError, DropReason, Event, Swim};

fn eventful_run(seed: u64) -> (u64, u64, Vec<Event>) {
    let mut net = Network::cluster_of(8, seed);
    net.loss = 0.1;
    net.kill(3, &[1, 2]);
    net.run(secs(5));
    net.leave(4);
    net.evidence(0, 5, EvidenceKind::Silent);
    net.run(secs(20));
    let events = net.nodes.iter().flat_map(|node| node.events.iter().map(|(_, event)| event.clone())).collect();
    (net.trace, net.packets, events)
}

#[test]
fn one_seed_is_one_run() {
    assert_eq!(eventful_run(1), eventful_run(1));
    assert_ne!(eventful_run(1).0, eventful_run(2).0);
}

#[test]
fn a_timer_is_never_due_again_at_once() {
    let mut swim = Swim::new(Config::lan(), &cluster(), local(0, 1, 1), 1, secs(1));
    for step in 0..500u64 {
        let now = secs(1) + ms(step * 173);
        swim.handle_timeout(now);
        assert!(swim.poll_timeout() > Some(now));
    }
    // The clock of the caller stands still or goes back: nothing breaks.
    let last = secs(1) + ms(499 * 173);
    swim.handle_timeout(secs(1));
    assert!(swim.poll_timeout() > Some(last));
}

#[test]
fn foreign_and_broken_packets_are_dropped_by_reason() {
    let mut net = Network::cluster_of(2, 500);
    let other = ClusterId::new("other").expect("legal");
    let mut foreign = Swim::new(Config::lan(), &other, local(9, 9, 1), 1, secs(1));
    let request = foreign.sync_request();
    let refused = net.act(0, |swim, now| swim.handle_sync_request(now, &request));
    assert_eq!(refused, Err(DecodeError::Cluster));
    let swim = &mut net.nodes[0].swim;
    let drop = |swim: &mut Swim, bytes: &[u8]| swim.handle_packet(secs(100), address(5), bytes);
    assert_eq!(drop(swim, b""), Err(DropReason::Decode(DecodeError::Truncated { field: "magic" })));
    assert_eq!(drop(swim, b"XY......"), Err(DropReason::Decode(DecodeError::Magic)));
    assert_eq!(drop(swim, b"RS\x63....."), Err(DropReason::Decode(DecodeError::Cluster)), "whatever its version");
    assert_eq!(drop(swim, b"RS\x01....\x05"), Err(DropReason::Decode(DecodeError::Cluster)));
    let long = vec![0; 9_001];
    assert!(matches!(drop(swim, &long), Err(DropReason::Decode(DecodeError::TooLong { .. }))));
    assert_eq!((swim.stats().dropped_malformed, swim.stats().dropped_cluster), (3, 2));
    assert_eq!(foreign.handle_sync_reply(secs(1), &request), Err(DecodeError::Kind { kind: 16 }));
}

/// S16.
#[test]
fn a_ping_for_another_node_is_not_answered() {
    let mut net = Network::cluster_of(3, 501);
    // Node 1's address is given to node 2's pings: as if an address had been given to somebody else.
    let mut packet = Vec::new();
    let now = net.now;
    let swim = &mut net.nodes[0].swim;
    let slot = swim.table.slot_of(&super::network::id(1)).expect("held");
    swim.ping(slot, 77);
    swim.poll_transmit(now, &mut packet).expect("a ping");
    let swim = &mut net.nodes[2].swim;
    assert_eq!(swim.handle_packet(now, address(0), &packet), Err(DropReason::WrongTarget));
    assert_eq!(swim.poll_transmit(now, &mut Vec::new()), None);
    assert_eq!(swim.stats().dropped_target, 1);
}

#[test]
fn a_node_drops_its_own_echo() {
    let mut net = Network::cluster_of(2, 502);
    let mut packet = Vec::new();
    let now = net.now;
    let swim = &mut net.nodes[0].swim;
    let slot = swim.table.slot_of(&super::network::id(1)).expect("held");
    swim.ping(slot, 1);
    swim.poll_transmit(now, &mut packet).expect("a ping");
    assert_eq!(swim.handle_packet(now, address(0), &packet), Err(DropReason::Echo));
}

/// Something that the outside does to a machine.
#[derive(Debug, Clone)]
enum Input {
    Packet(Vec<u8>),
    Flipped(usize, u8),
    Timeout,
    Evidence(usize, u8),
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200).prop_map(Input::Packet),
        (0usize..400, any::<u8>()).prop_map(|(at, bits)| Input::Flipped(at, bits)),
        Just(Input::Timeout),
        (0usize..5, 0u8..4).prop_map(|(of, kind)| Input::Evidence(of, kind)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes, late or early, the harness's checks hold: nobody doubts itself, events fold to members.
    #[test]
    fn no_input_breaks_a_machine(inputs in proptest::collection::vec((input(), 0u64..3_000), 1..40), seed: u64) {
        let mut net = Network::cluster_of(4, seed % 8);
        let mut real = Vec::new();
        for (input, wait) in inputs {
            net.run(ms(wait % 50));
            net.now += ms(wait);
            net.act(1, |swim, now| {
                swim.suspect(now, &super::network::id(3));
                swim.gossip_tick(now);
                swim.poll_transmit(now, &mut real);
            });
            match input {
                Input::Packet(bytes) => { let _ = net.act(0, |swim, now| swim.handle_packet(now, address(1), &bytes)); }
                Input::Flipped(at, bits) => {
                    let mut bytes = real.clone();
                    if let Some(byte) = bytes.get_mut(at) { *byte ^= bits; }
                    let _ = net.act(0, |swim, now| swim.handle_packet(now, address(1), &bytes));
                    let _ = net.act(0, |swim, now| swim.handle_sync_request(now, &bytes));
                    let _ = net.act(0, |swim, now| swim.handle_sync_reply(now, &bytes));
                }
                Input::Timeout => net.act(0, |swim, now| swim.handle_timeout(now)),
                Input::Evidence(of, kind) => net.evidence(0, of, [
                    EvidenceKind::Refused, EvidenceKind::Reset, EvidenceKind::Silent, EvidenceKind::PhiCrossed,
                ][usize::from(kind)]),
            }
        }
    }
}
