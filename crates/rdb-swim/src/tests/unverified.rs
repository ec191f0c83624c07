//! Whom another's view alone holds is asked before it is a member.

use rdb_net_types::NodeState;

use super::network::{Network, id, local, ms, secs};
use crate::apply::Spread;
use crate::packet::Alive;
use crate::{Event, LocalNode};

/// One member holds one more than the others.
fn with_a_stranger(seed: u64, is_there: bool) -> Network {
    let mut net = Network::cluster_of(6, seed);
    if is_there {
        // It knows nobody, so it tells nobody of itself.
        net.add(local(7, 700, 1));
    }
    let LocalNode { id, boot, incarnation, address, meta } = local(7, 700, 1);
    let alive = Alive { id, boot, incarnation, address, meta, versions: crate::Versions::SPOKEN };
    net.act(1, |swim, now| swim.admit(now, alive, NodeState::Alive, Spread::No));
    // The first node of a cluster was given no view yet.
    net.nodes[0].swim.differences.has_view = true;
    net
}

#[test]
fn who_is_there_is_taken_in_once_it_has_answered_and_told_of() {
    let mut net = with_a_stranger(970, true);
    net.sync(0, 1);
    net.run(ms(200));
    assert!(net.nodes[0].swim.member(&id(7)).is_some_and(|member| member.state == NodeState::Alive));
    assert_eq!(net.nodes[0].swim.stats().unverified_asked, 1);
    let joined = |event: &Event| matches!(event, Event::Joined(record) if record.id == id(7));
    net.run(secs(2));
    assert!((2..6).all(|n| net.nodes[n].events.iter().any(|(_, event)| joined(event))), "gossip tells the others");
}

#[test]
fn a_ghost_in_anothers_view_becomes_nobodys_member() {
    let mut net = with_a_stranger(971, false);
    // The ghost's holder does not reach the others but for exchanges of views, and has not found out yet.
    net.sync(0, 1);
    net.run(secs(2));
    assert_eq!(net.nodes[0].swim.stats().unverified_silent, 1);
    assert!(net.nodes[0].swim.member(&id(7)).is_none());
    let joined = |event: &Event| matches!(event, Event::Joined(record) if record.id == id(7));
    assert!([0, 2, 3, 4, 5].iter().all(|n| !net.nodes[*n].events.iter().any(|(_, event)| joined(event))));
}

#[test]
fn who_cannot_be_reached_directly_is_asked_by_others() {
    let mut net = with_a_stranger(972, true);
    net.part(&[0], &[6], true);
    net.sync(0, 1);
    net.run(secs(2));
    assert!(net.nodes[0].swim.member(&id(7)).is_some_and(|member| member.state == NodeState::Alive));
}

#[test]
fn what_gossip_tells_of_needs_no_answer() {
    let mut net = Network::cluster_of(6, 973);
    let newcomer = net.add(local(7, 700, 1));
    net.sync(newcomer, 3);
    net.run(secs(2));
    assert!((0..6).all(|n| net.nodes[n].swim.member(&id(7)).is_some()));
    assert!(net.nodes.iter().all(|node| node.swim.stats().unverified_silent == 0));
}
