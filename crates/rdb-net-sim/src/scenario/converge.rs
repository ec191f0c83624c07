//! All nodes start within 100 ms and agree.

use std::time::Duration;

use super::{Run, Scenario};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "converge",
    about: "all nodes start within 100 ms; all agree within 2 s (up to 5 nodes), 3 s (beyond)",
    nodes_min: 1,
    bound: |nodes| Duration::from_secs(if nodes <= 5 { 2 } else { 3 }),
    run,
};

fn run(run: &mut Run) {
    let nodes = run.nodes;
    run.start_all(0..nodes, Duration::from_millis(100));
    run.measure("all agree", |simulation| simulation.agrees(nodes));
    run.simulation.run_for(Duration::from_secs(5));
    let joined = run.simulation.running().filter(|(_, engine)| engine.is_joined()).count();
    run.expect(joined == nodes, || format!("{joined} of {nodes} nodes say that they have joined"));
    run.come_to_rest(nodes);
}
