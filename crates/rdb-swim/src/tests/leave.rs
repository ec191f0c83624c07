//! Farewells are heard as farewells.

use rdb_net_types::{BootId, Incarnation, NodeState};

use super::network::{Network, address, id, ms, secs};
use crate::packet::Sender;
use crate::{DropReason, Event};

#[test]
fn a_farewell_is_left_everywhere_and_never_failed() {
    for (n, loss) in [(2, 0.0), (3, 0.0), (5, 0.05), (20, 0.05)] {
        for seed in 0..5 {
            let mut net = Network::cluster_of(n, 200 + seed);
            net.loss = loss;
            net.leave(1);
            net.run_until(secs(2), "all know", |net| net.all_hold(1, NodeState::Left));
            net.run_until(secs(2), "the farewell ends", |net| {
                net.nodes[1].events.iter().any(|(_, event)| matches!(event, Event::Farewell { .. }))
            });
            let acknowledged = net.nodes[1].events.iter().find_map(|(_, event)| match event {
                Event::Farewell { acknowledged } => Some(*acknowledged),
                _ => None,
            });
            assert_eq!(acknowledged, Some(3.min(n - 1)));
            net.run(secs(20));
            assert_eq!(net.count(|event| matches!(event, Event::Failed(_))), 0);
            assert_eq!(net.count(|event| matches!(event, Event::Left(_))), n - 1, "each is told once");
        }
    }
}

#[test]
fn a_leaver_answers_pings_until_it_falls_silent_and_then_nothing() {
    let mut net = Network::cluster_of(3, 210);
    net.part(&[1], &[0, 2], true);
    net.leave(1);
    net.run(ms(150));
    assert!(net.nodes[1].swim.poll_timeout().is_some());
    net.run(secs(2));
    let farewell = net.nodes[1].events.iter().any(|(_, event)| *event == Event::Farewell { acknowledged: 0 });
    assert!(farewell, "the time is up");
    let now = net.now;
    assert_eq!(net.nodes[1].swim.poll_timeout(), None);
    assert_eq!(net.nodes[1].swim.handle_packet(now, super::network::address(0), &[]), Err(DropReason::Silent));
    assert_eq!(net.nodes[1].swim.poll_transmit(now, &mut Vec::new()), None);
}

#[test]
fn who_is_alone_leaves_at_once() {
    let mut net = Network::cluster_of(1, 211);
    net.leave(0);
    assert_eq!(net.nodes[0].events.last().map(|(_, event)| event), Some(&Event::Farewell { acknowledged: 0 }));
}

#[test]
fn who_has_left_may_come_back() {
    let mut net = Network::cluster_of(5, 212);
    net.leave(1);
    net.run(secs(3));
    assert!(net.all_hold(1, NodeState::Left));
    net.rejoin(1);
    net.run_until(secs(3), "it is back", |net| net.agrees(5));
    assert_eq!(net.count(|event| matches!(event, Event::Joined(record) if record.id == id(1))), 4);
}

#[test]
fn what_others_ask_of_a_leaver_is_over_when_it_is_silent() {
    let mut net = Network::cluster_of(3, 215);
    net.crash(0);
    net.crash(2);
    net.leave(1);
    net.run(ms(1_900));
    net.act(1, |swim, now| {
        let asker = Sender { version: 1, id: id(0), boot: BootId(100), incarnation: Incarnation::first_of(1_000) };
        swim.relay_ping(now, address(0), asker, 9, &id(2), 500);
    });
    net.run(secs(1));
    let swim = &net.nodes[1].swim;
    assert_eq!((swim.stats().pings_relayed, swim.relays.len()), (1, 0));
}

#[test]
fn a_forged_farewell_is_refuted() {
    let mut net = Network::cluster_of(5, 213);
    let incarnation = net.nodes[1].swim.local().incarnation;
    let forged = crate::packet::Accusation { id: id(1), incarnation, from: id(1) };
    net.act(0, |swim, now| swim.apply(now, crate::packet::Update::Left(forged)));
    net.run_until(secs(40), "it stands up for itself", |net| net.agrees(5));
}

#[test]
fn who_left_long_ago_is_forgotten() {
    let mut net = Network::cluster_of(3, 214);
    (0..3).for_each(|n| net.nodes[n].swim.config.tombstone_age = secs(300));
    net.leave(2);
    net.run(secs(200));
    assert!(net.all_hold(2, NodeState::Left));
    net.run(secs(200));
    assert!(net.nodes[0].swim.member(&id(2)).is_none());
    assert_eq!(net.count(|event| matches!(event, Event::Forgotten(_))), 2);
}
