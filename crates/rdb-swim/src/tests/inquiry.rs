//! A suspect is asked once more by whoever is about to fail it, and a silent member is pinged more than once.

use std::collections::BTreeMap;

use rdb_net_types::{NodeId, NodeState};

use crate::packet::{Accusation, Body, Packet, Sender, Update, cluster_hash};

use super::network::{Network, cluster, id, local, ms, secs};
use crate::{Config, Event, Swim};

/// The suspicion has reached everybody but the suspect, and nothing that it tells of itself is told on.
#[test]
fn a_suspect_that_can_be_reached_is_not_failed_though_gossip_has_missed_it() {
    let mut net = Network::cluster_of(8, 900);
    let others: Vec<usize> = (1..8).collect();
    net.part(&[0], &others, true);
    net.act(1, |swim, now| swim.suspect(now, &id(0)));
    net.run_until(secs(30), "its time is nearly up", |net| net.nodes[1].swim.stats().suspects_asked > 0);
    // Only this one pair can hear each other.
    net.part(&[0], &[1], false);
    let before = net.nodes[1].swim.stats().suspects_asked;
    assert_eq!(before, 1, "the first ping was lost");
    net.run_until(ms(300), "it has refuted", |net| {
        net.nodes[1].swim.member(&id(0)).is_some_and(|member| member.state == NodeState::Alive)
    });
    let failed = |event: &Event| matches!(event, Event::Failed(record) if record.id == id(0));
    assert!(!net.nodes[1].events.iter().any(|(_, event)| failed(event)));
}

/// It has refuted already, and told so to as many members as an update is told to: the accuser was none of them.
#[test]
fn whoever_accuses_a_member_by_its_ping_is_answered_with_its_word_however_often_it_was_told() {
    let mut net = Network::cluster_of(8, 905);
    let accused = net.nodes[0].swim.local().incarnation;
    net.act(0, |swim, now| swim.rise_to(now, accused.next()));
    net.run(secs(2));
    assert!(net.nodes[0].swim.queue.is_empty(), "it has told its word often enough");
    let (accuser, boot) = (net.nodes[1].swim.local(), net.nodes[0].swim.local().boot);
    let ping = Packet {
        sender: Sender { version: 1, id: accuser.id.clone(), boot: accuser.boot, incarnation: accuser.incarnation },
        body: Body::Ping { sequence: 7, target: id(0), target_boot: boot },
        updates: vec![Update::Suspect(Accusation { id: id(0), incarnation: accused, from: id(1) })],
    };
    let (now, from, number) = (net.now, accuser.address, cluster_hash(&cluster()));
    let (swim, mut answer) = (&mut net.nodes[0].swim, Vec::new());
    swim.handle_packet(now, from, &ping.encode(number)).expect("a ping for this node");
    assert_eq!(swim.poll_transmit(now, &mut answer), Some(from));
    let answer = Packet::decode(&answer, crate::Versions::SPOKEN, number).expect("an answer");
    let is_word = |update: &Update| matches!(update, Update::Alive(own) if own.incarnation == accused.next());
    assert!(answer.updates.iter().any(is_word), "{answer:?}");
}

#[test]
fn whoever_is_gone_is_asked_three_times_within_its_time() {
    let mut net = Network::cluster_of(6, 901);
    net.crash(5);
    net.run_until(secs(30), "failed", |net| net.all_hold(5, NodeState::Failed));
    for node in &net.nodes[..5] {
        let times: Vec<_> = node.events.iter().filter(|(_, event)| matches!(event, Event::Failed(_))).collect();
        assert_eq!((node.swim.stats().suspects_asked, times.len()), (3, 1));
    }
}

/// In a partition of a large cluster the pings have a bound, which is counted.
#[test]
fn a_storm_of_suspects_is_not_asked_as_a_whole() {
    let mut net = Network::cluster_of(3, 902);
    let slot = net.nodes[0].swim.table.slot_of(&id(1)).expect("held");
    let now = net.now;
    let swim = &mut net.nodes[0].swim;
    swim.raise_suspicion(now, slot);
    for _ in 0..300 {
        swim.doubts.get_mut(&slot).expect("suspected").asked = 0;
        swim.inquire(now, slot);
    }
    assert_eq!((swim.stats().suspects_asked, swim.stats().limit_inquiries), (256, 44));
    swim.doubts.get_mut(&slot).expect("suspected").asked = 0;
    swim.inquire(now + Config::lan().probe_interval, slot);
    assert_eq!(swim.stats().suspects_asked, 257, "and the next interval has its own");
}

/// After a partition of a thousand members had healed, some were failed that nobody had asked: their turn was counted, and no ping sent.
#[test]
fn whoever_is_failed_was_asked_however_many_are_suspected() {
    const MEMBERS: usize = 400;
    let now = secs(2);
    let mut swim = Swim::new(Config::lan(), &cluster(), local(0, 1, 1), 1, now);
    swim.restore(
        now,
        (1..=MEMBERS).map(|n| {
            let own = local(n, n as u64, 1);
            (crate::Profile::new(own.id, own.boot, own.address, own.meta), own.incarnation)
        }),
    );
    let slots: Vec<_> = swim.table.live().sample(MEMBERS, &[], &mut rdb_net_types::SeededRandom::new(1));
    slots.iter().for_each(|slot| swim.raise_suspicion(now, *slot));
    let (mut packet, mut asked) = (Vec::new(), BTreeMap::<NodeId, u32>::new());
    while swim.stats().failures_declared < MEMBERS as u64 {
        let due = swim.poll_timeout().filter(|due| *due < secs(60)).expect("in the end all are failed");
        swim.handle_timeout(due);
        while let Some(event) = swim.poll_event() {
            let Event::Failed(record) = event else { continue };
            let pings = asked.get(&record.id).copied().unwrap_or_default();
            assert!(pings >= crate::inquiry::PINGS, "{} is failed and was asked {pings} times", record.id);
        }
        while swim.poll_transmit(due, &mut packet).is_some() {
            let sent = Packet::decode(&packet, crate::Versions::SPOKEN, cluster_hash(&cluster())).expect("a packet");
            // A probe's ping has a number.
            if let Body::Ping { sequence: 0, target, .. } = sent.body {
                *asked.entry(target).or_default() += 1;
            }
        }
    }
    assert!(swim.stats().limit_inquiries > 0, "so many had to wait");
}

/// One in five packets is lost: a single pair of pings would suspect one member in forty each second.
#[test]
fn losses_hardly_ever_make_a_suspect() {
    let mut net = Network::cluster_of(12, 903);
    net.loss = 0.2;
    net.run(secs(300));
    let raised: u64 = net.nodes.iter().map(|node| node.swim.stats().suspicions_raised).sum();
    assert!(raised <= 5, "{raised} suspicions in an hour of members");
    assert!(net.nodes.iter().all(|node| node.swim.stats().probes_indirect > 0), "the losses were felt");
}

/// Karn's rule: which of several pings was answered is not known.
#[test]
fn a_repeated_ping_tells_no_round_trip() {
    let mut net = Network::cluster_of(2, 904);
    net.part(&[0], &[1], true);
    net.run_until(secs(3), "pinged again", |net| net.nodes[0].swim.stats().probes_started > 3);
    net.run(ms(130));
    net.forget_events();
    net.part(&[0], &[1], false);
    net.run(ms(700));
    assert!(net.nodes[0].swim.stats().probes_answered > 0);
    let early = |event: &Event| matches!(event, Event::RoundTrip { round_trip, .. } if *round_trip > ms(100));
    assert_eq!(net.count(early), 0);
}
