//! An epoch has one leader.
//!
//! Source: Raft, figure 3, Election Safety.

use std::collections::BTreeMap;

use rdb_net_types::NodeId;

use super::{Fact, Rule};

#[derive(Debug, Default)]
pub(super) struct OneLeader {
    leaders: BTreeMap<u64, NodeId>,
}

impl Rule for OneLeader {
    fn name(&self) -> &'static str {
        "one-leader"
    }

    fn see(&mut self, fact: &Fact) -> Result<(), String> {
        let Fact::Led { node, epoch, .. } = fact else { return Ok(()) };
        match self.leaders.insert(*epoch, node.clone()) {
            Some(other) => Err(format!("{other} led in epoch {epoch} already when {node} began to")),
            None => Ok(()),
        }
    }
}
