//! One process is killed: its links are reset, its address refuses, and two observers of that are enough.

use std::time::Duration;

use rdb_net_types::NodeState;

use super::{Run, Scenario};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "kill",
    about: "one process is killed; every other node is told NodeFailed, once, within 1.5 s",
    nodes_min: 3,
    bound: |_| Duration::from_millis(1_500),
    run,
};

fn run(run: &mut Run) {
    run.form();
    let victim = run.draw(run.nodes);
    run.simulation.crash(victim);
    run.measure("all hold the victim for failed", |simulation| simulation.all_hold(victim, NodeState::Failed));
    run.simulation.run_for(Duration::from_secs(5));
    let (told, others) = (run.simulation.count("NodeFailed", victim), run.nodes as u64 - 1);
    run.expect(told == others, || format!("NodeFailed was told {told} times, not {others}"));
    run.come_to_rest(run.nodes - 1);
}
