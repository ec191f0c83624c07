//! What must hold of every run of a replicated log, simulated or real: one file for each rule.
//!
//! | rule | source |
//! |---|---|
//! | `one-leader` | Raft, figure 3, Election Safety |
//! | `committed-prefix` | Raft, figure 3, State Machine Safety |
//! | `acknowledged-is-durable` | Raft, section 5.3: what is committed is on a majority |
//! | `nothing-lost` | Raft, figure 3, Leader Completeness |
//! | `order-kept` | the order in which a leader was given its entries |
//! | `progress` | once healed, what is proposed is committed everywhere |

mod acknowledged_is_durable;
mod committed_prefix;
mod nothing_lost;
mod one_leader;
mod order_kept;
mod progress;

use rdb_net_types::NodeId;

use super::log::Position;

/// Something that was seen in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A node leads, with this log. Every position of it, from the first on.
    Led {
        /// Who.
        node: NodeId,
        /// In which epoch.
        epoch: u64,
        /// Its log.
        log: Vec<Position>,
    },
    /// A leader has taken an entry of the application.
    Proposed {
        /// Who.
        node: NodeId,
        /// In which epoch.
        epoch: u64,
        /// The entry's index.
        index: u64,
        /// The entry's own number. Whoever proposes counts them upwards.
        value: u64,
    },
    /// The application was told that a quorum has an entry.
    Acknowledged {
        /// Where.
        position: Position,
        /// The entry's own number.
        value: u64,
        /// Whose log held it for good at that moment; `None` where nobody can look.
        durable_at: Option<Vec<NodeId>>,
    },
    /// A node knows an entry to be committed. Told for each entry, in the node's order.
    Committed {
        /// Who.
        node: NodeId,
        /// Where.
        position: Position,
        /// The entry's own number; `None` for those that open an epoch.
        value: Option<u64>,
    },
    /// A node has begun anew; it tells again what is committed.
    Restarted {
        /// Who.
        node: NodeId,
    },
    /// From here on nothing fails.
    Healed,
    /// A node's log at the end, and up to where the node knows it to be committed.
    Ended {
        /// Who.
        node: NodeId,
        /// Its log.
        log: Vec<Position>,
        /// Up to where it is committed.
        committed: u64,
    },
}

/// A rule that every run has to keep.
pub trait Rule: std::fmt::Debug {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Takes in what was seen.
    ///
    /// # Errors
    ///
    /// What contradicts the rule, in words.
    fn see(&mut self, fact: &Fact) -> Result<(), String>;

    /// Nothing more is to be seen.
    ///
    /// # Errors
    ///
    /// What contradicts the rule, in words.
    fn end(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// All rules over one run.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Box<dyn Rule>>,
    broken: Vec<String>,
}

/// How many broken rules are told one by one.
const TOLD_MAX: usize = 20;

impl Rules {
    /// The rules for so many members.
    pub fn new(members: usize) -> Self {
        let rules: Vec<Box<dyn Rule>> = vec![
            Box::<one_leader::OneLeader>::default(),
            Box::<committed_prefix::CommittedPrefix>::default(),
            Box::new(acknowledged_is_durable::AcknowledgedIsDurable::new(members)),
            Box::<nothing_lost::NothingLost>::default(),
            Box::<order_kept::OrderKept>::default(),
            Box::<progress::Progress>::default(),
        ];
        Self { rules, broken: Vec::new() }
    }

    /// Takes in what was seen.
    pub fn see(&mut self, fact: &Fact) {
        for rule in &mut self.rules {
            if let Err(problem) = rule.see(fact)
                && self.broken.len() < TOLD_MAX
            {
                self.broken.push(format!("{}: {problem}", rule.name()));
            }
        }
    }

    /// What is broken at the end of the run, each with the rule's name.
    #[must_use]
    pub fn end(mut self) -> Vec<String> {
        for rule in &mut self.rules {
            if let Err(problem) = rule.end() {
                self.broken.push(format!("{}: {problem}", rule.name()));
            }
        }
        self.broken
    }
}

/// The position of an index in a log that is told in full.
fn at(log: &[Position], index: u64) -> Option<&Position> {
    log.get(usize::try_from(index).ok()?.checked_sub(1)?)
}

#[cfg(test)]
mod tests;
