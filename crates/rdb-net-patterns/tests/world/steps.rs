//! At which steps nodes have died, to see that none was left out.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Host, World};

/// How often nodes have died right before or right after a step, and how often a sync has failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Deaths(BTreeMap<String, u64>);

impl Deaths {
    pub(crate) fn count(&mut self, step: String) {
        *self.0.entry(step).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (step, count) in other.0 {
            *self.0.entry(step).or_default() += count;
        }
    }

    pub(crate) fn of(&self, step: &str) -> u64 {
        self.0.get(step).copied().unwrap_or_default()
    }

    /// A line for each step.
    pub(crate) fn table(&self) -> String {
        self.0.iter().fold(String::new(), |mut table, (step, count)| {
            writeln!(table, "{count:>7} {step}").expect("memory takes it");
            table
        })
    }
}

impl<H: Host> World<H> {
    /// Whether a node dies at a step, and if so whether before it: with a weight, as steps are rare that are no less dangerous.
    pub(super) fn dies_here(&mut self, weight: f64) -> Option<bool> {
        let dies = !self.is_healed && self.random.chance(self.faults.death_at_output * weight);
        dies.then(|| self.random.chance(0.5))
    }

    pub(super) fn dies_at(&mut self, node: usize, is_before: bool, steps: &[String]) {
        for step in steps {
            self.deaths.count(format!("{} {step}", if is_before { "before" } else { "after" }));
        }
        self.dies(node);
    }
}
