//! Members that understand different versions of the protocol.

use std::time::Duration;

use rdb_net_types::{Incarnation, NodeState};

use super::network::{Network, address, cluster, id, local, secs};
use crate::packet::{Alive, Update, cluster_hash, write_header};
use crate::transmit::alive_of;
use crate::wire::{DecodeError, Write};
use crate::{Config, DropReason, Event, Swim, SyncAnswer, SyncOutcome, Versions};

fn range(lowest: u8, highest: u8) -> Versions {
    Versions::new(lowest, highest).expect("a range")
}

/// Nodes that understand these versions and do not know each other yet.
fn strangers(versions: &[(u8, u8)]) -> Network {
    let mut net = Network::new(77);
    for (n, (lowest, highest)) in versions.iter().enumerate() {
        add(&mut net, n, n as u64, 1_000, range(*lowest, *highest));
    }
    net
}

fn add(net: &mut Network, n: usize, boot: u64, generation: u32, versions: Versions) -> usize {
    let index = net.add(local(n, 100 + boot, generation));
    net.nodes[index].swim.speak(versions);
    index
}

/// Who was told by whom that which node understands what, and who does not understand it.
fn told(net: &Network) -> Vec<(usize, String, Versions, Versions)> {
    let of = |(n, node): (usize, &super::network::Node)| {
        let told = node.events.iter().filter_map(|(_, event)| match event {
            Event::Incompatible { node, theirs, ours } => Some((node.to_string(), *theirs, *ours)),
            _ => None,
        });
        told.map(|(node, theirs, ours)| (n, node, theirs, ours)).collect::<Vec<_>>()
    };
    net.nodes.iter().enumerate().flat_map(of).collect()
}

fn unreadable(net: &Network) -> u64 {
    net.nodes.iter().map(|node| node.swim.stats().dropped_version + node.swim.stats().dropped_malformed).sum()
}

#[test]
fn every_packet_is_of_the_highest_version_that_both_ends_understand() {
    let mut net = strangers(&[(1, 1), (1, 2), (1, 3), (1, 3)]);
    (1..4).for_each(|n| net.sync(n, 0));
    net.run_until(secs(20), "one view", |net| net.agrees(4));
    net.run(secs(5));
    net.versions.clear();
    net.run(secs(60));
    let expected = [[0, 1, 1, 1], [1, 0, 2, 2], [1, 2, 0, 3], [1, 2, 3, 0]];
    for (from, to, version) in &net.versions {
        assert_eq!(*version, expected[*from][*to], "from {from} to {to}");
    }
    assert_eq!(net.versions.len(), 12, "each has sent to each");
    assert_eq!(unreadable(&net), 0);
    assert_eq!(net.count(|event| matches!(event, Event::Failed(_) | Event::Incompatible { .. })), 0);
}

#[test]
fn a_rolling_upgrade_and_the_way_back_fail_nobody() {
    let mut net = Network::cluster_of(4, 78);
    let mut indices = [0, 1, 2, 3];
    let mut generation = 1_000;
    for versions in [range(1, 2), range(2, 3), range(2, 2), range(1, 2), range(1, 1)] {
        for n in 0..4 {
            generation += 1;
            net.leave(indices[n]);
            net.run_until(secs(20), "the farewell", |net| {
                net.nodes[indices[n]].events.iter().any(|(_, event)| matches!(event, Event::Farewell { .. }))
            });
            net.crash(indices[n]);
            indices[n] = add(&mut net, n, u64::from(generation), generation, versions);
            let seed = indices[(n + 1) % 4];
            // Twice, where the first request was of a version that the seed does not understand.
            net.sync(indices[n], seed);
            net.sync(indices[n], seed);
            net.run_until(secs(20), "it is back", |net| net.agrees(4));
            net.run(secs(3));
        }
    }
    assert_eq!(net.count(|event| matches!(event, Event::Failed(_) | Event::Incompatible { .. })), 0);
    assert!(net.versions.iter().any(|(_, _, version)| *version == 3), "the newest version was spoken");
}

#[test]
fn who_shares_no_version_is_refused_and_both_sides_tell_whom_and_what() {
    let mut net = strangers(&[(1, 1), (1, 1), (2, 3)]);
    net.sync(1, 0);
    net.run_until(secs(20), "one view of two", |net| net.nodes[1].swim.alive_count() == 2);
    net.sync(2, 0);
    assert_eq!(net.nodes[2].outcomes, [SyncOutcome::Incompatible]);
    net.run(secs(30));
    let expected =
        [(0, id(2).to_string(), Versions::only(2), range(1, 1)), (2, id(0).to_string(), range(1, 1), range(2, 3))];
    assert_eq!(told(&net), expected);
    assert!(net.nodes[0].swim.member(&id(2)).is_none() && net.nodes[2].swim.member(&id(0)).is_none());
    assert_eq!([0, 2].map(|n| net.nodes[n].swim.stats().refused_versions), [1, 1]);
}

#[test]
fn a_newcomer_asks_anew_in_a_version_that_it_shares_with_the_replier() {
    let mut net = strangers(&[(2, 3), (1, 2)]);
    net.sync(1, 0);
    assert_eq!(net.nodes[1].outcomes, [SyncOutcome::AnotherVersion]);
    net.sync(1, 0);
    assert!(matches!(net.nodes[1].outcomes[..], [_, SyncOutcome::Accepted { members: 2 }]));
    net.run(secs(30));
    assert_eq!((net.agrees(2), told(&net), unreadable(&net)), (true, vec![], 0));
}

#[test]
fn a_member_that_is_asked_in_a_wrong_version_is_asked_in_a_right_one_next() {
    let mut net = strangers(&[(1, 3), (1, 1), (1, 3)]);
    (1..3).for_each(|n| net.sync(n, 0));
    let swim = &mut net.nodes[0].swim;
    for n in [1, 2] {
        let slot = swim.table.slot_of(&id(n)).expect("held");
        swim.note_versions(slot, range(2, 3));
    }
    let request = swim.sync_request_to(&id(1));
    let answer = net.nodes[1].swim.handle_sync_request(secs(1), &request).expect("a request");
    let SyncAnswer::Ready(reply) = answer else { panic!("{answer:?}") };
    let swim = &mut net.nodes[0].swim;
    let held = |swim: &Swim, n| swim.member(&id(n)).expect("held").versions;
    assert_eq!(swim.handle_sync_reply_of(secs(1), &id(2), &reply), Ok(SyncOutcome::AnotherVersion));
    assert_eq!((held(swim, 1), held(swim, 2)), (range(2, 3), range(2, 3)), "another one was asked");
    assert_eq!(swim.handle_sync_reply_of(secs(1), &id(1), &reply), Ok(SyncOutcome::AnotherVersion));
    assert_eq!((held(swim, 1), held(swim, 2)), (range(1, 1), range(2, 3)));
    let request = swim.sync_request_to(&id(1));
    let answer = net.nodes[1].swim.handle_sync_request(secs(1), &request).expect("a request");
    let SyncAnswer::Ready(reply) = answer else { panic!("{answer:?}") };
    let taken = net.nodes[0].swim.handle_sync_reply_of(secs(1), &id(1), &reply);
    assert!(matches!(taken, Ok(SyncOutcome::Accepted { .. })), "{taken:?}");
}

/// It would be asked in that version again, and refuse it again.
#[test]
fn a_reply_that_refuses_a_version_and_names_it_is_no_reply() {
    let mut net = strangers(&[(1, 3)]);
    let swim = &mut net.nodes[0].swim;
    let refusal = swim.versions_reply(2, range(1, 2), &id(1));
    assert_eq!(swim.handle_sync_reply(secs(1), &refusal), Err(DecodeError::Value { field: "versions" }));
    let refusal = swim.versions_reply(1, range(2, 3), &id(1));
    assert_eq!(swim.handle_sync_reply(secs(1), &refusal), Ok(SyncOutcome::AnotherVersion));
}

#[test]
fn who_comes_again_with_a_version_that_nobody_understands_is_told_of() {
    let mut net = strangers(&[(2, 3), (1, 1)]);
    net.sync(1, 0);
    assert_eq!(told(&net).iter().filter(|(by, ..)| *by == 0).count(), 0, "it may understand more than it asked in");
    net.sync(1, 0);
    assert!(told(&net).contains(&(0, id(1).to_string(), range(1, 1), range(2, 3))), "{:?}", told(&net));
}

/// Otherwise the cluster would have two views for ever: the seed's, and that of the member that cannot hold the newcomer.
#[test]
fn a_newcomer_that_one_member_cannot_understand_is_refused_by_all() {
    let mut net = strangers(&[(1, 1), (1, 2), (2, 3)]);
    net.sync(1, 0);
    net.run_until(secs(20), "one view of two", |net| net.nodes[1].swim.alive_count() == 2);
    net.sync(2, 1);
    assert_eq!(net.nodes[2].outcomes, [SyncOutcome::Incompatible]);
    net.run(secs(10));
    let expected = [(1, id(2).to_string(), range(2, 3), range(1, 1)), (2, id(0).to_string(), range(1, 1), range(2, 3))];
    assert_eq!(told(&net), expected);
    assert!(net.nodes[..2].iter().all(|node| node.swim.members().count() == 2));
}

#[test]
fn another_members_word_of_one_that_shares_no_version_is_not_taken() {
    let mut net = Network::cluster_of(3, 79);
    let stranger = strangers(&[(2, 3)]);
    let word = Alive { id: id(9), ..alive_of(&stranger.nodes[0].swim.local()) };
    net.act(0, |swim, now| swim.apply(now, Update::Alive(word.clone())));
    net.act(0, |swim, now| swim.apply(now, Update::Alive(word)));
    net.run(secs(5));
    assert!(net.nodes.iter().all(|node| node.swim.member(&id(9)).is_none()));
    assert_eq!(net.nodes[0].swim.stats().refused_versions, 2);
    assert_eq!(told(&net), [(0, id(9).to_string(), range(2, 3), range(1, 1))], "told once, counted twice");
}

/// A member of a release that knows nothing of versions tells a newer one's word on without them.
#[test]
fn versions_that_were_lost_on_the_way_are_learned_from_the_same_word_that_comes_whole() {
    let mut net = strangers(&[(1, 2), (1, 2)]);
    let word = alive_of(&net.nodes[1].swim.local());
    let mute = Alive { versions: Versions::FIRST, ..word.clone() };
    let heard = |net: &Network| net.nodes[0].swim.member(&id(1)).expect("a member").versions;
    net.nodes[0].swim.apply(secs(1), Update::Alive(mute.clone()));
    assert_eq!(heard(&net), Versions::FIRST);
    net.nodes[0].swim.apply(secs(1), Update::Alive(word));
    assert_eq!(heard(&net), range(1, 2), "of the same incarnation");
    net.nodes[0].swim.apply(secs(1), Update::Alive(mute.clone()));
    assert_eq!(heard(&net), range(1, 2), "what is known is not lost again");
    let newer = Alive { incarnation: mute.incarnation.next(), ..mute };
    net.nodes[0].swim.apply(secs(1), Update::Alive(newer));
    assert_eq!(heard(&net), Versions::FIRST, "until the newer word comes whole, or the member itself");
    net.act(1, |swim, now| swim.rise_to(now, Incarnation::first_of(1_000).next()));
    net.sync(1, 0);
    assert_eq!(heard(&net), range(1, 2));
    assert_eq!(net.nodes[1].swim.stats().refutations, 1, "that it was lost is nothing to refute");
}

/// A packet of the future: nothing but its start is as it is today.
fn packet_of(version: u8) -> Vec<u8> {
    let mut packet = Vec::new();
    write_header(&mut packet, version, cluster_hash(&cluster()), 77);
    packet.id(&id(5));
    packet.extend_from_slice(b"who knows");
    packet
}

#[test]
fn a_packet_of_an_unknown_version_names_its_sender_and_is_told_once_a_minute() {
    let mut swim = Swim::new(Config::lan(), &cluster(), local(0, 100, 1_000), 1, secs(1));
    let mut take = |now: Duration| {
        let taken = swim.handle_packet(now, address(5), &packet_of(9));
        assert_eq!(taken, Err(DropReason::Decode(DecodeError::Version { version: 9 })));
        let told: Vec<Event> = std::iter::from_fn(|| swim.poll_event()).collect();
        (told, swim.stats().dropped_version)
    };
    let event = Event::Incompatible { node: id(5), theirs: Versions::only(9), ours: range(1, 1) };
    assert_eq!(take(secs(1)), (vec![event.clone()], 1));
    assert_eq!(take(secs(60)), (vec![], 2));
    assert_eq!(take(secs(61)), (vec![event], 3));
}

/// S7: whoever makes up ids costs no memory beyond a bound.
#[test]
fn no_more_than_so_many_strange_nodes_are_told_of() {
    let mut swim = Swim::new(Config::lan(), &cluster(), local(0, 100, 1_000), 1, secs(1));
    for n in 0..1_000 {
        let mut packet = Vec::new();
        write_header(&mut packet, 9, cluster_hash(&cluster()), 1);
        packet.id(&id(n + 10));
        assert!(swim.handle_packet(secs(1), address(5), &packet).is_err());
    }
    assert_eq!(std::iter::from_fn(|| swim.poll_event()).count(), 32);
    assert_eq!(swim.stats().dropped_version, 1_000);
}

#[test]
fn what_a_later_release_adds_to_a_view_is_passed_over() {
    let mut net = strangers(&[(1, 1), (1, 1)]);
    let request = net.nodes[1].swim.sync_request();
    let longer = [request.as_slice(), &[1, 2, 0xaa, 0xbb]].concat();
    let answer = net.nodes[0].swim.handle_sync_request(secs(1), &longer).expect("a request");
    assert_eq!(net.nodes[0].swim.member(&id(1)).expect("a member").versions, range(1, 2));
    let SyncAnswer::Ready(reply) = answer else { panic!("{answer:?}") };
    // A record of a state that does not exist today.
    let longer = [reply.as_slice(), &[3, 9, 0xaa, 0xbb]].concat();
    let outcome = net.nodes[1].swim.handle_sync_reply(secs(1), &longer);
    assert_eq!(outcome, Ok(SyncOutcome::Accepted { members: 2 }));
}

/// al8n/memberlist #165: a member of which nothing else has changed is told of nobody.
#[test]
fn whose_versions_alone_have_changed_is_told_as_updated_in_whatever_state_it_is_held() {
    for state in [NodeState::Alive, NodeState::Suspect, NodeState::Failed] {
        // By a newer word, and by the same one where its range had been lost on the way.
        for is_newer in [true, false] {
            let mut net = Network::cluster_of(4, 80);
            net.crash(3);
            if state == NodeState::Suspect {
                net.act(0, |swim, now| swim.suspect(now, &id(3)));
            } else if state == NodeState::Failed {
                net.run_until(secs(30), "failed", |net| net.all_hold(3, NodeState::Failed));
            }
            let before = net.nodes[0].swim.member(&id(3)).map(|member| alive_of(&member)).expect("held");
            let incarnation = if is_newer { before.incarnation.next() } else { before.incarnation };
            let word = Alive { versions: range(1, 2), incarnation, ..before.clone() };
            net.forget_events();
            net.act(0, |swim, now| swim.apply(now, Update::Alive(word)));
            let told = net.nodes[0].events.iter().filter_map(|(_, event)| match event {
                Event::Updated(record) => Some((record.state, record.versions)),
                Event::Recovered(record) | Event::Trusted(record) if is_newer => Some((record.state, record.versions)),
                _ => None,
            });
            let told: Vec<_> = told.collect();
            let expected = (if is_newer { NodeState::Alive } else { state }, range(1, 2));
            assert_eq!(told.last(), Some(&expected), "{state:?}, newer: {is_newer}");
        }
    }
}
