//! What waits to be told is bounded, says what holds, and comes to an end.

use std::time::Duration;

use rdb_net_types::{Incarnation, NodeState};

use super::lifeguard::machine;
use super::network::{Network, cluster, id, local, ms, secs};
use crate::gossip::Topic;
use crate::packet::{Accusation, Packet, Update, cluster_hash};
use crate::table::SELF;
use crate::transmit::alive_of;
use crate::{Config, Event, Lifeguard, Swim, Versions};

fn word(of: usize, incarnation: Incarnation, from: usize) -> Accusation {
    Accusation { id: id(of), incarnation, from: id(from) }
}

/// Everything that a machine says in so many gossip ticks.
fn told(swim: &mut Swim, start: Duration, ticks: u64) -> Vec<Update> {
    let mut told = Vec::new();
    let mut packet = Vec::new();
    for tick in 0..ticks {
        let now = start + ms(200 * tick);
        swim.gossip_tick(now);
        while swim.poll_transmit(now, &mut packet).is_some() {
            let sent = Packet::decode(&packet, Versions::SPOKEN, cluster_hash(&cluster())).expect("its own");
            told.extend(sent.updates);
        }
    }
    told
}

/// hashicorp/consul #9927: what waits to be told grows faster than it is told.
#[test]
fn whoever_tells_of_strangers_that_were_dropped_fills_no_queue() {
    let mut swim = machine(Lifeguard::ON);
    swim.config.members_max = 100;
    for stranger in 1_000..11_000 {
        swim.apply(secs(3), Update::Forgotten(word(stranger, Incarnation::first_of(1), stranger)));
    }
    assert_eq!((swim.tombstones.len(), swim.queue.len()), (100, 100));
    assert_eq!(swim.stats().limit_tombstones, 9_900);
    // Where there is no room for a tombstone, the word was not taken: nothing keeps whom it is about out.
    assert!(swim.tombstones.incarnation(&id(1_000)).is_some() && swim.tombstones.incarnation(&id(10_999)).is_none());
}

/// hashicorp/consul #1062 and #18078: what was given up for room and is heard again is no news without an end.
#[test]
fn more_dropped_members_than_there_is_room_for_are_not_told_for_ever() {
    let mut net = Network::cluster_of(4, 1_000);
    (0..4).for_each(|n| net.nodes[n].swim.config.members_max = 20);
    for stranger in 1_000..1_200 {
        let dropped = Update::Forgotten(word(stranger, Incarnation::first_of(1), stranger));
        net.act(stranger % 4, |swim, now| swim.apply(now, dropped));
    }
    net.run_until(secs(20), "all of it is told", |net| net.nodes.iter().all(|node| node.swim.queue.is_empty()));
    assert!(net.nodes.iter().all(|node| node.swim.tombstones.len() == 20));
    let before = net.packets;
    net.run(secs(10));
    assert!(net.packets - before <= 80, "{} packets where probes take 80", net.packets - before);
}

/// A tombstone that goes, for its age or since its member is back, leaves nothing to tell.
#[test]
fn a_tombstone_takes_what_is_told_of_it_along() {
    let mut swim = machine(Lifeguard::ON);
    swim.config.tombstone_age = secs(10);
    swim.apply(secs(3), Update::Forgotten(word(50, Incarnation::first_of(1), 50)));
    swim.apply(secs(3), Update::Forgotten(word(51, Incarnation::first_of(1), 51)));
    assert_eq!(swim.queue.len(), 2);
    let back = alive_of(&Swim::new(Config::lan(), &cluster(), local(50, 1, 2), 1, secs(3)).local());
    swim.apply(secs(4), Update::Alive(back));
    assert_eq!(swim.queue.len(), 2, "that it is there, and that the other one is not");
    assert!(!swim.queue.holds(&Topic::Forgotten(id(50))));
    swim.reap(secs(14));
    assert!(!swim.queue.holds(&Topic::Forgotten(id(51))));
}

/// Each accuser names a life a little later than the one before it: what was told of the former ones is void.
#[test]
fn refusals_of_ever_later_lives_fill_no_queue() {
    let mut swim = machine(Lifeguard::ON);
    let mut incarnation = Incarnation::first_of(1_000);
    for step in 0..1_000 {
        incarnation = incarnation.next();
        swim.apply(secs(3), Update::Refused(word(5, incarnation, 1 + step % 4)));
    }
    assert_eq!(swim.queue.len(), 1, "one observer of the last one");
}

/// hashicorp/memberlist, `refute`: a refutation queued under another key than the accusation leaves that one in the queue.
#[test]
fn a_refutation_replaces_everything_that_was_queued_about_its_subject() {
    let first = Incarnation::first_of(1_000);
    // Of this node itself, also where its address has changed in between.
    let mut swim = machine(Lifeguard::ON);
    swim.update_address(secs(3), super::network::address(77));
    assert_eq!(told(&mut swim, secs(3), 1).len(), 3, "three members are told, and not for the last time");
    let accused = swim.local().incarnation;
    swim.apply(secs(3) + ms(200), Update::Suspect(word(0, accused, 1)));
    assert_eq!(swim.queue.len(), 1);
    assert!(swim.queue.holds(&Topic::State(SELF)));
    let said = told(&mut swim, secs(4), 20);
    let refuted = alive_of(&swim.local());
    assert_eq!(refuted.incarnation, accused.next());
    assert!(said.iter().all(|update| *update == Update::Alive(refuted.clone())), "{said:?}");
    assert_eq!(said.len(), 4, "as often as any news, however often the old word was told");

    // And of another one, against whom several have spoken.
    let mut swim = machine(Lifeguard::ON);
    (1..4).for_each(|from| swim.apply(secs(3), Update::Suspect(word(5, first, from))));
    swim.apply(secs(3), Update::Refused(word(5, first, 4)));
    assert_eq!(swim.queue.len(), 4, "a suspicion, two that confirm it, and a refusal");
    let slot = swim.table.slot_of(&id(5)).expect("held");
    let refuted = crate::packet::Alive { incarnation: first.next(), ..alive_of(&swim.table.get(slot).expect("held")) };
    swim.apply(secs(3), Update::Alive(refuted.clone()));
    assert_eq!(swim.queue.len(), 1);
    let said = told(&mut swim, secs(4), 20);
    assert!(!said.is_empty() && said.iter().all(|update| *update == Update::Alive(refuted.clone())), "{said:?}");
}

/// caio/foca #19 and #31: updates that never drain, and members that multiply as they come back as others.
#[test]
fn three_hundred_join_at_once_and_restart_and_all_that_was_to_tell_is_told() {
    const NODES: usize = 300;
    let mut net = Network::new(1_001);
    // The checks look at all members after each packet.
    net.is_checked = false;
    (0..NODES).for_each(|n| {
        net.add(local(n, 100 + n as u64, 1_000));
    });
    (1..NODES).for_each(|n| net.sync(n, 0));
    let quiet = |net: &Network| net.nodes.iter().all(|node| node.swim.queue.is_empty());
    net.run_until(secs(15), "one view of three hundred", |net| net.agrees(NODES));
    net.run_until(secs(5), "the backlog is told", quiet);
    // A third of them starts again, as other processes.
    let restarted = 200..NODES;
    for n in restarted.clone() {
        net.crash(n);
        let back = net.add(local(n, 9_000 + n as u64, 1_001));
        net.sync(back, n % 200);
    }
    net.run_until(secs(15), "one view", |net| net.agrees(NODES));
    net.run_until(secs(5), "the backlog is told", |net| {
        net.nodes.iter().filter(|node| node.is_running()).all(|node| node.swim.queue.is_empty())
    });
    for node in net.nodes.iter().filter(|node| node.is_running()) {
        assert_eq!((node.swim.members().count(), node.swim.tombstones.len()), (NODES, 0));
        let is_new = |n: usize| node.swim.member(&id(n)).is_some_and(|held| held.boot.0 == 9_000 + n as u64);
        assert!(restarted.clone().all(is_new));
    }
    let gone = |event: &Event| matches!(event, Event::Left(_) | Event::Forgotten(_));
    assert_eq!(net.count(gone), 0);
    assert!(net.all_hold(250, NodeState::Alive));
}

/// However much waits, a packet is filled in a bounded number of steps.
#[test]
fn a_packet_is_filled_in_as_many_steps_whatever_waits() {
    let steps = |waiting: usize| {
        let mut swim = machine(Lifeguard::ON);
        for stranger in 10_000..10_000 + waiting {
            swim.apply(secs(3), Update::Forgotten(word(stranger, Incarnation::first_of(1), stranger)));
        }
        let before = swim.queue.steps();
        assert!(told(&mut swim, secs(3), 1).len() > 90);
        swim.queue.steps() - before
    };
    assert_eq!(steps(200), steps(20_000));
}
