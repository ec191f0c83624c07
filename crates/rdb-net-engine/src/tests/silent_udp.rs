//! A network that lets no UDP pass: nobody is ill for that, and who crashes is found as fast as without Lifeguard.

use std::time::Duration;

use rdb_net_types::{HealthStatus, NodeState};
use rdb_swim::Lifeguard;

use super::lab::{Lab, id, ms, secs};
use crate::EngineConfig;

/// How long five members need to hold the sixth for failed after it has crashed, without any UDP.
fn time_to_failed(lifeguard: Lifeguard) -> Duration {
    let swim = rdb_swim::Config { lifeguard, ..rdb_swim::Config::lan() };
    let mut lab = Lab::cluster_with(6, &EngineConfig::with_swim(swim));
    lab.is_mute = true;
    lab.run(secs(30));
    assert_all_is_well(&lab, 6);
    lab.cut[5] = true;
    let crashed = lab.now;
    while (0..5).any(|node| lab.state(node, 5) != Some(NodeState::Failed)) {
        lab.run(ms(50));
        assert!(lab.now < crashed + secs(120), "not failed after two minutes");
        assert!((0..5).all(|node| lab.engines[node].swim.local_health() == 0), "nobody blames itself for the network");
    }
    lab.now - crashed
}

fn assert_all_is_well(lab: &Lab, members: usize) {
    for engine in &lab.engines[..members] {
        let swim = engine.statistics().swim;
        assert!(swim.probes_streamed > 10, "members are asked over connections");
        assert_eq!((swim.probes_failed, swim.suspicions_raised, swim.health_worsened), (0, 0, 0));
        assert_eq!(engine.census().alive, members);
    }
}

#[test]
fn without_udp_a_crash_is_found_as_fast_with_lifeguard_as_without() {
    let (with, without) = (time_to_failed(Lifeguard::ON), time_to_failed(Lifeguard::OFF));
    assert_eq!(with, without);
}

#[test]
fn one_node_without_udp_is_not_failed_and_fails_nobody() {
    let mut lab = Lab::cluster(6);
    lab.is_deaf = Some(3);
    lab.run(secs(60));
    for node in 0..6 {
        let swim = lab.engines[node].statistics().swim;
        assert_eq!((swim.suspicions_raised, lab.engines[node].swim.local_health()), (0, 0), "{node}");
        assert_eq!(lab.engines[node].census().alive, 6);
    }
    assert!(lab.engines[3].swim.is_unheard() && !lab.engines[0].swim.is_unheard());
    let parts = lab.engines[3].report().parts;
    let (_, status, words) = parts.iter().find(|(name, ..)| name == "membership").expect("reported");
    assert_eq!(*status, HealthStatus::Degraded, "{words}");
    lab.is_deaf = None;
    lab.run(secs(3));
    assert!(!lab.engines[3].swim.is_unheard(), "a packet has come");
}

#[test]
fn a_node_that_is_cut_off_altogether_still_blames_itself_first() {
    let mut lab = Lab::cluster(6);
    lab.is_mute = true;
    lab.run(secs(10));
    lab.is_mute = false;
    lab.run(secs(10));
    lab.cut[0] = true;
    lab.run(secs(10));
    assert_eq!(lab.engines[0].swim.local_health(), Lifeguard::ON.health_max);
    assert!(!lab.engines[0].swim.is_unheard(), "nobody answers over connections either: {}", id(0));
}
