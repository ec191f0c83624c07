//! One node leaves: everybody is told that it has left, and nobody that it has failed.

use std::time::Duration;

use rdb_net_types::NodeState;

use super::{Run, Scenario};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "leave",
    about: "one node leaves; every other is told NodeLeft within 2 s, and never NodeFailed",
    nodes_min: 2,
    bound: |_| Duration::from_secs(2),
    run,
};

fn run(run: &mut Run) {
    run.form();
    let leaver = run.draw(run.nodes);
    run.simulation.leave(leaver);
    run.measure("all hold the leaver for left", |simulation| simulation.all_hold(leaver, NodeState::Left));
    run.simulation.run_for(Duration::from_secs(10));
    let told = run.simulation.count_all("NodeFailed");
    run.expect(told == 0, || format!("NodeFailed was told {told} times"));
    let (left, others) = (run.simulation.count("NodeLeft", leaver), run.nodes as u64 - 1);
    run.expect(left == others, || format!("NodeLeft was told {left} times, not {others}"));
    run.come_to_rest(run.nodes - 1);
}
