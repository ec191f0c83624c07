//! The machine against a virtual clock: each line of the table in the crate's documentation. Properties over any inputs are in
//! [`any_inputs`].

mod any_inputs;

use std::collections::BTreeSet;
use std::time::Duration;

use rdb_net_types::HealthStatus::{self, Degraded, Healthy, Unhealthy, Unknown};
use rdb_net_types::{Evidence, EvidenceKind, NodeId, NodeState, OverloadScope, Reason};

use crate::{Cause, Config, Health, PingId, Scope};

const INTERVAL: Duration = Duration::from_secs(1);
const ROUND_TRIP: Duration = Duration::from_millis(3);

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn id(number: u32) -> NodeId {
    NodeId::new(&format!("n{number:04}")).expect("legal")
}

fn seen(node: u32, kind: EvidenceKind) -> Evidence {
    Evidence { node: id(node), boot: None, kind }
}

const ALIVE: EvidenceKind = EvidenceKind::Alive { round_trip: ROUND_TRIP };

/// How the peers of a test answer.
#[derive(Clone, Copy, PartialEq)]
enum Peers {
    Answer,
    Ignore,
    Refuse,
}

/// A machine, its clock, and what came out of it.
struct World {
    health: Health,
    now: Duration,
    pings: Vec<(Duration, NodeId)>,
    events: Vec<(HealthStatus, HealthStatus, Cause)>,
}

impl World {
    fn new(config: Config) -> Self {
        Self {
            health: Health::new(config, 1, Duration::ZERO),
            now: Duration::ZERO,
            pings: Vec::new(),
            events: Vec::new(),
        }
    }

    /// One watched node that has answered once.
    fn with_healthy_node(config: Config) -> Self {
        let mut world = Self::new(config);
        world.health.watch(world.now, &id(0));
        world.run(2 * INTERVAL, Peers::Answer);
        assert_eq!(world.status(), HealthStatus::Healthy);
        world.pings.clear();
        world.events.clear();
        world
    }

    fn status(&self) -> HealthStatus {
        self.health.status(&id(0))
    }

    /// Sends what is to be sent and lets the peers do what they do.
    fn pump(&mut self, peers: Peers) {
        while let Some(ping) = self.health.poll_ping(self.now) {
            self.pings.push((self.now, ping.node));
            match peers {
                Peers::Answer => self.health.handle_pong(self.now, ping.id, ROUND_TRIP),
                Peers::Refuse => self.health.handle_ping_failed(self.now, ping.id, Reason::Unreachable),
                Peers::Ignore => {}
            }
        }
        while let Some(event) = self.health.poll_event() {
            self.events.push((event.from, event.to, event.cause));
        }
    }

    /// Lets this much time pass, never late for a timer.
    fn run(&mut self, span: Duration, peers: Peers) {
        let end = self.now + span;
        self.pump(peers);
        while let Some(next) = self.health.poll_timeout().filter(|next| *next <= end) {
            self.now = next;
            self.health.handle_timeout(next);
            assert!(self.health.poll_timeout().is_none_or(|later| later > next));
            self.pump(peers);
        }
        self.now = end;
    }

    fn evidence(&mut self, kind: EvidenceKind) {
        self.health.handle_evidence(self.now, &seen(0, kind));
    }

    fn told(&self) -> Vec<HealthStatus> {
        self.events.iter().map(|(_, to, _)| *to).collect()
    }
}

#[test]
fn a_watched_node_is_pinged_at_the_interval_and_its_latency_measured() {
    let mut world = World::with_healthy_node(Config::default());
    world.run(100 * INTERVAL, Peers::Answer);
    assert!((90..=110).contains(&world.pings.len()), "{}", world.pings.len());
    let gaps = world.pings.windows(2).map(|pair| pair[1].0 - pair[0].0);
    assert!(gaps.clone().all(|gap| (ms(900)..=ms(1100)).contains(&gap)));
    assert!(gaps.collect::<BTreeSet<_>>().len() > 50, "the interval is jittered");
    let node = world.health.node(&id(0)).expect("watched");
    assert_eq!((node.round_trip, node.smoothed_round_trip), (Some(ROUND_TRIP), Some(ROUND_TRIP)));
    assert_eq!(world.events, [], "nothing changed");
}

#[test]
fn a_thousand_peers_are_not_pinged_in_step() {
    let mut world = World::new(Config::default());
    for node in 0..1000 {
        world.health.watch(world.now, &id(node));
    }
    world.run(10 * INTERVAL, Peers::Answer);
    let mut per_10_ms = vec![0; 1001];
    for (at, _) in &world.pings {
        per_10_ms[at.as_millis() as usize / 10] += 1;
    }
    let busiest = per_10_ms.iter().max().expect("ten seconds");
    assert!(world.pings.len() > 9000 && *busiest <= 30, "{busiest} in 10 ms, 10 would be even");
}

#[test]
fn silence_degrades_then_after_retries_with_backoff_makes_unhealthy() {
    let config = Config { backoff_max: ms(1600), ..Config::default() };
    let mut world = World::with_healthy_node(config);
    world.run(30 * INTERVAL, Peers::Ignore);
    let timed_out = |from, to| (from, to, Cause::PingTimedOut);
    assert_eq!(world.events, [timed_out(Healthy, Degraded), timed_out(Degraded, Unhealthy)]);
    // From one ping to the next: half a second of waiting, then a backoff that doubles up to its limit, halved at most.
    for (failures, pair) in world.pings.windows(2).enumerate() {
        let backoff = ms(200 << failures.min(3));
        let gap = pair[1].0 - pair[0].0 - ms(500);
        assert!((backoff / 2..=backoff).contains(&gap), "{gap:?} after {} failures", failures + 1);
    }
    assert_eq!(world.health.unhealthy(), [id(0)]);
    let node = world.health.node(&id(0)).expect("watched");
    assert_eq!(u64::from(node.failures_in_a_row), node.failures);

    world.run(2 * INTERVAL, Peers::Answer);
    assert_eq!(world.told(), [Degraded, Unhealthy, Healthy]);
    assert_eq!(world.health.unhealthy(), []);
}

#[test]
fn the_failure_threshold_is_kept_exactly() {
    for failure_threshold in 1..=5 {
        let mut world = World::with_healthy_node(Config { failure_threshold, ..Config::default() });
        while world.status() != Unhealthy {
            world.run(ms(10), Peers::Refuse);
        }
        assert_eq!(world.pings.len(), failure_threshold as usize);
        assert!(matches!(world.events[0].2, Cause::PingFailed(Reason::Unreachable)));
        assert_eq!(world.events.len(), if failure_threshold == 1 { 1 } else { 2 });
    }
}

#[test]
fn it_takes_the_success_threshold_to_be_healthy_again() {
    let mut world = World::with_healthy_node(Config { success_threshold: 3, ..Config::default() });
    world.run(5 * INTERVAL, Peers::Refuse);
    assert_eq!(world.status(), Unhealthy);
    world.pings.clear();
    while world.status() == Unhealthy {
        world.run(ms(10), Peers::Answer);
    }
    assert_eq!((world.pings.len(), world.status()), (3, Healthy));

    // An answer now and then is not enough.
    world.run(5 * INTERVAL, Peers::Refuse);
    for _ in 0..10 {
        world.evidence(ALIVE);
        world.evidence(ALIVE);
        world.run(INTERVAL, Peers::Refuse);
        assert_ne!(world.status(), Healthy);
    }
}

#[test]
fn traffic_and_membership_acks_stand_for_pings() {
    let mut world = World::with_healthy_node(Config::default());
    for _ in 0..100 {
        world.evidence(ALIVE);
        world.run(INTERVAL / 2, Peers::Answer);
    }
    assert_eq!(world.pings, []);
    world.run(2 * INTERVAL, Peers::Answer);
    assert!(!world.pings.is_empty(), "the traffic has ended");
}

#[test]
fn a_node_that_was_heard_of_while_a_ping_was_lost_has_not_failed() {
    let mut world = World::with_healthy_node(Config::default());
    while world.pings.is_empty() {
        world.run(ms(10), Peers::Ignore);
    }
    world.evidence(ALIVE);
    world.run(ms(500), Peers::Ignore);
    assert_eq!((world.status(), world.health.stats().pings_timed_out), (Healthy, 1));
}

#[test]
fn refused_reset_and_silent_degrade_at_once_and_bring_a_ping_forward() {
    for kind in [EvidenceKind::Refused, EvidenceKind::Reset, EvidenceKind::Silent] {
        let mut world = World::with_healthy_node(Config::default());
        // Past the least distance of two pings, before the next regular one.
        world.evidence(ALIVE);
        world.run(ms(300), Peers::Answer);
        world.evidence(kind);
        let event = world.health.poll_event().expect("at once");
        assert_eq!((event.from, event.to, event.cause), (Healthy, Degraded, Cause::Evidence(kind)));
        world.run(Duration::ZERO, Peers::Answer);
        assert_eq!(world.pings, [(world.now, id(0))], "{kind:?}");
        assert_eq!(world.events, [(Degraded, Healthy, Cause::Pong)]);
        assert_eq!(world.status(), Healthy);
    }
}

#[test]
fn evidence_alone_never_makes_a_node_unhealthy_nor_floods_it_with_pings() {
    let mut world = World::with_healthy_node(Config::default());
    for _ in 0..1000 {
        world.evidence(EvidenceKind::Reset);
        world.run(ms(10), Peers::Answer);
        assert_ne!(world.status(), Unhealthy);
    }
    assert!(world.pings.len() > 25, "{} in ten seconds", world.pings.len());
    let mut gaps = world.pings.windows(2).map(|pair| pair[1].0 - pair[0].0);
    assert!(gaps.all(|gap| gap >= ms(100)), "half of the first backoff at least");
}

#[test]
fn phi_and_suspicion_only_bring_a_ping_forward() {
    let inputs: [fn(&mut World); 2] = [
        |world| world.evidence(EvidenceKind::PhiCrossed),
        |world| world.health.handle_member(world.now, &id(0), NodeState::Suspect),
    ];
    for input in inputs {
        let mut world = World::with_healthy_node(Config::default());
        world.evidence(ALIVE);
        world.run(ms(300), Peers::Answer);
        input(&mut world);
        assert_eq!(world.status(), Healthy);
        world.run(Duration::ZERO, Peers::Answer);
        assert_eq!(world.pings.len(), 1);
        assert_eq!(world.events, []);
    }
}

#[test]
fn application_checks_count_by_name_and_are_bounded() {
    let mut world = World::with_healthy_node(Config { checks_per_node_max: 2, ..Config::default() });
    let now = world.now;
    assert!(world.health.handle_application(now, &id(0), "queries", Degraded));
    assert!(world.health.handle_application(now, &id(0), "disk", Unhealthy));
    assert!(!world.health.handle_application(now, &id(0), "one too many", Unhealthy));
    assert_eq!((world.status(), world.health.stats().checks_refused), (Unhealthy, 1));
    world.run(5 * INTERVAL, Peers::Answer);
    assert_eq!(world.status(), Unhealthy, "pings do not speak for the application");
    assert!(world.health.handle_application(world.now, &id(0), "disk", Healthy));
    assert_eq!(world.status(), Degraded);
    world.health.remove_application(world.now, &id(0), "queries");
    assert_eq!(world.status(), Healthy);
    assert!(!world.health.handle_application(world.now, &id(9), "disk", Unhealthy));
    world.pump(Peers::Answer);
    assert_eq!(world.told(), [Unhealthy, Healthy]);
}

#[test]
fn a_slow_node_is_degraded_until_it_is_clearly_fast_again() {
    let mut world = World::with_healthy_node(Config { degraded_latency: Some(ms(100)), ..Config::default() });
    let mut answer_in = |millis, times| {
        for _ in 0..times {
            world.evidence(EvidenceKind::Alive { round_trip: ms(millis) });
        }
        world.status()
    };
    assert_eq!(answer_in(300, 1), Healthy, "one slow answer is smoothed away");
    assert_eq!(answer_in(300, 20), Degraded);
    assert_eq!(answer_in(90, 200), Degraded, "still above four fifths of the limit");
    assert_eq!(answer_in(70, 200), Healthy);
    assert_eq!(answer_in(90, 200), Healthy);
}

#[test]
fn what_membership_holds_for_failed_is_unhealthy_and_left_alone_until_it_is_back() {
    let mut world = World::with_healthy_node(Config::default());
    world.health.handle_member(world.now, &id(0), NodeState::Failed);
    assert_eq!(world.status(), Unhealthy);
    world.evidence(EvidenceKind::Refused);
    world.run(60 * INTERVAL, Peers::Answer);
    assert_eq!((world.pings.len(), world.status()), (0, Unhealthy));
    world.health.handle_member(world.now, &id(0), NodeState::Alive);
    assert_eq!(world.status(), Unknown);
    world.run(Duration::ZERO, Peers::Answer);
    assert_eq!((world.pings.len(), world.status()), (1, Healthy), "asked at once");

    world.health.handle_member(world.now, &id(0), NodeState::Left);
    assert_eq!((world.status(), world.health.poll_timeout()), (Unknown, None));
    world.pump(Peers::Answer);
    let last = world.events.last().expect("told");
    assert_eq!(*last, (Healthy, Unknown, Cause::Membership(NodeState::Left)));
}

#[test]
fn the_scope_says_whether_members_without_links_are_asked() {
    for (scope, asked) in [(Scope::Links, false), (Scope::All, true)] {
        let mut world = World::new(Config { scope, ..Config::default() });
        world.health.handle_member(world.now, &id(0), NodeState::Alive);
        world.run(5 * INTERVAL, Peers::Answer);
        assert_eq!(!world.pings.is_empty(), asked, "{scope:?}");

        // What is heard of them counts in either case, and a sick one is asked until it is well.
        world.evidence(ALIVE);
        assert_eq!(world.status(), Healthy);
        world.evidence(EvidenceKind::Silent);
        world.run(10 * INTERVAL, Peers::Refuse);
        assert_eq!(world.status(), Unhealthy);
        world.run(20 * INTERVAL, Peers::Answer);
        assert_eq!(world.status(), Healthy);
        world.pings.clear();
        world.run(5 * INTERVAL, Peers::Answer);
        assert_eq!(!world.pings.is_empty(), asked, "{scope:?}");
    }
}

#[test]
fn the_last_link_gone_ends_the_pings_and_a_stranger_is_forgotten() {
    let mut world = World::with_healthy_node(Config::default());
    world.health.handle_member(world.now, &id(0), NodeState::Alive);
    world.health.unwatch(&id(0));
    world.run(10 * INTERVAL, Peers::Answer);
    assert_eq!((world.pings.len(), world.status()), (0, Healthy));

    let mut world = World::with_healthy_node(Config::default());
    world.health.unwatch(&id(0));
    world.run(10 * INTERVAL, Peers::Answer);
    assert_eq!((world.pings.len(), world.status()), (0, Unknown));
    assert_eq!(world.events, [(Healthy, Unknown, Cause::Unwatched)]);
    world.evidence(ALIVE);
    assert_eq!(world.health.stats().ignored, 1);
}

#[test]
fn a_process_that_stood_still_does_not_blame_its_peers() {
    let ping_under_way = || {
        let mut world = World::with_healthy_node(Config::default());
        while world.health.pings_in_flight() == 0 {
            world.run(ms(10), Peers::Ignore);
        }
        world
    };
    // Half a time-out late and no more: the ping has failed.
    let mut world = ping_under_way();
    let due = world.health.poll_timeout().expect("the time-out");
    world.health.handle_timeout(due + ms(250));
    assert_eq!((world.status(), world.health.stats().pauses), (Degraded, 0));

    let mut world = ping_under_way();
    let late = world.health.poll_timeout().expect("the time-out") + ms(60_000);
    world.health.handle_timeout(late);
    assert_eq!((world.status(), world.health.stats().pauses), (Healthy, 1));
    assert_eq!(world.health.poll_timeout(), Some(late + ms(500)), "its time anew");
    world.health.handle_timeout(late + ms(500));
    assert_eq!(world.status(), Degraded, "and no more than that");
}

#[test]
fn what_fails_on_this_side_says_nothing_of_the_node() {
    let mut world = World::with_healthy_node(Config::default());
    for reason in [Reason::ShuttingDown, Reason::Cancelled, Reason::Overloaded(OverloadScope::Process)] {
        world.now = world.health.poll_timeout().expect("the next ping");
        world.health.handle_timeout(world.now);
        let ping = world.health.poll_ping(world.now).expect("due");
        world.health.handle_ping_failed(world.now, ping.id, reason);
        assert_eq!(world.status(), Healthy);
    }
    assert_eq!((world.health.stats().pings_unsent, world.health.stats().pings_failed), (3, 0));
}

#[test]
fn outcomes_of_pings_that_are_over_or_never_were_change_nothing() {
    let mut world = World::with_healthy_node(Config::default());
    while world.status() != Unhealthy {
        world.run(ms(10), Peers::Ignore);
    }
    world.health.handle_pong(world.now, PingId(u64::MAX), ROUND_TRIP);
    world.health.handle_ping_failed(world.now, PingId(0), Reason::Unreachable);
    assert_eq!((world.status(), world.health.stats().late), (Unhealthy, 2));
}

#[test]
fn the_table_of_nodes_is_bounded() {
    let mut world = World::new(Config { nodes_max: 2, ..Config::default() });
    let watched = [1, 2, 3].map(|node| world.health.watch(world.now, &id(node)));
    assert_eq!(watched, [true, true, false]);
    world.health.handle_member(world.now, &id(4), NodeState::Alive);
    assert_eq!((world.health.nodes().count(), world.health.stats().nodes_refused), (2, 2));
    assert!(world.health.watch(world.now, &id(1)), "is there already");
}

#[test]
fn the_report_names_the_worst_first_and_why() {
    let mut world = World::with_healthy_node(Config::default());
    world.health.watch(world.now, &id(1));
    world.health.handle_evidence(world.now, &seen(1, EvidenceKind::Refused));
    let report = world.health.report();
    assert_eq!(report.status, Degraded);
    let part = |name: &str, status, why: &str| (name.to_owned(), status, why.to_owned());
    let expected =
        [part("n0001", Degraded, "its address refuses connections"), part("n0000", Healthy, "it answered a ping")];
    assert_eq!(report.parts, expected);
}
