//! `disseminate`: how many gossip ticks until everybody knows.
//!
//! Push gossip informs n members in about log n rounds (Pittel, "On spreading a rumor", 1987; SWIM, section 4.1). A member's
//! changed metadata is the rumour; the probes are off, so that gossip alone carries it and losses raise no suspicions. A tick is a
//! gossip interval of time. Members that learn something tell it a millisecond later, not at their next tick, so the first
//! rounds take milliseconds and the last members are what costs ticks.
//!
//! Gossip alone may miss somebody: that is what exchanges of views are for. Each of n members tells a rumour c = 4 * ceil(log10(n + 1))
//! times, each time to one of the n - 1 others, drawn without regard to who knows it, and a share p of that passes. So each of the
//! c (n - 1) tellings by the others hits a given member with the chance p / (n - 1), and all of them miss it with
//! (1 - p / (n - 1))^(c (n - 1)), about e^(-p c). With 30 % loss that is 0.02 members of a hundred for each rumour, and 0.008 of ten thousand.
//! How many are missed over all rumours is then a Poisson count, and what it exceeds only once in a thousand times is held against
//! the protocol.

use std::time::Duration;

use bytes::Bytes;

use crate::experiment::Progress;
use crate::experiment::chance::most_by_chance;
use crate::experiment::spread::Spread;
use crate::fleet::{Change, Fleet, FleetConfig, FleetError};
use crate::report::{Axis, Cell, Figure, Findings, Panel, Series, Stroke, Table};

/// Ticks given to each rumour: it has died out long before.
const TICKS: usize = 30;

/// Into how many parts the picture's curves cut a tick.
const PARTS: usize = 10;

/// How long no probe is due.
const NO_PROBES: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Between sizes that differ ten times or more, ticks may grow by the logarithm of the size and half as much again: three times from a
/// hundred members to ten thousand.
const GROWTH: (usize, f64) = (10, 1.5);

/// What `disseminate` does.
#[derive(Debug, Clone, PartialEq)]
pub struct DisseminatePlan {
    /// Sizes of clusters. Two members or more.
    pub sizes: Vec<usize>,
    /// The first seed; each run has the next one.
    pub seed: u64,
    /// How many runs of each row.
    pub runs: u64,
    /// How many rumours in each run, one after the other.
    pub rumours: usize,
    /// Shares of datagrams that are lost, each with the most ticks within which everybody must know.
    pub losses: Vec<(f64, usize)>,
}

/// All rumours of one row.
#[derive(Debug)]
struct Row {
    size: usize,
    loss: f64,
    ticks_max: usize,
    /// Ticks until everybody knew, of each rumour that everybody heard.
    ticks: Vec<f64>,
    /// How many knew after each part of a tick, over all rumours.
    known: Vec<u64>,
    /// Members that a rumour never reached, over all rumours.
    missed: usize,
    /// How often each member tells a rumour.
    tellings: u32,
    rumours: usize,
    packets: u64,
}

impl DisseminatePlan {
    /// Twenty rumours at no loss and at 30 % loss, in a cluster of each of these sizes.
    pub fn new(sizes: Vec<usize>, seed: u64) -> Self {
        Self { sizes, seed, runs: 1, rumours: 20, losses: vec![(0.0, 12), (0.3, 15)] }
    }

    /// The command that does it again.
    pub fn replay(&self) -> String {
        let sizes: Vec<String> = self.sizes.iter().map(usize::to_string).collect();
        format!(
            "rdb-net-sim disseminate --nodes {} --seed {} --seeds {} --rumours {}",
            sizes.join(","),
            self.seed,
            self.runs,
            self.rumours
        )
    }

    /// Carries it out.
    ///
    /// # Errors
    ///
    /// [`FleetError`] where a size is not legal.
    pub fn run(&self, progress: &mut Progress<'_>) -> Result<Findings, FleetError> {
        let rows = self.sizes.len() * self.losses.len();
        let total = (rows * self.rumours) as u64 * self.runs;
        let mut done = 0;
        let mut rows = Vec::new();
        for size in &self.sizes {
            for (loss, ticks_max) in &self.losses {
                let mut row = Row::new(*size, *loss, *ticks_max);
                for run in 0..self.runs {
                    row.run(self.seed.wrapping_add(run), self.rumours, &mut || {
                        done += 1;
                        progress(done, total);
                    })?;
                }
                rows.push(row);
            }
        }
        Ok(self.findings(&rows))
    }

    fn findings(&self, rows: &[Row]) -> Findings {
        let table = Table {
            columns: vec![
                "members",
                "loss (%)",
                "rumours",
                "ticks to all, mean",
                "most",
                "bound",
                "packets/member/rumour",
                "missed (members)",
                "expected by chance",
                "allowed",
            ],
            rows: rows.iter().map(Row::cells).collect(),
        };
        Findings {
            experiment: "disseminate",
            about: "One member's new metadata spreads by gossip alone: fan-out 3, a tick every 200 ms, told 4 * ceil(log10(n + 1)) \
                    times by each."
                .to_owned(),
            table,
            figure: figure(rows),
            summary: Table::default(),
            problems: rows.iter().flat_map(Row::problems).chain(growth_problems(rows)).collect(),
            replay: self.replay(),
        }
    }
}

impl Row {
    fn new(size: usize, loss: f64, ticks_max: usize) -> Self {
        let known = vec![0; TICKS * PARTS + 1];
        Self { size, loss, ticks_max, ticks: Vec::new(), known, missed: 0, tellings: 0, rumours: 0, packets: 0 }
    }

    fn run(&mut self, seed: u64, rumours: usize, done: &mut dyn FnMut()) -> Result<(), FleetError> {
        let mut config = FleetConfig::lan(self.size, seed);
        config.swim.probe_interval = NO_PROBES;
        let tick = config.swim.gossip_interval;
        self.tellings = config.swim.retransmit_limit(self.size);
        let mut fleet = Fleet::new(config)?;
        fleet.set_loss(self.loss);
        for _ in 0..rumours {
            self.tell_one(&mut fleet, tick);
            done();
        }
        Ok(())
    }

    fn tell_one(&mut self, fleet: &mut Fleet, tick: Duration) {
        let size = fleet.size();
        let teller = fleet.random().index(size);
        let (told_at, packets) = (fleet.now(), fleet.traffic().packets);
        let news = Bytes::from(told_at.as_nanos().to_be_bytes().to_vec());
        // Sixteen bytes are never too long.
        let _ = fleet.act(teller, |swim, now| swim.update_meta(now, news));
        fleet.run_for(tick * TICKS as u32);
        let told = fleet.take_told();
        let heard = told.iter().filter(|told| told.of == teller && told.change == Change::Updated);
        let ticks: Vec<f64> = heard.map(|told| (told.at - told_at).as_secs_f64() / tick.as_secs_f64()).collect();
        for (part, known) in self.known.iter_mut().enumerate() {
            let after = part as f64 / PARTS as f64;
            *known += 1 + ticks.iter().filter(|heard| **heard <= after).count() as u64;
        }
        self.rumours += 1;
        self.packets += fleet.traffic().packets - packets;
        let missed = (size - 1).saturating_sub(ticks.len());
        self.missed += missed;
        if missed == 0 {
            self.ticks.push(ticks.into_iter().fold(0.0, f64::max));
        }
    }

    fn cells(&self) -> Vec<Cell> {
        let ticks = Spread::new(self.ticks.clone());
        vec![
            self.size.into(),
            Cell::Number(self.loss * 100.0, 0),
            self.rumours.into(),
            ticks.mean().map_or(Cell::None, |mean| Cell::Number(mean, 1)),
            ticks.most().map_or(Cell::None, |most| Cell::Number(most, 1)),
            self.ticks_max.into(),
            Cell::Number(self.packets as f64 / (self.rumours.max(1) * self.size) as f64, 1),
            self.missed.into(),
            Cell::Number(self.missed_by_chance(), 3),
            most_by_chance(self.missed_by_chance()).into(),
        ]
    }

    /// How many members all rumours together are expected to miss.
    fn missed_by_chance(&self) -> f64 {
        let others = self.size as f64 - 1.0;
        let misses = (1.0 - (1.0 - self.loss) / others).powf(f64::from(self.tellings) * others);
        others * misses * self.rumours as f64
    }

    fn problems(&self) -> Vec<String> {
        let at = format!("{} members, {:.0} % loss", self.size, self.loss * 100.0);
        let mut problems = Vec::new();
        let allowed = most_by_chance(self.missed_by_chance());
        if self.missed > allowed {
            let (missed, rumours) = (self.missed, self.rumours);
            problems.push(format!(
                "{at}: {missed} members missed one of {rumours} rumours, by chance {allowed} at the most"
            ));
        }
        if Spread::new(self.ticks.clone()).most().is_some_and(|most| most > self.ticks_max as f64) {
            problems.push(format!("{at}: not everybody knew within {} ticks", self.ticks_max));
        }
        problems
    }

    fn curve(&self) -> Series {
        let all = (self.rumours.max(1) * self.size) as f64;
        let share = |(part, known): (usize, &u64)| (part as f64 / PARTS as f64, *known as f64 / all);
        Series {
            name: format!("{:.0} % loss", self.loss * 100.0),
            stroke: Stroke::Measured,
            points: self.known.iter().enumerate().map(share).collect(),
        }
    }

    fn uninformed(&self) -> Series {
        let curve = self.curve();
        // Below one member in all rumours there is nobody left.
        let left = curve.points.iter().map(|(tick, share)| (*tick, 1.0 - share)).filter(|(_, share)| *share > 1e-12);
        Series { points: left.collect(), ..curve }
    }
}

/// Where a larger cluster takes longer than by the logarithm of its size.
fn growth_problems(rows: &[Row]) -> Vec<String> {
    let mean = |row: &Row| Spread::new(row.ticks.clone()).mean();
    let pairs = rows.iter().flat_map(|small| rows.iter().map(move |large| (small, large)));
    let comparable = pairs.filter(|(small, large)| small.loss == large.loss && large.size >= small.size * GROWTH.0);
    let mut problems = Vec::new();
    for (small, large) in comparable {
        let most = GROWTH.1 * (large.size as f64).ln() / (small.size as f64).ln();
        if let (Some(before), Some(after)) = (mean(small), mean(large))
            && after > before * most
        {
            problems.push(format!(
                "{} members, {:.0} % loss: {after:.1} ticks are more than {most:.1} times those of {} members, {before:.1}",
                large.size,
                large.loss * 100.0,
                small.size
            ));
        }
    }
    problems
}

/// The largest cluster's curves: who knows, and, by its logarithm, who does not yet.
fn figure(rows: &[Row]) -> Figure {
    let size = rows.iter().map(|row| row.size).max().unwrap_or(0);
    let rows: Vec<&Row> = rows.iter().filter(|row| row.size == size).collect();
    let ticks = || Axis::linear("gossip ticks of 200 ms", 0.0, 10.0);
    let known = Panel {
        title: format!("Who knows a rumour among {size} members"),
        x: ticks(),
        y: Axis::linear("share that knows", 0.0, 1.0),
        series: rows.iter().map(|row| row.curve()).collect(),
    };
    let unknown = Panel {
        title: "Who does not know it yet".to_owned(),
        x: ticks(),
        y: Axis::logarithmic("share that does not know", 1e-6, 1.0),
        series: rows.iter().map(|row| row.uninformed()).collect(),
    };
    Figure { panels: vec![known, unknown] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(size: usize, ticks: f64) -> Row {
        Row { ticks: vec![ticks], rumours: 20, tellings: 12, ..Row::new(size, 0.3, 15) }
    }

    #[test]
    fn a_miss_that_chance_explains_is_no_problem_and_more_are_one() {
        let missed = |missed| Row { missed, ..row(100, 2.0) };
        let expected = missed(0).missed_by_chance();
        assert!((0.40..0.45).contains(&expected), "{expected}");
        assert_eq!(missed(4).problems(), [] as [String; 0]);
        assert_eq!(missed(5).problems().len(), 1);
        let lossless = Row { loss: 0.0, missed: 2, ..row(100, 2.0) };
        assert_eq!(lossless.problems().len(), 1, "{}", lossless.missed_by_chance());
    }

    #[test]
    fn ticks_may_grow_as_the_logarithm_does_and_not_as_the_size() {
        assert_eq!(growth_problems(&[row(100, 2.0), row(1_000, 3.0), row(10_000, 5.9)]), [] as [String; 0]);
        assert_eq!(growth_problems(&[row(100, 2.0), row(10_000, 6.1)]).len(), 1);
        assert_eq!(growth_problems(&[row(100, 2.0), row(200, 6.1)]), [] as [String; 0], "too near to each other");
    }
}
