//! `partition`: the network comes apart for minutes and is mended, and everything stops in the middle of another partition.
//!
//! While it lasts each side must know of it, keep the members of the other side as failed, fail nobody of its own, and by each
//! split-brain strategy at most one side may go on. Afterwards all views must soon be one, without anybody's failing. In the
//! second run all members are killed while they are apart, and find together by their snapshots, in which half of them are
//! failed (hashicorp/serf #333).

use std::collections::BTreeSet;
use std::time::Duration;

use rdb_swim::{Decision, Snapshot, Strategy, Swim};

use crate::experiment::Progress;
use crate::experiment::seeds::{Seeds, option};
use crate::fleet::{Change, Fleet, FleetConfig, FleetError};
use crate::report::{Axis, Cell, Figure, Findings, Panel, Series, Stroke, Table};

/// How much simulated time lies between two looks.
const STEP: Duration = Duration::from_millis(100);

/// The cluster lives for so long before it comes apart, and after it is one again.
const CALM: Duration = Duration::from_secs(30);

/// How long hosts are off that all start again.
const OFF: Duration = Duration::from_secs(5);

/// Of several seeds the median and the worst of these are told.
const FIGURES: [&str; 5] = ["all know (s)", "dropped", "one view (s)", "packets/member/s", "failed wrongly"];

/// What `partition` does.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionPlan {
    /// Size of the cluster, half of it on each side.
    pub members: usize,
    /// The first seed, from which everything random follows.
    pub seed: u64,
    /// How many seeds, one after the other. Default 1.
    pub seeds: u64,
    /// For how long the network is apart. Default 300 s.
    pub cut: Duration,
    /// Within which time all must have one view after it is mended. Default 15 s.
    pub heal: Duration,
    /// Within which time all must know that they are apart. Default 60 s.
    pub notice: Duration,
}

/// One run.
#[derive(Debug, Default)]
struct Run {
    name: &'static str,
    restarts: bool,
    noticed: Option<Duration>,
    one_view: Option<Duration>,
    /// Members that go on by keep-majority, by keep-oldest, and by a quorum of more than half.
    going_on: [usize; 3],
    dropped: usize,
    failed_wrongly: usize,
    packets: f64,
    trace: u64,
    /// Shares of members by seconds since the cut, and of entries by seconds since it was mended.
    knowing: Vec<(f64, f64)>,
    missing: Vec<(f64, f64)>,
    problems: Vec<String>,
}

impl PartitionPlan {
    /// Five minutes apart.
    pub fn new(members: usize, seed: u64) -> Self {
        let second = Duration::from_secs(1);
        Self { members, seed, seeds: 1, cut: second * 300, heal: second * 15, notice: second * 60 }
    }

    /// The command that does it again.
    pub fn replay(&self) -> String {
        let (Self { members, seed, .. }, seeds, secs) = (self, option(self.seeds), self.cut.as_secs());
        format!("rdb-net-sim partition --nodes {members} --seed {seed}{seeds} --time {secs}")
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
        let second_cut = self.notice.min(self.cut);
        let total = CALM * 4 + self.cut + second_cut + OFF;
        let mut done = Duration::ZERO;
        let mut tick = |time: Duration| {
            done += time;
            progress(done.as_millis() as u64, total.as_millis() as u64);
        };
        let runs = [
            self.run_one("apart, then mended", self.cut, false, &mut tick)?,
            self.run_one("all restarted while apart", second_cut, true, &mut tick)?,
        ];
        Ok(self.findings(&runs))
    }

    fn run_one(
        &self,
        name: &'static str,
        cut: Duration,
        restarts: bool,
        tick: &mut impl FnMut(Duration),
    ) -> Result<Run, FleetError> {
        let mut fleet = Fleet::new(FleetConfig { syncs: true, ..FleetConfig::lan(self.members, self.seed) })?;
        let mut run = Run { name, restarts, ..Run::default() };
        fleet.run_for(CALM);
        tick(CALM);
        let far = self.far_side(&mut fleet);
        fleet.split(|node| far.contains(&node));
        self.stay_apart(&mut fleet, &mut run, cut, tick);
        if restarts {
            let memories: Vec<Snapshot> = members(&fleet).map(Swim::snapshot).collect();
            (0..fleet.size()).for_each(|node| fleet.crash(node));
            fleet.run_for(OFF);
            tick(OFF);
            fleet.mend();
            memories.iter().enumerate().for_each(|(node, memory)| fleet.restart(node, memory));
            // Each calls on somebody whom it remembers, as a node calls on its addresses.
            let size = fleet.size();
            (0..size).for_each(|node| {
                let ahead = 1 + fleet.random().index(size - 1);
                fleet.call_on(node, (node + ahead) % size);
            });
            fleet.take_told();
        } else {
            fleet.mend();
        }
        self.come_together(&mut fleet, &mut run, tick);
        run.trace = fleet.trace();
        Ok(run)
    }

    /// Half of the members, drawn.
    fn far_side(&self, fleet: &mut Fleet) -> BTreeSet<usize> {
        let mut all: Vec<usize> = (0..self.members).collect();
        fleet.random().shuffle(&mut all);
        all.into_iter().take(self.members / 2).collect()
    }

    fn stay_apart(&self, fleet: &mut Fleet, run: &mut Run, cut: Duration, tick: &mut impl FnMut(Duration)) {
        let begun = fleet.now();
        while fleet.now() < begun + cut {
            let step = STEP.min(begun + cut - fleet.now());
            fleet.run_for(step);
            tick(step);
            let told = fleet.take_told();
            let wrong = told.iter().filter(|told| told.change == Change::Failed && !fleet.is_cut(told.by, told.of));
            run.failed_wrongly += wrong.count();
            let elapsed = fleet.now() - begun;
            let knowing = members(fleet).filter(|member| self.knows_all(member)).count();
            run.knowing.push((elapsed.as_secs_f64(), knowing as f64 / self.members as f64));
            if knowing == self.members && run.noticed.is_none() {
                run.noticed = Some(elapsed);
            }
        }
        run.dropped = members(fleet).map(|member| self.members.saturating_sub(member.members().count())).sum();
        let strategies =
            [Strategy::KeepMajority, Strategy::KeepOldest, Strategy::StaticQuorum { members: self.members / 2 + 1 }];
        for (strategy, going_on) in strategies.into_iter().zip(&mut run.going_on) {
            let stays = |side: bool| {
                let side = (0..fleet.size()).filter(|node| fleet.is_cut(*node, 0) == side);
                let decided = side.filter_map(|node| fleet.member(node)).map(|member| member.decide_split(strategy));
                decided.filter(|decision| *decision == Decision::Stay).count()
            };
            let (near, far) = (stays(false), stays(true));
            *going_on = near + far;
            if near > 0 && far > 0 {
                run.problems.push(format!("{}: both sides go on by {strategy:?}", run.name));
            }
        }
        match run.noticed {
            Some(noticed) if noticed <= self.notice => {}
            _ => run.problems.push(format!("{}: not everybody knew of it within {:?}", run.name, self.notice)),
        }
        if run.dropped > 0 {
            run.problems.push(format!("{}: {} entries were dropped", run.name, run.dropped));
        }
    }

    /// Whether a member knows of the partition and holds the whole other side for failed.
    fn knows_all(&self, member: &Swim) -> bool {
        let other_side = self.members - member.alive_count();
        let halves = [self.members / 2, self.members - self.members / 2];
        halves.contains(&other_side) && member.partition().is_some_and(|partition| partition.unreachable == other_side)
    }

    fn come_together(&self, fleet: &mut Fleet, run: &mut Run, tick: &mut impl FnMut(Duration)) {
        let (begun, before) = (fleet.now(), fleet.traffic().packets);
        let mut end = begun + self.heal * 4;
        while fleet.now() < end {
            let step = STEP.min(end - fleet.now());
            fleet.run_for(step);
            let elapsed = fleet.now() - begun;
            let missing: usize = members(fleet).map(|member| self.members - member.alive_count()).sum();
            let pairs = (self.members * self.members) as f64;
            run.missing.push((elapsed.as_secs_f64(), missing as f64 / pairs));
            if run.one_view.is_none() && missing == 0 && has_one_view(fleet) {
                run.one_view = Some(elapsed);
                run.packets = (fleet.traffic().packets - before) as f64 / self.members as f64 / elapsed.as_secs_f64();
                end = fleet.now() + CALM;
            }
        }
        tick(CALM);
        let told = fleet.take_told();
        // A former life's end is told with the new life, and rightly so: then only what a member has found by itself counts.
        let wrong = told.iter().filter(|told| told.change == Change::Failed && (told.is_own || !run.restarts));
        run.failed_wrongly += wrong.count();
        match run.one_view {
            Some(one_view) if one_view <= self.heal => {}
            Some(one_view) => run.problems.push(format!("{}: one view after {one_view:?} only", run.name)),
            None => run.problems.push(format!("{}: no one view within {:?}", run.name, self.heal * 4)),
        }
        if run.failed_wrongly > 0 {
            run.problems
                .push(format!("{}: {} times somebody was failed who could be reached", run.name, run.failed_wrongly));
        }
        let apart = members(fleet).filter(|member| member.partition().is_some()).count();
        if apart > 0 || !has_one_view(fleet) {
            run.problems.push(format!("{}: {apart} members think themselves apart at the end", run.name));
        }
    }

    fn findings(&self, runs: &[Run]) -> Findings {
        let seconds = |time: Option<Duration>| time.map_or(Cell::None, |time| Cell::Number(time.as_secs_f64(), 1));
        let row = |run: &Run| {
            vec![
                Cell::Text(run.name.to_owned()),
                self.members.into(),
                seconds(run.noticed),
                run.going_on[0].into(),
                run.going_on[1].into(),
                run.going_on[2].into(),
                run.dropped.into(),
                seconds(run.one_view),
                Cell::Number(run.packets, 1),
                run.failed_wrongly.into(),
                Cell::Text(format!("{:016x}", run.trace)),
            ]
        };
        Findings {
            experiment: "partition",
            about: format!(
                "{} members with default settings come apart into halves for {:?} and are mended; then once more, and all of them are restarted from snapshots.",
                self.members, self.cut
            ),
            table: Table {
                columns: vec![
                    "run",
                    "members",
                    "all know (s)",
                    "keep-majority",
                    "keep-oldest",
                    "quorum",
                    "dropped",
                    "one view (s)",
                    "packets/member/s",
                    "failed wrongly",
                    "trace",
                ],
                rows: runs.iter().map(row).collect(),
            },
            figure: figure(runs),
            summary: Table::default(),
            problems: runs.iter().flat_map(|run| run.problems.clone()).collect(),
            replay: self.replay(),
        }
    }
}

fn members(fleet: &Fleet) -> impl Iterator<Item = &Swim> {
    (0..fleet.size()).filter_map(|node| fleet.member(node))
}

fn has_one_view(fleet: &Fleet) -> bool {
    members(fleet).map(Swim::digest).collect::<BTreeSet<u64>>().len() == 1
}

fn figure(runs: &[Run]) -> Figure {
    const SHOWN_S: f64 = 30.0;
    let panel = |title: &str, x: &str, y: &str, points: fn(&Run) -> &Vec<(f64, f64)>| Panel {
        title: title.to_owned(),
        x: Axis::linear(x, 0.0, SHOWN_S),
        y: Axis::linear(y, 0.0, 1.0),
        series: runs
            .iter()
            .map(|run| Series {
                name: run.name.to_owned(),
                stroke: Stroke::Measured,
                // Every half second.
                points: points(run).iter().step_by(5).filter(|(x, _)| *x <= SHOWN_S).copied().collect(),
            })
            .collect(),
    };
    let knowing =
        panel("Two halves", "seconds since the cut", "share of members that hold the other half for failed", |run| {
            &run.knowing
        });
    let missing =
        panel("Two halves that are mended", "seconds since then", "share of entries that are not alive", |run| {
            &run.missing
        });
    Figure { panels: vec![knowing, missing] }
}
