//! `soak`: a large cluster with default settings lives for a while, and now and then a host goes silent.
//!
//! Gossip, suspicion and exchanges of views are on, nothing is lost. Of the living nobody may be suspected, every silent host must
//! be failed at everybody, and at the end all views must be one. Of ten thousand members and more a second may cost no more than a
//! second of one core, and all of it no more than 10 GiB; a debug build costs more and is not judged by that.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::experiment::Progress;
use crate::experiment::cost::{Cost, Meter};
use crate::experiment::curve::{Of, curve};
use crate::experiment::seeds::{Seeds, option};
use crate::experiment::spread::Spread;
use crate::fleet::{Change, Fleet, FleetConfig, FleetError, Told};
use crate::report::{Axis, Cell, Figure, Findings, Panel, Series, Stroke, Table};

/// How much simulated time lies between two reports of progress.
const STEP: Duration = Duration::from_millis(500);

/// Of several seeds the median and the worst of these are told.
const FIGURES: [&str; 5] =
    ["failed everywhere, median (s)", "most (s)", "packets/member/s", "bytes/member/s", "of one core (s)"];

/// What `soak` does.
#[derive(Debug, Clone, PartialEq)]
pub struct SoakPlan {
    /// Size of the cluster.
    pub members: usize,
    /// The first seed, from which everything random follows.
    pub seed: u64,
    /// How many seeds, one after the other. Default 1.
    pub seeds: u64,
    /// For how long. Default 60 s.
    pub time: Duration,
    /// Time between two hosts that go silent; the last may be no later than `settle` before the end. Default 10 s.
    pub crash_every: Duration,
    /// Time within which everybody must know of a silent host. Default 13 s.
    pub settle: Duration,
}

impl SoakPlan {
    /// A minute of so many members.
    pub fn new(members: usize, seed: u64) -> Self {
        let second = Duration::from_secs(1);
        Self { members, seed, seeds: 1, time: second * 60, crash_every: second * 10, settle: second * 13 }
    }

    /// The command that does it again.
    pub fn replay(&self) -> String {
        let (Self { members, seed, .. }, seeds, secs) = (self, option(self.seeds), self.time.as_secs());
        format!("rdb-net-sim soak --nodes {members} --seed {seed}{seeds} --time {secs}")
    }

    /// Carries it out.
    ///
    /// # Errors
    ///
    /// [`FleetError`] where the size is not legal.
    pub fn run(&self, progress: &mut Progress<'_>) -> Result<Findings, FleetError> {
        let seeds = Seeds { first: self.seed, count: self.seeds, figures: &FIGURES, replay: self.replay() };
        seeds.run(progress, |seed, progress| Self { seed, seeds: 1, ..self.clone() }.run_seed(progress))
    }

    fn run_seed(&self, progress: &mut Progress<'_>) -> Result<Findings, FleetError> {
        let meter = Meter::start();
        let mut fleet = Fleet::new(FleetConfig { syncs: true, ..FleetConfig::lan(self.members, self.seed) })?;
        let start = fleet.now();
        let mut crashes: Vec<(Duration, usize)> = Vec::new();
        let (mut told, mut sent) = (Vec::new(), Vec::new());
        while fleet.now() < start + self.time {
            let elapsed = fleet.now() - start;
            let due = self.crash_every * (crashes.len() as u32 + 1);
            if elapsed >= due && elapsed + self.settle <= self.time {
                crashes.push((fleet.now(), self.crash_one(&mut fleet)));
            }
            let before = fleet.traffic().packets;
            let step = STEP.min(self.time - elapsed);
            fleet.run_for(step);
            let rate = (fleet.traffic().packets - before) as f64 / self.members as f64 / step.as_secs_f64();
            sent.push(((elapsed + step).as_secs_f64(), rate));
            told.append(&mut fleet.take_told());
            progress((fleet.now() - start).as_millis() as u64, self.time.as_millis() as u64);
        }
        let cost = meter.read();
        let mut findings = self.findings(&fleet, &crashes, &told, cost);
        findings.figure.panels.push(self.sending(&sent));
        Ok(findings)
    }

    fn crash_one(&self, fleet: &mut Fleet) -> usize {
        // Few of many are down, so this ends soon.
        loop {
            let size = fleet.size();
            let drawn = fleet.random().index(size);
            if fleet.is_up(drawn) {
                fleet.crash(drawn);
                return drawn;
            }
        }
    }

    fn findings(&self, fleet: &Fleet, crashes: &[(Duration, usize)], told: &[Told], cost: Cost) -> Findings {
        let silent = |of: usize| crashes.iter().any(|(_, node)| *node == of);
        let mut problems = cost.problems(self.members, self.time);
        let wronged = told.iter().filter(|told| !silent(told.of) && told.change != Change::Updated).count();
        if wronged > 0 {
            problems.push(format!("{wronged} times somebody was doubted who was there"));
        }
        let mut to_all = Vec::new();
        for (at, node) in crashes {
            let verdicts = told.iter().filter(|told| told.of == *node && told.change == Change::Failed);
            let everybody = verdicts.clone().map(|told| told.by).collect::<BTreeSet<_>>();
            let missing = (0..fleet.size()).filter(|node| fleet.is_up(*node) && !everybody.contains(node)).count();
            match verdicts.filter(|told| fleet.is_up(told.by)).map(|told| told.at).max() {
                Some(last) if missing == 0 => to_all.push((last - *at).as_secs_f64()),
                _ => problems.push(format!("{missing} members do not know that m{node:06} has failed")),
            }
        }
        let views = (0..fleet.size()).filter(|node| fleet.is_up(*node)).filter_map(|node| fleet.member(node));
        let views: BTreeSet<u64> = views.map(rdb_swim::Swim::digest).collect();
        if views.len() > 1 {
            problems.push(format!("there are {} different views at the end", views.len()));
        }
        let to_all = Spread::new(to_all);
        if to_all.most().is_some_and(|most| most > self.settle.as_secs_f64()) {
            problems.push(format!("not everybody knew within {:?}", self.settle));
        }
        Findings {
            experiment: "soak",
            about: format!(
                "{} members with default settings, {:?} of simulated time, exchanges of views included; a host goes silent every {:?}.",
                self.members, self.time, self.crash_every
            ),
            table: self.table(fleet, crashes.len(), &to_all, cost),
            figure: figure(crashes, told, fleet),
            summary: Table::default(),
            problems,
            replay: self.replay(),
        }
    }

    /// What is sent, by the time since the run began.
    fn sending(&self, sent: &[(f64, f64)]) -> Panel {
        let most = sent.iter().map(|(_, rate)| *rate).fold(4.0, f64::max);
        Panel {
            title: format!("What {} members send", self.members),
            x: Axis::linear("seconds", 0.0, self.time.as_secs_f64()),
            y: Axis::linear("packets a member and second", 0.0, most),
            series: vec![curve("packets", sent, Of::Mean)],
        }
    }

    fn table(&self, fleet: &Fleet, crashes: usize, to_all: &Spread, cost: Cost) -> Table {
        let traffic = fleet.traffic();
        let member_seconds = self.members as f64 * self.time.as_secs_f64();
        let number = |number: Option<f64>, digits| number.map_or(Cell::None, |number| Cell::Number(number, digits));
        let mut table = Table {
            columns: vec![
                "members",
                "simulated (s)",
                "silent hosts",
                "failed everywhere, median (s)",
                "most (s)",
                "packets",
                "packets/member/s",
                "bytes/member/s",
                "exchanges",
                "exchanged bytes/member/s",
                "packets under way, most",
                "trace",
            ],
            rows: vec![vec![
                self.members.into(),
                Cell::Number(self.time.as_secs_f64(), 0),
                crashes.into(),
                number(to_all.quantile(0.5), 2),
                number(to_all.most(), 2),
                Cell::Count(traffic.packets),
                Cell::Number(traffic.packets as f64 / member_seconds, 2),
                Cell::Number(traffic.bytes as f64 / member_seconds, 1),
                Cell::Count(traffic.syncs),
                Cell::Number(traffic.sync_bytes as f64 / member_seconds, 1),
                fleet.under_way_max().into(),
                Cell::Text(format!("{:016x}", fleet.trace())),
            ]],
        };
        table.columns.extend(Cost::COLUMNS);
        table.rows.iter_mut().for_each(|row| row.extend(cost.cells(self.members)));
        table
    }
}

/// Who knows of each silent host, by the time since it fell silent.
fn figure(crashes: &[(Duration, usize)], told: &[Told], fleet: &Fleet) -> Figure {
    const POINTS: usize = 60;
    const SPAN_S: f64 = 12.0;
    let living = (0..fleet.size()).filter(|node| fleet.is_up(*node)).count().max(1) as f64;
    let share_of = |change: Change, name: &str| {
        let share = |point: usize| {
            let after = Duration::from_secs_f64(SPAN_S * point as f64 / POINTS as f64);
            let of = |(at, node): &(Duration, usize)| {
                let is_it = |told: &&Told| told.of == *node && told.change == change && told.at <= *at + after;
                told.iter().filter(is_it).count() as f64 / living
            };
            let sum: f64 = crashes.iter().map(of).sum();
            (after.as_secs_f64(), (sum / crashes.len().max(1) as f64).min(1.0))
        };
        Series { name: name.to_owned(), stroke: Stroke::Measured, points: (0..=POINTS).map(share).collect() }
    };
    let panel = Panel {
        title: format!("A silent host among {} members", fleet.size()),
        x: Axis::linear("seconds since it fell silent", 0.0, SPAN_S),
        y: Axis::linear("share of the members that hold it so", 0.0, 1.0),
        series: vec![share_of(Change::Suspected, "suspect"), share_of(Change::Failed, "failed")],
    };
    Figure { panels: vec![panel] }
}
