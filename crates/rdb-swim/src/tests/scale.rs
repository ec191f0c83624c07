//! What ten thousand members cost: bytes held, and work done for each packet and tick.

use std::time::Duration;

use allocation_counter::measure;
use bytes::Bytes;
use rdb_net_types::{BootId, Incarnation, NodeId, NodeState};

use super::network::{address, cluster, ms, secs};
use crate::packet::{Accusation, Alive, Body, Packet, Sender, Update};
use crate::profile::Profile;
use crate::swim::Swim;
use crate::{Config, LocalNode, Versions};

fn id(n: usize) -> NodeId {
    NodeId::new(&format!("node-{n:05}")).expect("legal")
}

fn alive(n: usize, incarnation: Incarnation) -> Alive {
    Alive {
        id: id(n),
        incarnation,
        boot: BootId(n as u64),
        address: address(n),
        meta: Bytes::new(),
        versions: Versions::FIRST,
    }
}

fn member(n: usize, config: Config) -> Swim {
    let Alive { id, incarnation, boot, address, meta, .. } = alive(n, Incarnation::first_of(1));
    Swim::new(config, &cluster(), LocalNode { id, boot, incarnation, address, meta }, 7, secs(1))
}

/// A member that knows `n − 1` others.
fn knowing(n: usize, config: Config) -> Swim {
    let mut swim = member(0, config);
    let others = (1..n).map(|n| {
        let Alive { id, incarnation, boot, address, meta, .. } = alive(n, Incarnation::first_of(1));
        (Profile::new(id, boot, address, meta), incarnation)
    });
    swim.restore(secs(1), others);
    swim
}

/// What is sent is answered as a sound cluster would answer.
fn answer_all(swim: &mut Swim, now: Duration) {
    let mut bytes = Vec::new();
    let mut answers = Vec::new();
    while swim.poll_transmit(now, &mut bytes).is_some() {
        let packet = Packet::decode(&bytes, crate::Versions::SPOKEN, swim.cluster).expect("its own bytes");
        if let Body::Ping { sequence, target, target_boot } = packet.body {
            let sender = Sender { version: 1, id: target, boot: target_boot, incarnation: Incarnation::first_of(1) };
            let body = Body::Ack { sequence, digest: swim.digest() };
            answers.push(Packet { sender, body, updates: Vec::new() });
        }
    }
    for answer in answers {
        let from = swim.member(&answer.sender.id).expect("held").address;
        swim.handle_packet(now + ms(1), from, &answer.encode(swim.cluster)).expect("an answer");
    }
    while swim.poll_event().is_some() {}
}

/// Two minutes of a member's life: probes, an exchange of views that finds them equal, two reapings, and each second a rumour that somebody is
/// suspect and refutes. Gives how many entries were looked at, and how often something that waits was offered to a packet.
fn work_of_two_minutes(n: usize) -> (u64, u64) {
    let mut swim = knowing(n, Config::lan());
    let before = swim.table.looks();
    let mut incarnation = Incarnation::first_of(1);
    for second in 1..=120 {
        let start = secs(second);
        let from = id(n / 2);
        let accusation = Accusation { id: id(3), incarnation, from: from.clone() };
        incarnation = incarnation.next();
        let sender =
            Sender { version: 1, id: from, boot: BootId((n / 2) as u64), incarnation: Incarnation::first_of(1) };
        let updates = vec![Update::Suspect(accusation), Update::Alive(alive(3, incarnation))];
        let rumour = Packet { sender, body: Body::Gossip, updates }.encode(swim.cluster);
        swim.handle_packet(start, address(n / 2), &rumour).expect("a packet");
        while let Some(at) = swim.poll_timeout().filter(|at| *at < start + secs(1)) {
            swim.handle_timeout(at);
            answer_all(&mut swim, at);
        }
    }
    assert_eq!((swim.stats().probes_failed, swim.alive_count()), (0, n));
    assert!(swim.stats().probes_answered >= 118);
    (swim.table.looks() - before, swim.queue.steps())
}

#[test]
fn a_members_work_does_not_grow_with_the_cluster() {
    let ((small, few), (large, many)) = (work_of_two_minutes(100), work_of_two_minutes(10_000));
    // An update is told 8 times by each of 100 members, and 20 times by each of 10,000: that is log n, and all of the difference.
    assert!(small < 20_000, "{small} looks among 100 members");
    assert!(large < 3 * small, "{large} looks among 10,000 members, {small} among 100");
    assert!((120 * 12..=120 * 14).contains(&few), "{few} steps of the queue among 100 members");
    assert!(many <= 3 * few, "{many} steps of the queue among 10,000 members, {few} among 100");
}

#[test]
fn ten_thousand_members_are_held_in_two_megabytes_and_160_bytes_each() {
    // By the way of a newcomer that gets the whole view in a reply.
    let mut teacher = knowing(10_000, Config::lan());
    let request = member(10_000, Config::lan()).sync_request();
    let crate::SyncAnswer::Ready(reply) = teacher.handle_sync_request(secs(1), &request).expect("a request") else {
        panic!("it is not held up");
    };
    let mut newcomer = None;
    let measured = measure(|| {
        let mut swim = member(10_000, Config::lan());
        swim.handle_sync_reply(secs(1), &reply).expect("a reply");
        while swim.poll_event().is_some() {}
        answer_all(&mut swim, secs(1));
        newcomer = Some(swim);
    });
    let swim = newcomer.expect("made");
    assert_eq!(swim.alive_count(), 10_001);
    let bytes = measured.bytes_current as usize + size_of::<Swim>();
    assert!(bytes <= 2_000_000, "{bytes} bytes");
    assert!(bytes / 10_001 <= 160, "{} bytes a member", bytes / 10_001);
}

#[test]
fn a_view_that_shares_what_members_say_holds_at_most_64_bytes_each() {
    let profiles: Vec<_> = (1..10_000)
        .map(|n| {
            let Alive { id, incarnation, boot, address, meta, .. } = alive(n, Incarnation::first_of(1));
            (Profile::new(id, boot, address, meta), incarnation)
        })
        .collect();
    let mut held = None;
    let measured = measure(|| {
        let mut swim = member(0, Config::lan());
        swim.restore(secs(1), profiles.iter().cloned());
        held = Some(swim);
    });
    let swim = held.expect("made");
    assert_eq!((swim.alive_count(), swim.member(&id(77)).map(|member| member.state)), (10_000, Some(NodeState::Alive)));
    let bytes = measured.bytes_current as usize;
    assert!(bytes <= 64 * 10_000, "{} bytes a member", bytes / 10_000);
}

/// Also where members come one by one, so that no list could be sized beforehand.
#[test]
fn a_view_that_grew_one_by_one_is_as_small() {
    let mut held = None;
    let measured = measure(|| {
        let mut swim = member(0, Config::lan());
        for n in 1..10_000 {
            swim.apply(secs(1), Update::Alive(alive(n, Incarnation::first_of(1))));
            while swim.poll_event().is_some() {}
        }
        while !swim.queue.is_empty() {
            swim.gossip_tick(secs(1));
            while swim.poll_transmit(secs(1), &mut Vec::new()).is_some() {}
        }
        held = Some(swim);
    });
    assert_eq!(held.as_ref().map(Swim::alive_count), Some(10_000));
    let bytes = measured.bytes_current as usize;
    assert!(bytes <= 1_600_000, "{} bytes a member", bytes / 10_000);
}

/// A member that is known already is taken in without a word, and no ghost and no rival with it.
#[test]
fn what_is_restored_is_held_and_told_to_nobody() {
    let mut swim = knowing(5, Config { members_max: 6, ..Config::lan() });
    let former = swim.digest();
    let again = alive(3, Incarnation::first_of(9));
    let (fifth, sixth) = (alive(5, Incarnation::first_of(1)), alive(6, Incarnation::first_of(1)));
    let known =
        [again, fifth, sixth].map(|word| (Profile::new(word.id, word.boot, word.address, word.meta), word.incarnation));
    swim.restore(secs(2), known);
    assert_eq!(swim.alive_count(), 6, "no more than the limit");
    assert_eq!(swim.member(&id(3)).map(|member| member.incarnation), Some(Incarnation::first_of(1)), "it was held");
    assert_eq!(swim.member(&id(6)).map(|member| member.state), None);
    assert_ne!(swim.digest(), former);
    assert_eq!(swim.poll_event(), None);
    swim.gossip_tick(secs(2));
    assert_eq!(swim.poll_transmit(secs(2), &mut Vec::new()), None);
}
