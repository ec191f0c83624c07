//! Each node is told of every committed entry once and in order, and the entries of one leader stand in the order in which it was
//! given them.

use std::collections::{BTreeMap, BTreeSet};

use rdb_net_types::NodeId;

use super::{Fact, Rule};

#[derive(Debug, Default)]
struct Told {
    last: u64,
    /// The last entry of the application, and its epoch.
    value: Option<(u64, u64)>,
    values: BTreeSet<u64>,
}

#[derive(Debug, Default)]
pub(super) struct OrderKept {
    nodes: BTreeMap<NodeId, Told>,
    proposed: BTreeMap<(u64, u64), u64>,
}

impl Rule for OrderKept {
    fn name(&self) -> &'static str {
        "order-kept"
    }

    fn see(&mut self, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Restarted { node } => {
                self.nodes.remove(node);
                Ok(())
            }
            Fact::Proposed { epoch, index, value, .. } => {
                self.proposed.insert((*epoch, *index), *value);
                Ok(())
            }
            Fact::Committed { node, position, value } => {
                let told = self.nodes.entry(node.clone()).or_default();
                let expected = told.last + 1;
                told.last = position.index;
                if position.index != expected {
                    return Err(format!("{node} is told of {} where {expected} comes next", position.index));
                }
                let Some(value) = *value else { return Ok(()) };
                if self.proposed.get(&(position.epoch, position.index)) != Some(&value) {
                    return Err(format!("{node} has {value} at {}, which nobody has proposed there", position.index));
                }
                let before = told.value.replace((position.epoch, value));
                if before.is_some_and(|(epoch, before)| epoch == position.epoch && before >= value) {
                    return Err(format!("{node} has {value} behind {before:?} of the same leader"));
                }
                if told.values.insert(value) { Ok(()) } else { Err(format!("{node} has {value} twice")) }
            }
            _ => Ok(()),
        }
    }
}
