//! Joining, updating, forgetting.

use bytes::Bytes;
use rdb_net_types::NodeState;

use super::network::{Network, address, id, local, ms, secs};
use crate::{Event, SyncAnswer, SyncOutcome};

#[test]
fn twenty_nodes_that_join_through_one_seed_agree_within_three_seconds() {
    for seed in 0..5 {
        let mut net = Network::new(seed);
        for n in 0..20 {
            net.add(local(n, 100 + n as u64, 1_000));
        }
        for n in 1..20 {
            net.sync(n, 0);
        }
        let took = net.run_until(secs(3), "one view of twenty", |net| net.agrees(20));
        assert!(took < secs(3));
        assert_eq!(net.count(|event| matches!(event, Event::Joined(_))), 20 * 19);
        assert_eq!(net.nodes[7].outcomes, [SyncOutcome::Accepted { members: 8 }]);
    }
}

#[test]
fn news_reaches_twenty_members_within_two_regular_ticks() {
    let mut net = Network::cluster_of(20, 3);
    net.act(4, |swim, now| swim.update_meta(now, Bytes::from_static(b"new"))).expect("short enough");
    let took = net.run_until(secs(1), "all know", |net| net.agrees(20));
    assert!(took < ms(400), "{took:?}");
    assert_eq!(net.count(|event| matches!(event, Event::Updated(_))), 19);
    assert_eq!(net.nodes[9].swim.member(&id(4)).expect("held").meta, "new");
}

#[test]
fn a_changed_address_is_followed() {
    let mut net = Network::cluster_of(4, 4);
    net.act(2, |swim, now| swim.update_address(now, address(77)));
    net.run(secs(20));
    assert_eq!(net.nodes[0].swim.member(&id(2)).expect("held").address, address(77));
    assert_eq!(net.count(|event| matches!(event, Event::Suspected(_))), 0);
}

/// S17: and so has what a member tells of itself.
#[test]
fn too_much_metadata_is_refused() {
    let mut net = Network::cluster_of(2, 5);
    let refused = net.act(0, |swim, now| swim.update_meta(now, Bytes::from(vec![0; 513])));
    assert_eq!(refused.map_err(|error| (error.bytes, error.limit)), Err((513, 512)));
    net.run(secs(1));
    assert_eq!(net.count(|event| matches!(event, Event::Updated(_))), 0);
}

#[test]
fn an_idle_cluster_sends_probes_only() {
    let mut net = Network::cluster_of(10, 6);
    net.run(secs(30));
    let before = net.packets;
    net.run(secs(100));
    // One ping and one ack per member and second.
    let per_member_second = (net.packets - before) as f64 / 1_000.0;
    assert!((1.9..=2.0).contains(&per_member_second), "{per_member_second}");
}

#[test]
fn equal_views_exchange_no_members() {
    let mut net = Network::cluster_of(10, 7);
    let request = net.nodes[3].swim.sync_request();
    let answer = net.act(5, |swim, now| swim.handle_sync_request(now, &request)).expect("a request");
    let SyncAnswer::Ready(reply) = answer else { panic!("nobody rivals") };
    assert!(reply.len() < 100, "{}", reply.len());
}

#[test]
fn members_with_one_view_exchange_it_in_one_interval_of_ten() {
    let mut net = Network::cluster_of(10, 9);
    net.run(secs(30));
    net.forget_events();
    let interval = net.nodes[0].swim.config().sync_interval_for(10);
    net.run(interval * 30);
    let wanted = net.count(|event| matches!(event, Event::SyncWanted { .. }));
    assert!((20..=40).contains(&wanted), "{wanted} of 300");
}

#[test]
fn a_node_that_asks_itself_is_told_so() {
    let mut net = Network::cluster_of(2, 8);
    net.sync(0, 0);
    assert_eq!(net.nodes[0].outcomes, [SyncOutcome::Itself]);
}

#[test]
fn a_forgotten_member_stays_away_until_it_speaks_anew() {
    let mut net = Network::cluster_of(3, 9);
    net.crash(2);
    net.run_until(secs(20), "failed", |net| net.all_hold(2, NodeState::Failed));
    assert!(!net.act(0, |swim, now| swim.forget(now, &id(1))), "who is alive is not forgotten");
    let old = crate::transmit::alive_of(&net.nodes[2].swim.table.local());
    assert!(net.act(0, |swim, now| swim.forget(now, &id(2))));
    net.run(secs(1));
    assert_eq!(net.count(|event| matches!(event, Event::Forgotten(_))), 2, "the other one is told");
    net.act(1, |swim, now| swim.apply(now, crate::packet::Update::Alive(old)));
    net.run(secs(1));
    assert!(net.agrees(2) && net.nodes[1].swim.member(&id(2)).is_none(), "no ghost comes alive");
    let back = net.add(local(2, 999, 1_001));
    net.sync(back, 0);
    net.run_until(secs(5), "it is back", |net| net.agrees(3));
}

#[test]
fn a_living_member_that_somebody_forgets_comes_back() {
    let mut net = Network::cluster_of(4, 11);
    net.part(&[0], &[2], true);
    let incarnation = net.nodes[2].swim.local().incarnation;
    net.act(0, |swim, now| {
        let slot = swim.table.slot_of(&id(2)).expect("held");
        swim.declare_failed(now, slot, incarnation);
        assert!(swim.forget(now, &id(2)));
    });
    net.run_until(secs(10), "one view", |net| net.agrees(4));
}

/// S17: the table has a limit.
#[test]
fn the_table_is_full_at_its_limit_and_the_gone_make_room() {
    let mut net = Network::cluster_of(4, 10);
    net.nodes[0].swim.config.members_max = 4;
    let newcomer = net.add(local(8, 800, 1_000));
    net.sync(newcomer, 0);
    assert!(net.nodes[0].swim.member(&id(8)).is_none());
    assert_eq!(net.nodes[0].swim.stats().limit_members, 1);
    net.crash(3);
    net.run_until(secs(20), "failed", |net| net.nodes[0].swim.member(&id(3)).is_some_and(|m| !m.state.is_routable()));
    net.sync(newcomer, 0);
    assert!(net.nodes[0].swim.member(&id(8)).is_some());
    assert!(net.nodes[0].swim.member(&id(3)).is_none());
    assert!(net.nodes[0].events.iter().any(|(_, event)| matches!(event, Event::Forgotten(_))));
}
