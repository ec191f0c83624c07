//! What nodes know to be committed is one log, of which each knows a beginning.
//!
//! Source: Raft, figure 3, State Machine Safety.

use std::collections::BTreeMap;

use rdb_net_types::NodeId;

use super::{Fact, Position, Rule, at};

#[derive(Debug, Default)]
pub(super) struct CommittedPrefix {
    /// What is committed, and who said so first.
    committed: BTreeMap<u64, (Position, NodeId)>,
}

impl CommittedPrefix {
    fn compare(&mut self, node: &NodeId, position: Position) -> Result<(), String> {
        let (known, first) = self.committed.entry(position.index).or_insert_with(|| (position, node.clone()));
        if *known == position {
            return Ok(());
        }
        Err(format!("{node} has {position:?} as committed, and {first} has {known:?}"))
    }
}

impl Rule for CommittedPrefix {
    fn name(&self) -> &'static str {
        "committed-prefix"
    }

    fn see(&mut self, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Committed { node, position, .. } => self.compare(node, *position),
            Fact::Ended { node, log, committed } if *committed > 0 => match at(log, *committed) {
                Some(position) => self.compare(node, *position),
                None => Err(format!("{node} knows {committed} entries to be committed and has {}", log.len())),
            },
            _ => Ok(()),
        }
    }
}
