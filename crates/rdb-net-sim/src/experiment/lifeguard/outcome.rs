//! What the runs of one configuration come to, and how they compare.

use std::time::Duration;

use crate::experiment::lifeguard::LifeguardPlan;
use crate::experiment::spread::Spread;
use crate::fleet::{Change, Told, Traffic};
use crate::report::{Axis, Cell, Figure, Findings, Panel, Series, Stroke, Table};

/// What full Lifeguard may have of what plain SWIM has: false verdicts, those of the healthy, median detection, messages.
const LIMITS: [(&str, f64); 4] = [
    ("false positives", 0.02),
    ("false positives at healthy members", 0.02),
    ("median detection", 1.05),
    ("messages", 1.15),
];

/// All runs of one configuration.
#[derive(Debug)]
pub(super) struct Outcome {
    name: &'static str,
    /// Verdicts about members that were never slow, by how long the others were slow at a time.
    by_duration: Vec<(Duration, u64)>,
    /// Of those, the verdicts of members that were never slow either.
    at_healthy: u64,
    /// How often a healthy member has held another for failed, on whosever word.
    believed: u64,
    pub(super) detections: u64,
    pub(super) first_s: Vec<f64>,
    pub(super) everywhere_s: Vec<f64>,
    packets: u64,
    bytes: u64,
    member_seconds: f64,
}

impl Outcome {
    pub(super) fn new(name: &'static str, durations: &[Duration]) -> Self {
        Self {
            name,
            by_duration: durations.iter().map(|duration| (*duration, 0)).collect(),
            at_healthy: 0,
            believed: 0,
            detections: 0,
            first_s: Vec::new(),
            everywhere_s: Vec::new(),
            packets: 0,
            bytes: 0,
            member_seconds: 0.0,
        }
    }

    pub(super) fn count_false(&mut self, told: &[Told], slow: &[usize], duration: Duration) {
        for told in told.iter().filter(|told| told.change == Change::Failed && !slow.contains(&told.of)) {
            let is_by_healthy = !slow.contains(&told.by);
            self.believed += u64::from(is_by_healthy);
            if told.is_own {
                self.at_healthy += u64::from(is_by_healthy);
                self.by_duration.iter_mut().filter(|(of, _)| *of == duration).for_each(|(_, count)| *count += 1);
            }
        }
    }

    pub(super) fn count_traffic(&mut self, traffic: Traffic, members: usize, time: Duration) {
        self.packets += traffic.packets;
        self.bytes += traffic.bytes;
        self.member_seconds += members as f64 * time.as_secs_f64();
    }

    fn false_positives(&self) -> u64 {
        self.by_duration.iter().map(|(_, count)| count).sum()
    }

    fn load(&self) -> f64 {
        self.packets as f64 / self.member_seconds
    }

    fn median_first(&self) -> Option<f64> {
        Spread::new(self.first_s.clone()).quantile(0.5)
    }

    /// What this configuration has of what another has, in the order of [`LIMITS`]; `None` where the other has nothing.
    fn shares_of(&self, other: &Self) -> [Option<f64>; 4] {
        let share = |a: f64, b: f64| (b > 0.0).then(|| a / b);
        let detection = self.median_first().zip(other.median_first());
        [
            share(self.false_positives() as f64, other.false_positives() as f64),
            share(self.at_healthy as f64, other.at_healthy as f64),
            detection.and_then(|(own, other)| share(own, other)),
            share(self.load(), other.load()),
        ]
    }

    fn row(&self, plain: &Self) -> Vec<Cell> {
        let number = |number: Option<f64>, digits| number.map_or(Cell::None, |number| Cell::Number(number, digits));
        let (first, everywhere) = (Spread::new(self.first_s.clone()), Spread::new(self.everywhere_s.clone()));
        let [false_share, healthy_share, detection_share, load_share] = self.shares_of(plain);
        vec![
            Cell::Text(self.name.to_owned()),
            Cell::Count(self.false_positives()),
            number(false_share.map(|share| share * 100.0), 2),
            Cell::Count(self.at_healthy),
            number(healthy_share.map(|share| share * 100.0), 2),
            Cell::Count(self.believed),
            number(first.quantile(0.5), 2),
            number(first.quantile(0.99), 2),
            number(first.quantile(0.999), 2),
            number(detection_share, 3),
            number(everywhere.quantile(0.5), 2),
            Cell::Number(self.load(), 2),
            Cell::Number(self.bytes as f64 / self.member_seconds, 0),
            number(load_share, 3),
        ]
    }
}

pub(super) fn findings(plan: &LifeguardPlan, outcomes: &[Outcome]) -> Findings {
    let plain = outcomes.iter().find(|outcome| outcome.name == "swim");
    let table = Table {
        columns: vec![
            "configuration",
            "false positives",
            "% of swim",
            "at healthy",
            "% of swim, healthy",
            "believed by healthy",
            "first detection, median (s)",
            "p99",
            "p99.9",
            "of swim",
            "everywhere, median (s)",
            "packets/member/s",
            "bytes/member/s",
            "of swim, packets",
        ],
        rows: outcomes.iter().filter_map(|outcome| Some(outcome.row(plain?))).collect(),
    };
    let cells = plan.concurrency.len() * plan.durations.len() * plan.intervals.len();
    Findings {
        experiment: "lifeguard",
        about: format!(
            "{} members, of which up to {} are slow at a time; {cells} cells of concurrency, duration and interval, {} seeds of each.",
            plan.members,
            plan.concurrency.iter().max().unwrap_or(&0),
            plan.seeds
        ),
        table,
        figure: figure(outcomes),
        summary: Table::default(),
        problems: outcomes.iter().zip(std::iter::repeat(plain)).flat_map(|(own, plain)| problems(own, plain)).collect(),
        replay: plan.replay(),
    }
}

fn problems(own: &Outcome, plain: Option<&Outcome>) -> Vec<String> {
    let mut problems = Vec::new();
    if (own.first_s.len() as u64) < own.detections {
        problems.push(format!("{}: {} of {} were found", own.name, own.first_s.len(), own.detections));
    }
    let Some(plain) = plain.filter(|_| own.name == "lifeguard") else { return problems };
    for ((what, limit), share) in LIMITS.into_iter().zip(own.shares_of(plain)) {
        // Where plain SWIM has none, there must be none.
        let is_within = share.map_or_else(|| own.at_healthy == 0, |share| share <= limit);
        if !is_within {
            problems.push(format!("{}: {what} are {share:?} of plain SWIM's, above {limit}", own.name));
        }
    }
    problems
}

fn figure(outcomes: &[Outcome]) -> Figure {
    let points = |outcome: &Outcome| {
        let seconds = |(duration, count): &(Duration, u64)| (duration.as_secs_f64(), (*count).max(1) as f64);
        outcome.by_duration.iter().map(seconds).collect::<Vec<_>>()
    };
    let most = outcomes.iter().map(Outcome::false_positives).max().unwrap_or(1).max(10);
    let series =
        |outcome: &Outcome| Series { name: outcome.name.to_owned(), stroke: Stroke::Measured, points: points(outcome) };
    let panel = Panel {
        title: "Healthy members taken for failed".to_owned(),
        x: Axis::logarithmic("seconds for which others are slow at a time", 0.5, 40.0),
        y: Axis::logarithmic("false positives; those of none stand at 1", 1.0, most as f64),
        series: outcomes.iter().map(series).collect(),
    };
    Figure { panels: vec![panel] }
}
