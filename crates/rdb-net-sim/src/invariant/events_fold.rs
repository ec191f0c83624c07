//! Folding the events over the first list of members gives the list of members.
//!
//! Source: the house's promise about membership events (each transition once and in order); SWIM needs nothing of the kind, but
//! an application that keeps its own list does.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdb_net_engine::{Engine, EngineEvent};
use rdb_net_types::{MembershipEvent, NodeId, NodeInfo, NodeState};

use super::{Heard, Invariant, Stepped};
use crate::simulation::Simulation;

type Mirror = BTreeMap<NodeId, Arc<NodeInfo>>;

#[derive(Debug, Default)]
pub(crate) struct EventsFold {
    mirrors: BTreeMap<usize, Mirror>,
    /// Of whom something was told in this step.
    told: Vec<NodeId>,
}

impl Invariant for EventsFold {
    fn name(&self) -> &'static str {
        "events-fold"
    }

    fn started(&mut self, observer: usize, engine: &Engine) {
        let members = engine.members().into_iter().map(|node| (node.id.clone(), node)).collect();
        self.mirrors.insert(observer, members);
    }

    fn heard(&mut self, heard: &Heard<'_>) -> Result<(), String> {
        let EngineEvent::Membership(change) = heard.event else { return Ok(()) };
        self.told.push(change.node_id().clone());
        let Some(mirror) = self.mirrors.get_mut(&heard.observer) else { return Ok(()) };
        let node = change.node();
        let former = if let MembershipEvent::NodeForgotten(_) = change {
            mirror.remove(&node.id)
        } else {
            mirror.insert(node.id.clone(), Arc::clone(node))
        };
        let former = former.map(|former| former.state);
        if leads_on(former, change) { Ok(()) } else { Err(format!("{} after {former:?}", node.id)) }
    }

    fn stepped(&mut self, stepped: &Stepped<'_>) -> Result<(), String> {
        let told = std::mem::take(&mut self.told);
        let Some(mirror) = self.mirrors.get(&stepped.observer) else { return Ok(()) };
        // Of those of whom nothing was told nothing may have changed: at each step one of them is looked at, at rest all are.
        let looked_at = told.iter().chain([&stepped.scene.ids[stepped.turn]]);
        let mut wrong = looked_at.filter(|id| stepped.engine.member(id) != mirror.get(*id));
        match wrong.next() {
            None => Ok(()),
            Some(id) => Err(format!("its events do not give what it holds of {id}")),
        }
    }

    fn at_rest(&mut self, simulation: &Simulation) -> Result<(), String> {
        for (observer, engine) in simulation.running() {
            let members: Mirror = engine.members().into_iter().map(|node| (node.id.clone(), node)).collect();
            if self.mirrors.get(&observer) != Some(&members) {
                return Err(format!("the events of node {observer} do not give its members"));
            }
        }
        Ok(())
    }
}

/// Whether the event is a transition from the former state.
fn leads_on(former: Option<NodeState>, change: &MembershipEvent) -> bool {
    use NodeState::{Alive, Failed, Left, Suspect};
    match change {
        MembershipEvent::NodeJoined(_) => matches!(former, None | Some(Left)),
        MembershipEvent::NodeLeft(_) => matches!(former, None | Some(Alive | Suspect | Failed)),
        MembershipEvent::NodeFailed(_) => matches!(former, None | Some(Alive | Suspect)),
        MembershipEvent::NodeRecovered(_) => former == Some(Failed),
        MembershipEvent::NodeSuspected(_) => former == Some(Alive),
        MembershipEvent::NodeTrusted(_) => former == Some(Suspect),
        MembershipEvent::NodeForgotten(_) => matches!(former, Some(Failed | Left)),
        _ => former.is_some(),
    }
}
