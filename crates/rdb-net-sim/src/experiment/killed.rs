//! `killed`: how long until everybody knows of a process that was killed, in clusters of whole nodes with default settings.
//!
//! Its host refuses connections from then on, which those see that keep a link to it. Two that do are enough for everybody. Serf
//! and its like take such a host for a silent one: 8.7 s at 50 members.

use std::time::Duration;

use rdb_net_types::NodeState;

use crate::config::Config;
use crate::experiment::Progress;
use crate::experiment::spread::Spread;
use crate::report::{Axis, Cell, Figure, Findings, Panel, Series, Stroke, Table};
use crate::simulation::Simulation;

/// The longest that anybody may need to know; what takes longer is a problem of its own.
const PATIENCE: Duration = Duration::from_secs(30);

/// So many kills of one cluster, then another one is begun: each killed process is started again.
const KILLS_EACH: usize = 50;

/// What `killed` does.
#[derive(Debug, Clone, PartialEq)]
pub struct KilledPlan {
    /// Sizes, a row for each.
    pub sizes: Vec<usize>,
    /// Everything random follows from it.
    pub seed: u64,
    /// Kills of each size. Default 100.
    pub kills: usize,
}

#[derive(Debug)]
struct Row {
    nodes: usize,
    to_all: Spread,
    missed: usize,
    by_refusal: u64,
    problems: Vec<String>,
}

impl KilledPlan {
    /// A hundred kills of each size.
    pub fn new(sizes: Vec<usize>, seed: u64) -> Self {
        Self { sizes, seed, kills: 100 }
    }

    /// The command that does it again.
    pub fn replay(&self) -> String {
        let sizes: Vec<String> = self.sizes.iter().map(usize::to_string).collect();
        format!("rdb-net-sim killed --nodes {} --seed {} --crashes {}", sizes.join(","), self.seed, self.kills)
    }

    /// Carries it out.
    pub fn run(&self, progress: &mut Progress<'_>) -> Findings {
        let total = (self.sizes.len() * self.kills) as u64;
        let mut done = 0;
        let rows: Vec<Row> = self
            .sizes
            .iter()
            .map(|nodes| {
                self.row(*nodes, &mut || {
                    done += 1;
                    progress(done, total);
                })
            })
            .collect();
        self.findings(&rows)
    }

    fn row(&self, nodes: usize, tick: &mut dyn FnMut()) -> Row {
        let mut row = Row { nodes, to_all: Spread::default(), missed: 0, by_refusal: 0, problems: Vec::new() };
        let (mut times, mut cluster) = (Vec::new(), 0);
        while times.len() + row.missed < self.kills {
            let Some(mut simulation) = formed(nodes, self.seed + cluster) else {
                row.problems.push(format!("{nodes} nodes did not form a cluster"));
                break;
            };
            cluster += 1;
            for _ in 0..KILLS_EACH.min(self.kills - times.len() - row.missed) {
                match kill(&mut simulation, &mut row.by_refusal) {
                    Some(time) => times.push(time.as_secs_f64()),
                    None => row.missed += 1,
                }
                tick();
            }
            let found = simulation.violations();
            row.problems.extend(found.iter().take(5).map(|violation| format!("{nodes} nodes: {violation}")));
        }
        row.to_all = Spread::new(times);
        row
    }

    fn findings(&self, rows: &[Row]) -> Findings {
        let mut problems = Vec::new();
        for row in rows {
            problems.extend(row.problems.iter().cloned());
            if row.missed > 0 {
                problems.push(format!("{} nodes: {} kills were not known to everybody", row.nodes, row.missed));
            }
            let (median, late) = if row.nodes <= 50 { (1.0, 2.0) } else { (2.0, 4.0) };
            for (share, name, most) in [(0.5, "median", median), (0.99, "p99", late)] {
                if let Some(found) = row.to_all.quantile(share).filter(|found| *found > most) {
                    problems.push(format!("{} nodes: {name} {found:.2} s is above {most} s", row.nodes));
                }
            }
        }
        let number = |number: Option<f64>| number.map_or(Cell::None, |number| Cell::Number(number, 3));
        let cells = |row: &Row| {
            vec![
                row.nodes.into(),
                row.to_all.count().into(),
                number(row.to_all.quantile(0.5)),
                number(row.to_all.quantile(0.99)),
                number(row.to_all.most()),
                Cell::Count(row.by_refusal),
            ]
        };
        Findings {
            experiment: "killed",
            about: format!(
                "{} processes of each row are killed and started again, in clusters of whole nodes.",
                self.kills
            ),
            table: Table {
                columns: vec![
                    "nodes",
                    "kills",
                    "everybody knows, median (s)",
                    "p99 (s)",
                    "most (s)",
                    "verdicts by refusal",
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

/// A cluster in which everybody knows everybody and has its links.
fn formed(nodes: usize, seed: u64) -> Option<Simulation> {
    let mut simulation = Simulation::new(Config::lan(nodes, seed));
    for node in 0..nodes {
        simulation.start(node).expect("invariant: default settings are legal");
        simulation.run_for(Duration::from_millis(1));
    }
    simulation.run_until(PATIENCE * 2, |simulation| simulation.agrees(nodes))?;
    simulation.run_for(Duration::from_secs(5));
    Some(simulation)
}

/// Kills a process, and starts another one on its host once everybody knows.
fn kill(simulation: &mut Simulation, by_refusal: &mut u64) -> Option<Duration> {
    let (nodes, before) = (simulation.nodes(), refused(simulation));
    let wait = simulation.random.duration(Duration::from_secs(1), Duration::from_secs(3));
    simulation.run_for(wait);
    let victim = simulation.random.index(nodes);
    simulation.crash(victim);
    let took = simulation.run_until(PATIENCE, |simulation| simulation.all_hold(victim, NodeState::Failed));
    *by_refusal += refused(simulation).saturating_sub(before);
    simulation.start(victim).expect("invariant: default settings are legal");
    simulation.run_until(PATIENCE, |simulation| simulation.agrees(nodes));
    took
}

fn refused(simulation: &Simulation) -> u64 {
    simulation.running().map(|(_, engine)| engine.membership().stats().failures_by_refusal).sum()
}

fn figure(rows: &[Row]) -> Figure {
    const SPAN_S: f64 = 2.0;
    // Whoever comes late is shown too.
    let span = rows.iter().filter_map(|row| row.to_all.most()).fold(SPAN_S, f64::max);
    let series = |row: &Row| Series {
        name: format!("{} nodes", row.nodes),
        stroke: Stroke::Measured,
        points: (0..=20)
            .filter_map(|step| {
                let share = f64::from(step) / 20.0;
                Some((row.to_all.quantile(share)?, share))
            })
            .collect(),
    };
    let panel = Panel {
        title: "Until everybody knows of a killed process".to_owned(),
        x: Axis::linear("seconds since it was killed", 0.0, span),
        y: Axis::linear("share of the kills", 0.0, 1.0),
        series: rows.iter().map(series).collect(),
    };
    Figure { panels: vec![panel] }
}
