//! `silent`: how long until everybody knows of a host that fell silent, with default settings, and whether anybody is failed
//! who is there.
//!
//! Serf's time by its formulas is about 14 s at 1,000 members and was measured as 8.7 s at 50. Two kinds of runs: in some, hosts
//! fall silent one after the other; in the others nothing happens but losses, and nobody may ever be failed.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::experiment::Progress;
use crate::experiment::spread::Spread;
use crate::fleet::{Change, Fleet, FleetConfig, FleetError};
use crate::report::{Axis, Cell, Figure, Findings, Panel, Series, Stroke, Table};

const STEP: Duration = Duration::from_millis(500);

/// The longest that anybody may need to know; what takes longer is a problem of its own.
const PATIENCE: Duration = Duration::from_secs(60);

/// At most one in so many members of a run is down: those that are and still listed take probes from the others.
const DOWN_SHARE: usize = 10;

/// What `silent` does.
#[derive(Debug, Clone, PartialEq)]
pub struct SilentPlan {
    /// Sizes, a row for each and each loss.
    pub sizes: Vec<usize>,
    /// Everything random follows from it.
    pub seed: u64,
    /// Hosts of each row that fall silent. Default 100.
    pub hosts: usize,
    /// Quiet runs of each row. Default 20.
    pub quiet_runs: u64,
    /// How long a quiet run is. Default 10 minutes.
    pub quiet_time: Duration,
    /// Shares of packets that are lost. Default 0, 5 and 20 %.
    pub losses: Vec<f64>,
}

#[derive(Debug)]
struct Row {
    members: usize,
    loss: f64,
    to_all: Spread,
    missed: usize,
    quiet_s: f64,
    suspected: usize,
    wrong: usize,
    packets: f64,
    bytes: f64,
}

impl SilentPlan {
    /// A hundred hosts and 20 times 10 minutes of each size.
    pub fn new(sizes: Vec<usize>, seed: u64) -> Self {
        let losses = vec![0.0, 0.05, 0.2];
        Self { sizes, seed, hosts: 100, quiet_runs: 20, quiet_time: Duration::from_secs(600), losses }
    }

    /// The command that does it again.
    pub fn replay(&self) -> String {
        let sizes: Vec<String> = self.sizes.iter().map(usize::to_string).collect();
        let losses: Vec<String> = self.losses.iter().map(|loss| format!("{:.0}", loss * 100.0)).collect();
        format!(
            "rdb-net-sim silent --nodes {} --seed {} --seeds {} --crashes {} --losses {}",
            sizes.join(","),
            self.seed,
            self.quiet_runs,
            self.hosts,
            losses.join(",")
        )
    }

    /// Carries it out.
    ///
    /// # Errors
    ///
    /// [`FleetError`] where a size is not legal.
    pub fn run(&self, progress: &mut Progress<'_>) -> Result<Findings, FleetError> {
        let total = (self.sizes.len() * self.losses.len()) as u64 * (1 + self.quiet_runs);
        let mut done = 0;
        let mut rows: Vec<Row> = Vec::new();
        for members in &self.sizes {
            for loss in &self.losses {
                let mut row = self.silence(*members, *loss)?;
                done += 1;
                progress(done, total);
                for run in 0..self.quiet_runs {
                    self.rest(&mut row, run)?;
                    done += 1;
                    progress(done, total);
                }
                rows.push(row);
            }
        }
        Ok(self.findings(&rows))
    }

    fn fleet(members: usize, loss: f64, seed: u64) -> Result<Fleet, FleetError> {
        let mut config = FleetConfig { syncs: true, ..FleetConfig::lan(members, seed) };
        config.network.loss = loss;
        Fleet::new(config)
    }

    fn silence(&self, members: usize, loss: f64) -> Result<Row, FleetError> {
        let mut row = Row {
            members,
            loss,
            to_all: Spread::default(),
            missed: 0,
            quiet_s: 0.0,
            suspected: 0,
            wrong: 0,
            packets: 0.0,
            bytes: 0.0,
        };
        let (mut times, mut run) = (Vec::new(), 0);
        while times.len() + row.missed < self.hosts {
            // Far from the seeds of the quiet runs.
            let mut fleet = Self::fleet(members, loss, self.seed + 1_000_000 + run)?;
            run += 1;
            let at_most = (members / DOWN_SHARE).max(1).min(self.hosts - times.len() - row.missed);
            for _ in 0..at_most {
                let wait = fleet.random().duration(Duration::from_secs(5), Duration::from_secs(7));
                fleet.run_for(wait);
                match one_host(&mut fleet) {
                    Some(time) => times.push(time),
                    None => row.missed += 1,
                }
            }
        }
        row.to_all = Spread::new(times);
        Ok(row)
    }

    fn rest(&self, row: &mut Row, run: u64) -> Result<(), FleetError> {
        let mut fleet = Self::fleet(row.members, row.loss, self.seed + run)?;
        let end = fleet.now() + self.quiet_time;
        while fleet.now() < end {
            fleet.run_for((STEP * 20).min(end - fleet.now()));
            let told = fleet.take_told();
            row.suspected += told.iter().filter(|told| told.change == Change::Suspected && told.is_own).count();
            row.wrong += told.iter().filter(|told| told.change == Change::Failed).count();
        }
        let (seconds, traffic) = (self.quiet_time.as_secs_f64(), fleet.traffic());
        row.quiet_s += seconds;
        let share = 1.0 / (row.members as f64 * seconds * self.quiet_runs as f64);
        row.packets += traffic.packets as f64 * share;
        row.bytes += traffic.bytes as f64 * share;
        Ok(())
    }

    fn findings(&self, rows: &[Row]) -> Findings {
        let mut problems = Vec::new();
        for row in rows {
            let at = format!("{} members, {:.0} % loss", row.members, row.loss * 100.0);
            if row.wrong > 0 {
                problems.push(format!("{at}: {} times somebody was failed who was there", row.wrong));
            }
            if row.missed > 0 {
                problems.push(format!("{at}: of {} hosts not everybody knew within {PATIENCE:?}", row.missed));
            }
            let Some((median_max, p99_max)) = bounds(row.members, row.loss) else { continue };
            // Of fewer than a hundred the 99th percentile is the greatest, and says nothing of how many are late.
            let is_late_judged = row.to_all.count() >= 100;
            for (share, name, most) in [(0.5, "median", median_max), (0.99, "p99", p99_max)] {
                let is_judged = share < 0.9 || is_late_judged;
                if let Some(found) = row.to_all.quantile(share).filter(|found| is_judged && *found > most) {
                    problems.push(format!("{at}: {name} {found:.2} s is above {most} s"));
                }
            }
        }
        let number = |number: Option<f64>| number.map_or(Cell::None, |number| Cell::Number(number, 2));
        let cells = |row: &Row| {
            vec![
                row.members.into(),
                Cell::Number(row.loss * 100.0, 0),
                row.to_all.count().into(),
                number(row.to_all.quantile(0.5)),
                number(row.to_all.quantile(0.99)),
                number(row.to_all.most()),
                Cell::Number(row.quiet_s / 60.0, 0),
                row.suspected.into(),
                row.wrong.into(),
                Cell::Number(row.packets, 2),
                Cell::Number(row.bytes, 1),
            ]
        };
        Findings {
            experiment: "silent",
            about: format!(
                "Default settings; {} hosts of each row fall silent, and {} runs of {:?} in which nobody does.",
                self.hosts, self.quiet_runs, self.quiet_time
            ),
            table: Table {
                columns: vec![
                    "members",
                    "loss (%)",
                    "silent hosts",
                    "everybody knows, median (s)",
                    "p99 (s)",
                    "most (s)",
                    "quiet minutes",
                    "false suspicions",
                    "false failures",
                    "packets/member/s",
                    "bytes/member/s",
                ],
                rows: rows.iter().map(cells).collect(),
            },
            figure: figure(rows),
            summary: Table::default(),
            problems,
            replay: self.replay(),
        }
    }
}

/// The longest median and 99th percentile, in seconds: for the sizes that have any, half more where packets are lost.
fn bounds(members: usize, loss: f64) -> Option<(f64, f64)> {
    let factor = if loss > 0.0 { 1.5 } else { 1.0 };
    match members {
        50 => Some((6.5 * factor, 11.0 * factor)),
        1_000 => Some((8.0 * factor, 13.0 * factor)),
        _ => None,
    }
}

/// A random host falls silent: how many seconds until every other one that is up holds it for failed.
fn one_host(fleet: &mut Fleet) -> Option<f64> {
    let up: Vec<usize> = (0..fleet.size()).filter(|node| fleet.is_up(*node)).collect();
    let drawn = fleet.random().index(up.len());
    let host = *up.get(drawn)?;
    let mut waiting: BTreeSet<usize> = up.into_iter().filter(|node| *node != host).collect();
    fleet.take_told();
    fleet.crash(host);
    let begun = fleet.now();
    let mut last = begun;
    while !waiting.is_empty() && fleet.now() < begun + PATIENCE {
        fleet.run_for(STEP);
        for told in fleet.take_told().iter().filter(|told| told.of == host && told.change == Change::Failed) {
            if waiting.remove(&told.by) {
                last = last.max(told.at);
            }
        }
    }
    waiting.is_empty().then(|| (last - begun).as_secs_f64())
}

fn figure(rows: &[Row]) -> Figure {
    const SPAN_S: f64 = 20.0;
    // Whoever comes late is shown too.
    let span = rows.iter().filter_map(|row| row.to_all.most()).fold(SPAN_S, f64::max);
    let series = |row: &Row| Series {
        name: format!("{} members, {:.0} %", row.members, row.loss * 100.0),
        stroke: Stroke::Measured,
        points: (0..=20)
            .filter_map(|step| {
                let share = f64::from(step) / 20.0;
                Some((row.to_all.quantile(share)?, share))
            })
            .collect(),
    };
    let panel = Panel {
        title: "Until everybody knows of a silent host".to_owned(),
        x: Axis::linear("seconds since it fell silent", 0.0, span),
        y: Axis::linear("share of the hosts", 0.0, 1.0),
        series: rows.iter().map(series).collect(),
    };
    Figure { panels: vec![panel] }
}
