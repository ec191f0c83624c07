//! Links that are cut: one, all of one node, all between two halves.

use std::time::{Duration, SystemTime};

use rdb_net_tests::port;
use rdb_net_types::{HealthStatus, NodeState};

use crate::Row;
use crate::scene::{NODES, Scene, secs};

/// How long a silent node may pass for alive.
const SILENT: Duration = Duration::from_secs(11);
/// How long a node may take to be back.
const BACK: Duration = Duration::from_secs(5);
/// How long two halves may take to become one.
const ONE_VIEW: Duration = Duration::from_secs(15);

pub(crate) const FROM_THE_DIALLER: Row = Row {
    fault: "A → B cut, the link is A's",
    outcome: "nobody failed; the link shows degraded on both",
    settings: &[],
    play: |scene| {
        let (a, b) = scene.link();
        cut(scene, (a, b), &[one_way(a, b)])
    },
};

pub(crate) const TO_THE_DIALLER: Row = Row {
    fault: "A → B cut, the link is B's",
    outcome: "nobody failed; the link shows degraded on both",
    settings: &[],
    play: |scene| {
        let (b, a) = scene.link();
        cut(scene, (a, b), &[one_way(a, b)])
    },
};

pub(crate) const BOTH_WAYS: Row = Row {
    fault: "A – B cut both ways",
    outcome: "nobody failed; the link shows degraded on both",
    settings: &[],
    play: |scene| {
        let (a, b) = scene.link();
        cut(scene, (a, b), &[one_way(a, b), one_way(b, a)])
    },
};

pub(crate) const ONE_NODE: Row = Row {
    fault: "one node cut off",
    outcome: "failed at the others within 11 s; it reports degraded, keeps its view, is back within 5 s",
    settings: &[],
    play: |scene| {
        let victim = 1;
        let others = scene.cluster.others(victim);
        let act = SystemTime::now();
        scene.lab.drop_what(&[format!("iifname {}", port(victim)), format!("oifname {}", port(victim))]);
        let failed = scene.until_failed(act, SILENT, &others, &[victim]);
        let degraded = scene.until(scene.lengths.fault, "it reports degraded", || {
            scene.cluster.node(victim).status().health.status != HealthStatus::Healthy
        });
        let passed = SystemTime::now().duration_since(act).unwrap_or_default();
        scene.pass(scene.lengths.fault.saturating_sub(passed));
        assert_eq!(scene.cluster.node(victim).topology().members.len(), NODES, "it keeps its view");
        assert_ne!(scene.cluster.node(victim).status().health.status, HealthStatus::Healthy);
        assert!(scene.failed().iter().all(|(by, of, _)| *of == victim || *by == victim), "{}", scene.story());
        scene.lab.heal();
        let back = scene.until_one_view(BACK);
        format!("failed after {}, degraded {} later, back after {}", secs(failed), secs(degraded), secs(back))
    },
};

pub(crate) const TWO_AND_THREE: Row = Row {
    fault: "2 \\| 3 split",
    outcome: "both sides keep the others as failed, not evicted; one view within 15 s after healing; the smaller side tells of it, \
              and withdraws by keep_majority",
    settings: &["networking.split_brain.strategy=keep_majority"],
    play: |scene| {
        let (few, many) = ([0, 1], [2, 3, 4]);
        let pairs = || few.iter().flat_map(|one| many.iter().map(move |other| (*one, *other)));
        let act = SystemTime::now();
        let rules: Vec<String> = pairs().flat_map(|(one, other)| [all_of(one, other), all_of(other, one)]).collect();
        scene.lab.drop_what(&rules);
        let here = scene.until_failed(act, scene.lengths.split, &few, &many);
        let there = scene.until_failed(act, scene.lengths.split, &many, &few);
        let passed = SystemTime::now().duration_since(act).unwrap_or_default();
        scene.pass(scene.lengths.split.saturating_sub(passed));
        for (one, other) in pairs() {
            assert_eq!(scene.state(one, other), NodeState::Failed, "{}", scene.story());
            assert_eq!(scene.state(other, one), NodeState::Failed, "{}", scene.story());
        }
        // Three of five is more than may fail by themselves, two are not.
        let vanished = |node: usize| scene.cluster.node(node).metric("networking_members_vanished{}");
        assert_eq!(few.map(vanished), [3.0; 2], "the smaller side tells of a partition");
        assert_eq!(many.map(vanished), [0.0; 3]);
        for node in few {
            let apart = scene.cluster.node(node).topology().partition.expect("it is in a partition");
            assert_eq!((apart.reachable, apart.unreachable), (2, 3));
            assert_eq!(partitions(scene, node), (1.0, 0.0), "{}", scene.story());
        }
        for node in many {
            assert_eq!(scene.cluster.node(node).topology().partition, None);
            assert_eq!(partitions(scene, node), (0.0, 0.0), "{}", scene.story());
        }
        let withdraws = |node: usize| scene.cluster.node(node).metric("networking_split_brain_withdrawn{}") > 0.0;
        assert!(few.iter().all(|node| withdraws(*node)) && !many.iter().any(|node| withdraws(*node)));
        let reason = |node: usize| scene.cluster.node(node).topology().split_brain.expect("a strategy decides").reason;
        for node in few {
            assert_eq!(reason(node), "keep_majority: 2 of 5 members are seen, not the larger side");
        }
        for node in many {
            assert_eq!(reason(node), "keep_majority: 3 of 5 members are seen, the larger side");
        }
        let is_within = |by: usize, of: usize| few.contains(&by) == few.contains(&of);
        assert!(!scene.failed().iter().any(|(by, of, _)| is_within(*by, *of)), "{}", scene.story());
        scene.lab.heal();
        let one = scene.until_one_view(ONE_VIEW);
        scene.until(ONE_VIEW, "the partition is over", || few.iter().all(|node| vanished(*node) == 0.0));
        for node in few {
            assert_eq!(partitions(scene, node), (1.0, 1.0), "{}", scene.story());
        }
        let back = scene.until(ONE_VIEW, "nobody withdraws", || !few.iter().any(|node| withdraws(*node)));
        format!(
            "failed after {} and {}; the smaller side withdrew; one view after {}, nobody withdrawn {} later",
            secs(here),
            secs(there),
            secs(one),
            secs(back)
        )
    },
};

/// Cuts a link, and holds both its ends to the table. A neighbour's address stays known, as behind a router.
fn cut(scene: &mut Scene, (a, b): (usize, usize), rules: &[String]) -> String {
    scene.lab.drop_what(rules);
    let is_bad = |observer, of| scene.health(observer, of) >= HealthStatus::Degraded;
    let limit = scene.lengths.fault;
    let both = scene.until(limit, "degraded on both", || is_bad(a, b) && is_bad(b, a));
    scene.pass(limit.saturating_sub(both));
    assert!(scene.lab.dropped() > 0, "nothing was cut");
    assert!(is_bad(a, b) && is_bad(b, a), "degraded for as long as it lasts: {}", scene.story());
    let suspicions = scene.suspicions();
    scene.lab.heal();
    let well = scene.until(scene.patience(), "well again", || !is_bad(a, b) && !is_bad(b, a));
    scene.nobody_failed();
    format!("degraded on both after {}, well {} after healing, {suspicions} suspicions", secs(both), secs(well))
}

/// How often a node has told that the network came apart, and that it is over.
fn partitions(scene: &Scene, node: usize) -> (f64, f64) {
    let count =
        |name: &str| scene.cluster.node(node).metric(&format!("networking_membership_total{{counter=\"{name}\"}}"));
    (count("partitions"), count("partitions_healed"))
}

fn one_way(from: usize, to: usize) -> String {
    format!("ether type ip {}", all_of(from, to))
}

fn all_of(from: usize, to: usize) -> String {
    format!("iifname {} oifname {}", port(from), port(to))
}
