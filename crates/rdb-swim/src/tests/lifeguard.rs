//! A member that is slow or cut off blames itself first, and one accuser alone has little weight.

use rdb_net_types::{BootId, EvidenceKind, Incarnation, NodeState};

use super::network::{Network, cluster, id, local, ms, secs};
use crate::packet::{Accusation, Body, Packet, Sender, Update, cluster_hash};
use crate::{Config, Event, Lifeguard, Swim};

/// When a node told such an event of another first.
fn first(net: &Network, by: usize, is_it: impl Fn(&Event) -> bool) -> Option<std::time::Duration> {
    net.nodes[by].events.iter().find(|(_, event)| is_it(event)).map(|(at, _)| *at)
}

#[test]
fn relays_that_answer_keep_the_health_of_whoever_finds_a_crash() {
    let mut net = Network::cluster_of(8, 600);
    net.crash(7);
    net.run_until(secs(20), "failed everywhere", |net| net.all_hold(7, NodeState::Failed));
    let stats = |net: &Network, n: usize| net.nodes[n].swim.stats().clone();
    assert!((0..7).any(|n| stats(&net, n).probes_failed > 0 && stats(&net, n).nacks_received > 0));
    assert!((0..7).all(|n| stats(&net, n).health_worsened == 0), "nacks spare the healthy");
}

#[test]
fn a_member_that_is_cut_off_slows_down_and_recovers() {
    let mut net = Network::cluster_of(8, 601);
    let others: Vec<usize> = (1..8).collect();
    net.part(&[0], &others, true);
    net.run(secs(15));
    let worst = Lifeguard::ON.health_max;
    assert_eq!(net.nodes[0].swim.local_health(), worst);
    let before = net.nodes[0].swim.stats().probes_started;
    net.run(secs(12));
    let begun = net.nodes[0].swim.stats().probes_started - before;
    assert!((2..=4).contains(&begun), "one probe in {} s: {begun} in 12 s", worst + 1);
    net.part(&[0], &others, false);
    net.run_until(secs(60), "healthy again", |net| net.nodes[0].swim.local_health() == 0 && net.agrees(8));
}

#[test]
fn probes_in_turn_never_overlap_however_bad_the_health() {
    let mut net = Network::cluster_of(8, 602);
    let others: Vec<usize> = (1..8).collect();
    net.part(&[0], &others, true);
    for _ in 0..400 {
        net.run(ms(100));
        assert!(net.nodes[0].swim.probes.under_way() <= 1, "one after the other");
    }
    assert!(net.nodes[0].swim.stats().probes_failed > 3);
}

#[test]
fn a_crash_that_several_find_is_failed_in_the_shortest_time() {
    let mut net = Network::cluster_of(12, 603);
    net.crash(11);
    for observer in 0..4 {
        net.evidence(observer, 11, EvidenceKind::Silent);
    }
    net.run_until(secs(20), "failed everywhere", |net| net.all_hold(11, NodeState::Failed));
    let suspected = first(&net, 0, |event| matches!(event, Event::Suspected(_))).expect("told");
    let failed = first(&net, 0, |event| matches!(event, Event::Failed(_))).expect("told");
    let shortest = Config::lan().suspicion_timeout(12);
    assert!((shortest - ms(100)..shortest + ms(500)).contains(&(failed - suspected)), "{:?}", failed - suspected);
    assert!(net.nodes[0].swim.stats().confirmations >= 3);
}

#[test]
fn whom_nobody_else_accuses_has_the_longest_time() {
    let mut net = Network::cluster_of(8, 604);
    let others: Vec<usize> = (1..8).collect();
    net.part(&[0], &others, true);
    let is_suspected = |net: &Network| first(net, 0, |event| matches!(event, Event::Suspected(_)));
    net.run_until(secs(10), "suspects somebody", |net| is_suspected(net).is_some());
    let suspected = is_suspected(&net).expect("told");
    let longest = Config::lan().suspicion_timeout(8) * Lifeguard::ON.stretch;
    net.run(longest - (net.now - suspected) - ms(100));
    let is_failed = |event: &Event| matches!(event, Event::Failed(_));
    assert_eq!(first(&net, 0, is_failed), None, "one accuser alone convicts late");
    net.run(ms(200));
    assert_eq!(first(&net, 0, is_failed).map(|at| at - suspected), Some(longest));
    // The others, who agree with each other, are through with it long before.
    assert!(first(&net, 1, is_failed).expect("told") < suspected + longest / 2);
}

/// A machine that holds five others.
pub(crate) fn machine(lifeguard: Lifeguard) -> Swim {
    let mut net = Network::cluster_of(6, 605);
    let mut swim = Swim::new(Config { lifeguard, ..Config::lan() }, &cluster(), local(0, 1, 1_000), 1, secs(2));
    swim.restore(
        secs(2),
        net.nodes.drain(1..).map(|node| {
            let own = node.swim.local();
            let profile = crate::Profile::new(own.id.clone(), own.boot, own.address, own.meta.clone());
            (profile, Incarnation::first_of(1_000))
        }),
    );
    swim
}

/// What `from` says: that `of` is suspect.
fn accusation(from: usize, of: usize) -> Vec<u8> {
    let sender =
        Sender { version: 1, id: id(from), boot: BootId(100 + from as u64), incarnation: Incarnation::first_of(1_000) };
    let claim = Accusation { id: id(of), incarnation: Incarnation::first_of(1_000), from: id(from) };
    Packet { sender, body: Body::Gossip, updates: vec![Update::Suspect(claim)] }.encode(cluster_hash(&cluster()))
}

#[test]
fn only_different_members_confirm_and_only_as_many_as_are_needed() {
    let mut swim = machine(Lifeguard::ON);
    let at = |n: usize| super::network::address(n);
    let say = |swim: &mut Swim, from: usize| {
        let _ = swim.handle_packet(secs(2), at(from), &accusation(from, 5));
        swim.stats().confirmations
    };
    // First accuser; itself again; a stranger; the suspect itself; three who confirm; and there is no need of a fourth.
    let counted: Vec<u64> = [1, 1, 77, 5, 2, 2, 3, 4, 0].map(|from| say(&mut swim, from)).into();
    assert_eq!(counted, [0, 0, 0, 0, 1, 1, 2, 3, 3]);
    assert_eq!(
        swim.schedule.deadline(crate::schedule::Timer::Suspicion(swim.table.slot_of(&id(5)).expect("held"))),
        Some(secs(2) + swim.config().suspicion_timeout(6))
    );
}

#[test]
fn a_suspect_is_told_first_unless_the_buddy_system_is_off() {
    for (lifeguard, is_told) in [(Lifeguard::ON, true), (Lifeguard { buddy: false, ..Lifeguard::ON }, false)] {
        let mut swim = machine(lifeguard);
        let _ = swim.handle_packet(secs(2), super::network::address(1), &accusation(1, 5));
        // Told so often that the queue has nothing left to tell.
        let mut packet = Vec::new();
        for step in 0..200 {
            swim.gossip_tick(secs(2) + ms(step));
            while swim.poll_transmit(secs(2), &mut packet).is_some() {}
        }
        swim.ping(swim.table.slot_of(&id(5)).expect("held"), 9);
        swim.poll_transmit(secs(2), &mut packet).expect("a ping");
        let sent = Packet::decode(&packet, crate::Versions::SPOKEN, cluster_hash(&cluster())).expect("its own");
        let told = sent.updates.iter().any(|update| matches!(update, Update::Suspect(claim) if claim.id == id(5)));
        assert_eq!(told, is_told);
    }
}

#[test]
fn what_comes_late_counts_by_how_late_it_was_and_once() {
    let grades = |lifeguard: Lifeguard, delays: &[u64]| {
        let mut swim = machine(Lifeguard { health_max: 8, ..lifeguard });
        let note = |delay: &u64| {
            swim.note_ingress_age(secs(2), ms(*delay));
            swim.local_health()
        };
        delays.iter().map(note).collect::<Vec<u32>>()
    };
    assert_eq!(grades(Lifeguard::ON, &[249, 251, 900, 1_001, 5_000, 60_000]), [0, 1, 1, 2, 5, 8]);
    assert_eq!(grades(Lifeguard { lateness: false, ..Lifeguard::ON }, &[5_000]), [0]);
    assert_eq!(grades(Lifeguard::OFF, &[5_000]), [0]);
}

#[test]
fn a_late_timer_counts_and_blames_nobody() {
    let mut swim = machine(Lifeguard::ON);
    let due = swim.poll_timeout().expect("a probe");
    swim.handle_timeout(due);
    let due = swim.poll_timeout().expect("a probe");
    swim.handle_timeout(due + ms(1_500));
    assert_eq!((swim.local_health(), swim.stats().local_pauses, swim.stats().suspicions_raised), (2, 1, 0));
}

#[test]
fn an_accused_member_doubts_its_own_health() {
    let mut swim = machine(Lifeguard::ON);
    let _ = swim.handle_packet(secs(2), super::network::address(1), &accusation(1, 0));
    assert_eq!((swim.local_health(), swim.stats().refutations), (1, 1));
}
