//! One process stands still for three seconds, as in a long garbage collection: nobody may hold it for failed.

use std::time::Duration;

use super::{Run, Scenario};

/// How long the process stands still.
const PAUSE: Duration = Duration::from_secs(3);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "pause3s",
    about: "one process stands still for 3 s; nobody is told NodeFailed, and all agree within 10 s of its waking",
    nodes_min: 2,
    bound: |_| Duration::from_secs(10),
    run,
};

fn run(run: &mut Run) {
    run.form();
    let (nodes, victim) = (run.nodes, run.draw(run.nodes));
    run.simulation.pause(victim);
    run.simulation.run_for(PAUSE);
    run.simulation.wake(victim);
    run.measure("all agree again", |simulation| simulation.agrees(nodes));
    run.simulation.run_for(Duration::from_secs(12));
    let told = run.simulation.count_all("NodeFailed");
    run.expect(told == 0, || format!("NodeFailed was told {told} times"));
    run.come_to_rest(nodes);
}
