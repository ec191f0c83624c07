//! At rest all members have one view, and nobody doubts itself.
//!
//! Source: SWIM's eventual consistency (DSN 2002, section 4.1): every update reaches every member, so views differ only while
//! there is news.

use std::collections::BTreeMap;

use rdb_net_types::NodeState;

use super::Invariant;
use crate::simulation::Simulation;

#[derive(Debug)]
pub(crate) struct Agreement;

impl Invariant for Agreement {
    fn name(&self) -> &'static str {
        "agreement"
    }

    fn at_rest(&mut self, simulation: &Simulation) -> Result<(), String> {
        let mut views: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (node, engine) in simulation.running() {
            if engine.local().state != NodeState::Alive {
                return Err(format!("node {node} holds itself for {}", engine.local().state));
            }
            views.entry(engine.view_digest()).or_default().push(node);
        }
        if views.len() <= 1 {
            return Ok(());
        }
        let sizes: Vec<String> =
            views.values().map(|nodes| format!("{} nodes such as {}", nodes.len(), nodes[0])).collect();
        Err(format!("there are {} views: {}", views.len(), sizes.join("; ")))
    }
}
