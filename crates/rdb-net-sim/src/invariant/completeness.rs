//! A node that is down for long enough is held for alive by nobody.
//!
//! Source: SWIM (DSN 2002), section 3.2: strong completeness, made time-bounded by section 4.3: whoever crashes is asked by each
//! other member within 2n − 1 periods, and then has the time of a suspect. So much is promised of a member by itself; in a cluster of dozens
//! some other one asks sooner and tells, and a minute is long for it.

use std::time::Duration;

use super::Invariant;
use crate::simulation::Simulation;

#[derive(Debug)]
pub(crate) struct Completeness;

impl Invariant for Completeness {
    fn name(&self) -> &'static str {
        "completeness"
    }

    fn at_rest(&mut self, simulation: &Simulation) -> Result<(), String> {
        let (now, scene) = (simulation.now(), simulation.scene());
        for (observer, engine) in simulation.running() {
            let swim = engine.membership();
            let config = swim.config();
            let worst = 1 + config.lifeguard.health_max;
            let asked = config.probe_interval * (2 * simulation.nodes() as u32 - 1).min(60) * worst;
            let bound: Duration = asked + super::suspicion_time::longest(config, simulation.nodes());
            for (node, since) in &scene.down {
                let is_held = swim.member(&scene.ids[*node]).is_some_and(|held| held.state.is_routable());
                if is_held && now.saturating_sub(*since) > bound {
                    let down = now.saturating_sub(*since).as_secs();
                    return Err(format!("node {observer} holds node {node} for alive, which is down for {down} s"));
                }
            }
        }
        Ok(())
    }
}
