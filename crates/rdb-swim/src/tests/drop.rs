//! Who is held for there is dropped by nobody's word and for no lack of room: first it fails, by a verdict, or leaves.
//!
//! akka/akka-core #25632: a member that the transport had put in quarantine was removed without the strategy that decides about
//! partitions having been asked, on both sides.

use rdb_net_types::{EvidenceKind, Incarnation, NodeState};

use super::network::{Network, address, id, local, ms, secs};
use crate::packet::{Accusation, Update};
use crate::transmit::alive_of;
use crate::{Config, Decision, Event, LocalNode, Strategy};

/// Everything that could be a second way out, told to node 0 of node 3.
fn try_every_way_out(net: &mut Network) {
    let own = net.nodes[3].swim.local().incarnation;
    let word = |incarnation| Accusation { id: id(3), incarnation, from: id(3) };
    let later = Incarnation::first_of(own.generation() + 1);
    // An operator; others who have dropped it, in this life and in one to come; what a transport finds out, again and again.
    assert!(!net.act(0, |swim, now| swim.forget(now, &id(3))));
    for incarnation in [own, own.next(), later] {
        net.act(0, |swim, now| swim.apply(now, Update::Forgotten(word(incarnation))));
    }
    let refused = EvidenceKind::Refused;
    for kind in [refused, EvidenceKind::Reset, EvidenceKind::Silent, EvidenceKind::PhiCrossed] {
        (0..20).for_each(|_| net.evidence(0, 3, kind));
    }
    // Somebody needs its place, or its address.
    let full = Config { members_max: 5, ..Config::lan() };
    net.act(0, |swim, now| swim.set_config(now, full).expect("legal"));
    let heir = LocalNode { address: address(3), ..local(8, 800, 1_000) };
    let alive = alive_of(&crate::Swim::new(Config::lan(), &super::network::cluster(), heir, 1, net.now).local());
    net.act(0, |swim, now| swim.apply(now, Update::Alive(alive)));
}

#[test]
fn there_is_no_way_out_of_a_view_but_by_a_verdict_or_a_farewell() {
    // One that answers, and one that is suspected already and does not.
    for is_silent in [false, true] {
        let mut net = Network::cluster_of(5, 1_100);
        if is_silent {
            net.crash(3);
            net.act(0, |swim, now| swim.suspect(now, &id(3)));
        }
        try_every_way_out(&mut net);
        let held = net.nodes[0].swim.member(&id(3)).map(|member| member.state);
        assert!(held.is_some_and(NodeState::is_routable), "{held:?}");
        net.run(ms(500));
        assert!(net.nodes[0].swim.member(&id(3)).is_some_and(|member| member.state.is_routable()));
        net.run(secs(120));
        // Nobody's word has dropped it: who is there has stayed, and who is not has failed first, and is held.
        let end = if is_silent { NodeState::Failed } else { NodeState::Alive };
        assert!([0, 1, 2, 4].iter().all(|n| net.nodes[*n].swim.member(&id(3)).is_some_and(|held| held.state == end)));
        assert_eq!(net.count(|event| matches!(event, Event::Forgotten(_))), 0);
        let failed = net.count(|event| matches!(event, Event::Failed(_)));
        assert_eq!(failed, if is_silent { 4 } else { 0 }, "each comes to it once, by itself");
    }
}

/// What a strategy is asked about stays what it was, however long the partition lasts: neither age nor a lack of room takes anybody out.
#[test]
fn a_strategy_counts_the_same_members_however_long_it_waits() {
    let mut net = Network::cluster_of(9, 1_101);
    let (left, right): (Vec<usize>, Vec<usize>) = ((0..4).collect(), (4..9).collect());
    net.part(&left, &right, true);
    net.run_until(secs(90), "all know of it", |net| net.nodes.iter().all(|node| node.swim.partition().is_some()));
    let config = Config { members_max: 9, tombstone_age: secs(60), ..Config::lan() };
    (0..9).for_each(|n| net.act(n, |swim, now| swim.set_config(now, config.clone()).expect("legal")));
    let newcomer = net.add(local(20, 1, 1_000));
    net.part(&[newcomer], &right, true);
    for _ in 0..4 {
        net.run(secs(60));
        net.sync(newcomer, 0);
        for n in 0..9 {
            let verdict = net.nodes[n].swim.judge_split(Strategy::KeepMajority);
            let (seen, unseen) = if n < 4 { (4, 5) } else { (5, 4) };
            assert_eq!((verdict.seen, verdict.unseen), (seen, unseen), "node {n}");
            assert_eq!(verdict.decision == Decision::Stay, n >= 4, "node {n}");
        }
    }
}
