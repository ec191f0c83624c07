//! Who was failed or has left comes back only by a higher incarnation.
//!
//! Source: SWIM (DSN 2002), section 4.2: only a member itself raises its incarnation. Broken in the field by exchanges of views
//! that revive the dead (hashicorp/memberlist #312). So of a member that was dropped nothing may be told again, unless it has come
//! back.

use std::collections::BTreeMap;

use rdb_net_engine::{Engine, EngineEvent};
use rdb_net_types::{Incarnation, MembershipEvent, NodeId};

use super::{Heard, Invariant};

#[derive(Debug, Default)]
pub(crate) struct NoResurrection {
    ends: BTreeMap<usize, BTreeMap<NodeId, Incarnation>>,
    dropped: BTreeMap<usize, BTreeMap<NodeId, Incarnation>>,
}

impl Invariant for NoResurrection {
    fn name(&self) -> &'static str {
        "no-resurrection"
    }

    fn started(&mut self, observer: usize, _engine: &Engine) {
        self.ends.remove(&observer);
        self.dropped.remove(&observer);
    }

    fn heard(&mut self, heard: &Heard<'_>) -> Result<(), String> {
        let EngineEvent::Membership(change) = heard.event else { return Ok(()) };
        let (ends, node) = (self.ends.entry(heard.observer).or_default(), change.node());
        let dropped = self.dropped.entry(heard.observer).or_default();
        if let MembershipEvent::NodeForgotten(_) = change {
            dropped.insert(node.id.clone(), node.incarnation);
            return Ok(());
        }
        if let Some(end) = dropped.remove(&node.id).filter(|end| *end >= node.incarnation) {
            return Err(format!("{} was dropped at {end} and is told of at {}", node.id, node.incarnation));
        }
        match change {
            MembershipEvent::NodeFailed(_) | MembershipEvent::NodeLeft(_) => {
                ends.insert(node.id.clone(), node.incarnation);
                Ok(())
            }
            MembershipEvent::NodeJoined(_) | MembershipEvent::NodeRecovered(_) => {
                match ends.remove(&node.id).filter(|end| *end >= node.incarnation) {
                    Some(end) => Err(format!("{} is back at {} after its end at {end}", node.id, node.incarnation)),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}
