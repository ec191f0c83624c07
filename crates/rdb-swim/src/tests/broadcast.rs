//! What an application tells all members reaches each of them once.

use bytes::Bytes;
use rdb_net_types::BootId;

use super::network::{Network, cluster, id, local, ms, secs};
use crate::broadcast::Broadcast;
use crate::{BroadcastRefused, Config, Event, Swim};

/// How often a member has heard this.
fn heard(net: &Network, by: usize, what: &'static [u8]) -> usize {
    let is_it = |event: &Event| matches!(event, Event::Broadcast { payload, .. } if payload == what);
    net.nodes[by].events.iter().filter(|(_, event)| is_it(event)).count()
}

#[test]
fn a_broadcast_reaches_everybody_once_although_packets_are_lost() {
    let mut net = Network::cluster_of(50, 980);
    net.loss = 0.3;
    net.act(7, |swim, now| swim.broadcast(now, Bytes::from_static(b"first")).expect("room"));
    net.act(7, |swim, now| swim.broadcast(now, Bytes::from_static(b"second")).expect("room"));
    net.run(secs(3));
    for n in (0..50).filter(|n| *n != 7) {
        assert_eq!((heard(&net, n, b"first"), heard(&net, n, b"second")), (1, 1), "member {n}");
    }
    assert_eq!(heard(&net, 7, b"first"), 0, "its own word is no news to it");
}

/// More than fit into a packet, or into many.
#[test]
fn a_burst_of_broadcasts_reaches_everybody_whole() {
    let mut net = Network::cluster_of(12, 984);
    for number in 0..400u32 {
        net.act(3, |swim, now| swim.broadcast(now, Bytes::copy_from_slice(&number.to_be_bytes())).expect("room"));
    }
    net.run(secs(30));
    for n in (0..12).filter(|n| *n != 3) {
        let heard = net.nodes[n].events.iter().filter(|(_, event)| matches!(event, Event::Broadcast { .. })).count();
        assert_eq!((heard, net.nodes[n].swim.stats().broadcasts_dropped), (400, 0), "member {n}");
    }
}

#[test]
fn it_is_told_a_bounded_number_of_times_and_then_no_more() {
    let mut net = Network::cluster_of(10, 981);
    net.run(secs(5));
    net.act(0, |swim, now| swim.broadcast(now, Bytes::from_static(b"news")).expect("room"));
    net.run(secs(5));
    assert!(net.nodes.iter().all(|node| node.swim.broadcasts.is_empty()));
}

#[test]
fn what_waits_is_bounded_in_bytes_and_the_caller_is_told() {
    let config = Config { broadcast_queue_bytes: 1_200, ..Config::lan() };
    let mut swim = Swim::new(config, &cluster(), local(0, 1, 1), 1, secs(1));
    let payload = Bytes::from(vec![0; 512]);
    assert_eq!(swim.broadcast(secs(1), payload.clone()), Ok(()));
    assert_eq!(swim.broadcast(secs(1), payload.clone()), Ok(()));
    let full = Err(BroadcastRefused::QueueFull { waiting: 1_152, limit: 1_200 });
    assert_eq!(swim.broadcast(secs(1), payload), full);
    let long = Err(BroadcastRefused::TooLong { bytes: 513, limit: 512 });
    assert_eq!(swim.broadcast(secs(1), Bytes::from(vec![0; 513])), long);
    swim.leave(secs(1));
    assert_eq!(swim.broadcast(secs(1), Bytes::new()), Err(BroadcastRefused::Left));
}

#[test]
fn strangers_and_former_lives_are_not_heard() {
    let mut net = Network::cluster_of(3, 982);
    let boot = net.nodes[1].swim.local().boot;
    for (origin, boot) in [(id(77), boot), (id(1), BootId(boot.0 + 1))] {
        let broadcast = Broadcast { origin, boot, number: 1, payload: Bytes::from_static(b"forged") };
        net.act(0, |swim, now| swim.hear_broadcast(now, broadcast));
    }
    net.run(ms(500));
    assert!((0..3).all(|n| heard(&net, n, b"forged") == 0));
    assert_eq!(net.nodes[0].swim.stats().broadcasts_dropped, 2);
}

/// Whoever floods the cluster is heard, and told on as far as there is room.
#[test]
fn a_flood_of_others_takes_no_more_room_than_is_allowed() {
    let mut net = Network::cluster_of(3, 983);
    let boot = net.nodes[1].swim.local().boot;
    for number in 1..=10_000 {
        let payload = Bytes::from_static(b"flood");
        net.nodes[0].swim.hear_broadcast(net.now, Broadcast { origin: id(1), boot, number, payload });
    }
    let stats = net.nodes[0].swim.stats();
    assert_eq!(stats.broadcasts_heard, 10_000);
    assert!(stats.limit_broadcasts > 9_000, "{}", stats.limit_broadcasts);
}
