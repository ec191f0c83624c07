//! One process is killed and another one is started on its host a moment later.

use std::time::Duration;

use rdb_net_types::NodeState;

use super::{Run, Scenario};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "restart",
    about: "one process is killed and started anew within a second; every other node is told NodeRecovered within 3 s",
    nodes_min: 3,
    bound: |_| Duration::from_secs(3),
    run,
};

fn run(run: &mut Run) {
    run.form();
    let (nodes, victim) = (run.nodes, run.draw(run.nodes));
    run.simulation.crash(victim);
    let away = run.draw_time(Duration::from_millis(50), Duration::from_secs(1));
    run.simulation.run_for(away);
    run.start(victim);
    let (boot, id) = (run.simulation.boot(victim), crate::node_id(victim));
    run.measure("all hold the new process alive", |simulation| {
        let holds = |engine: &rdb_net_engine::Engine| {
            let member = engine.member(&id);
            member.is_some_and(|member| member.state == NodeState::Alive && Some(member.boot) == boot)
        };
        simulation.running().filter(|(node, _)| *node != victim).all(|(_, engine)| holds(engine))
    });
    run.simulation.run_for(Duration::from_secs(5));
    let (told, others) = (run.simulation.count("NodeRecovered", victim), nodes as u64 - 1);
    run.expect(told == others, || format!("NodeRecovered was told {told} times, not {others}"));
    let failed = run.simulation.count("NodeFailed", victim);
    run.expect(failed == others, || format!("NodeFailed was told {failed} times, not {others}"));
    run.come_to_rest(nodes);
}
