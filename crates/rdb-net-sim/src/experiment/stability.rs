//! `stability`: a few members are faulty, and nobody else may suffer for it.
//!
//! Rapid (Suresh and others, ATC 2018) showed with three scenarios that membership services go back and forth under failures
//! that are none of a whole process: one member in a hundred loses 80 % of what comes in, or of what goes out; one in a hundred
//! hears nothing for 20 s of every 40, which is its flip-flopping one-way partition; ten crash at once. Its measure is kept here: how
//! many different views there are. Those that count are the views at the end of the faults, at most two, and afterwards, one; how many
//! there ever were is shown and not judged.

use std::collections::BTreeSet;
use std::time::Duration;

use rdb_swim::Swim;

use crate::experiment::Progress;
use crate::experiment::curve::{Of, curve};
use crate::experiment::seeds::{Seeds, option};
use crate::experiment::views::Views;
use crate::fleet::{Change, Fleet, FleetConfig, FleetError, LinkLoss, Told};
use crate::report::{Axis, Cell, Figure, Findings, Panel, Table};

const STEP: Duration = Duration::from_millis(500);

/// The cluster lives for so long before anything is faulty.
const CALM: Duration = Duration::from_secs(20);

/// How long members hear nothing, and then hear again.
const FLIP: Duration = Duration::from_secs(20);

/// How many crash at once.
const CRASHES: usize = 10;

/// What is faulty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Ingress,
    Egress,
    FlipFlop,
    Crashes,
}

const FAULTS: [Fault; 4] = [Fault::Ingress, Fault::Egress, Fault::FlipFlop, Fault::Crashes];

/// Of several seeds the median and the worst of these are told.
const FIGURES: [&str; 4] =
    ["healthy failed", "views at the end of the faults", "one view after (s)", "packets/member/s"];

/// What `stability` does.
#[derive(Debug, Clone, PartialEq)]
pub struct StabilityPlan {
    /// Size of the cluster.
    pub members: usize,
    /// The first seed, from which everything random follows.
    pub seed: u64,
    /// How many seeds, one after the other. Default 1.
    pub seeds: u64,
    /// How long the faults last. Default 120 s.
    pub time: Duration,
    /// How long after them there must be one view. Default 60 s.
    pub settle: Duration,
}

#[derive(Debug)]
struct Run {
    fault: Fault,
    faulty: usize,
    /// Of the faulty, those whom any healthy member has held for failed.
    failed: usize,
    /// Verdicts of healthy members about healthy ones.
    wrong: usize,
    /// Of them, those that a healthy member has come to by itself.
    wrong_own: usize,
    last_views: usize,
    ever: usize,
    one_view: Option<Duration>,
    packets: f64,
    trace: u64,
    views: Vec<(f64, f64)>,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::Ingress => "80 % ingress loss",
            Self::Egress => "80 % egress loss",
            Self::FlipFlop => "deaf 20 s of 40 s",
            Self::Crashes => "10 crashes at once",
        }
    }

    fn begin(self, fleet: &mut Fleet, faulty: &BTreeSet<usize>) {
        let loss = match self {
            Self::Ingress => LinkLoss { ingress: 0.8, egress: 0.0 },
            Self::Egress => LinkLoss { ingress: 0.0, egress: 0.8 },
            Self::FlipFlop => LinkLoss { ingress: 1.0, egress: 0.0 },
            Self::Crashes => return faulty.iter().for_each(|node| fleet.crash(*node)),
        };
        faulty.iter().for_each(|node| fleet.set_link_loss(*node, loss));
    }

    /// How much of what comes to the faulty is lost at this time, where that changes.
    fn ingress_loss(self, elapsed: Duration) -> Option<f64> {
        let flips = elapsed.as_millis() / FLIP.as_millis();
        (self == Self::FlipFlop).then(|| if flips.is_multiple_of(2) { 1.0 } else { 0.0 })
    }
}

impl StabilityPlan {
    /// Two minutes of each fault.
    pub fn new(members: usize, seed: u64) -> Self {
        Self { members, seed, seeds: 1, time: Duration::from_secs(120), settle: Duration::from_secs(60) }
    }

    /// The command that does it again.
    pub fn replay(&self) -> String {
        let (Self { members, seed, .. }, seeds, secs) = (self, option(self.seeds), self.time.as_secs());
        format!("rdb-net-sim stability --nodes {members} --seed {seed}{seeds} --time {secs}")
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
        let total = FAULTS.len() as u64;
        let mut runs = Vec::new();
        for fault in FAULTS {
            progress(runs.len() as u64, total);
            runs.push(self.run_one(fault)?);
        }
        progress(total, total);
        Ok(self.findings(&runs))
    }

    fn run_one(&self, fault: Fault) -> Result<Run, FleetError> {
        let mut fleet = Fleet::new(FleetConfig { syncs: true, ..FleetConfig::lan(self.members, self.seed) })?;
        fleet.run_for(CALM);
        let count = if fault == Fault::Crashes { CRASHES.min(self.members / 4) } else { (self.members / 100).max(1) };
        let mut all: Vec<usize> = (0..self.members).collect();
        fleet.random().shuffle(&mut all);
        let faulty: BTreeSet<usize> = all.iter().take(count).copied().collect();
        let healthy: BTreeSet<usize> = all.iter().skip(count).copied().collect();
        let mut told: Vec<Told> = fleet.take_told();
        let (mut views, mut looks) = (Views::new(healthy.clone()), Vec::new());
        let (begun, before) = (fleet.now(), fleet.traffic().packets);
        fault.begin(&mut fleet, &faulty);
        while fleet.now() < begun + self.time {
            let elapsed = fleet.now() - begun;
            if let Some(ingress) = fault.ingress_loss(elapsed) {
                faulty.iter().for_each(|node| fleet.set_link_loss(*node, LinkLoss { ingress, egress: 0.0 }));
            }
            fleet.run_for(STEP.min(self.time - elapsed));
            let fresh = fleet.take_told();
            views.take(&fresh);
            told.extend(fresh);
            looks.push(((fleet.now() - begun).as_secs_f64(), views.now() as f64));
        }
        let packets = (fleet.traffic().packets - before) as f64 / self.members as f64 / self.time.as_secs_f64();
        let last_views = views.now();
        if fault != Fault::Crashes {
            faulty.iter().for_each(|node| fleet.set_link_loss(*node, LinkLoss::default()));
        }
        let ended = fleet.now();
        let mut one_view = None;
        while fleet.now() < ended + self.settle {
            fleet.run_for(STEP.min(ended + self.settle - fleet.now()));
            let fresh = fleet.take_told();
            views.take(&fresh);
            told.extend(fresh);
            looks.push(((fleet.now() - begun).as_secs_f64(), views.now() as f64));
            match (has_one_view(&fleet), one_view) {
                (true, None) => one_view = Some(fleet.now() - ended),
                (false, Some(_)) => one_view = None,
                _ => {}
            }
        }
        let verdicts = told.iter().filter(|told| told.change == Change::Failed && healthy.contains(&told.by));
        let failed: BTreeSet<usize> = verdicts.clone().map(|told| told.of).filter(|of| faulty.contains(of)).collect();
        let wrong = verdicts.clone().filter(|told| healthy.contains(&told.of));
        Ok(Run {
            fault,
            faulty: faulty.len(),
            failed: failed.len(),
            wrong: wrong.clone().count(),
            wrong_own: wrong.filter(|told| told.is_own).count(),
            last_views,
            ever: views.ever(),
            one_view,
            packets,
            trace: fleet.trace(),
            views: looks,
        })
    }

    fn findings(&self, runs: &[Run]) -> Findings {
        let mut problems = Vec::new();
        for run in runs {
            let name = run.fault.name();
            if run.wrong > 0 {
                problems.push(format!("{name}: {} times a healthy member was failed by a healthy one", run.wrong));
            }
            if run.last_views > 2 {
                problems.push(format!("{name}: {} different views when the faults end", run.last_views));
            }
            if run.one_view.is_none() {
                problems.push(format!("{name}: no one view within {:?} after the faults", self.settle));
            }
            if run.fault == Fault::Crashes && run.failed < run.faulty {
                problems.push(format!("{name}: {} of them were never failed", run.faulty - run.failed));
            }
        }
        let row = |run: &Run| {
            vec![
                Cell::Text(run.fault.name().to_owned()),
                self.members.into(),
                run.faulty.into(),
                run.failed.into(),
                run.wrong.into(),
                run.wrong_own.into(),
                run.last_views.into(),
                run.ever.into(),
                run.one_view.map_or(Cell::None, |time| Cell::Number(time.as_secs_f64(), 1)),
                Cell::Number(run.packets, 2),
                Cell::Text(format!("{:016x}", run.trace)),
            ]
        };
        Findings {
            experiment: "stability",
            about: format!(
                "{} members with default settings, a few of them faulty for {:?}; views are those of the others.",
                self.members, self.time
            ),
            table: Table {
                columns: vec![
                    "fault",
                    "members",
                    "faulty",
                    "of them failed",
                    "healthy failed",
                    "by themselves",
                    "views at the end of the faults",
                    "views ever",
                    "one view after (s)",
                    "packets/member/s",
                    "trace",
                ],
                rows: runs.iter().map(row).collect(),
            },
            figure: self.figure(runs),
            summary: Table::default(),
            problems,
            replay: self.replay(),
        }
    }

    fn figure(&self, runs: &[Run]) -> Figure {
        let most = runs.iter().flat_map(|run| &run.views).map(|(_, views)| *views).fold(2.0, f64::max);
        let end = (self.time + self.settle).as_secs_f64();
        Figure {
            panels: vec![Panel {
                title: format!("Different views among {} members", self.members),
                x: Axis::linear("seconds since the faults began", 0.0, end),
                y: Axis::linear("views at one moment, the most", 0.0, most),
                series: runs.iter().map(|run| curve(run.fault.name(), &run.views, Of::Greatest)).collect(),
            }],
        }
    }
}

/// Whether all members that run have one view.
fn has_one_view(fleet: &Fleet) -> bool {
    let up = (0..fleet.size()).filter(|node| fleet.is_up(*node)).filter_map(|node| fleet.member(node));
    up.map(Swim::digest).collect::<BTreeSet<u64>>().len() == 1
}
