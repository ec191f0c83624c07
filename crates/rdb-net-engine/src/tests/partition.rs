//! A node that loses many others at once says so, until they are back.

use rdb_net_types::HealthStatus;
use rdb_swim::{Decision, Strategy};

use super::lab::{Lab, secs};
use crate::EngineEvent;

fn membership(lab: &Lab, node: usize) -> (HealthStatus, String) {
    let parts = lab.engines[node].report().parts;
    let (_, status, words) = parts.into_iter().find(|(name, ..)| name == "membership").expect("reported");
    (status, words)
}

#[test]
fn a_node_that_loses_most_others_at_once_is_degraded_until_they_are_back() {
    let mut lab = Lab::cluster(7);
    assert_eq!(membership(&lab, 0).0, HealthStatus::Healthy);
    (3..7).for_each(|node| lab.cut[node] = true);
    lab.run(secs(60));
    let partition = lab.engines[0].partition().expect("four vanished together");
    assert_eq!((partition.reachable, partition.unreachable), (3, 4));
    assert_eq!(lab.engines[0].members().len(), 7, "nobody is dropped");
    let (status, words) = membership(&lab, 0);
    assert_eq!(status, HealthStatus::Degraded);
    assert!(words.contains("4 vanished together"), "{words}");
    assert_eq!(lab.engines[0].decide_split(Strategy::KeepMajority), Decision::Withdraw);
    assert_eq!(lab.engines[0].decide_split(Strategy::StaticQuorum { members: 3 }), Decision::Stay);
    (3..7).for_each(|node| lab.cut[node] = false);
    lab.run(secs(30));
    assert_eq!((membership(&lab, 0).0, lab.engines[0].partition()), (HealthStatus::Healthy, None));
    let told: Vec<bool> = lab.events[0]
        .iter()
        .filter_map(|event| match event {
            EngineEvent::Partitioned(_) => Some(true),
            EngineEvent::Healed(_) => Some(false),
            _ => None,
        })
        .collect();
    assert_eq!(told, [true, false]);
}
