//! A node whose process runs and can be reached is never told as failed.
//!
//! Source: SWIM (DSN 2002), section 4.2, which suspects before it convicts so that this holds; Lifeguard (arXiv 1707.00788)
//! measures how often it does not. A scenario that kills a node, restarts it or cuts it off excuses it.

use rdb_net_engine::EngineEvent;
use rdb_net_types::MembershipEvent;

use super::{Heard, Invariant};

#[derive(Debug)]
pub(crate) struct NoFalseFailure;

impl Invariant for NoFalseFailure {
    fn name(&self) -> &'static str {
        "no-false-failure"
    }

    fn heard(&mut self, heard: &Heard<'_>) -> Result<(), String> {
        match heard.event {
            EngineEvent::Membership(MembershipEvent::NodeFailed(node)) if !heard.excused.contains(&node.id) => {
                Err(format!("{} runs", node.id))
            }
            _ => Ok(()),
        }
    }
}
