//! What was acknowledged is in the log of every later leader, and in every log at the end.
//!
//! Source: Raft, figure 3, Leader Completeness.

use std::collections::BTreeMap;

use rdb_net_types::NodeId;

use super::{Fact, Position, Rule, at};

#[derive(Debug, Default)]
pub(super) struct NothingLost {
    acknowledged: BTreeMap<u64, (Position, u64)>,
    is_healed: bool,
}

impl NothingLost {
    fn compare(&self, node: &NodeId, log: &[Position], when: &str) -> Result<(), String> {
        let lost = self.acknowledged.values().find(|(position, _)| at(log, position.index) != Some(position));
        match lost {
            Some((position, value)) => {
                let (index, epoch) = (position.index, position.epoch);
                Err(format!("{value}, acknowledged at {index} in epoch {epoch}, is not in the log of {node} {when}"))
            }
            None => Ok(()),
        }
    }
}

impl Rule for NothingLost {
    fn name(&self) -> &'static str {
        "nothing-lost"
    }

    fn see(&mut self, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Acknowledged { position, value, .. } => {
                match self.acknowledged.insert(position.index, (*position, *value)) {
                    Some((_, other)) if other != *value => {
                        Err(format!("{other} and {value} were both acknowledged at {}", position.index))
                    }
                    _ => Ok(()),
                }
            }
            Fact::Led { node, epoch, log } => {
                // What an older leader was told later is the business of `committed-prefix`.
                let before = self.acknowledged.values().all(|(position, _)| position.epoch <= *epoch);
                if before {
                    self.compare(node, log, &format!("when it began to lead in epoch {epoch}"))
                } else {
                    Ok(())
                }
            }
            Fact::Healed => {
                self.is_healed = true;
                Ok(())
            }
            Fact::Ended { node, log, .. } if self.is_healed => self.compare(node, log, "at the end"),
            _ => Ok(()),
        }
    }
}
