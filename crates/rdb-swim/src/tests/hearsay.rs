//! What others have found is a reason to doubt, and no verdict. S18.

use std::time::Duration;

use rdb_net_types::{BootId, Incarnation, NodeState};

use super::lifeguard::machine;
use super::network::{Network, address, cluster, id, ms, secs};
use crate::packet::{Accusation, Body, Packet, Sender, Update, cluster_hash};
use crate::schedule::Timer;
use crate::{Event, Lifeguard, Swim};

fn claim(from: usize, of: usize) -> Accusation {
    Accusation { id: id(of), incarnation: Incarnation::first_of(1_000), from: id(from) }
}

fn hear(swim: &mut Swim, now: Duration, from: usize, update: Update) {
    let sender =
        Sender { version: 1, id: id(from), boot: BootId(100 + from as u64), incarnation: Incarnation::first_of(1_000) };
    let packet = Packet { sender, body: Body::Gossip, updates: vec![update] }.encode(cluster_hash(&cluster()));
    assert_eq!(swim.handle_packet(now, address(from), &packet), Ok(()));
}

fn state(swim: &Swim, of: usize) -> Option<NodeState> {
    swim.member(&id(of)).map(|member| member.state)
}

fn run_to(swim: &mut Swim, now: Duration) {
    while let Some(due) = swim.poll_timeout().filter(|due| *due <= now) {
        swim.handle_timeout(due);
        let mut packet = Vec::new();
        while swim.poll_transmit(due, &mut packet).is_some() {}
    }
}

#[test]
fn a_verdict_of_others_starts_the_subjects_clock() {
    let mut swim = machine(Lifeguard::ON);
    hear(&mut swim, secs(2), 1, Update::Failed(claim(1, 5)));
    assert_eq!((state(&swim, 5), swim.stats().verdicts_doubted), (Some(NodeState::Suspect), 1));
    let slot = swim.table.slot_of(&id(5)).expect("held");
    let longest = swim.config().suspicion_timeout(6) * Lifeguard::ON.stretch;
    assert_eq!(
        swim.schedule.deadline(Timer::Suspicion(slot)),
        Some(secs(2) + longest),
        "one accuser has little weight"
    );
}

#[test]
fn verdicts_of_several_confirm_each_other() {
    let mut swim = machine(Lifeguard::ON);
    for from in [1, 2, 2, 3, 4] {
        hear(&mut swim, secs(2), from, Update::Failed(claim(from, 5)));
    }
    let slot = swim.table.slot_of(&id(5)).expect("held");
    let shortest = swim.config().suspicion_timeout(6);
    assert_eq!(swim.schedule.deadline(Timer::Suspicion(slot)), Some(secs(2) + shortest));
    assert_eq!(state(&swim, 5), Some(NodeState::Suspect));
}

/// Where half of the others are ill too, none of them waits for what only another one could find.
#[test]
fn ill_members_do_not_wait_for_each_other() {
    let mut net = Network::cluster_of(5, 21);
    for ill in [1, 2] {
        net.nodes[ill].swim.worsen_health(8);
    }
    net.crash(4);
    net.run_until(secs(60), "failed at those that are well", |net| {
        [0, 3].into_iter().all(|n| state(&net.nodes[n].swim, 4) == Some(NodeState::Failed))
    });
    let after = net.run_until(secs(60), "failed at all", |net| net.all_hold(4, NodeState::Failed));
    assert!(after < ms(1000), "{after:?}");
}

/// Who is ill has to wait for its own findings, and not for what several others are through with.
#[test]
fn an_ill_member_takes_what_enough_others_have_found() {
    let mut swim = machine(Lifeguard::ON);
    swim.worsen_health(3);
    let slot = swim.table.slot_of(&id(5)).expect("held");
    let shortest = swim.config().suspicion_timeout(6);
    for from in [1, 2, 3, 4] {
        hear(&mut swim, secs(2), from, Update::Suspect(claim(from, 5)));
    }
    let deadline = |swim: &Swim| swim.schedule.deadline(Timer::Suspicion(slot)).map(|at| at - secs(2));
    assert_eq!(deadline(&swim), Some(shortest * 4), "suspicions may have been refuted without its hearing so");
    for from in [1, 1, 77] {
        hear(&mut swim, secs(2) + ms(10), from.min(4), Update::Failed(claim(from, 5)));
    }
    assert_eq!(deadline(&swim), Some(shortest * 4), "one of four is too few, and a stranger does not count");
    hear(&mut swim, secs(2) + ms(10), 2, Update::Failed(claim(2, 5)));
    assert_eq!(deadline(&swim), Some(shortest));
}

#[test]
fn what_the_paper_has_believes_at_once() {
    for lifeguard in [Lifeguard::OFF, Lifeguard::PAPER] {
        let mut swim = machine(lifeguard);
        hear(&mut swim, secs(2), 1, Update::Failed(claim(1, 5)));
        assert_eq!((state(&swim, 5), swim.stats().verdicts_doubted), (Some(NodeState::Failed), 0));
    }
}

#[test]
fn who_has_said_farewell_is_gone_at_once() {
    let mut swim = machine(Lifeguard::ON);
    hear(&mut swim, secs(2), 1, Update::Left(claim(5, 5)));
    assert_eq!(state(&swim, 5), Some(NodeState::Left));
}

/// The verdict itself is doubted, but two members' refusals are evidence to whoever hears of them, however late.
#[test]
fn refusals_convict_whoever_hears_of_them_after_the_verdict() {
    let mut early = machine(Lifeguard::ON);
    hear(&mut early, secs(2), 1, Update::Refused(claim(1, 5)));
    hear(&mut early, secs(2), 2, Update::Refused(claim(2, 5)));
    run_to(&mut early, secs(2) + ms(310));
    assert_eq!(state(&early, 5), Some(NodeState::Failed));
    // What it still tells is enough for somebody who has heard of nothing.
    early.handle_timeout(secs(2) + ms(311));
    early.gossip_tick(secs(2) + ms(311));
    let mut packet = Vec::new();
    early.poll_transmit(secs(2) + ms(311), &mut packet).expect("gossip");
    let told = Packet::decode(&packet, crate::Versions::SPOKEN, cluster_hash(&cluster())).expect("its own").updates;
    assert!(told.iter().any(|update| matches!(update, Update::Failed(_))));
    let mut late = machine(Lifeguard::ON);
    told.into_iter().for_each(|update| late.apply(secs(3), update));
    assert_eq!(state(&late, 5), Some(NodeState::Suspect));
    run_to(&mut late, secs(3) + ms(310));
    assert_eq!(state(&late, 5), Some(NodeState::Failed));
    // When it has been told for long enough, it is forgotten.
    run_to(&mut late, secs(200));
    assert!(late.refusals.is_empty());
}

/// A member that is heard by few and hears all: by itself it fails others, and nobody follows it.
#[test]
fn who_is_hardly_heard_fails_nobody_for_the_others() {
    let mut net = Network::cluster_of(12, 801);
    net.mute(0, 0.95);
    net.run(secs(300));
    let stats = net.nodes[0].swim.stats();
    assert!(stats.suspicions_raised >= 5, "it finds others silent: {}", stats.suspicions_raised);
    assert!(stats.failures_declared > 0, "and has failed one at least, which it tells");
    let believed = |event: &Event| matches!(event, Event::Failed(record) if record.id != id(0));
    let wrong = net.nodes.iter().skip(1).flat_map(|node| &node.events).filter(|(_, event)| believed(event)).count();
    assert_eq!(wrong, 0);
}
