//! A member that says what is not so: how far its word goes. S16, S17.
//!
//! Statements are not signed, so a traitor can say anything of anybody. What is bounded is what comes of it: nobody is gone for
//! good, and whoever is spoken of can always speak last.

use rdb_net_types::{Incarnation, NodeState};

use super::network::{Network, address, id, local, secs};
use crate::packet::{Accusation, Alive, Body, Packet, Sender, Update};
use crate::transmit::alive_of;
use crate::{Event, SyncOutcome, Versions};

/// What node `of` would say of itself, under another incarnation.
fn forged(net: &Network, of: usize, incarnation: Incarnation) -> Update {
    let word = alive_of(&net.nodes[of].swim.table.local());
    Update::Alive(Alive { incarnation, address: address(66), ..word })
}

/// S17: a member refutes only itself: nobody raises another's incarnation, however sure it is that the other lives.
#[test]
fn nobody_refutes_for_another() {
    let mut net = Network::cluster_of(5, 700);
    let before: Vec<Incarnation> = net.nodes.iter().map(|node| node.swim.local().incarnation).collect();
    net.crash(3);
    net.act(0, |swim, now| swim.suspect(now, &id(3)));
    net.run_until(secs(30), "the verdict", |net| net.all_hold(3, NodeState::Failed));
    for node in net.nodes.iter().take(3) {
        assert_eq!(node.swim.member(&id(3)).map(|member| member.incarnation), Some(before[3]));
        assert_eq!(node.swim.stats().refutations, 0);
    }
    // Who lives refutes, and its own incarnation is the only one that has changed.
    net.act(0, |swim, now| swim.suspect(now, &id(2)));
    net.run_until(secs(10), "a refutation", |net| net.nodes[2].swim.stats().refutations > 0);
    net.run(secs(2));
    for (n, before) in before.iter().enumerate().filter(|(n, _)| *n != 3) {
        assert_eq!(net.nodes[n].swim.local().incarnation > *before, n == 2, "node {n}");
    }
}

/// S17: a jump of more than 2^20 refutations is believed of nobody, and a smaller one is answered by whom it is about.
#[test]
fn a_word_that_leaps_ahead_of_its_subject_is_not_taken() {
    let mut net = Network::cluster_of(5, 701);
    let own = net.nodes[3].swim.local().incarnation;
    let leap = Incarnation::from_u64(own.as_u64() + (1 << 20) + 1);
    let word = forged(&net, 3, leap);
    net.act(0, |swim, now| swim.apply(now, word));
    assert_eq!(net.nodes[0].swim.member(&id(3)).map(|member| member.incarnation), Some(own));
    assert_eq!(net.nodes[0].swim.stats().updates_implausible, 1);
    let step = Incarnation::from_u64(own.as_u64() + 5);
    let word = forged(&net, 3, step);
    net.act(0, |swim, now| swim.apply(now, word));
    net.run_until(secs(10), "its own word is the last", |net| net.agrees(5));
    let holds = |n: usize| net.nodes[n].swim.member(&id(3)).map(|member| (member.address, member.incarnation > step));
    assert!((0..5).filter(|n| *n != 3).all(|n| holds(n) == Some((address(3), true))));
}

/// S17: who knows nothing of a member cannot tell a leap; the member outbids it all the same.
#[test]
fn a_newcomer_that_was_lied_to_learns_better() {
    let mut net = Network::cluster_of(4, 702);
    let own = net.nodes[2].swim.local().incarnation;
    for raw in [(own.as_u64() | u64::from(u32::MAX)), 0xfffe_ffff_0000_0000, 0xfffe_ffff_0000_0007] {
        let word = forged(&net, 2, Incarnation::from_u64(raw));
        // As if node 0 had met nothing else.
        net.act(0, |swim, now| {
            let slot = swim.table.slot_of(&id(2)).expect("held");
            swim.table.update(slot, &mut swim.random, |entry| entry.incarnation = Incarnation::default());
            swim.apply(now, word);
        });
        net.run_until(secs(30), "its own word is the last", |net| net.agrees(4));
        assert_eq!(net.nodes[0].swim.member(&id(2)).map(|member| member.address), Some(address(2)), "{raw:x}");
    }
    assert_eq!(net.nodes[1].swim.stats().dropped_malformed, 0, "nobody is outside of what others read");
}

/// S17: of the very last incarnation there is nothing above, so whoever is accused of it stays what it was, and is understood on.
#[test]
fn who_is_accused_of_the_last_incarnation_there_is_is_heard_on() {
    let mut net = Network::cluster_of(4, 704);
    let last = Incarnation::from_u64((u64::from(crate::GENERATION_MAX) << 32) | u64::from(u32::MAX));
    let accusation = || Accusation { id: id(2), incarnation: last, from: id(1) };
    for accused in [Update::Suspect(accusation()), Update::Failed(accusation()), Update::Left(accusation())] {
        net.act(2, |swim, now| swim.apply(now, accused));
        assert!(net.nodes[2].swim.local().incarnation < last);
        net.run(secs(10));
        assert!(net.agrees(4));
    }
    assert_eq!(net.nodes[2].swim.stats().updates_implausible, 3);
    assert!(net.nodes.iter().all(|node| node.swim.stats().dropped_malformed == 0));
}

/// S17: that a member has failed is anybody's word, and no last one: nobody believes it before its subject could answer.
#[test]
fn a_forged_verdict_is_answered_by_whom_it_is_about() {
    let mut net = Network::cluster_of(5, 703);
    let incarnation = net.nodes[3].swim.local().incarnation;
    let verdict = Update::Failed(Accusation { id: id(3), incarnation, from: id(1) });
    net.act(0, |swim, now| swim.apply(now, verdict));
    net.run_until(secs(10), "it has spoken", |net| net.agrees(5) && net.nodes[3].swim.stats().refutations > 0);
    assert_eq!(net.count(|event| matches!(event, Event::Forgotten(_) | Event::Failed(_))), 0);
}

fn range(lowest: u8, highest: u8) -> Versions {
    Versions::new(lowest, highest).expect("a range")
}

/// A cluster whose last member understands the first version alone, and the others this range.
fn mixed_cluster(members: usize, seed: u64, others: Versions) -> Network {
    let mut net = Network::new(seed);
    for n in 0..members {
        net.add(local(n, 100 + n as u64, 1_000));
        net.nodes[n].swim.speak(if n + 1 < members { others } else { Versions::FIRST });
        if n > 0 {
            net.sync(n, 0);
        }
    }
    net.run_until(secs(20), "everybody knows everybody", |net| net.agrees(members));
    net.run(secs(3));
    net
}

/// Tells these nodes that a member understands this range, by a word of this incarnation.
fn forge_range(net: &mut Network, at: std::ops::Range<usize>, of: usize, incarnation: Incarnation, versions: Versions) {
    let word = alive_of(&net.nodes[of].swim.table.local());
    for n in at {
        let word = Alive { incarnation, versions, ..word.clone() };
        net.act(n, |swim, now| swim.apply(now, Update::Alive(word)));
    }
}

fn hold_range(net: &Network, of: usize, versions: Versions) -> bool {
    net.nodes.iter().all(|node| node.swim.member(&id(of)).is_some_and(|held| held.versions == versions))
}

/// Has a newcomer of the first version ask each of these seeds, and gives whether all have taken it in.
fn joins_through_each(net: &mut Network, seeds: usize) -> bool {
    let newcomers = net.nodes.len();
    for seed in 0..seeds {
        let newcomer = net.add(local(20 + newcomers + seed, 500 + seed as u64, 2_000));
        net.sync(newcomer, seed);
    }
    let outcomes = net.nodes[newcomers..].iter().flat_map(|node| &node.outcomes);
    outcomes.filter(|outcome| matches!(outcome, SyncOutcome::Accepted { .. })).count() == seeds
}

/// S17: a range that shares no version with whoever hears of it is taken from no word, stale, known or new.
#[test]
fn a_forged_range_that_nobody_shares_keeps_no_newcomer_out() {
    for step in [-1, 0, 1] {
        let mut net = Network::cluster_of(5, 705);
        net.act(3, |swim, now| swim.rise_to(now, swim.local().incarnation.next()));
        net.run_until(secs(10), "its word is known", |net| net.agrees(5));
        let own = net.nodes[3].swim.local().incarnation.as_u64();
        forge_range(&mut net, 0..3, 3, Incarnation::from_u64(own.saturating_add_signed(step)), range(2, 3));
        assert!(hold_range(&net, 3, Versions::FIRST), "{step}");
        assert!(joins_through_each(&mut net, 5), "{step}");
    }
}

/// S17: where the others understand the forged range it is taken; the member's own word, by whichever way it learns, is the last.
#[test]
fn a_forged_range_is_undone_by_whom_it_is_about_and_newcomers_join_through_any_seed() {
    for hears_itself in [true, false] {
        let mut net = mixed_cluster(5, 706, range(1, 3));
        let own = net.nodes[4].swim.local().incarnation;
        forge_range(&mut net, 0..4, 4, own, range(2, 3));
        let newcomer = net.add(local(19, 499, 2_000));
        net.sync(newcomer, 0);
        assert_eq!(net.nodes[newcomer].outcomes, [SyncOutcome::Incompatible], "for a while the lie is believed");
        net.nodes.pop();
        if hears_itself {
            forge_range(&mut net, 4..5, 4, own, range(2, 3));
        } else {
            net.sync(4, 1);
        }
        net.run_until(secs(10), "its own word is the last", |net| hold_range(net, 4, Versions::FIRST));
        assert!(net.nodes[4].swim.local().incarnation > own);
        assert!(joins_through_each(&mut net, 5));
        net.run_until(secs(60), "one view", |net| net.agrees(10));
    }
}

/// S17: one process understands one range: what is said of it later, in the same breath, is not taken.
#[test]
fn a_range_that_is_known_is_changed_by_no_word_of_the_same_incarnation() {
    let mut net = mixed_cluster(3, 707, range(1, 3));
    let own = net.nodes[1].swim.local().incarnation;
    for forged in [range(2, 2), range(1, 9), Versions::FIRST] {
        forge_range(&mut net, 0..1, 1, own, forged);
        assert_eq!(net.nodes[0].swim.member(&id(1)).map(|held| held.versions), Some(range(1, 3)));
    }
}

/// S16: a node pings members for others, and nobody else: it is no way to reach addresses that the asker cannot.
#[test]
fn who_is_no_member_is_pinged_for_nobody() {
    let mut net = Network::cluster_of(3, 704);
    let now = net.now;
    let asker = net.nodes[1].swim.table.local();
    let sender = Sender { version: 1, id: asker.id.clone(), boot: asker.boot, incarnation: asker.incarnation };
    let body = Body::PingRequest { sequence: 9, target: id(42), target_boot: asker.boot, budget_ms: 500 };
    let packet = Packet { sender, body, updates: Vec::new() }.encode(net.nodes[0].swim.cluster);
    let swim = &mut net.nodes[0].swim;
    assert_eq!(swim.handle_packet(now, address(1), &packet), Ok(()));
    let mut answer = Vec::new();
    assert_eq!(swim.poll_transmit(now, &mut answer), Some(address(1)), "a refusal, to who has asked");
    assert_eq!(swim.poll_transmit(now, &mut Vec::new()), None, "and nothing to anybody else");
    let answer = Packet::decode(&answer, crate::Versions::SPOKEN, swim.cluster).expect("a packet");
    assert!(matches!(answer.body, Body::Nack { sequence: 9 }));
    assert_eq!(swim.stats().pings_relayed, 0);
}
