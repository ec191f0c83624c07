//! What each setting does, to a member that had run with another one.
//!
//! Of each field of [`Config`] one effect that can be seen from outside: with the settings of a local network, and once the member
//! has been set anew while it ran.

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use rdb_net_types::{BootId, Incarnation, NodeId, NodeState};

use super::lifeguard::machine;
use super::network::{address, cluster, id, local, ms, secs};
use crate::packet::{Accusation, Body, Packet, Sender, Update, cluster_hash};
use crate::round_trip::RoundTrips;
use crate::transmit::alive_of;
use crate::{Config, Event, Lifeguard, Swim, Versions};

/// When the settings change.
const START: Duration = secs(3);

/// A member among five others, with its sent packets, its events and when they came.
struct Member {
    swim: Swim,
    now: Duration,
    sent: Vec<(Duration, Packet)>,
    told: Vec<(Duration, Event)>,
    /// Who answers its pings; it is suspected or failed otherwise.
    answers: fn(&NodeId) -> bool,
}

const NOBODY: fn(&NodeId) -> bool = |_| false;
const EVERYBODY: fn(&NodeId) -> bool = |_| true;
const ALL_BUT_FIVE: fn(&NodeId) -> bool = |node| *node != id(5);

impl Member {
    /// It has run for a while by the settings of a local network, and then with these.
    fn set(config: Config, answers: fn(&NodeId) -> bool) -> Self {
        let swim = machine(Lifeguard::ON);
        assert_eq!(swim.config(), &Config::lan());
        let mut member = Self { swim, now: secs(2), sent: Vec::new(), told: Vec::new(), answers: EVERYBODY };
        member.run(START - secs(2));
        // Nobody's round trip was measured, so that what is waited for is what is set.
        for n in 1..6 {
            let slot = member.slot(n);
            member.swim.table.set_round_trips(slot, RoundTrips::default());
        }
        member.swim.set_config(START, config).expect("legal");
        member.answers = answers;
        (member.sent, member.told) = Default::default();
        member
    }

    fn slot(&self, n: usize) -> u32 {
        self.swim.table.slot_of(&id(n)).expect("held")
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.fetch();
            let Some(due) = self.swim.poll_timeout().filter(|due| *due <= end) else { break };
            self.now = due;
            self.swim.handle_timeout(due);
        }
        self.now = end;
    }

    fn fetch(&mut self) {
        let mut bytes = Vec::new();
        while self.swim.poll_transmit(self.now, &mut bytes).is_some() {
            let packet = Packet::decode(&bytes, Versions::SPOKEN, cluster_hash(&cluster())).expect("its own");
            if let Body::Ping { sequence, target, target_boot: boot } = &packet.body
                && (self.answers)(target)
            {
                let sender = Sender { version: 1, id: target.clone(), boot: *boot, incarnation: first() };
                let body = Body::Ack { sequence: *sequence, digest: self.swim.digest() };
                let answer = Packet { sender, body, updates: Vec::new() }.encode(cluster_hash(&cluster()));
                self.swim.handle_packet(self.now, address(1), &answer).expect("an answer");
            }
            self.sent.push((self.now, packet));
        }
        while let Some(event) = self.swim.poll_event() {
            self.told.push((self.now, event));
        }
    }

    fn hear(&mut self, update: Update) {
        self.swim.apply(self.now, update);
        self.fetch();
    }

    fn sent(&self, is_it: fn(&Body) -> bool) -> Vec<Duration> {
        self.sent.iter().filter(|(_, packet)| is_it(&packet.body)).map(|(at, _)| *at).collect()
    }

    /// After which time it told such an event.
    fn told(&self, is_it: fn(&Event) -> bool) -> Option<Duration> {
        self.told.iter().find(|(_, event)| is_it(event)).map(|(at, _)| *at - START)
    }

    /// When it gossiped, each tick once.
    fn ticks(&self) -> Vec<Duration> {
        let mut ticks = self.sent(|body| matches!(body, Body::Gossip));
        ticks.dedup();
        ticks
    }
}

fn first() -> Incarnation {
    Incarnation::first_of(1_000)
}

fn word(from: usize, of: usize) -> Accusation {
    Accusation { id: id(of), incarnation: first(), from: id(from) }
}

fn failed(event: &Event) -> bool {
    matches!(event, Event::Failed(record) if record.id == id(5))
}

/// Each field's effect, as it was and as it is once the field has changed.
#[track_caller]
fn check<T: PartialEq + Debug>(field: &str, changed: Config, effect: impl Fn(Config) -> T, was: T, is: T) {
    assert_eq!(effect(Config::lan()), was, "{field} as it was");
    assert_eq!(effect(changed), is, "{field} as it was set");
}

fn lan() -> Config {
    Config::lan()
}

/// The first probe that nobody answers: when its pings, and its requests to others, were sent.
fn silent_probe(mut member: Member) -> (Vec<Duration>, Vec<Duration>) {
    let is_over = |member: &Member| member.told(|event| matches!(event, Event::ProbeFailed { .. })).is_some();
    while !is_over(&member) {
        member.run(ms(10));
    }
    // Its own, and not those of the probe that follows.
    let number = |body: &Body| match body {
        Body::Ping { sequence, .. } => Some(*sequence),
        _ => None,
    };
    let first = member.sent.iter().find_map(|(_, packet)| number(&packet.body)).expect("a ping");
    let of_first = member.sent.iter().filter(|(_, packet)| number(&packet.body) == Some(first));
    (of_first.map(|(at, _)| *at).collect(), member.sent(|body| matches!(body, Body::PingRequest { .. })))
}

/// How long a suspect has whom this member alone accuses, which cannot confirm itself, or others too.
fn suspect_has(config: Config, accusers: usize) -> Duration {
    let mut member = Member::set(config, ALL_BUT_FIVE);
    (0..accusers).for_each(|from| member.hear(Update::Suspect(word(from, 5))));
    member.run(secs(60));
    member.told(failed).expect("it fails")
}

#[test]
fn every_setting_of_a_running_member_has_its_effect() {
    // Nothing is left out: a field that is new here lacks its line below.
    let Config {
        probe_interval,
        probe_timeout,
        probe_timeout_min,
        probe_pings,
        indirect_probes,
        gossip_interval,
        gossip_fanout,
        retransmit_factor,
        suspicion_pause,
        refusal_window,
        refusal_observers,
        farewell_acks,
        farewell_timeout,
        packet_bytes_max,
        meta_bytes_max,
        broadcast_bytes_max,
        broadcast_queue_bytes,
        members_max,
        sync_interval,
        revisit_interval,
        partition_window,
        tombstone_age,
        news_gap,
        lifeguard: _,
    } = other();

    let between_probes = |config| {
        let mut member = Member::set(config, EVERYBODY);
        member.run(secs(20));
        let pings = member.sent(|body| matches!(body, Body::Ping { .. }));
        pings[pings.len() - 1] - pings[pings.len() - 2]
    };
    check("probe_interval", Config { probe_interval, ..lan() }, between_probes, secs(1), secs(2));

    let until_others_are_asked = |config| {
        let (pings, requests) = silent_probe(Member::set(config, NOBODY));
        requests[0] - pings[0]
    };
    check("probe_timeout", Config { probe_timeout, ..lan() }, until_others_are_asked, ms(500), ms(300));

    let until_others_are_asked_of_a_near_one = |config| {
        let mut member = Member::set(config, NOBODY);
        for n in 1..6 {
            let slot = member.slot(n);
            member.swim.table.set_round_trips(slot, RoundTrips::default().with(ms(1)));
        }
        let (pings, requests) = silent_probe(member);
        requests[0] - pings[0]
    };
    let near = until_others_are_asked_of_a_near_one;
    check("probe_timeout_min", Config { probe_timeout_min, ..lan() }, near, ms(100), ms(200));

    let pings_of_a_probe = |config| silent_probe(Member::set(config, NOBODY)).0.len();
    check("probe_pings", Config { probe_pings, ..lan() }, pings_of_a_probe, 2 * 4, 2);

    let others_asked = |config| silent_probe(Member::set(config, NOBODY)).1.len();
    check("indirect_probes", Config { indirect_probes, ..lan() }, others_asked, 3, 1);

    let between_ticks = |config| {
        let mut member = Member::set(config, EVERYBODY);
        member.swim.update_meta(START, Bytes::from_static(b"news")).expect("short");
        member.run(secs(2));
        let ticks = member.ticks();
        ticks[1] - ticks[0]
    };
    check("gossip_interval", Config { gossip_interval, ..lan() }, between_ticks, ms(200), ms(500));

    let told_at_once = |config| {
        let mut member = Member::set(config, EVERYBODY);
        member.swim.update_meta(START, Bytes::from_static(b"news")).expect("short");
        member.run(ms(10));
        member.sent(|body| matches!(body, Body::Gossip)).len()
    };
    check("gossip_fanout", Config { gossip_fanout, ..lan() }, told_at_once, 3, 1);

    let times_told = |config| {
        let mut member = Member::set(config, EVERYBODY);
        member.swim.update_meta(START, Bytes::from_static(b"news")).expect("short");
        member.run(secs(20));
        member.sent.iter().map(|(_, packet)| packet.updates.len()).sum::<usize>()
    };
    check("retransmit_factor", Config { retransmit_factor, ..lan() }, times_told, 4, 7);

    // Four times the pause and the 600 ms in which news reaches six members.
    let suspected_by_one = |config| suspect_has(config, 1);
    check("suspicion_pause", Config { suspicion_pause, ..lan() }, suspected_by_one, ms(14_400), ms(6_400));

    let refused_by = |config: Config, observers: usize| {
        let mut member = Member::set(config, ALL_BUT_FIVE);
        (1..=observers).for_each(|from| member.hear(Update::Refused(word(from, 5))));
        member.run(secs(1));
        member.told(failed)
    };
    let window = |config| refused_by(config, 2).expect("it fails");
    check("refusal_window", Config { refusal_window, ..lan() }, window, ms(300), ms(600));

    let refused_by_two = |config| refused_by(config, 2).is_some();
    check("refusal_observers", Config { refusal_observers, ..lan() }, refused_by_two, true, false);

    let asked_at_a_farewell = |config| {
        let mut member = Member::set(config, EVERYBODY);
        member.swim.leave(START);
        member.fetch();
        member.sent(|body| matches!(body, Body::Farewell { .. })).len()
    };
    check("farewell_acks", Config { farewell_acks, ..lan() }, asked_at_a_farewell, 3 + 1, 1 + 1);

    let silent_after = |config| {
        let mut member = Member::set(config, EVERYBODY);
        member.now = START;
        member.swim.leave(START);
        member.run(secs(5));
        member.told(|event| matches!(event, Event::Farewell { acknowledged: 0 })).expect("it ends")
    };
    check("farewell_timeout", Config { farewell_timeout, ..lan() }, silent_after, secs(2), ms(500));

    let long_ones_in_a_packet = |config| {
        let mut member = Member::set(config, EVERYBODY);
        (0..4).for_each(|_| member.swim.broadcast(START, Bytes::from_static(&[7; 400])).expect("room"));
        member.run(ms(10));
        member.sent.iter().map(|(_, packet)| packet.updates.len()).max()
    };
    check("packet_bytes_max", Config { packet_bytes_max, ..lan() }, long_ones_in_a_packet, Some(3), Some(2));

    let metadata_is_taken =
        |config| Member::set(config, EVERYBODY).swim.update_meta(START, Bytes::from_static(&[7; 200])).is_ok();
    check("meta_bytes_max", Config { meta_bytes_max, ..lan() }, metadata_is_taken, true, false);

    let broadcast_is_taken =
        |config| Member::set(config, EVERYBODY).swim.broadcast(START, Bytes::from_static(&[7; 200])).is_ok();
    check("broadcast_bytes_max", Config { broadcast_bytes_max, ..lan() }, broadcast_is_taken, true, false);

    let broadcasts_taken = |config| {
        let mut member = Member::set(config, EVERYBODY);
        (0..2_000).filter(|_| member.swim.broadcast(START, Bytes::from_static(&[7; 64])).is_ok()).count()
    };
    check("broadcast_queue_bytes", Config { broadcast_queue_bytes, ..lan() }, broadcasts_taken, 512, 10);

    let held = |config| {
        let mut member = Member::set(config, EVERYBODY);
        let newcomer = Swim::new(Config::lan(), &cluster(), local(9, 900, 1), 1, START);
        member.hear(Update::Alive(alive_of(&newcomer.local())));
        member.swim.members().count()
    };
    check("members_max", Config { members_max, ..lan() }, held, 7, 6);

    // About: each is drawn between nine and eleven tenths of the interval.
    let exchanges = |config| {
        let mut member = Member::set(config, EVERYBODY);
        member.run(secs(600));
        let wanted = member.told.iter().filter(|(_, event)| matches!(event, Event::SyncWanted { .. })).count();
        (wanted as u64 + member.swim.stats().syncs_spared + 2) / 5
    };
    check("sync_interval", Config { sync_interval, ..lan() }, exchanges, 20 / 5, 10 / 5);

    // About: each of the draws succeeds three times in five, with one failed and five alive.
    let calls = |config| {
        let mut member = Member::set(config, ALL_BUT_FIVE);
        let slot = member.slot(5);
        member.swim.declare_failed(START, slot, first());
        member.run(secs(100));
        let revisits = member.swim.stats().revisits;
        [20..40, 200..400].into_iter().position(|range| range.contains(&revisits))
    };
    check("revisit_interval", Config { revisit_interval, ..lan() }, calls, Some(0), Some(1));

    let is_one_partition = |config| {
        let mut member = Member::set(config, EVERYBODY);
        for n in 1..5 {
            let slot = member.slot(n);
            member.swim.declare_failed(member.now, slot, first());
            member.run(secs(9));
        }
        member.told(|event| matches!(event, Event::Partitioned(_))).is_some()
    };
    check("partition_window", Config { partition_window, ..lan() }, is_one_partition, true, false);

    let who_has_left_is_listed = |config| {
        let mut member = Member::set(config, EVERYBODY);
        member.hear(Update::Left(word(5, 5)));
        member.run(secs(300));
        member.swim.member(&id(5)).is_some()
    };
    check("tombstone_age", Config { tombstone_age, ..lan() }, who_has_left_is_listed, true, false);

    let between_news = |config| {
        let mut member = Member::set(config, EVERYBODY);
        member.now = START;
        for _ in 0..2 {
            member.swim.update_meta(member.now, Bytes::from_static(b"news")).expect("short");
            member.run(ms(2));
        }
        member.run(ms(150));
        let ticks = member.ticks();
        ticks[1] - ticks[0]
    };
    check("news_gap", Config { news_gap, ..lan() }, between_news, ms(15), ms(100));
}

#[test]
fn every_part_of_lifeguard_of_a_running_member_has_its_effect() {
    let Lifeguard {
        local_health,
        health_max,
        lateness,
        confirmations,
        confirmations_needed,
        stretch,
        own_verdicts,
        buddy,
    } = other().lifeguard;
    let with = |lifeguard| Config { lifeguard, ..lan() };
    let on = Lifeguard::ON;

    let score_of_an_accused = |config| {
        let mut member = Member::set(config, EVERYBODY);
        member.hear(Update::Suspect(word(1, 0)));
        member.swim.local_health()
    };
    check("local_health", with(Lifeguard { local_health, ..on }), score_of_an_accused, 1, 0);

    let score_of_a_late_one = |config| {
        let mut member = Member::set(config, EVERYBODY);
        member.swim.note_ingress_age(START, secs(60));
        member.swim.local_health()
    };
    check("health_max", with(Lifeguard { health_max, ..on }), score_of_a_late_one, 3, 1);
    check("lateness", with(Lifeguard { lateness, ..on }), score_of_a_late_one, 3, 0);

    let alone = |config| suspect_has(config, 1);
    check("confirmations", with(Lifeguard { confirmations, ..on }), alone, ms(14_400), ms(3_600));
    check("stretch", with(Lifeguard { stretch, ..on }), alone, ms(14_400), ms(7_200));

    // One of three confirmations takes half of what three take; one of one all of it.
    let of_two = |config| suspect_has(config, 2);
    let needed = Lifeguard { confirmations_needed, ..on };
    check("confirmations_needed", with(needed), of_two, ms(9_000), ms(3_600));

    let believes = |config| {
        let mut member = Member::set(config, EVERYBODY);
        let verdict = Accusation { id: id(5), incarnation: first(), from: id(1) };
        let sender = Sender { version: 1, id: id(1), boot: BootId(101), incarnation: first() };
        let packet = Packet { sender, body: Body::Gossip, updates: vec![Update::Failed(verdict)] };
        let packet = packet.encode(cluster_hash(&cluster()));
        member.swim.handle_packet(START, address(1), &packet).expect("a packet");
        member.swim.member(&id(5)).map(|held| held.state)
    };
    let (doubted, believed) = (Some(NodeState::Suspect), Some(NodeState::Failed));
    check("own_verdicts", with(Lifeguard { own_verdicts, ..on }), believes, doubted, believed);

    let is_told_first = |config| {
        let mut member = Member::set(config, EVERYBODY);
        member.hear(Update::Suspect(word(1, 5)));
        // Told so often that nothing is left to tell.
        while !member.swim.queue.is_empty() {
            member.swim.gossip_tick(START);
            member.fetch();
        }
        let slot = member.slot(5);
        member.swim.ping(slot, 9);
        member.answers = NOBODY;
        member.fetch();
        let (_, last) = member.sent.last().expect("a ping");
        last.updates.iter().any(|update| matches!(update, Update::Suspect(_)))
    };
    check("buddy", with(Lifeguard { buddy, ..on }), is_told_first, true, false);
}

/// Another value in each field.
fn other() -> Config {
    Config {
        probe_interval: secs(2),
        probe_timeout: ms(300),
        probe_timeout_min: ms(200),
        probe_pings: 1,
        indirect_probes: 1,
        gossip_interval: ms(500),
        gossip_fanout: 1,
        retransmit_factor: 7,
        suspicion_pause: secs(1),
        refusal_window: ms(600),
        refusal_observers: 3,
        farewell_acks: 1,
        farewell_timeout: ms(500),
        packet_bytes_max: 1_000,
        meta_bytes_max: 100,
        broadcast_bytes_max: 100,
        broadcast_queue_bytes: 1_280,
        members_max: 6,
        sync_interval: secs(60),
        revisit_interval: ms(200),
        partition_window: secs(5),
        tombstone_age: secs(120),
        news_gap: ms(100),
        lifeguard: Lifeguard {
            local_health: false,
            health_max: 1,
            lateness: false,
            confirmations: false,
            confirmations_needed: 1,
            stretch: 2,
            own_verdicts: false,
            buddy: false,
        },
    }
}

/// What stands already keeps the age that it was given.
#[test]
fn a_tombstone_that_stands_keeps_its_age() {
    let mut member = Member::set(lan(), EVERYBODY);
    member.now = START;
    let dropped = |n: usize| Update::Forgotten(Accusation { id: id(n), incarnation: first(), from: id(n) });
    member.hear(dropped(50));
    member.swim.set_config(START, Config { tombstone_age: secs(60), ..lan() }).expect("legal");
    member.hear(dropped(51));
    member.run(secs(180));
    let stands = |n: usize| member.swim.tombstones.incarnation(&id(n)).is_some();
    assert!(stands(50) && !stands(51));
}

/// Two refusals of three were counted, and then two are enough: the third one starts the clock, as it would have before.
#[test]
fn refusals_that_were_counted_before_count_where_fewer_are_needed() {
    let mut member = Member::set(Config { refusal_observers: 3, ..lan() }, ALL_BUT_FIVE);
    member.now = START;
    (1..3).for_each(|from| member.hear(Update::Refused(word(from, 5))));
    member.swim.set_config(START, lan()).expect("legal");
    member.run(ms(400));
    assert_eq!(member.told(failed), None);
    member.hear(Update::Refused(word(3, 5)));
    member.run(ms(310));
    assert_eq!(member.told(failed), Some(ms(700)));
}
