//! What an observer holds of a member never goes back to an older incarnation.
//!
//! Source: SWIM (Das, Gupta, Motivala; DSN 2002), section 4.2: statements are ordered by incarnation. Broken by evidence that
//! is dropped because it changes no state, as an older statement then wins later.

use std::collections::BTreeMap;

use rdb_net_engine::{Engine, EngineEvent};
use rdb_net_types::{Incarnation, MembershipEvent, NodeId};

use super::{Heard, Invariant};

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
}
