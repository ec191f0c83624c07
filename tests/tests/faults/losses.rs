//! Networks that carry some of what they are given.

use std::time::{Duration, Instant};

use rdb_net_tests::port;

use crate::Row;
use crate::scene::{NODES, Scene, secs};

const BACK: Duration = Duration::from_secs(5);

pub(crate) const NO_UDP_AT_ONE: Row = Row {
    fault: "UDP blocked at one node",
    outcome: "nobody failed; gossip falls back to streams; told",
    settings: &[],
    play: |scene| {
        let victim = port(1);
        no_udp(scene, &[1], &[format!("ip protocol udp iifname {victim}"), format!("ip protocol udp oifname {victim}")])
    },
};

pub(crate) const NO_UDP_AT_ALL: Row = Row {
    fault: "UDP blocked at all",
    outcome: "nobody failed; gossip falls back to streams; told",
    settings: &[],
    play: |scene| no_udp(scene, &[0, 1, 2, 3, 4], &["ip protocol udp".to_owned()]),
};

pub(crate) const ONE_IN_FIVE: Row =
    Row { fault: "20 % loss everywhere", outcome: "nobody failed", settings: &[], play: |scene| loss(scene, 20) };

pub(crate) const TWO_IN_FIVE: Row =
    Row { fault: "40 % loss everywhere", outcome: "nobody failed", settings: &[], play: |scene| loss(scene, 40) };

pub(crate) const FLAPPING: Row = Row {
    fault: "one node's link flaps, 1 s on, 1 s off",
    outcome: "only that node may fail; it is back within 5 s after the end",
    settings: &[],
    play: |scene| {
        const HALF: Duration = Duration::from_secs(1);
        let victim = 1;
        let end = Instant::now() + scene.lengths.fault;
        let mut dropped = 0;
        while Instant::now() < end {
            scene.lab.drop_what(&[format!("iifname {}", port(victim)), format!("oifname {}", port(victim))]);
            scene.pass(HALF);
            dropped += scene.lab.dropped();
            scene.lab.heal();
            scene.pass(HALF);
        }
        assert!(dropped > 0, "nothing was cut");
        let back = scene.until_one_view(BACK);
        scene.nobody_failed_but(victim);
        format!(
            "failed {} times, suspected {} times, back after {}",
            scene.failed().len(),
            scene.suspicions(),
            secs(back)
        )
    },
};

/// Whether it tells that nothing comes by UDP.
fn tells(scene: &Scene, node: usize) -> bool {
    scene.cluster.node(node).metric("networking_gossip_udp_silent{}") > 0.0
}

fn streamed(scene: &Scene, node: usize) -> f64 {
    scene.cluster.node(node).metric("networking_gossip_streamed_total{what=\"packets_received\"}")
}

fn no_udp(scene: &mut Scene, victims: &[usize], rules: &[String]) -> String {
    let before: Vec<f64> = (0..NODES).map(|node| streamed(scene, node)).collect();
    scene.lab.drop_what(rules);
    let limit = scene.lengths.fault;
    let told = scene.until(limit, "told", || victims.iter().all(|node| tells(scene, *node)));
    scene.pass(limit.saturating_sub(told));
    scene.nobody_failed();
    for victim in victims {
        assert!(streamed(scene, *victim) > before[*victim], "nothing came in streams: {}", scene.story());
    }
    scene.lab.heal();
    let over = scene.until(scene.patience(), "UDP again", || (0..NODES).all(|node| !tells(scene, node)));
    scene.nobody_failed();
    let suspicions = scene.suspicions();
    format!("told after {}, UDP again {} after healing, {suspicions} suspicions", secs(told), secs(over))
}

fn loss(scene: &mut Scene, percent: u32) -> String {
    scene.lab.drop_what(&[format!("ether type ip numgen random mod 100 < {percent}")]);
    scene.pass(scene.lengths.fault);
    let dropped = scene.lab.dropped();
    assert!(dropped > 0, "nothing was lost");
    scene.lab.heal();
    let one = scene.until_one_view(BACK);
    scene.nobody_failed();
    format!("{dropped} packets lost, {} suspicions, one view {} after", scene.suspicions(), secs(one))
}
