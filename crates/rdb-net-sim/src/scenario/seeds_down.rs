//! Nodes start while every seed is down; they join as soon as the first seed is there.

use std::time::Duration;

use super::{Run, Scenario};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "seeds-down",
    about: "nodes start while all seeds are down and say so; all agree within 5 s of the first seed's start",
    nodes_min: 4,
    bound: |_| Duration::from_secs(5),
    run,
};

fn run(run: &mut Run) {
    let (nodes, seeds) = (run.nodes, run.simulation.config.seeds);
    run.start_all(seeds..nodes, Duration::from_millis(500));
    let wait = run.draw_time(Duration::from_secs(5), Duration::from_secs(20));
    run.simulation.run_for(wait);
    let joined = run.simulation.running().filter(|(_, engine)| engine.is_joined()).count();
    run.expect(joined == 0, || format!("{joined} nodes say that they have joined, with nobody to join"));
    let (told, others) = (run.simulation.count_all("SeedsUnreachable"), (nodes - seeds) as u64);
    run.expect(told == others, || format!("SeedsUnreachable was told {told} times, not {others}"));
    run.start(0);
    run.measure("all agree", |simulation| simulation.agrees(nodes - seeds + 1));
    run.come_to_rest(nodes - seeds + 1);
}
