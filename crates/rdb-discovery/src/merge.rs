//! One source made of several: each node as the first of them tells it.
//!
//! The machine folds the events of each source, and tells a [`Reconciler`] the difference between what all of them together say
//! and what it was told before, so that the composite speaks with the same meaning as any other source. Guards are the sources'
//! own: the reconciler behind this needs none ([`Merge::policy`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rdb_net_types::NodeInfo;

use crate::{Cause, Delta, DiscoveryEvent, Freshness, NodeKey, Policy, Reconciler, RemovalReason};

type Nodes = BTreeMap<NodeKey, Arc<NodeInfo>>;

/// Folds several sources into one, in their order of precedence.
///
/// A node stays as long as one source names it. A seed at the address of a named node is that node, whichever source has it.
#[derive(Debug)]
pub struct Merge {
    sources: Vec<Source>,
    told: Nodes,
    /// Why nodes went that were removed since the last step.
    reasons: BTreeMap<NodeKey, RemovalReason>,
    began: bool,
    changed: bool,
    resynced: bool,
}

#[derive(Debug)]
struct Source {
    name: Arc<str>,
    nodes: Nodes,
    answered: bool,
    condition: Option<Cause>,
}

impl Merge {
    /// A machine over sources of these names, the one that counts most first.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let source = |name: &str| Source { name: name.into(), nodes: Nodes::new(), answered: false, condition: None };
        Self {
            sources: names.into_iter().map(source).collect(),
            told: Nodes::new(),
            reasons: BTreeMap::new(),
            began: false,
            changed: false,
            resynced: false,
        }
    }

    /// The policy of the reconciler behind this: what the sources have let through counts, and what they say in one moment is
    /// one step.
    pub const fn policy() -> Policy {
        Policy {
            empty_answer: None,
            mass_removal: None,
            debounce: Duration::from_millis(1),
            debounce_max: Duration::from_millis(10),
            ..Policy::remote()
        }
    }

    /// The source at this place has told this. A place beyond the last is ignored.
    pub fn handle_event(&mut self, source: usize, event: &DiscoveryEvent) {
        let Some(source) = self.sources.get_mut(source) else {
            return;
        };
        match event {
            DiscoveryEvent::Snapshot(snapshot) => {
                source.nodes = snapshot.nodes.iter().map(|node| (NodeKey::of(node), Arc::clone(node))).collect();
                source.answered = true;
                source.condition = match &snapshot.freshness {
                    Freshness::Stale { cause, .. } => Some(cause.clone()),
                    Freshness::Live | Freshness::Never { .. } => None,
                };
            }
            DiscoveryEvent::Added(node) | DiscoveryEvent::Updated { new: node, .. } => {
                source.nodes.insert(NodeKey::of(node), Arc::clone(node));
            }
            DiscoveryEvent::Removed { node, why } => {
                let key = NodeKey::of(node);
                source.nodes.remove(&key);
                self.reasons.insert(key, *why);
            }
            DiscoveryEvent::Degraded { cause } => source.condition = Some(cause.clone()),
            DiscoveryEvent::Restored => source.condition = None,
            DiscoveryEvent::Resynced { .. } => self.resynced = true,
        }
        self.changed = true;
    }

    /// Tells the reconciler what has changed since the last time; whether there was something.
    pub fn tell(&mut self, now: Duration, reconciler: &mut Reconciler) -> bool {
        if !self.changed || !self.sources.iter().any(|source| source.answered) {
            return false;
        }
        self.changed = false;
        let merged = self.merged();
        if self.began {
            let deltas = self.deltas(&merged);
            reconciler.handle_delta(now, deltas);
        }
        let list = || merged.values().map(|node| NodeInfo::clone(node)).collect();
        if !self.began {
            reconciler.handle_full(now, list());
        } else if std::mem::take(&mut self.resynced) {
            reconciler.handle_resync(now, list());
        }
        if let Some(cause) = self.condition() {
            reconciler.handle_failure(now, cause);
        }
        self.began = true;
        self.resynced = false;
        self.reasons.clear();
        self.told = merged;
        true
    }

    /// What all sources say together.
    fn merged(&self) -> Nodes {
        let mut merged = Nodes::new();
        for source in &self.sources {
            for (key, node) in &source.nodes {
                merged.entry(key.clone()).or_insert_with(|| Arc::clone(node));
            }
        }
        let named: BTreeSet<_> = merged.values().filter(|node| !node.provisional).map(|node| &node.address).collect();
        let seeds = merged.values().filter(|node| node.provisional && named.contains(&node.address));
        let known: Vec<_> = seeds.map(|node| NodeKey::of(node)).collect();
        for key in known {
            merged.remove(&key);
        }
        merged
    }

    fn deltas(&self, merged: &Nodes) -> Vec<Delta> {
        let gone = self.told.keys().filter(|key| !merged.contains_key(key)).map(|key| Delta::Remove {
            key: key.clone(),
            why: self.reasons.get(key).copied().unwrap_or(RemovalReason::Absent),
        });
        let put = merged.iter().filter(|(key, node)| self.told.get(key) != Some(node));
        gone.chain(put.map(|(_, node)| Delta::Put(Arc::clone(node)))).collect()
    }

    /// The first thing that is wrong, with the name of its source.
    fn condition(&self) -> Option<Cause> {
        self.sources.iter().find_map(|source| {
            let silent = (!source.answered).then(|| Cause::unavailable("it has not answered yet"));
            let cause = source.condition.clone().or(silent)?;
            Some(Cause::OfSource { source_name: Arc::clone(&source.name), cause: Arc::new(cause) })
        })
    }
}

#[cfg(test)]
mod tests;
