//! The reconciler's decisions one by one, on a virtual clock.

use rdb_net_types::{Incarnation, NodeId};

use super::*;

fn node(id: &str) -> NodeInfo {
    NodeInfo::new(NodeId::new(id).expect("legal"), "host:1".parse().expect("legal"))
}

fn changed(id: &str) -> NodeInfo {
    NodeInfo { version: "2".to_owned(), ..node(id) }
}

fn nodes(ids: &[&str]) -> Vec<NodeInfo> {
    ids.iter().map(|id| node(id)).collect()
}

fn key(id: &str) -> NodeKey {
    NodeKey::Id(NodeId::new(id).expect("legal"))
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn s(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// The events that wait, each as one word or two.
fn told(reconciler: &mut Reconciler) -> Vec<String> {
    std::iter::from_fn(|| reconciler.poll_event())
        .map(|event| match event {
            DiscoveryEvent::Snapshot(list) => format!("={}", list.nodes.len()),
            DiscoveryEvent::Added(node) => format!("+{}", node.id),
            DiscoveryEvent::Updated { new, .. } => format!("~{}", new.id),
            DiscoveryEvent::Removed { node, why } => format!("-{} {}", node.id, why.name()),
            DiscoveryEvent::Degraded { cause } => format!("degraded {}", cause.name()),
            DiscoveryEvent::Restored => "restored".to_owned(),
            DiscoveryEvent::Resynced { added, updated, removed } => format!("resynced +{added} ~{updated} -{removed}"),
        })
        .collect()
}

/// Starts with these nodes at time 0, without debounce.
fn started(policy: Policy, ids: &[&str]) -> Reconciler {
    let mut reconciler = Reconciler::new(Policy { debounce: Duration::ZERO, ..policy }, Duration::ZERO);
    reconciler.handle_full(Duration::ZERO, nodes(ids));
    assert_eq!(told(&mut reconciler), [format!("={}", ids.len())]);
    reconciler
}

#[track_caller]
fn full(reconciler: &mut Reconciler, now: Duration, ids: &[&str], expected: &[&str]) {
    reconciler.handle_full(now, nodes(ids));
    assert_eq!(told(reconciler), expected);
}

const FOUR: [&str; 4] = ["a", "b", "c", "d"];

#[test]
fn a_step_tells_the_difference_in_ascending_order() {
    let mut reconciler = started(Policy::file(), &["b", "c", "d"]);
    reconciler.handle_full(s(1), vec![node("e"), changed("c"), node("a"), node("d")]);
    assert_eq!(told(&mut reconciler), ["+a", "-b file_edited", "~c", "+e"]);
    let stats = reconciler.stats();
    assert_eq!((stats.added, stats.updated, stats.removed, stats.nodes), (2, 1, 1, 4));
}

#[test]
fn no_change_is_no_event_but_a_newer_answer() {
    let mut reconciler = started(Policy::remote(), &FOUR);
    full(&mut reconciler, s(5), &["d", "c", "b", "a"], &[]);
    reconciler.handle_unchanged(s(6));
    assert_eq!(told(&mut reconciler), [""; 0]);
    assert_eq!(reconciler.snapshot().as_of, s(6));
}

#[test]
fn a_source_that_never_answered_has_an_empty_list_and_says_so() {
    let mut reconciler = Reconciler::new(Policy::remote(), s(1));
    assert_eq!(reconciler.snapshot().freshness, Freshness::Never { cause: None });
    let cause = Cause::unavailable("etcd1:2379");
    reconciler.handle_failure(s(2), cause.clone());
    reconciler.handle_unchanged(s(3));
    reconciler.handle_delta(s(3), vec![Delta::Put(Arc::new(node("a")))]);
    assert_eq!(reconciler.snapshot().freshness, Freshness::Never { cause: Some(cause) });
    assert_eq!((told(&mut reconciler).len(), reconciler.stats().early_deltas), (0, 1));
    full(&mut reconciler, s(4), &[], &["=0"]);
    assert_eq!(reconciler.snapshot().freshness, Freshness::Live);
}

#[test]
fn a_failure_keeps_the_list_and_tells_its_cause_once() {
    let mut reconciler = started(Policy::remote(), &FOUR);
    for now in 1..100 {
        reconciler.handle_failure(s(now), Cause::unavailable("away"));
    }
    assert_eq!(told(&mut reconciler), ["degraded unavailable"]);
    let stale = Freshness::Stale { since: s(1), cause: Cause::unavailable("away") };
    assert_eq!((reconciler.snapshot().nodes.len(), reconciler.snapshot().freshness), (4, stale));
    reconciler.handle_failure(s(100), Cause::invalid("line 3"));
    assert_eq!(told(&mut reconciler), ["degraded invalid"]);
    reconciler.handle_unchanged(s(101));
    assert_eq!(told(&mut reconciler), ["restored"]);
    assert_eq!(reconciler.snapshot().freshness, Freshness::Live);
}

#[test]
fn an_empty_answer_is_believed_after_three_times_over_thirty_seconds() {
    let mut reconciler = started(Policy::remote(), &["a"]);
    full(&mut reconciler, s(0), &[], &["degraded empty_answer"]);
    full(&mut reconciler, s(10), &[], &[]);
    full(&mut reconciler, s(29), &[], &[]);
    assert_eq!(reconciler.stats().held_removals, 1);
    full(&mut reconciler, s(30), &[], &["-a absent", "restored"]);
    assert_eq!((reconciler.stats().held_removals, reconciler.stats().held_steps), (0, 3));
}

#[test]
fn two_empty_answers_are_not_three_however_far_apart() {
    let mut reconciler = started(Policy::remote(), &["a"]);
    full(&mut reconciler, s(0), &[], &["degraded empty_answer"]);
    full(&mut reconciler, s(3_000), &[], &[]);
    full(&mut reconciler, s(3_001), &["a"], &["restored"]);
    full(&mut reconciler, s(3_002), &[], &["degraded empty_answer"]);
}

#[test]
fn a_mass_removal_needs_a_second_answer_ten_seconds_later() {
    let mut reconciler = started(Policy::remote(), &FOUR);
    full(&mut reconciler, s(0), &["d"], &["degraded mass_removal"]);
    full(&mut reconciler, ms(9_999), &["d"], &[]);
    full(&mut reconciler, s(10), &["d"], &["-a absent", "-b absent", "-c absent", "restored"]);
}

#[test]
fn what_is_new_is_told_though_removals_are_held() {
    let mut reconciler = started(Policy::remote(), &["a", "b", "c"]);
    full(&mut reconciler, s(0), &["x", "y", "z"], &["+x", "+y", "+z", "degraded mass_removal"]);
    full(&mut reconciler, s(5), &["x", "y", "z"], &[]);
    full(&mut reconciler, s(10), &["x", "y", "z"], &["-a absent", "-b absent", "-c absent", "restored"]);
}

#[test]
fn other_nodes_missing_start_the_hold_anew() {
    let mut reconciler = started(Policy::remote(), &["a", "b", "c", "d", "e"]);
    full(&mut reconciler, s(0), &["d", "e"], &["degraded mass_removal"]);
    full(&mut reconciler, s(10), &["a", "b"], &[]);
    full(&mut reconciler, s(19), &["a", "b"], &[]);
    full(&mut reconciler, s(20), &["a", "b"], &["-c absent", "-d absent", "-e absent", "restored"]);
}

#[test]
fn a_node_named_within_a_burst_is_missing_anew() {
    let mut reconciler = Reconciler::new(Policy::remote(), Duration::ZERO);
    full(&mut reconciler, s(0), &["a", "b", "c"], &["=3"]);
    reconciler.handle_full(s(1), Vec::new());
    reconciler.handle_timeout(s(2));
    assert_eq!(told(&mut reconciler), ["degraded empty_answer"]);
    reconciler.handle_full(s(20), nodes(&["a"]));
    reconciler.handle_full(s(20), nodes(&["x"]));
    reconciler.handle_timeout(s(21));
    assert_eq!(told(&mut reconciler), ["+x", "degraded mass_removal"]);
}

#[test]
fn half_of_the_nodes_and_two_of_three_are_no_mass() {
    let mut reconciler = started(Policy::remote(), &FOUR);
    full(&mut reconciler, s(1), &["a", "b"], &["-c absent", "-d absent"]);
    let mut reconciler = started(Policy::remote(), &["a", "b", "c"]);
    full(&mut reconciler, s(1), &["a"], &["-b absent", "-c absent"]);
}

#[test]
fn what_somebody_meant_is_never_held() {
    let mut reconciler = started(Policy::file(), &FOUR);
    full(&mut reconciler, s(1), &[], &["-a file_edited", "-b file_edited", "-c file_edited", "-d file_edited"]);
    let mut reconciler = started(Policy::remote(), &FOUR);
    let gone = |id, why| Delta::Remove { key: key(id), why };
    reconciler.handle_delta(s(1), FOUR.iter().map(|id| gone(id, RemovalReason::Deregistered)).collect());
    assert_eq!(told(&mut reconciler), ["-a deregistered", "-b deregistered", "-c deregistered", "-d deregistered"]);
}

#[test]
fn leases_that_all_expire_at_once_are_held_until_a_full_answer_confirms() {
    let mut reconciler = started(Policy::remote(), &FOUR);
    let gone = |id: &&str| Delta::Remove { key: key(id), why: RemovalReason::Expired };
    reconciler.handle_delta(s(1), FOUR[1..].iter().map(gone).collect());
    assert_eq!(told(&mut reconciler), ["degraded mass_removal"]);
    assert!(!reconciler.poll_refresh());
    assert_eq!(reconciler.poll_timeout(), Some(s(11)));
    reconciler.handle_timeout(s(11));
    assert!(reconciler.poll_refresh(), "the driver is asked to list anew");
    reconciler.handle_resync(s(11), nodes(&["a"]));
    assert_eq!(told(&mut reconciler), ["-b expired", "-c expired", "-d expired", "restored", "resynced +0 ~0 -3"]);
    assert_eq!(reconciler.poll_timeout(), None);
}

#[test]
fn a_driver_that_could_not_ask_is_asked_again() {
    let mut reconciler = started(Policy::remote(), &FOUR);
    full(&mut reconciler, s(0), &["a"], &["degraded mass_removal"]);
    for now in [10, 20, 30] {
        assert_eq!(reconciler.poll_timeout(), Some(s(now)));
        reconciler.handle_timeout(s(now));
        assert!(reconciler.poll_refresh());
        reconciler.handle_failure(s(now), Cause::unavailable("away"));
    }
    assert_eq!(reconciler.snapshot().nodes.len(), 4);
}

#[test]
fn a_burst_is_one_step_once_the_source_is_quiet() {
    let mut reconciler = Reconciler::new(Policy::file(), Duration::ZERO);
    full(&mut reconciler, ms(0), &["a"], &["=1"]);
    full(&mut reconciler, ms(100), &["a", "b"], &[]);
    reconciler.handle_failure(ms(150), Cause::invalid("cut off"));
    full(&mut reconciler, ms(200), &["a", "c"], &[]);
    reconciler.handle_timeout(ms(399));
    assert_eq!(told(&mut reconciler), [""; 0]);
    assert_eq!(reconciler.poll_timeout(), Some(ms(400)));
    reconciler.handle_timeout(ms(400));
    assert_eq!(told(&mut reconciler), ["+c"]);
}

#[test]
fn a_source_that_is_never_quiet_is_told_after_the_longest_wait() {
    let mut reconciler = Reconciler::new(Policy::file(), Duration::ZERO);
    full(&mut reconciler, ms(0), &["a"], &["=1"]);
    for now in (100..2_100).step_by(100) {
        full(&mut reconciler, ms(now), &["a", ["b", "c"][now as usize / 100 % 2]], &[]);
        reconciler.handle_timeout(ms(now));
    }
    reconciler.handle_timeout(ms(2_100));
    assert_eq!(told(&mut reconciler), ["+b"]);
}

#[test]
fn who_comes_and_goes_between_two_steps_is_counted_and_told_to_nobody() {
    let gone = |id| vec![Delta::Remove { key: key(id), why: RemovalReason::Expired }];
    let put = |id: &str| vec![Delta::Put(Arc::new(node(id)))];
    let mut reconciler = Reconciler::new(Policy::remote(), Duration::ZERO);
    full(&mut reconciler, ms(0), &["a"], &["=1"]);
    reconciler.handle_delta(ms(100), put("b"));
    // Others keep the source from being quiet for as long as may be.
    for now in (200..2_100).step_by(100) {
        reconciler.handle_delta(ms(now), put(&format!("n{now}")));
    }
    reconciler.handle_delta(ms(2_099), gone("b"));
    reconciler.handle_timeout(ms(2_100));
    let events = told(&mut reconciler);
    assert!(events.len() == 19 && events.iter().all(|event| event.starts_with("+n")), "{events:?}");
    assert_eq!(reconciler.stats().passed, 1);

    // A lease that outlives the longest wait is told from its beginning to its end.
    reconciler.handle_delta(ms(3_000), put("c"));
    reconciler.handle_timeout(ms(5_000));
    reconciler.handle_delta(ms(5_001), gone("c"));
    reconciler.handle_timeout(ms(7_001));
    assert_eq!(told(&mut reconciler), ["+c", "-c expired"]);

    // Answers that follow each other quickly are no different.
    reconciler.handle_full(ms(8_000), nodes(&["a", "d"]));
    reconciler.handle_full(ms(8_100), nodes(&["a"]));
    assert_eq!(reconciler.stats().passed, 2);
}

#[test]
fn a_node_that_is_gone_and_back_between_two_steps_has_other_facts_at_most() {
    let gone = |id| Delta::Remove { key: key(id), why: RemovalReason::Expired };
    let mut reconciler = Reconciler::new(Policy::remote(), Duration::ZERO);
    full(&mut reconciler, ms(0), &["a", "b"], &["=2"]);
    reconciler.handle_delta(ms(100), vec![gone("a"), gone("b")]);
    reconciler.handle_delta(ms(200), vec![Delta::Put(Arc::new(node("a"))), Delta::Put(Arc::new(changed("b")))]);
    reconciler.handle_timeout(ms(400));
    assert_eq!(told(&mut reconciler), ["~b"]);
    reconciler.handle_delta(ms(500), vec![gone("b")]);
    reconciler.handle_timeout(ms(700));
    assert_eq!((told(&mut reconciler), reconciler.stats().passed), (vec!["-b expired".to_owned()], 0));
}

#[test]
fn a_source_that_repeats_itself_is_quiet() {
    let mut reconciler = Reconciler::new(Policy::file(), Duration::ZERO);
    full(&mut reconciler, ms(0), &["a"], &["=1"]);
    full(&mut reconciler, ms(100), &["a", "b"], &[]);
    full(&mut reconciler, ms(200), &["a", "b"], &[]);
    reconciler.handle_unchanged(ms(250));
    reconciler.handle_timeout(ms(300));
    assert_eq!(told(&mut reconciler), ["+b"]);
    for now in [400, 500, 600] {
        reconciler.handle_failure(ms(now), Cause::unavailable("away"));
        reconciler.handle_timeout(ms(now));
    }
    assert_eq!(told(&mut reconciler), ["degraded unavailable"]);
}

#[test]
fn the_order_of_an_answer_does_not_choose_between_two_with_one_name() {
    let older = node("a");
    let newer = NodeInfo { incarnation: Incarnation::first_of(7), ..changed("a") };
    for answer in [vec![older.clone(), newer.clone()], vec![newer.clone(), older]] {
        let mut reconciler = Reconciler::new(Policy::remote(), Duration::ZERO);
        reconciler.handle_full(s(1), answer);
        assert_eq!(*reconciler.snapshot().nodes[0], newer);
        assert_eq!(reconciler.stats().duplicates, 1);
    }
}

#[test]
fn seeds_are_told_apart_by_address() {
    let seed = |address: &str| NodeInfo::seed(address.parse().expect("legal"));
    let long = "x".repeat(60);
    let (one, two) = (format!("a.{long}.{long}:7000"), format!("b.{long}.{long}:7000"));
    assert_eq!(seed(&one).id, seed(&two).id, "the made-up ids collide");
    let mut reconciler = Reconciler::new(Policy::file(), Duration::ZERO);
    reconciler.handle_full(s(1), vec![seed(&two), seed(&one)]);
    let addresses: Vec<_> = reconciler.snapshot().nodes.iter().map(|node| node.address.to_string()).collect();
    assert_eq!(addresses, [one, two]);
}

#[test]
fn nodes_beyond_the_limit_are_refused_and_counted() {
    let mut reconciler = started(Policy { nodes_max: 3, ..Policy::file() }, &["b", "c"]);
    full(&mut reconciler, s(1), &["a", "b", "c", "d", "e"], &["+a", "degraded too_many_nodes"]);
    assert_eq!(reconciler.stats().refused, 2);
    reconciler.handle_delta(s(2), vec![Delta::Put(Arc::new(node("f")))]);
    assert_eq!((reconciler.stats().refused, reconciler.stats().nodes), (3, 3));
    told(&mut reconciler);
    full(
        &mut reconciler,
        s(3),
        &["d", "e", "f"],
        &["-a file_edited", "-b file_edited", "-c file_edited", "+d", "+e", "+f", "restored"],
    );
}

#[test]
fn held_nodes_count_towards_the_limit() {
    let mut reconciler = started(Policy { nodes_max: 4, ..Policy::remote() }, &["a", "b", "c"]);
    full(&mut reconciler, s(0), &["w", "x", "y", "z"], &["+w", "degraded mass_removal"]);
    let rest = ["-a absent", "-b absent", "-c absent", "+x", "+y", "+z", "restored"];
    full(&mut reconciler, s(10), &["w", "x", "y", "z"], &rest);
}

#[test]
fn events_that_nobody_reads_become_one_snapshot() {
    let mut reconciler = started(Policy { nodes_max: 2, ..Policy::file() }, &[]);
    for now in 0..100 {
        reconciler.handle_full(s(now), nodes(&[["a", "b"][now as usize % 2]]));
        assert!(reconciler.events.len() <= 20);
    }
    assert!(reconciler.stats().coalesced > 0);
    assert_eq!(told(&mut reconciler)[0], "=1");
}

#[test]
fn a_remembered_list_is_told_as_one_and_compared_with_the_first_answer() {
    let policy = Policy { debounce: Duration::ZERO, ..Policy::remote() };
    let mut reconciler = Reconciler::new(policy, Duration::ZERO);
    reconciler.handle_failure(s(1), Cause::unavailable("away"));
    reconciler.handle_remembered(s(2), Vec::new(), s(60));
    assert_eq!(told(&mut reconciler), [""; 0], "nothing was remembered");
    reconciler.handle_remembered(s(2), nodes(&FOUR), s(60));
    assert_eq!(told(&mut reconciler), ["=4"]);
    let cause = Cause::Remembered { saved_ago: s(60) };
    assert_eq!(reconciler.snapshot().freshness, Freshness::Stale { since: s(1), cause });
    reconciler.handle_failure(s(3), Cause::unavailable("away"));
    assert_eq!(told(&mut reconciler), ["degraded unavailable"]);
    full(&mut reconciler, s(4), &["a", "b", "c", "e"], &["-d absent", "+e", "restored"]);
    reconciler.handle_remembered(s(5), nodes(&["z"]), s(60));
    assert_eq!(told(&mut reconciler), [""; 0], "the source has answered");
}

#[test]
fn an_answer_without_most_of_what_is_remembered_is_held_as_any_other() {
    let mut reconciler = Reconciler::new(Policy { debounce: Duration::ZERO, ..Policy::remote() }, Duration::ZERO);
    reconciler.handle_remembered(s(0), nodes(&FOUR), s(60));
    told(&mut reconciler);
    full(&mut reconciler, s(1), &["a"], &["degraded mass_removal"]);
    full(&mut reconciler, s(11), &["a"], &["-b absent", "-c absent", "-d absent", "restored"]);
}
