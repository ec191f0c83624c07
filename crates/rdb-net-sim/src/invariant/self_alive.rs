//! To itself a node is alive, or has left if it was told to; whatever others say.
//!
//! Source: SWIM (DSN 2002), section 4.2: a member that hears of its own suspicion refutes it instead of believing it. Broken in
//! the field by relayed farewells that a member never said (al8n/memberlist #158).

use std::collections::BTreeSet;

use rdb_net_engine::{Engine, EngineEvent};
use rdb_net_types::{MembershipEvent, NodeState};

use super::{Heard, Invariant, Stepped};

#[derive(Debug, Default)]
pub(crate) struct SelfAlive {
    leaving: BTreeSet<usize>,
}

impl Invariant for SelfAlive {
    fn name(&self) -> &'static str {
        "self-alive"
    }

    fn started(&mut self, observer: usize, _engine: &Engine) {
        self.leaving.remove(&observer);
    }

    fn heard(&mut self, heard: &Heard<'_>) -> Result<(), String> {
        if let EngineEvent::Membership(MembershipEvent::NodeLeft(node)) = heard.event
            && node.id == heard.scene.ids[heard.observer]
        {
            self.leaving.insert(heard.observer);
        }
        Ok(())
    }

    fn stepped(&mut self, stepped: &Stepped<'_>) -> Result<(), String> {
        let state = stepped.engine.membership().local().state;
        let is_leaving = self.leaving.contains(&stepped.observer);
        match state {
            NodeState::Alive if !is_leaving => Ok(()),
            NodeState::Left if is_leaving => Ok(()),
            _ => Err(format!("it holds itself for {state}")),
        }
    }
}
