//! A storm: a cluster to which several things happen that nobody has chosen, and then nothing any more.
//!
//! Everything is drawn from the seed: 5 to 50 nodes, two to five faults of the kinds in `fault`, and when they begin and end. For
//! ten simulated minutes every rule of `invariant/` is asked; the last fault is over after at most 400 s, soon afterwards all views
//! must be one, and at the end the cluster must be at rest. Whole nodes run, over connections as over datagrams.

mod fault;
mod many;

use std::collections::BTreeSet;
use std::time::Duration;

use rdb_net_types::SeededRandom;

use crate::config::Config;
use crate::host::Life;
use crate::invariant::scene::Reason;
use crate::scenario::Outcome;
use crate::simulation::Simulation;
use fault::{Back, End, Fault, Kind};

pub use many::{Tally, run_many};

/// How long a storm is, with the calm after it.
const TIME: Duration = Duration::from_secs(600);

/// The last fault is over by then.
const FAULTS_END: Duration = Duration::from_secs(400);

/// Within so much time after the last fault all views must be one: two regular exchanges of views have gone by.
const BOUND: Duration = Duration::from_secs(120);

/// At the end nothing happens for so long.
const REST: Duration = Duration::from_secs(50);

/// One storm, as its seed draws it.
#[derive(Debug)]
pub struct Storm {
    seed: u64,
    config: Config,
    faults: Vec<Fault>,
}

/// Something that a storm does at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Begin,
    /// In between: of a fault that comes and goes, and of one with several acts.
    Again(u32),
    End,
}

impl Storm {
    /// The storm of this seed.
    pub fn new(seed: u64) -> Self {
        let mut random = SeededRandom::new(seed);
        let nodes = 5 + random.index(46);
        let mut config = Config::lan(nodes, random.next_u64());
        if random.chance(0.3) {
            config.network.loss = 0.01;
        }
        let (mut faults, mut ended) = (Vec::new(), BTreeSet::new());
        for _ in 0..2 + random.index(4) {
            let fault = fault::draw(&mut random, &config, &ended, FAULTS_END);
            ended.extend(fault.kind.ended());
            faults.push(fault);
        }
        // Drawn by itself, so that seeds that once went wrong are what they were, but for this.
        let mut random = SeededRandom::new(!seed);
        for back in faults.iter_mut().filter_map(|fault| fault.kind.back()) {
            if *back == Back::Anew && random.chance(0.6) {
                *back = Back::Remembering;
            }
        }
        Self { seed, config, faults }
    }

    /// The same where nobody who comes back remembers anything.
    #[cfg(test)]
    pub(crate) fn without_memory(mut self) -> Self {
        for back in self.faults.iter_mut().filter_map(|fault| fault.kind.back()) {
            if *back == Back::Remembering {
                *back = Back::Anew;
            }
        }
        self
    }

    /// How many nodes it has.
    pub fn nodes(&self) -> usize {
        self.config.nodes
    }

    /// What happens in it, a line for each fault.
    pub fn script(&self) -> Vec<String> {
        self.faults.iter().map(ToString::to_string).collect()
    }

    /// Plants a bug in every node.
    #[cfg(feature = "mutations")]
    #[must_use]
    pub fn with_mutation(mut self, mutation: rdb_swim::Mutation) -> Self {
        self.config.mutation = Some(mutation);
        self
    }

    /// Carries it out.
    pub fn run(&self) -> Outcome {
        let mut run = Run { simulation: Simulation::new(self.config.clone()), storm: self, active: BTreeSet::new() };
        let (took, mut problems) = run.all();
        let simulation = run.simulation;
        problems.extend(simulation.violations().iter().map(ToString::to_string));
        Outcome {
            scenario: "storm",
            nodes: self.config.nodes,
            seed: self.seed,
            took,
            bound: BOUND,
            problems,
            trace: simulation.trace(),
            simulated: simulation.now(),
            packets: simulation.traffic().0,
        }
    }

    /// Everything that is done, in order.
    fn agenda(&self) -> Vec<(Duration, Step, usize)> {
        let mut agenda = Vec::new();
        for (number, fault) in self.faults.iter().enumerate() {
            agenda.push((fault.from, Step::Begin, number));
            let mut at = fault.from;
            for turn in 0.. {
                let Some(wait) = wait(&fault.kind, turn) else { break };
                at += wait;
                if at >= fault.to {
                    break;
                }
                agenda.push((at, Step::Again(turn), number));
            }
            agenda.push((fault.to, Step::End, number));
        }
        agenda.sort_unstable();
        agenda
    }
}

/// How long until a fault does something again.
fn wait(kind: &Kind, turn: u32) -> Option<Duration> {
    match kind {
        Kind::Busy { still, runs, .. } => Some(if turn.is_multiple_of(2) { *still } else { *runs }),
        Kind::Flap { each, .. } => Some(*each),
        // First the death, somewhat after the other is away; then the operator, once it was found.
        Kind::Ghost { .. } if turn < 2 => Some(Duration::from_secs([1, 40][turn as usize])),
        _ => None,
    }
}

struct Run<'a> {
    simulation: Simulation,
    storm: &'a Storm,
    /// Faults of the network that are on.
    active: BTreeSet<usize>,
}

impl Run<'_> {
    fn all(&mut self) -> (Option<Duration>, Vec<String>) {
        let origin = self.simulation.now();
        for node in 0..self.storm.nodes() {
            self.start(node, Back::Anew);
            self.simulation.run_for(Duration::from_millis(10));
        }
        for (at, step, number) in self.storm.agenda() {
            self.wait_until(origin + at);
            match step {
                Step::Begin => self.begin(number),
                Step::Again(turn) => self.again(number, turn),
                Step::End => self.end(number),
            }
            self.excuse_pairs_without_helpers();
        }
        let mut problems = Vec::new();
        let members = self.simulation.running().count();
        let took = self.simulation.run_until(BOUND, |simulation| simulation.agrees(members));
        if took.is_none() {
            problems.push(format!("the {members} nodes have not agreed within {BOUND:?} after the last fault"));
        }
        self.wait_until(origin + TIME - REST);
        self.simulation.begin_rest();
        self.wait_until(origin + TIME);
        self.simulation.check_at_rest();
        (took, problems)
    }

    fn wait_until(&mut self, at: Duration) {
        self.simulation.run_for(at.saturating_sub(self.simulation.now()));
    }

    fn start(&mut self, node: usize, how: Back) {
        if !matches!(self.simulation.life(node), Life::Idle | Life::Crashed | Life::Stopped | Life::Off) {
            return;
        }
        let started = match how {
            Back::Never => Ok(()),
            Back::Anew => self.simulation.start(node),
            Back::SlowClock => self.simulation.start_with_clock(node, 86_400),
            Back::Remembering => self.simulation.start_with_memory(node),
        };
        started.expect("invariant: a storm's settings are legal");
    }

    fn begin(&mut self, number: usize) {
        let Fault { kind, from, to } = &self.storm.faults[number];
        for (observers, subjects) in kind.excuses(*to - *from) {
            self.simulation.excuse_pairs(Reason::Fault(number), observers, subjects);
        }
        match kind {
            Kind::Down { nodes, end, .. } => nodes.iter().for_each(|node| self.take_down(*node, *end)),
            Kind::Pause { node } | Kind::Busy { node, .. } => self.simulation.pause(*node),
            _ => {
                self.active.insert(number);
                self.set_network();
            }
        }
    }

    fn again(&mut self, number: usize, turn: u32) {
        match &self.storm.faults[number].kind {
            Kind::Busy { node, .. } if turn.is_multiple_of(2) => self.simulation.wake(*node),
            Kind::Busy { node, .. } => self.simulation.pause(*node),
            Kind::Ghost { node, .. } if turn == 0 => self.take_down(*node, End::Kill),
            Kind::Ghost { node, by, .. } => {
                self.simulation.forget_member(*by, *node);
            }
            Kind::Flap { .. } => {
                if !self.active.remove(&number) {
                    self.active.insert(number);
                }
                self.set_network();
            }
            _ => {}
        }
    }

    fn end(&mut self, number: usize) {
        match &self.storm.faults[number].kind {
            Kind::Down { nodes, back, .. } => nodes.iter().for_each(|node| self.start(*node, *back)),
            Kind::Pause { node } | Kind::Busy { node, .. } => self.simulation.wake(*node),
            _ => {}
        }
        if self.active.remove(&number) {
            self.set_network();
        }
        self.simulation.pardon(Reason::Fault(number));
    }

    fn take_down(&mut self, node: usize, end: End) {
        match (self.simulation.life(node), end) {
            (Life::Running | Life::Paused, End::Kill) => self.simulation.crash(node),
            (Life::Running | Life::Paused, End::PowerLoss) => self.simulation.power_off(node),
            (Life::Running, End::Stop) => self.simulation.stop(node),
            (Life::Running, End::Leave) => self.simulation.leave(node),
            _ => {}
        }
    }

    /// A link that passes one way only makes nobody failed as long as somebody can carry word between its ends. In the rest of a
    /// cluster that something else took apart there may be nobody.
    fn excuse_pairs_without_helpers(&mut self) {
        let cuts = self.cuts();
        let passes = |a: usize, b: usize| !cuts.contains(&(a, b)) && !cuts.contains(&(b, a));
        for number in &self.active {
            let Kind::OneWay { from, to } = self.storm.faults[*number].kind else { continue };
            let helps = |helper: usize| helper != from && helper != to && passes(helper, from) && passes(helper, to);
            if !self.simulation.running().any(|(node, _)| helps(node)) {
                self.simulation.excuse_pairs(Reason::Fault(*number), None, Some(BTreeSet::from([from, to])));
            }
        }
    }

    fn active_kinds(&self) -> impl Iterator<Item = &Kind> {
        self.active.iter().map(|number| &self.storm.faults[*number].kind)
    }

    /// Which ways are cut by the faults that are on: from whom to whom.
    fn cuts(&self) -> BTreeSet<(usize, usize)> {
        let nodes = self.storm.nodes();
        let everybody_but = |node: usize| (0..nodes).filter(move |other| *other != node);
        let mut cuts = BTreeSet::new();
        for kind in self.active_kinds() {
            match kind {
                Kind::Split { left, right } => {
                    cuts.extend(left.iter().flat_map(|a| right.iter().flat_map(move |b| [(*a, *b), (*b, *a)])));
                }
                Kind::Ghost { away: node, .. } | Kind::Flap { node, .. } => {
                    cuts.extend(everybody_but(*node).flat_map(|other| [(*node, other), (other, *node)]));
                }
                Kind::HalfDeaf { node, is_mute } => {
                    let way = |other| if *is_mute { (*node, other) } else { (other, *node) };
                    cuts.extend(everybody_but(*node).map(way));
                }
                Kind::OneWay { from, to } => {
                    cuts.insert((*from, *to));
                }
                _ => {}
            }
        }
        cuts
    }

    /// Makes the network what the active faults make of it.
    fn set_network(&mut self) {
        let weather = self.active_kinds().find_map(|kind| match kind {
            Kind::Weather { faults } => Some(*faults),
            _ => None,
        });
        let losses: Vec<(usize, f64, f64)> = self
            .active_kinds()
            .filter_map(|kind| match kind {
                Kind::Lossy { node, ingress, egress } => Some((*node, *ingress, *egress)),
                _ => None,
            })
            .collect();
        self.simulation.set_weather(weather.unwrap_or(self.storm.config.network), self.cuts(), &losses);
    }
}
