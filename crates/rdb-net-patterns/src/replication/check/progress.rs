//! Once nothing fails any more, what is proposed is acknowledged, and all logs become equal and committed.

use std::collections::{BTreeMap, BTreeSet};

use rdb_net_types::NodeId;

use super::{Fact, Position, Rule};

#[derive(Debug, Default)]
pub(super) struct Progress {
    is_healed: bool,
    /// Proposed since, and not acknowledged.
    open: BTreeSet<u64>,
    acknowledged: u64,
    ends: BTreeMap<NodeId, (Option<Position>, u64)>,
}

impl Rule for Progress {
    fn name(&self) -> &'static str {
        "progress"
    }

    fn see(&mut self, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Healed => self.is_healed = true,
            Fact::Proposed { value, .. } if self.is_healed => {
                self.open.insert(*value);
            }
            Fact::Acknowledged { value, .. } => self.acknowledged += u64::from(self.open.remove(value)),
            Fact::Ended { node, log, committed } => {
                self.ends.insert(node.clone(), (log.last().copied(), *committed));
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        if !self.is_healed {
            return Ok(());
        }
        if !self.open.is_empty() || self.acknowledged == 0 {
            let (open, count) = (self.open.len(), self.acknowledged);
            return Err(format!("{open} entries are open that were proposed after the last fault, {count} are not"));
        }
        let mut ends = self.ends.iter();
        let Some((first, (last, _))) = ends.next() else { return Err("no node was there at the end".to_owned()) };
        for (node, (other, _)) in ends {
            if other != last {
                return Err(format!("the log of {first} ends at {last:?}, that of {node} at {other:?}"));
            }
        }
        let length = last.map_or(0, |last| last.index);
        match self.ends.iter().find(|(_, (_, committed))| *committed != length) {
            Some((node, (_, committed))) => {
                Err(format!("{node} knows {committed} of {length} entries to be committed"))
            }
            None => Ok(()),
        }
    }
}
