//! One host loses its power: nothing is refused or reset, there is only silence.

use std::time::Duration;

use rdb_net_types::NodeState;

use super::{Run, Scenario};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "silent",
    about: "one host goes silent; every other node is told NodeFailed within 11 s, and not before 3 s",
    nodes_min: 3,
    bound: |_| Duration::from_secs(11),
    run,
};

fn run(run: &mut Run) {
    run.form();
    let victim = run.draw(run.nodes);
    run.simulation.power_off(victim);
    run.measure("all hold the silent one for failed", |simulation| simulation.all_hold(victim, NodeState::Failed));
    let took = run.took;
    run.expect(took.is_none_or(|took| took >= Duration::from_secs(3)), || format!("already after {took:?}"));
    run.simulation.run_for(Duration::from_secs(5));
    let (told, others) = (run.simulation.count("NodeFailed", victim), run.nodes as u64 - 1);
    run.expect(told == others, || format!("NodeFailed was told {told} times, not {others}"));
    run.come_to_rest(run.nodes - 1);
}
