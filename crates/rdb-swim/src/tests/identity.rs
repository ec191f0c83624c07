//! One id, several lives.

use bytes::Bytes;
use rdb_net_types::{Incarnation, NodeState};

use super::network::{Network, address, id, local, secs};
use crate::packet::{Accusation, Update};
use crate::{Config, Event, LocalNode, SyncAnswer, SyncOutcome};

#[test]
fn a_restart_is_told_as_failure_and_recovery() {
    let mut net = Network::cluster_of(5, 300);
    net.crash(2);
    let back = net.add(LocalNode { meta: Bytes::from_static(b"second life"), ..local(2, 999, 1_001) });
    net.sync(back, 0);
    net.run_until(secs(3), "one view", |net| net.agrees(5));
    for n in [0, 1, 3, 4] {
        let told: Vec<_> = net.nodes[n]
            .events
            .iter()
            .filter_map(|(_, event)| match event {
                Event::Failed(record) => Some(("failed", record.boot.0)),
                Event::Recovered(record) => Some(("recovered", record.boot.0)),
                _ => None,
            })
            .collect();
        assert_eq!(told, [("failed", 102), ("recovered", 999)]);
    }
}

#[test]
fn a_restart_after_the_verdict_is_a_recovery() {
    let mut net = Network::cluster_of(5, 301);
    net.crash(2);
    net.run_until(secs(20), "failed", |net| net.all_hold(2, NodeState::Failed));
    net.forget_events();
    let back = net.add(local(2, 999, 1_001));
    net.sync(back, 0);
    net.run_until(secs(3), "one view", |net| net.agrees(5));
    assert_eq!(net.count(|event| matches!(event, Event::Recovered(_))), 4);
    assert_eq!(net.count(|event| matches!(event, Event::Failed(_))), 0);
}

#[test]
fn a_restart_with_a_lower_generation_outbids_its_former_life() {
    for wait in [0, 20] {
        let mut net = Network::cluster_of(5, 302);
        net.crash(2);
        net.run(secs(wait));
        let back = net.add(local(2, 999, 7));
        net.sync(back, 0);
        assert_eq!(net.nodes[back].swim.local().incarnation, Incarnation::first_of(1_001));
        net.run_until(secs(3), "one view", |net| net.agrees(5));
        assert!(net.nodes.iter().take(2).all(|node| node.swim.member(&id(2)).is_some_and(|m| m.boot.0 == 999)));
        assert_eq!(net.count(|event| matches!(event, Event::Conflict { .. })), 0);
    }
}

/// Storm 2: a node that others remind of its former life, one after the other, goes above that once.
#[test]
fn who_is_reminded_twice_of_a_former_life_outbids_it_once() {
    let mut net = Network::cluster_of(5, 303);
    net.crash(2);
    let back = net.add(local(2, 999, 7));
    let request = net.nodes[back].swim.sync_request();
    let replies = [0, 1].map(|n| net.act(n, |swim, now| swim.handle_sync_request(now, &request)));
    for reply in replies {
        let Ok(SyncAnswer::Ready(reply)) = reply else { panic!("a restart on the same host needs no check") };
        net.act(back, |swim, now| swim.handle_sync_reply(now, &reply)).expect("a reply");
    }
    let raised = |event: &Event| matches!(event, Event::SelfRefuted { .. });
    assert_eq!(net.nodes[back].events.iter().filter(|(_, event)| raised(event)).count(), 1);
    assert_eq!(net.nodes[back].swim.stats().refutations, 1);
    assert_eq!(net.nodes[back].swim.local().incarnation, Incarnation::first_of(1_001));
    net.run_until(secs(3), "one view", |net| net.agrees(5));
}

#[test]
fn a_second_process_with_a_living_nodes_id_is_refused_and_told() {
    let mut net = Network::cluster_of(5, 303);
    let rival = net.add(LocalNode { address: address(50), ..local(2, 999, 2_000) });
    net.sync(rival, 0);
    net.run(secs(1));
    let boot = rdb_net_types::BootId(102);
    assert_eq!(net.nodes[rival].outcomes, [SyncOutcome::Conflict { address: address(2), boot }]);
    let told = |n: usize| net.nodes[n].events.iter().any(|(_, event)| matches!(event, Event::Conflict { .. }));
    assert!(told(0) && told(rival));
    assert_eq!(net.nodes[0].swim.member(&id(2)).map(|member| member.boot), Some(boot));
    assert_eq!(net.count(|event| matches!(event, Event::Failed(_))), 0);
}

#[test]
fn a_dead_nodes_id_may_move_to_another_address() {
    let mut net = Network::cluster_of(5, 304);
    net.crash(2);
    let moved = net.add(LocalNode { address: address(50), ..local(2, 999, 2_000) });
    net.sync(moved, 0);
    net.run_until(secs(3), "one view", |net| net.agrees(5));
    assert!(matches!(net.nodes[moved].outcomes[..], [SyncOutcome::Accepted { .. }]));
    assert_eq!(net.nodes[4].swim.member(&id(2)).expect("held").address, address(50));
}

#[test]
fn two_processes_that_ask_each_other_with_one_id_both_learn_of_it() {
    let mut net = Network::new(305);
    net.add(local(0, 1, 1_000));
    let rival = net.add(LocalNode { address: address(50), ..local(0, 2, 1_000) });
    net.sync(rival, 0);
    for n in [0, rival] {
        assert!(net.nodes[n].events.iter().any(|(_, event)| matches!(event, Event::Conflict { .. })));
    }
}

#[test]
fn rivals_that_meet_by_gossip_are_told_and_do_not_war() {
    let mut net = Network::cluster_of(4, 306);
    let rival = net.add(LocalNode { address: address(50), ..local(2, 999, 2_000) });
    // It slips in behind the seed's back.
    let alive = crate::transmit::alive_of(&net.nodes[rival].swim.table.local());
    net.act(0, |swim, now| swim.apply(now, Update::Alive(alive)));
    net.sync(rival, 1);
    net.run(secs(120));
    assert!(net.count(|event| matches!(event, Event::Conflict { .. })) > 0);
    for n in [2, rival] {
        assert!(net.nodes[n].swim.stats().refutations < 80, "{}", net.nodes[n].swim.stats().refutations);
    }
}

/// S17.
#[test]
fn an_accusation_far_ahead_of_its_subject_evicts_nobody() {
    let mut net = Network::cluster_of(5, 307);
    for raw in [u64::MAX >> 16, (1_000 << 32) + u64::from(u32::MAX), (1_001 << 32) + 1] {
        let incarnation = Incarnation::from_u64(raw);
        let forged = Accusation { id: id(3), incarnation, from: id(1) };
        net.act(0, |swim, now| swim.apply(now, Update::Failed(forged.clone())));
        net.act(3, |swim, now| swim.apply(now, Update::Suspect(Accusation { incarnation, ..forged })));
    }
    net.run(secs(2));
    assert_eq!(net.count(|event| matches!(event, Event::Failed(_))), 0);
    assert!(net.nodes[0].swim.stats().updates_implausible >= 2);
    assert!(net.agrees(5));
}

#[test]
fn evidence_without_a_transition_raises_the_incarnation() {
    let mut net = Network::cluster_of(3, 308);
    net.crash(2);
    let accuse = |counter: u64| {
        let incarnation = Incarnation::from_u64((1_000 << 32) + counter);
        Update::Failed(Accusation { id: id(2), incarnation, from: id(1) })
    };
    net.act(0, |swim, now| swim.apply(now, accuse(1)));
    net.run_until(secs(30), "everybody's own verdict", |net| net.all_hold(2, NodeState::Failed));
    net.act(0, |swim, now| swim.apply(now, accuse(10)));
    assert_eq!(net.count(|event| matches!(event, Event::Failed(_))), 2, "one of each");
    let alive = crate::packet::Alive {
        incarnation: Incarnation::from_u64((1_000 << 32) + 2),
        ..crate::transmit::alive_of(&net.nodes[2].swim.table.local())
    };
    net.act(0, |swim, now| swim.apply(now, Update::Alive(alive)));
    assert_eq!(net.nodes[0].swim.member(&id(2)).map(|member| member.state), Some(NodeState::Failed));
}

/// al8n/memberlist #158: whoever tells that a member has left, in its name, makes its id anybody's.
#[test]
fn a_relayed_farewell_gives_a_living_nodes_id_to_nobody() {
    let mut net = Network::cluster_of(5, 309);
    let (boot, incarnation) = (net.nodes[1].swim.local().boot, net.nodes[1].swim.local().incarnation);
    let farewell = |incarnation| Update::Left(Accusation { id: id(1), incarnation, from: id(1) });
    let state = |net: &Network| net.nodes[0].swim.member(&id(1)).map(|member| member.state);
    net.act(0, |swim, now| swim.apply(now, farewell(Incarnation::first_of(999))));
    assert_eq!(state(&net), Some(NodeState::Alive), "of a former life");
    net.act(0, |swim, now| swim.apply(now, farewell(incarnation)));
    assert_eq!(state(&net), Some(NodeState::Left), "until it hears of it");
    let rival = net.add(LocalNode { address: address(50), ..local(1, 999, 2_000) });
    net.sync(rival, 0);
    net.run(secs(1));
    assert_eq!(net.nodes[rival].outcomes, [SyncOutcome::Conflict { address: address(1), boot }]);
    assert!(net.nodes[0].events.iter().any(|(_, event)| matches!(event, Event::Conflict { .. })));
    net.crash(rival);
    net.run_until(secs(5), "it has spoken for itself", |net| net.agrees(5));
    assert!(net.nodes[..5].iter().all(|node| node.swim.member(&id(1)).is_some_and(|held| held.boot == boot)));
}

#[test]
fn who_has_left_may_come_back_at_another_address() {
    let mut net = Network::cluster_of(5, 311);
    net.leave(2);
    net.run_until(secs(5), "all know", |net| net.all_hold(2, NodeState::Left));
    net.crash(2);
    let moved = net.add(LocalNode { address: address(50), ..local(2, 999, 1_001) });
    net.sync(moved, 0);
    let took = net.run_until(secs(3), "one view", |net| net.agrees(5));
    assert!(took > Config::lan().probe_timeout, "its former address is asked first: {took:?}");
    assert!(matches!(net.nodes[moved].outcomes[..], [SyncOutcome::Accepted { .. }]));
}

/// hashicorp/consul #733 and scylladb/scylladb #31763: an address that two names have had is a conflict, and keeps one of them out.
#[test]
fn a_dead_members_address_may_be_given_to_another_id() {
    let mut net = Network::cluster_of(5, 310);
    net.crash(2);
    let heir = net.add(LocalNode { address: address(2), ..local(20, 999, 1_000) });
    net.sync(heir, 0);
    assert!(matches!(net.nodes[heir].outcomes[..], [SyncOutcome::Accepted { .. }]));
    net.run_until(secs(30), "the dead one is found out", |net| net.all_hold(2, NodeState::Failed));
    // All the while it is called on at the address that it had.
    net.run(secs(60));
    assert!(net.nodes[heir].swim.stats().dropped_target > 0, "whoever lives there does not answer for it");
    assert!([0, 1, 3, 4].iter().all(|n| {
        let holds = |of: usize| net.nodes[*n].swim.member(&id(of)).map(|member| (member.address, member.state));
        let (dead, there) = (Some((address(2), NodeState::Failed)), Some((address(2), NodeState::Alive)));
        (holds(2), holds(20)) == (dead, there)
    }));
    let blamed = |event: &Event| match event {
        Event::Suspected(record) | Event::Failed(record) => record.id == id(20),
        Event::Conflict { .. } => true,
        _ => false,
    };
    assert_eq!(net.count(blamed), 0);
    let back = net.add(LocalNode { address: address(51), ..local(2, 998, 1_001) });
    net.sync(back, 0);
    net.run_until(secs(5), "both are there", |net| net.agrees(6));
}
