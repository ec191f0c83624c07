//! A node whose process runs and can be reached is never told as failed by one that hears it.
//!
//! Source: SWIM (DSN 2002), section 4.2, which suspects before it convicts so that this holds; Lifeguard (arXiv 1707.00788)
//! measures how often it does not. What kills a node, restarts it or cuts it off excuses it, and for a while afterwards. A pause
//! excuses nobody to fail others.

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
        let EngineEvent::Membership(MembershipEvent::NodeFailed(node)) = heard.event else { return Ok(()) };
        let subject = heard.scene.number_of(&node.id);
        let is_excused = |subject| heard.scene.is_excused(heard.observer, subject, heard.now);
        if subject.is_none_or(is_excused) { Ok(()) } else { Err(format!("{} runs", node.id)) }
    }
}
