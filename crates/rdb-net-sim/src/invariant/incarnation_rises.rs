//! What an observer holds of a member never goes back to an older incarnation.
//!
//! Source: SWIM (Das, Gupta, Motivala; DSN 2002), section 4.2: statements are ordered by incarnation. Broken by evidence that
//! is dropped because it changes no state, as an older statement then wins later (al8n/memberlist, pull request 197): so what is
//! held is looked at too, whether or not there is anything to tell.

use std::collections::BTreeMap;

use rdb_net_engine::{Engine, EngineEvent};
use rdb_net_types::{Incarnation, MembershipEvent, NodeId};

use super::{Heard, Invariant, Stepped};

#[derive(Debug, Default)]
pub(crate) struct IncarnationRises {
    held: BTreeMap<usize, BTreeMap<NodeId, Incarnation>>,
}

impl Invariant for IncarnationRises {
    fn name(&self) -> &'static str {
        "incarnation-rises"
    }

    fn started(&mut self, observer: usize, _engine: &Engine) {
        self.held.remove(&observer);
    }

    fn heard(&mut self, heard: &Heard<'_>) -> Result<(), String> {
        let EngineEvent::Membership(change) = heard.event else { return Ok(()) };
        let (held, node) = (self.held.entry(heard.observer).or_default(), change.node());
        let former = match change {
            // Who was forgotten is unknown.
            MembershipEvent::NodeForgotten(_) => {
                held.remove(&node.id);
                return Ok(());
            }
            _ => held.insert(node.id.clone(), node.incarnation),
        };
        match former.filter(|former| *former > node.incarnation) {
            Some(former) => Err(format!("{} at {} after {former}", node.id, node.incarnation)),
            None => Ok(()),
        }
    }
    fn stepped(&mut self, stepped: &Stepped<'_>) -> Result<(), String> {
        let id = &stepped.scene.ids[stepped.turn];
        let Some(member) = stepped.engine.membership().member(id) else { return Ok(()) };
        let held = self.held.entry(stepped.observer).or_default();
        match held.insert(id.clone(), member.incarnation).filter(|former| *former > member.incarnation) {
            Some(former) => Err(format!("it holds {id} at {} after {former}", member.incarnation)),
            None => Ok(()),
        }
    }
}
