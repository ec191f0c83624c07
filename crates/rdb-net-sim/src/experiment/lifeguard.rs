//! `lifeguard`: how many healthy members a cluster with slow ones takes for failed, and what preventing that costs.
//!
//! Lifeguard (Dadgar, Phillips, Currey; arXiv 1707.00788), section V. *Interval*: some members are slow for a while, well for a
//! while, and so on; nobody fails, so every verdict about a member that was never slow is false. *Threshold*: some members become
//! slow together and stay so, as good as crashed; the time is taken until somebody who is well has given each of them up.
//!
//! The same core runs under each configuration of [`rdb_swim::Lifeguard`], from the same seeds, with the numbers of the paper:
//! α = 5, β = 6, K = 3, a score of at most 8.

mod outcome;

use std::time::Duration;

use rdb_swim::Lifeguard;

use crate::experiment::Progress;
use crate::experiment::lifeguard::outcome::Outcome;
use crate::fleet::{Change, Fleet, FleetConfig, FleetError};
use crate::report::Findings;

/// Time before anybody becomes slow.
const SETTLE: Duration = Duration::from_secs(5);
/// Time after the last slowness in which verdicts still count.
const CALM: Duration = Duration::from_secs(20);
/// How long the threshold experiment's members are slow: the longest of the paper.
const THRESHOLD: Duration = Duration::from_millis(32_768);
/// The suspicion time of the paper is α · log10 n probe intervals.
const ALPHA: f64 = 5.0;

/// A configuration by its name.
pub(crate) const CONFIGURATIONS: [(&str, Lifeguard); 5] = [
    ("swim", Lifeguard { health_max: 8, stretch: 6, ..Lifeguard::OFF }),
    ("lha-probe", Lifeguard { local_health: true, health_max: 8, stretch: 6, ..Lifeguard::OFF }),
    ("lha-suspicion", Lifeguard { confirmations: true, health_max: 8, stretch: 6, ..Lifeguard::OFF }),
    ("buddy", Lifeguard { buddy: true, health_max: 8, stretch: 6, ..Lifeguard::OFF }),
    // What the paper has; that packets are seen to come late is not in it.
    ("lifeguard", Lifeguard { lateness: false, ..Lifeguard::PAPER }),
];

/// What `lifeguard` does.
#[derive(Debug, Clone, PartialEq)]
pub struct LifeguardPlan {
    /// Size of the cluster. In the paper 128.
    pub members: usize,
    /// The first seed.
    pub seed: u64,
    /// How many seeds of each cell.
    pub seeds: u64,
    /// How many members are slow at a time.
    pub concurrency: Vec<usize>,
    /// How long each time.
    pub durations: Vec<Duration>,
    /// How long they are well in between.
    pub intervals: Vec<Duration>,
    /// How long that goes on. Default 120 s.
    pub time: Duration,
}

/// Members that are slow at a time, for so long, with so much time in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) concurrency: usize,
    pub(crate) duration: Duration,
    pub(crate) interval: Duration,
}

impl LifeguardPlan {
    /// A sub-grid of the paper's: 5 concurrencies, 4 durations, 4 intervals.
    pub fn new(seed: u64, seeds: u64) -> Self {
        let ms = |list: [u64; 4]| list.map(Duration::from_millis).to_vec();
        Self {
            members: 128,
            seed,
            seeds,
            concurrency: vec![1, 8, 16, 24, 32],
            durations: ms([512, 2_048, 8_192, 32_768]),
            intervals: ms([1, 64, 1_024, 16_384]),
            time: Duration::from_secs(120),
        }
    }

    /// The part of it that tells most for its time: 16 members that are slow for long.
    pub fn small(seed: u64, seeds: u64) -> Self {
        let ms = |list: [u64; 1]| list.map(Duration::from_millis).to_vec();
        Self { concurrency: vec![16], durations: ms([32_768]), intervals: ms([1_024]), ..Self::new(seed, seeds) }
    }

    /// The command that does it again, where the grid is one that the command line knows.
    pub fn replay(&self) -> String {
        let small = Self { members: self.members, ..Self::small(self.seed, self.seeds) };
        let grid = if *self == small { " --grid small" } else { "" };
        format!("rdb-net-sim lifeguard --nodes {} --seed {} --seeds {}{grid}", self.members, self.seed, self.seeds)
    }

    /// Carries it out.
    ///
    /// # Errors
    ///
    /// [`FleetError`] where the size is not legal.
    pub fn run(&self, progress: &mut Progress<'_>) -> Result<Findings, FleetError> {
        let cells = self.cells();
        let runs = (cells.len() + self.concurrency.len()) as u64 * self.seeds;
        let total = runs * CONFIGURATIONS.len() as u64;
        let mut outcomes = Vec::new();
        let mut done = 0;
        for (name, lifeguard) in CONFIGURATIONS {
            let mut outcome = Outcome::new(name, &self.durations);
            for seed in (self.seed..).take(self.seeds as usize) {
                for cell in &cells {
                    self.run_interval(&mut self.fleet(lifeguard, seed)?, *cell, &mut outcome);
                    done += 1;
                    progress(done, total);
                }
                for concurrency in &self.concurrency {
                    self.run_threshold(&mut self.fleet(lifeguard, seed)?, *concurrency, &mut outcome);
                    done += 1;
                    progress(done, total);
                }
            }
            outcomes.push(outcome);
        }
        Ok(outcome::findings(self, &outcomes))
    }

    fn cells(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for concurrency in self.concurrency.iter().copied() {
            for duration in self.durations.iter().copied() {
                cells.extend(self.intervals.iter().map(|interval| Cell { concurrency, duration, interval: *interval }));
            }
        }
        cells
    }

    fn fleet(&self, lifeguard: Lifeguard, seed: u64) -> Result<Fleet, FleetError> {
        let mut config = FleetConfig::lan(self.members, seed);
        config.swim.lifeguard = lifeguard;
        config.swim.probe_pings = 1;
        config.swim.probe_timeout_min = config.swim.probe_timeout;
        let timeout = config.swim.probe_interval.mul_f64(ALPHA * (self.members as f64).log10());
        let spread = config.swim.suspicion_timeout(self.members) - config.swim.suspicion_pause;
        config.swim.suspicion_pause = timeout.saturating_sub(spread);
        Fleet::new(config)
    }

    fn run_interval(&self, fleet: &mut Fleet, cell: Cell, outcome: &mut Outcome) {
        let slow = draw(fleet, cell.concurrency);
        fleet.run_for(SETTLE);
        let end = fleet.now() + self.time;
        while fleet.now() < end {
            slow.iter().for_each(|node| fleet.slow_down(*node));
            fleet.run_for(cell.duration);
            slow.iter().for_each(|node| fleet.catch_up(*node));
            fleet.run_for(cell.interval);
        }
        fleet.run_for(CALM);
        outcome.count_false(&fleet.take_told(), &slow, cell.duration);
        outcome.count_traffic(fleet.traffic(), self.members, SETTLE + self.time + CALM);
    }

    fn run_threshold(&self, fleet: &mut Fleet, concurrency: usize, outcome: &mut Outcome) {
        let slow = draw(fleet, concurrency);
        let wait = fleet.random().duration(SETTLE, SETTLE + Duration::from_secs(1));
        fleet.run_for(wait);
        let begun = fleet.now();
        slow.iter().for_each(|node| fleet.slow_down(*node));
        fleet.run_for(THRESHOLD);
        let told = fleet.take_told();
        let healthy = self.members - slow.len();
        for node in &slow {
            let verdicts = told
                .iter()
                .filter(|told| told.of == *node && told.change == Change::Failed && !slow.contains(&told.by));
            let times: Vec<f64> = verdicts.map(|told| (told.at - begun).as_secs_f64()).collect();
            outcome.detections += 1;
            outcome.first_s.extend(times.iter().copied().reduce(f64::min));
            if times.len() >= healthy {
                outcome.everywhere_s.extend(times.into_iter().reduce(f64::max));
            }
        }
    }
}

/// Different members, as the fleet's seed gives them.
fn draw(fleet: &mut Fleet, count: usize) -> Vec<usize> {
    let mut drawn = Vec::new();
    while drawn.len() < count.min(fleet.size() / 2) {
        let size = fleet.size();
        let node = fleet.random().index(size);
        if !drawn.contains(&node) {
            drawn.push(node);
        }
    }
    drawn
}
