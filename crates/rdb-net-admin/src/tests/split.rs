//! A cluster that has come apart, as operators see it.

use std::time::Duration;

use rdb_net_manager::{PartitionView, SplitBrainView};

use super::start;
use crate::views::{self, ProbeView, TopologyView};

const REASON: &str = "keep_majority: 2 of 5 members are seen, not the larger side";

#[tokio::test]
async fn a_side_that_withdraws_is_shown_and_is_not_ready() {
    let running = start().await;
    let apart = PartitionView { reachable: 2, unreachable: 3, since: Duration::from_millis(1500) };
    *running.fake.partition.lock().expect("not poisoned") = Some(apart);
    let says = |withdraws| SplitBrainView { strategy: "keep_majority", withdraws, reason: REASON.to_owned() };
    *running.fake.split_brain.lock().expect("not poisoned") = Some(says(true));

    let topology: TopologyView = running.get("/api/v1/network/topology").await.json();
    let expected = views::PartitionView { reachable: 2, unreachable: 3, since_seconds: 1.5 };
    assert_eq!(topology.partition, Some(expected));
    let split = topology.split_brain.expect("a strategy decides");
    assert_eq!((split.strategy.as_str(), split.decision.as_str()), ("keep_majority", "withdraw"));
    assert_eq!(split.reason, REASON);
    let answer = running.get("/readyz").await;
    let probe: ProbeView = answer.json();
    assert_eq!((answer.status, probe.ok), (503, false));
    assert_eq!(probe.reason, format!("split brain: this side withdraws: {REASON}"));

    *running.fake.split_brain.lock().expect("not poisoned") = Some(says(false));
    assert_eq!(running.get("/readyz").await.status, 200);
    running.server.shutdown().await;
}
