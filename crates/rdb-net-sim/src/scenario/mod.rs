//! Scenarios: what is done to a cluster, what must come of it, and within which time.
//!
//! Each is a function of the number of nodes and a seed. Tests run them at a few sizes, the binary `rdb-net-sim` at any.

mod converge;
mod kill;
mod leave;
mod pause;
mod restart;
mod seeds_down;
mod silent;

use std::time::Duration;

use crate::config::Config;
use crate::simulation::Simulation;

/// How one run of a scenario went.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The scenario's name.
    pub scenario: &'static str,
    /// How many nodes.
    pub nodes: usize,
    /// Which seed.
    pub seed: u64,
    /// What the scenario measures: the time from what was done to what must come of it.
    pub took: Option<Duration>,
    /// Within which time it must.
    pub bound: Duration,
    /// What went wrong; empty where nothing did.
    pub problems: Vec<String>,
    /// The hash of the run: the same for the same nodes and seed.
    pub trace: u64,
    /// How long the simulated time was.
    pub simulated: Duration,
    /// Datagrams delivered.
    pub packets: u64,
}

impl Outcome {
    /// Whether everything came as it must.
    pub fn is_good(&self) -> bool {
        self.problems.is_empty()
    }

    /// The command that replays the run.
    pub fn replay(&self) -> String {
        match self.scenario {
            // Its seed says how many nodes it has.
            "storm" => format!("rdb-net-sim storm --seed {}", self.seed),
            name => format!("rdb-net-sim scenario {name} --nodes {} --seed {}", self.nodes, self.seed),
        }
    }
}

/// A scenario.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does and demands, in a sentence.
    pub about: &'static str,
    /// The fewest nodes with which it makes sense.
    pub nodes_min: usize,
    bound: fn(usize) -> Duration,
    run: fn(&mut Run),
}

/// All scenarios.
pub const ALL: [Scenario; 7] = [
    converge::SCENARIO,
    kill::SCENARIO,
    pause::SCENARIO,
    leave::SCENARIO,
    restart::SCENARIO,
    seeds_down::SCENARIO,
    silent::SCENARIO,
];

impl Scenario {
    /// The scenario of this name.
    pub fn find(name: &str) -> Option<Self> {
        ALL.into_iter().find(|scenario| scenario.name == name)
    }

    /// Runs it once.
    pub fn run(&self, nodes: usize, seed: u64) -> Outcome {
        let bound = (self.bound)(nodes);
        let simulation = Simulation::new(Config::lan(nodes, seed));
        let mut run = Run { simulation, nodes, bound, took: None, problems: Vec::new() };
        if nodes < self.nodes_min {
            run.problems.push(format!("{} needs {} nodes or more", self.name, self.nodes_min));
        } else {
            (self.run)(&mut run);
        }
        let Run { simulation, took, mut problems, .. } = run;
        problems.extend(simulation.violations().iter().map(ToString::to_string));
        Outcome {
            scenario: self.name,
            nodes,
            seed,
            took,
            bound,
            problems,
            trace: simulation.trace(),
            simulated: simulation.now(),
            packets: simulation.traffic().0,
        }
    }
}

/// One run, as a scenario writes it.
struct Run {
    simulation: Simulation,
    nodes: usize,
    bound: Duration,
    took: Option<Duration>,
    problems: Vec<String>,
}

/// Time after which a cluster that nothing happens to must agree: a regular exchange of views has gone by.
const REST: Duration = Duration::from_secs(70);

impl Run {
    /// A number that the seed gives, below `bound`.
    fn draw(&mut self, bound: usize) -> usize {
        self.simulation.random.index(bound)
    }

    /// A time that the seed gives.
    fn draw_time(&mut self, low: Duration, high: Duration) -> Duration {
        self.simulation.random.duration(low, high)
    }

    fn start(&mut self, node: usize) {
        if let Err(error) = self.simulation.start(node) {
            self.problems.push(format!("node {node} does not start: {error}"));
        }
    }

    /// Starts these nodes in random order within a time.
    fn start_all(&mut self, nodes: impl Iterator<Item = usize>, within: Duration) {
        let mut starts: Vec<(Duration, usize)> =
            nodes.map(|node| (self.simulation.random.duration(Duration::ZERO, within), node)).collect();
        starts.sort_unstable();
        let begin = self.simulation.now();
        for (at, node) in starts {
            let wait = (begin + at).saturating_sub(self.simulation.now());
            self.simulation.run_for(wait);
            self.start(node);
        }
    }

    /// A cluster in which everybody knows everybody and has its links.
    fn form(&mut self) {
        self.start_all(0..self.nodes, Duration::from_millis(100));
        let nodes = self.nodes;
        if self.simulation.run_until(Duration::from_secs(60), |simulation| simulation.agrees(nodes)).is_none() {
            self.problems.push("the cluster did not form within 60 s".to_owned());
        }
        let wait = self.draw_time(Duration::from_secs(2), Duration::from_secs(4));
        self.simulation.run_for(wait);
    }

    /// Measures from now on until the condition holds, which it must within the bound.
    fn measure(&mut self, what: &str, holds: impl Fn(&Simulation) -> bool) {
        self.took = self.simulation.run_until(self.bound, holds);
        if self.took.is_none() {
            self.problems.push(format!("not within {:?}: {what}", self.bound));
        }
    }

    fn expect(&mut self, holds: bool, what: impl Fn() -> String) {
        if !holds {
            self.problems.push(what());
        }
    }

    /// Waits until the nodes agree on so many members, then checks what must hold at rest.
    fn come_to_rest(&mut self, members: usize) {
        let _ = self.simulation.run_until(REST, |simulation| simulation.agrees(members));
        self.simulation.check_at_rest();
        let agrees = self.simulation.agrees(members);
        self.expect(agrees, || format!("the nodes do not agree on {members} members"));
    }
}
