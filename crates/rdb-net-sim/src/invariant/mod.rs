//! What must hold of every run, whatever is done to it: one file for each rule.
//!
//! Some rules hear every event of every engine, some look at an engine after each step of it, at each packet that leaves, or at
//! the whole when it has come to rest. After a step of any engine, rules about what it holds of others look at one of them, the next one
//! in a turn that all engines share: a step costs the same in a cluster of any size, every node is looked at again and again, and what
//! is wrong of one for only a few steps may pass unseen. What goes against one is kept with its time; a run with a violation has failed.
//!
//! Rules about numbers are property tests where the numbers are: merging and plausibility in `rdb-swim`'s `merge`, the time of a
//! suspect in its `doubt`, the 2n − 1 bound of the probe order in its `ring`, how often an update is told in its `gossip`; decoders
//! are fuzzed. That one seed is one run is a test of the runs themselves.

mod agreement;
mod completeness;
mod datagram_fits;
mod events_fold;
mod incarnation_rises;
mod left_never_fails;
mod load_at_rest;
mod local_health;
mod nacks_in_time;
mod no_false_failure;
mod no_resurrection;
mod nobody_knows_better;
mod own_incarnation;
mod probes_in_turn;
pub(crate) mod scene;
mod self_alive;
mod suspicion_time;
mod timer_moves_on;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdb_net_engine::{Engine, EngineEvent};
use rdb_net_types::NodeId;

use crate::simulation::Simulation;
use scene::Scene;

/// Violations that are kept; the first ones tell the most.
const VIOLATIONS_MAX: usize = 50;

/// An event as one node's application hears it.
pub(crate) struct Heard<'a> {
    /// When.
    pub(crate) now: Duration,
    /// Who hears it.
    pub(crate) observer: usize,
    /// What.
    pub(crate) event: &'a EngineEvent,
    /// The world.
    pub(crate) scene: &'a Scene,
}

/// An engine that has taken something and told what there was to tell.
pub(crate) struct Stepped<'a> {
    /// When.
    pub(crate) now: Duration,
    /// Whose engine.
    pub(crate) observer: usize,
    /// The engine.
    pub(crate) engine: &'a Engine,
    /// A node to look at: over many steps every one has its turn, so that no step looks at all of them.
    pub(crate) turn: usize,
    /// The world.
    pub(crate) scene: &'a Scene,
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

    /// An engine has taken a step.
    fn stepped(&mut self, _stepped: &Stepped<'_>) -> Result<(), String> {
        Ok(())
    }

    /// An engine has done what was due; then it is due next.
    fn timed(&mut self, _now: Duration, _next: Option<Duration>) -> Result<(), String> {
        Ok(())
    }

    /// A packet leaves.
    fn sent(&mut self, _engine: &Engine, _bytes: usize) -> Result<(), String> {
        Ok(())
    }

    /// From here on nothing happens any more until [`Invariant::at_rest`].
    fn rests(&mut self, _simulation: &Simulation) {}

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
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) scene: Scene,
    rules: Vec<Box<dyn Invariant>>,
    counts: BTreeMap<(&'static str, NodeId), u64>,
    told: u64,
    steps: usize,
    violations: Vec<Violation>,
}

impl Watch {
    pub(crate) fn new(ids: Vec<NodeId>) -> Self {
        let rules: Vec<Box<dyn Invariant>> = vec![
            Box::new(events_fold::EventsFold::default()),
            Box::new(incarnation_rises::IncarnationRises::default()),
            Box::new(no_resurrection::NoResurrection::default()),
            Box::new(left_never_fails::LeftNeverFails::default()),
            Box::new(no_false_failure::NoFalseFailure),
            Box::new(own_incarnation::OwnIncarnation::default()),
            Box::new(nobody_knows_better::NobodyKnowsBetter),
            Box::new(self_alive::SelfAlive::default()),
            Box::new(suspicion_time::SuspicionTime::default()),
            Box::new(local_health::LocalHealth),
            Box::new(probes_in_turn::ProbesInTurn),
            Box::new(nacks_in_time::NacksInTime::default()),
            Box::new(timer_moves_on::TimerMovesOn),
            Box::new(datagram_fits::DatagramFits),
            Box::new(completeness::Completeness),
            Box::new(load_at_rest::LoadAtRest::default()),
            Box::new(agreement::Agreement),
        ];
        Self { scene: Scene::new(ids), rules, counts: BTreeMap::new(), told: 0, steps: 0, violations: Vec::new() }
    }

    pub(crate) fn started(&mut self, now: Duration, observer: usize, engine: &Engine) {
        self.scene.started(observer, now);
        self.rules.iter_mut().for_each(|rule| rule.started(observer, engine));
        self.look(observer, engine);
    }

    pub(crate) fn heard(&mut self, now: Duration, observer: usize, event: &EngineEvent) {
        self.told += 1;
        let (name, subject) = name_of(event);
        let own = &self.scene.ids[observer];
        let subject = subject.unwrap_or(own);
        // What a node tells of itself is no finding of another.
        if subject != own || !name.starts_with("Node") {
            *self.counts.entry((name, subject.clone())).or_default() += 1;
        }
        let heard = Heard { now, observer, event, scene: &self.scene };
        for rule in &mut self.rules {
            if let Err(what) = rule.heard(&heard) {
                let what = format!("{own} heard {name}: {what}");
                note(&mut self.violations, now, rule.name(), what);
            }
        }
    }

    pub(crate) fn stepped(&mut self, now: Duration, observer: usize, engine: &Engine) {
        self.look(observer, engine);
        self.scene.stepped(observer, now);
        self.steps = (self.steps + 1) % self.scene.ids.len();
        let stepped = Stepped { now, observer, engine, turn: self.steps, scene: &self.scene };
        for rule in &mut self.rules {
            if let Err(what) = rule.stepped(&stepped) {
                note(&mut self.violations, now, rule.name(), format!("{}: {what}", self.scene.ids[observer]));
            }
        }
    }

    /// What a node says of itself is what is true of it.
    fn look(&mut self, observer: usize, engine: &Engine) {
        let reached = &mut self.scene.reached[observer];
        *reached = (*reached).max(engine.membership().local().incarnation);
    }

    pub(crate) fn timed(&mut self, now: Duration, observer: usize, next: Option<Duration>) {
        for rule in &mut self.rules {
            if let Err(what) = rule.timed(now, next) {
                note(&mut self.violations, now, rule.name(), format!("{}: {what}", self.scene.ids[observer]));
            }
        }
    }

    pub(crate) fn sent(&mut self, now: Duration, observer: usize, engine: &Engine, bytes: usize) {
        for rule in &mut self.rules {
            if let Err(what) = rule.sent(engine, bytes) {
                note(&mut self.violations, now, rule.name(), format!("{}: {what}", self.scene.ids[observer]));
            }
        }
    }

    /// The rules, to be asked about the whole; [`Watch::take_back`] follows.
    pub(crate) fn lend(&mut self) -> Vec<Box<dyn Invariant>> {
        std::mem::take(&mut self.rules)
    }

    /// Takes the rules back, with what they have found.
    pub(crate) fn take_back(
        &mut self,
        now: Duration,
        rules: Vec<Box<dyn Invariant>>,
        found: Vec<(&'static str, String)>,
    ) {
        self.rules = rules;
        for (rule, what) in found {
            note(&mut self.violations, now, rule, what);
        }
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
