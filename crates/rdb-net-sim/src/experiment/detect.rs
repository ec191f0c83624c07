//! `detect`: how long a crash stays unnoticed, and what the probing costs.
//!
//! SWIM (Das, Gupta, Motivala; DSN 2002), section 3.1: where each of n members probes one other in each period T′, the chance
//! that a crashed one is probed in a period is 1 − (1 − 1/n)ⁿ, about 1 − 1/e, whatever n is. So the period in which it is found
//! is distributed geometrically, with the mean e/(e − 1) = 1.58. The period counted here is that of the probe that found it,
//! the first after the crash being 1; the suspicion comes at the end of that probe's period. Section 4.3 bounds the time for any
//! one observer by 2n − 1 periods.
//!
//! As in the paper, news travels on probes and answers alone unless gossip is asked for: it plays no part in the first
//! detection, and two thousand crashes among ten thousand members then take minutes.

use std::f64::consts::E;
use std::time::Duration;

use rdb_swim::Lifeguard;

use crate::experiment::Progress;
use crate::experiment::spread::Spread;
use crate::fleet::{Change, Fleet, FleetConfig, FleetError, Told, Traffic};
use crate::report::{Axis, Cell, Figure, Findings, Panel, Series, Stroke, Table};

/// Periods before anything is measured.
const SETTLE_PERIODS: u32 = 3;
/// Periods in which nothing happens and the load is measured.
const QUIET_PERIODS: u32 = 20;
/// At most one in so many of a run's members crashes. Those that are down and still listed take probes from the others, which
/// would find them later: a tenth of the members costs 0.03 periods.
const CRASHED_PART: usize = 50;
/// The mean must lie this close to e/(e − 1).
const MEAN_TOLERANCE: f64 = 0.08;
/// And the means of all sizes this close to each other: flat in n.
const SPREAD_MAX: f64 = 0.08;
/// Probe messages a member and period, and how close they must be to it.
const LOAD: (f64, f64) = (2.0, 0.1);
/// The picture's last period.
const PERIODS_SHOWN: usize = 10;

/// What `detect` does.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectPlan {
    /// Sizes of clusters, each with its row. Two members or more.
    pub sizes: Vec<usize>,
    /// The first seed; each run has the next one.
    pub seed: u64,
    /// How many runs of each size; `None` for as many as the crashes need, if one member in fifty may crash.
    pub runs: Option<u64>,
    /// How many crashes of each size. Default 2,000.
    pub crashes: usize,
    /// Whether members gossip between probes, as they do by default.
    pub gossip: bool,
}

impl DetectPlan {
    /// Two thousand crashes in a cluster of each of these sizes.
    pub fn new(sizes: Vec<usize>, seed: u64) -> Self {
        Self { sizes, seed, runs: None, crashes: 2_000, gossip: false }
    }

    /// The command that does it again.
    pub fn replay(&self) -> String {
        let sizes: Vec<String> = self.sizes.iter().map(usize::to_string).collect();
        let runs = self.runs.map_or_else(String::new, |runs| format!(" --seeds {runs}"));
        let gossip = if self.gossip { " --gossip on" } else { "" };
        format!(
            "rdb-net-sim detect --nodes {} --seed {}{runs} --crashes {}{gossip}",
            sizes.join(","),
            self.seed,
            self.crashes
        )
    }

    /// Carries it out.
    ///
    /// # Errors
    ///
    /// [`FleetError`] where a size is not legal.
    pub fn run(&self, progress: &mut Progress<'_>) -> Result<Findings, FleetError> {
        let total = (self.crashes * self.sizes.len()) as u64;
        let mut sizes = Vec::new();
        for (index, size) in self.sizes.iter().enumerate() {
            let before = (index * self.crashes) as u64;
            let mut at_size = AtSize::new(*size, self);
            at_size.run(self, &mut |done| progress(before + done, total))?;
            sizes.push(at_size);
        }
        progress(total, total);
        Ok(self.findings(&sizes))
    }

    fn runs_of(&self, size: usize) -> u64 {
        let crashes_a_run = (size / CRASHED_PART).max(1);
        self.runs.unwrap_or(self.crashes.div_ceil(crashes_a_run) as u64).max(1)
    }

    fn findings(&self, sizes: &[AtSize]) -> Findings {
        let means = Spread::new(sizes.iter().filter_map(AtSize::mean).collect());
        let least = means.quantile(0.0).unwrap_or(0.0);
        let mut problems: Vec<String> = sizes.iter().flat_map(AtSize::problems).collect();
        problems.extend(spread_problem(&means));
        let table = Table {
            columns: vec![
                "members",
                "seeds",
                "crashes",
                "mean (periods)",
                "+-",
                "p50",
                "p99",
                "most",
                "bound 2n-1",
                "suspected after (s)",
                "probe packets/member/period",
                "bytes/member/s",
                "false suspicions",
                "above the least mean",
            ],
            rows: sizes.iter().map(|at| at.row(least)).collect(),
        };
        let news = if self.gossip { "gossip ticks and probes" } else { "probes and their answers alone" };
        Findings {
            experiment: "detect",
            about: format!(
                "Crashes one at a time in a formed cluster, no loss, one probe a second; news travels on {news}. The paper's mean \
                 is e/(e - 1) = {:.3}.",
                paper_mean()
            ),
            table,
            figure: figure(sizes),
            summary: Table::default(),
            problems,
            replay: self.replay(),
        }
    }
}

/// What is wrong where the means of the sizes are too far from each other.
fn spread_problem(means: &Spread) -> Option<String> {
    let spread = means.most()? - means.quantile(0.0)?;
    (spread > SPREAD_MAX)
        .then(|| format!("not flat in n: the means of the sizes lie {spread:.3} periods apart, above {SPREAD_MAX}"))
}

fn paper_mean() -> f64 {
    E / (E - 1.0)
}

/// All runs of one size.
#[derive(Debug)]
struct AtSize {
    size: usize,
    runs: u64,
    crashes: usize,
    periods: Vec<f64>,
    delays_s: Vec<f64>,
    quiet: Traffic,
    /// Members times seconds in which the load was measured, over all runs.
    quiet_member_seconds: f64,
    quiet_member_periods: f64,
    false_suspicions: usize,
}

impl AtSize {
    fn new(size: usize, plan: &DetectPlan) -> Self {
        Self {
            size,
            runs: plan.runs_of(size),
            crashes: 0,
            periods: Vec::new(),
            delays_s: Vec::new(),
            quiet: Traffic::default(),
            quiet_member_seconds: 0.0,
            quiet_member_periods: 0.0,
            false_suspicions: 0,
        }
    }

    fn run(&mut self, plan: &DetectPlan, done: &mut dyn FnMut(u64)) -> Result<(), FleetError> {
        for run in 0..self.runs {
            let mut config = FleetConfig::lan(self.size, plan.seed.wrapping_add(run));
            // The paper's protocol.
            config.swim.lifeguard = Lifeguard::OFF;
            config.swim.probe_pings = 1;
            config.swim.probe_timeout_min = config.swim.probe_timeout;
            if !plan.gossip {
                config.swim.gossip_fanout = 0;
                // How far the news gets is not measured here, and each telling takes time to simulate.
                config.swim.retransmit_factor = 1;
            }
            let period = config.swim.probe_interval;
            let mut fleet = Fleet::new(config)?;
            self.measure_load(&mut fleet, period);
            let left = (plan.crashes - self.crashes).div_ceil((self.runs - run) as usize);
            for _ in 0..left.min((self.size / CRASHED_PART).max(1)) {
                self.crash_one(&mut fleet, period);
                done(self.crashes as u64);
            }
        }
        Ok(())
    }

    fn measure_load(&mut self, fleet: &mut Fleet, period: Duration) {
        fleet.run_for(period * SETTLE_PERIODS);
        let before = fleet.traffic();
        let time = period * QUIET_PERIODS;
        fleet.run_for(time);
        let after = fleet.traffic();
        self.quiet.probe_packets += after.probe_packets - before.probe_packets;
        self.quiet.bytes += after.bytes - before.bytes;
        self.quiet_member_periods += fleet.size() as f64 * f64::from(QUIET_PERIODS);
        self.quiet_member_seconds += fleet.size() as f64 * time.as_secs_f64();
    }

    /// One member crashes at a random moment of the period, and the next one not before this one is found.
    fn crash_one(&mut self, fleet: &mut Fleet, period: Duration) {
        let victim = loop {
            let size = fleet.size();
            let drawn = fleet.random().index(size);
            if fleet.is_up(drawn) {
                break drawn;
            }
        };
        let wait = fleet.random().duration(Duration::ZERO, period);
        fleet.run_for(wait);
        let crashed_at = fleet.now();
        fleet.crash(victim);
        self.crashes += 1;
        let bound = period * (2 * self.size as u32);
        let is_it = |told: &Told| told.of == victim && told.change == Change::Suspected;
        if let Some(told) = fleet.run_until_told(bound, is_it) {
            self.delays_s.push((told.at - crashed_at).as_secs_f64());
            self.periods.push(period_of_probe(told.at, crashed_at, period));
        }
        let told = fleet.take_told();
        self.false_suspicions +=
            told.iter().filter(|told| told.change == Change::Suspected && fleet.is_up(told.of)).count();
    }

    fn mean(&self) -> Option<f64> {
        Spread::new(self.periods.clone()).mean()
    }

    fn row(&self, least_mean: f64) -> Vec<Cell> {
        let (periods, delays) = (Spread::new(self.periods.clone()), Spread::new(self.delays_s.clone()));
        let number = |number: Option<f64>, digits| number.map_or(Cell::None, |number| Cell::Number(number, digits));
        vec![
            self.size.into(),
            Cell::Count(self.runs),
            self.crashes.into(),
            number(periods.mean(), 3),
            number(periods.error_of_mean(), 3),
            number(periods.quantile(0.5), 0),
            number(periods.quantile(0.99), 0),
            number(periods.most(), 0),
            (2 * self.size - 1).into(),
            number(delays.mean(), 2),
            Cell::Number(self.load(), 3),
            Cell::Number(self.quiet.bytes as f64 / self.quiet_member_seconds, 1),
            self.false_suspicions.into(),
            number(periods.mean().map(|mean| mean - least_mean), 3),
        ]
    }

    fn load(&self) -> f64 {
        self.quiet.probe_packets as f64 / self.quiet_member_periods
    }

    fn problems(&self) -> Vec<String> {
        let (size, periods) = (self.size, Spread::new(self.periods.clone()));
        let mut problems = Vec::new();
        let mut check = |holds: bool, problem: String| {
            if !holds {
                problems.push(format!("{size} members: {problem}"));
            }
        };
        let (found, crashes) = (periods.count(), self.crashes);
        check(found == crashes, format!("{found} of {crashes} crashes were found within 2n - 1 periods"));
        let is_near = |mean: f64| (mean - paper_mean()).abs() <= MEAN_TOLERANCE;
        check(periods.mean().is_some_and(is_near), format!("the mean is not {:.2} +- {MEAN_TOLERANCE}", paper_mean()));
        let most = (2 * size - 1) as f64;
        check(periods.most().is_some_and(|found| found <= most), "a crash was found after 2n - 1 periods".to_owned());
        check((self.load() - LOAD.0).abs() <= LOAD.1, format!("the load is not {} +- {}", LOAD.0, LOAD.1));
        check(self.false_suspicions == 0, "somebody was suspected who was there".to_owned());
        problems
    }

    /// Share of the crashes that each period found.
    fn shares(&self) -> Vec<(f64, f64)> {
        let all = self.periods.len().max(1) as f64;
        let share = |period: usize| self.periods.iter().filter(|found| **found == period as f64).count() as f64 / all;
        (1..=PERIODS_SHOWN).map(|period| (period as f64, share(period))).filter(|(_, share)| *share > 0.0).collect()
    }
}

/// Which period after the crash the probe began in that was over, without an answer, when the suspicion was told.
fn period_of_probe(suspected_at: Duration, crashed_at: Duration, period: Duration) -> f64 {
    // A ping that was under way when its receiver crashed began before the crash; it counts as the first period's.
    let began = suspected_at.saturating_sub(period).saturating_sub(crashed_at);
    began.as_nanos().div_ceil(period.as_nanos()).max(1) as f64
}

fn figure(sizes: &[AtSize]) -> Figure {
    let theory = (1..=PERIODS_SHOWN).map(|period| (period as f64, (1.0 - period as f64).exp() * (1.0 - 1.0 / E)));
    let measured =
        |at: &AtSize| Series { name: format!("{} members", at.size), stroke: Stroke::Measured, points: at.shares() };
    let mut series: Vec<Series> = sizes.iter().map(measured).collect();
    series.push(Series { name: "geometric, 1 - 1/e".to_owned(), stroke: Stroke::Theory, points: theory.collect() });
    let panel = Panel {
        title: "In which period a crash is found".to_owned(),
        x: Axis::linear("period after the crash", 0.0, PERIODS_SHOWN as f64),
        y: Axis::logarithmic("share of the crashes", 0.0001, 1.0),
        series,
    };
    Figure { panels: vec![panel] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_that_lie_apart_are_not_flat() {
        let problem = |means: &[f64]| spread_problem(&Spread::new(means.to_vec()));
        assert_eq!((problem(&[]), problem(&[1.5]), problem(&[1.54, 1.59, 1.60])), (None, None, None));
        assert!(problem(&[1.51, 1.58, 1.60]).is_some_and(|problem| problem.contains("0.090")));
    }

    #[test]
    fn the_period_is_that_of_the_probe_not_of_its_end() {
        let ms = Duration::from_millis;
        // Crashed at 10 s; the probe began at 10.2, 11, 11.001 and 9.9995 s.
        for (suspected, period) in [(11_200, 1.0), (12_000, 1.0), (12_001, 2.0), (10_999, 1.0)] {
            assert_eq!(period_of_probe(ms(suspected), ms(10_000), ms(1_000)), period, "{suspected}");
        }
    }
}
