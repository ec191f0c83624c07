//! Who has left is never told as failed, unless it has come back in between.
//!
//! Source: the house's promise that a graceful leave is seen as one; in the field a leaver that ends before its farewell has
//! spread is found failed (hashicorp/consul #3706).

use std::collections::{BTreeMap, BTreeSet};

use rdb_net_engine::{Engine, EngineEvent};
use rdb_net_types::{MembershipEvent, NodeId};

use super::{Heard, Invariant};

#[derive(Debug, Default)]
pub(crate) struct LeftNeverFails {
    left: BTreeMap<usize, BTreeSet<NodeId>>,
}

impl Invariant for LeftNeverFails {
    fn name(&self) -> &'static str {
        "left-never-fails"
    }

    fn started(&mut self, observer: usize, _engine: &Engine) {
        self.left.remove(&observer);
    }

    fn heard(&mut self, heard: &Heard<'_>) -> Result<(), String> {
        let EngineEvent::Membership(change) = heard.event else { return Ok(()) };
        let (left, id) = (self.left.entry(heard.observer).or_default(), change.node_id());
        match change {
            MembershipEvent::NodeLeft(_) => {
                left.insert(id.clone());
            }
            MembershipEvent::NodeJoined(_) | MembershipEvent::NodeForgotten(_) => {
                left.remove(id);
            }
            MembershipEvent::NodeFailed(_) if left.contains(id) => return Err(format!("{id} had left")),
            _ => {}
        }
        Ok(())
    }
}
