//! What must hold of every run, whatever the scenario: one file for each rule.
//!
//! The rules hear every event of every engine, and some look at the whole when it has come to rest. What goes against one is
//! kept with its time; a run with a violation has failed.

mod agreement;
mod events_fold;
mod incarnation_rises;
mod left_never_fails;
mod no_false_failure;
mod no_resurrection;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use rdb_net_engine::{Engine, EngineEvent};
use rdb_net_types::NodeId;

use crate::simulation::Simulation;

/// Violations that are kept; the first ones tell the most.
const VIOLATIONS_MAX: usize = 50;

/// An event as one node's application hears it.
pub(crate) struct Heard<'a> {
    /// Who hears it.
    pub(crate) observer: usize,
    /// What.
    pub(crate) event: &'a EngineEvent,
    /// Nodes that the scenario has given others reason to hold for failed.
    pub(crate) excused: &'a BTreeSet<NodeId>,
}

/// A rule.
pub(crate) trait Invariant: fmt::Debug {
    /// Its name, as a violation shows it.
    fn name(&self) -> &'static str;

    /// A process has started: what was known of its host's former one is void.
    fn started(&mut self, _observer: usize, _engine: &Engine) {}

    /// An event is told.
    fn heard(&mut self, _heard: &Heard<'_>) -> Result<(), String> {
        Ok(())
    }

    /// Nothing more is expected to happen.
    fn at_rest(&mut self, _simulation: &Simulation) -> Result<(), String> {
        Ok(())
    }
}

/// Something that must not have happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When, since the origin of the simulated clock.
    pub at: Duration,
    /// Which rule it goes against.
    pub invariant: &'static str,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {:.3} s, {}: {}", self.at.as_secs_f64(), self.invariant, self.what)
    }
}

/// Hears everything, asks every rule, and counts.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    ids: Vec<NodeId>,
    rules: Vec<Box<dyn Invariant>>,
    excused: BTreeSet<NodeId>,
    counts: BTreeMap<(&'static str, NodeId), u64>,
    told: u64,
    violations: Vec<Violation>,
}

impl Watch {
    pub(crate) fn new(ids: Vec<NodeId>) -> Self {
        Self {
            ids,
            rules: vec![
                Box::new(events_fold::EventsFold::default()),
                Box::new(incarnation_rises::IncarnationRises::default()),
                Box::new(no_resurrection::NoResurrection::default()),
                Box::new(left_never_fails::LeftNeverFails::default()),
                Box::new(no_false_failure::NoFalseFailure),
                Box::new(agreement::Agreement),
            ],
            ..Self::default()
        }
    }

    pub(crate) fn started(&mut self, observer: usize, engine: &Engine) {
        self.rules.iter_mut().for_each(|rule| rule.started(observer, engine));
    }

    pub(crate) fn heard(&mut self, now: Duration, observer: usize, event: &EngineEvent) {
        self.told += 1;
        let (name, subject) = name_of(event);
        let subject = subject.unwrap_or(&self.ids[observer]);
        // What a node tells of itself is no finding of another.
        if *subject != self.ids[observer] || !name.starts_with("Node") {
            *self.counts.entry((name, subject.clone())).or_default() += 1;
        }
        let heard = Heard { observer, event, excused: &self.excused };
        for rule in &mut self.rules {
            if let Err(what) = rule.heard(&heard) {
                let what = format!("{} heard {name}: {what}", self.ids[observer]);
                note(&mut self.violations, now, rule.name(), what);
            }
        }
    }

    pub(crate) fn at_rest(&mut self, simulation: &Simulation) {
        for rule in &mut self.rules {
            if let Err(what) = rule.at_rest(simulation) {
                note(&mut self.violations, simulation.now(), rule.name(), what);
            }
        }
    }

    pub(crate) fn excuse(&mut self, node: usize) {
        self.excused.insert(self.ids[node].clone());
    }

    pub(crate) fn told(&self) -> u64 {
        self.told
    }

    pub(crate) fn count(&self, event: &str, subject: &NodeId) -> u64 {
        self.counts.iter().filter(|((name, node), _)| *name == event && node == subject).map(|(_, count)| count).sum()
    }

    pub(crate) fn count_all(&self, event: &str) -> u64 {
        self.counts.iter().filter(|((name, _), _)| *name == event).map(|(_, count)| count).sum()
    }

    pub(crate) fn violations(&self) -> &[Violation] {
        &self.violations
    }
}

fn note(violations: &mut Vec<Violation>, at: Duration, invariant: &'static str, what: String) {
    if violations.len() < VIOLATIONS_MAX {
        violations.push(Violation { at, invariant, what });
    }
}

/// The name of an event, and of whom it speaks; of the observer where of nobody else.
pub(crate) fn name_of(event: &EngineEvent) -> (&'static str, Option<&NodeId>) {
    match event {
        EngineEvent::Membership(change) => (change.name(), Some(change.node_id())),
        EngineEvent::Health(change) => ("Health", Some(&change.node)),
        EngineEvent::ClusterJoined { .. } => ("ClusterJoined", None),
        EngineEvent::SeedsUnreachable { .. } => ("SeedsUnreachable", None),
        EngineEvent::DuplicateNode { .. } => ("DuplicateNode", None),
        EngineEvent::Conflict { node, .. } => ("Conflict", Some(node)),
        EngineEvent::LeaveFinished { .. } => ("LeaveFinished", None),
        _ => ("other", None),
    }
}
