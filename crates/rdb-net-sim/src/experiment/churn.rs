//! `churn`: members come and go all the time, and nobody who is there may be failed for it.
//!
//! Three ways to go and to come back: a host falls silent and starts again with what it had written down; the same, and it has
//! lost that, so that it asks a member that it knows; a member says farewell, stops, and starts anew. Churn is where others have
//! taken leavers for failed (hashicorp/consul #3706), could not get in for minutes (foca #19), and brought back ghosts
//! (hashicorp/memberlist #312).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdb_swim::{Snapshot, Swim};

use crate::experiment::Progress;
use crate::experiment::curve::{Of, curve};
use crate::experiment::seeds::{Seeds, option};
use crate::fleet::{Change, Fleet, FleetConfig, FleetError, Told};
use crate::report::{Axis, Cell, Figure, Findings, Panel, Table};

const STEP: Duration = Duration::from_millis(100);

/// The cluster lives for so long before anybody goes.
const CALM: Duration = Duration::from_secs(10);

/// A leaver's process stops so long after its farewell has begun.
const FAREWELL: Duration = Duration::from_secs(3);

/// For how long somebody is away.
const AWAY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(40));

/// Whoever has started is known so soon: a verdict about a former life may come as late.
const ARRIVAL: Duration = Duration::from_secs(1);

/// Of several seeds the median and the worst of these are told.
const FIGURES: [&str; 5] =
    ["failed wrongly", "leavers failed", "one view after (s)", "packets/member/s", "bytes/member/s"];

/// What `churn` does.
#[derive(Debug, Clone, PartialEq)]
pub struct ChurnPlan {
    /// Size of the cluster.
    pub members: usize,
    /// The first seed, from which everything random follows.
    pub seed: u64,
    /// How many seeds, one after the other. Default 1.
    pub seeds: u64,
    /// How long members come and go. Default 300 s.
    pub time: Duration,
    /// How many go each minute. Default: one in ten.
    pub a_minute: usize,
    /// Within which time there must be one view once nobody goes any more and all are back. Default 30 s.
    pub settle: Duration,
}

/// A way to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Silent,
    Forgetful,
    Leaving,
}

const WAYS: [Way; 3] = [Way::Silent, Way::Forgetful, Way::Leaving];

/// What happens next to somebody.
#[derive(Debug)]
enum Next {
    Stop,
    Start(Snapshot),
}

#[derive(Debug, Default)]
struct Outcome {
    gone: BTreeMap<Way, usize>,
    /// Verdicts by a member's own finding about somebody who was there.
    wrong: usize,
    /// Leavers that were taken for failed after all, by members that were there when they left.
    leavers_failed: usize,
    /// The same by members that have started since, with an old memory or an answer of somebody who knew no better.
    leavers_unknown: usize,
    failed: usize,
    left: usize,
    one_view: Option<Duration>,
    packets: f64,
    bytes: f64,
    trace: u64,
    up: Vec<(f64, f64)>,
    held: Vec<(f64, f64)>,
}

/// Who is away, and what becomes of them.
#[derive(Debug, Default)]
struct Goings {
    due: BTreeMap<(Duration, usize), Next>,
    away: BTreeSet<usize>,
    started: BTreeMap<usize, Duration>,
    /// Who goes by a farewell, since when, until it has started again.
    leaving: BTreeMap<usize, Duration>,
}

impl ChurnPlan {
    /// Five minutes in which one in ten goes each minute.
    pub fn new(members: usize, seed: u64) -> Self {
        let second = Duration::from_secs(1);
        Self { members, seed, seeds: 1, time: second * 300, a_minute: (members / 10).max(1), settle: second * 30 }
    }

    /// The command that does it again.
    pub fn replay(&self) -> String {
        let (Self { members, seed, a_minute, .. }, seeds, secs) = (self, option(self.seeds), self.time.as_secs());
        format!("rdb-net-sim churn --nodes {members} --seed {seed}{seeds} --time {secs} --churn {a_minute}")
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
        let mut fleet = Fleet::new(FleetConfig { syncs: true, ..FleetConfig::lan(self.members, self.seed) })?;
        let (mut outcome, mut goings) = (Outcome::default(), Goings::default());
        fleet.run_for(CALM);
        fleet.take_told();
        let (begun, before) = (fleet.now(), fleet.traffic());
        let gap = Duration::from_secs(60) / u32::try_from(self.a_minute.max(1)).unwrap_or(u32::MAX);
        let mut next_going = begun;
        // Until the time is over and everybody is back.
        while fleet.now() < begun + self.time || !goings.due.is_empty() {
            let elapsed = fleet.now() - begun;
            while next_going <= fleet.now() && elapsed < self.time {
                next_going += gap;
                goings.go(&mut fleet, &mut outcome);
            }
            goings.carry_on(&mut fleet);
            fleet.run_for(STEP);
            let told = fleet.take_told();
            outcome.judge(&told, &fleet, &goings);
            if elapsed.as_millis().is_multiple_of(1_000) {
                outcome.look(&fleet, elapsed);
                progress(elapsed.as_millis() as u64, (self.time + AWAY.1).as_millis() as u64);
            }
        }
        let ended = fleet.now();
        let (traffic, span) = (fleet.traffic(), (ended - begun).as_secs_f64() * self.members as f64);
        outcome.packets = (traffic.packets - before.packets) as f64 / span;
        outcome.bytes = (traffic.bytes - before.bytes) as f64 / span;
        while fleet.now() < ended + self.settle * 2 && outcome.one_view.is_none() {
            fleet.run_for(STEP);
            let told = fleet.take_told();
            outcome.judge(&told, &fleet, &goings);
            outcome.one_view = has_one_view(&fleet).then(|| fleet.now() - ended);
        }
        outcome.trace = fleet.trace();
        Ok(self.findings(&outcome))
    }

    fn findings(&self, outcome: &Outcome) -> Findings {
        let mut problems = Vec::new();
        if outcome.wrong > 0 {
            problems.push(format!("{} times somebody was failed who was there", outcome.wrong));
        }
        if outcome.leavers_failed > 0 {
            problems.push(format!("{} times somebody was failed who had said farewell", outcome.leavers_failed));
        }
        match outcome.one_view {
            Some(one_view) if one_view <= self.settle => {}
            Some(one_view) => problems.push(format!("one view after {one_view:?} only")),
            None => problems.push(format!("no one view within {:?}", self.settle * 2)),
        }
        let of = |way: Way| outcome.gone.get(&way).copied().unwrap_or_default();
        Findings {
            experiment: "churn",
            about: format!(
                "{} members with default settings; for {:?} {} a minute fall silent or leave, and start again within {:?}.",
                self.members, self.time, self.a_minute, AWAY.1
            ),
            table: Table {
                columns: vec![
                    "members",
                    "silent, memory kept",
                    "silent, memory lost",
                    "left",
                    "told failed",
                    "told left",
                    "failed wrongly",
                    "leavers failed",
                    "by later ones",
                    "one view after (s)",
                    "packets/member/s",
                    "bytes/member/s",
                    "trace",
                ],
                rows: vec![vec![
                    self.members.into(),
                    of(Way::Silent).into(),
                    of(Way::Forgetful).into(),
                    of(Way::Leaving).into(),
                    outcome.failed.into(),
                    outcome.left.into(),
                    outcome.wrong.into(),
                    outcome.leavers_failed.into(),
                    outcome.leavers_unknown.into(),
                    outcome.one_view.map_or(Cell::None, |time| Cell::Number(time.as_secs_f64(), 1)),
                    Cell::Number(outcome.packets, 2),
                    Cell::Number(outcome.bytes, 1),
                    Cell::Text(format!("{:016x}", outcome.trace)),
                ]],
            },
            figure: self.figure(outcome),
            summary: Table::default(),
            problems,
            replay: self.replay(),
        }
    }

    fn figure(&self, outcome: &Outcome) -> Figure {
        let least = outcome.up.iter().chain(&outcome.held).map(|(_, count)| *count).fold(self.members as f64, f64::min);
        let end = (self.time + AWAY.1).as_secs_f64();
        let panel = Panel {
            title: format!("{} a minute of {} members go and come back", self.a_minute, self.members),
            x: Axis::linear("seconds", 0.0, end),
            y: Axis::linear("members", (least * 0.99).floor(), self.members as f64),
            series: vec![curve("up", &outcome.up, Of::Mean), curve("held for there, mean", &outcome.held, Of::Mean)],
        };
        Figure { panels: vec![panel] }
    }
}

impl Goings {
    /// Somebody who is there goes.
    fn go(&mut self, fleet: &mut Fleet, outcome: &mut Outcome) {
        // Few are away, so one of these is there; where most are away, nobody goes this time.
        let drawn = draw(fleet, 64).into_iter().find(|node| !self.away.contains(node));
        let Some(node) = drawn else { return };
        let drawn = fleet.random().index(WAYS.len());
        let way = WAYS.get(drawn).copied().unwrap_or(Way::Silent);
        let pause = fleet.random().duration(AWAY.0, AWAY.1);
        let Some(mut memory) = fleet.member(node).map(Swim::snapshot) else { return };
        *outcome.gone.entry(way).or_default() += 1;
        self.away.insert(node);
        let now = fleet.now();
        if way != Way::Silent {
            memory.members.clear();
        }
        if way == Way::Leaving {
            self.leaving.insert(node, now);
            fleet.act(node, |swim, now| swim.leave(now));
            self.due.insert((now + FAREWELL, node), Next::Stop);
            self.due.insert((now + FAREWELL + pause, node), Next::Start(memory));
        } else {
            fleet.crash(node);
            self.due.insert((now + pause, node), Next::Start(memory));
        }
    }

    /// Does what is due.
    fn carry_on(&mut self, fleet: &mut Fleet) {
        while let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= fleet.now()) {
            let ((_, node), next) = entry.remove_entry();
            match next {
                Next::Stop => fleet.crash(node),
                Next::Start(memory) => {
                    fleet.restart(node, &memory);
                    self.started.insert(node, fleet.now());
                    self.leaving.remove(&node);
                    self.away.remove(&node);
                    // A process that starts asks a seed; whoever is there may be one.
                    let drawn = draw(fleet, 64);
                    let seed = drawn.into_iter().find(|seed| !self.away.contains(seed) && *seed != node);
                    if let Some(seed) = seed {
                        fleet.call_on(node, seed);
                    }
                }
            }
        }
    }
}

impl Outcome {
    fn judge(&mut self, told: &[Told], fleet: &Fleet, goings: &Goings) {
        for told in told.iter().filter(|told| fleet.is_up(told.by)) {
            match told.change {
                Change::Left => self.left += 1,
                Change::Failed => {
                    self.failed += 1;
                    let arrived = goings.started.get(&told.of).is_none_or(|at| told.at > *at + ARRIVAL);
                    let is_there = !goings.away.contains(&told.of) && arrived;
                    self.wrong += usize::from(told.is_own && is_there);
                    if let Some(since) = goings.leaving.get(&told.of) {
                        let was_there = goings.started.get(&told.by).is_none_or(|at| at < since);
                        self.leavers_failed += usize::from(was_there);
                        self.leavers_unknown += usize::from(!was_there);
                    }
                }
                _ => {}
            }
        }
    }

    fn look(&mut self, fleet: &Fleet, elapsed: Duration) {
        let up: Vec<&Swim> =
            (0..fleet.size()).filter(|node| fleet.is_up(*node)).filter_map(|node| fleet.member(node)).collect();
        let held: usize = up.iter().map(|member| member.alive_count()).sum();
        let seconds = elapsed.as_secs_f64();
        self.up.push((seconds, up.len() as f64));
        self.held.push((seconds, held as f64 / up.len().max(1) as f64));
    }
}

/// So many members, drawn, one perhaps more than once.
fn draw(fleet: &mut Fleet, count: usize) -> Vec<usize> {
    let size = fleet.size();
    (0..count).map(|_| fleet.random().index(size)).collect()
}

fn has_one_view(fleet: &Fleet) -> bool {
    let up = (0..fleet.size()).filter(|node| fleet.is_up(*node)).filter_map(|node| fleet.member(node));
    up.map(Swim::digest).collect::<BTreeSet<u64>>().len() == 1
}
