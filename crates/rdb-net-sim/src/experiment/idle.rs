//! `idle`: what a node that does nothing sends, in clusters of whole nodes with default settings.
//!
//! SWIM's promise is a load that does not grow with the cluster (DSN 2002, section 3.2): two packets a member and period. Here it is
//! measured with everything that a node does besides: gossip, exchanges of views, kept links.

use std::time::Duration;

use crate::config::Config;
use crate::experiment::Progress;
use crate::experiment::curve::{Of, curve};
use crate::report::{Axis, Cell, Figure, Findings, Panel, Table};
use crate::simulation::Simulation;

/// Until what joining has left is over.
const SETTLE: Duration = Duration::from_secs(90);

/// Headers of IP and UDP, which a network counts as well.
const HEADER_BYTES: f64 = 28.0;

const PACKETS_MAX: f64 = 2.5;
const BYTES_MAX: f64 = 200.0;

/// How much simulated time a point of the picture stands for.
const STEP: Duration = Duration::from_secs(1);

/// How much more than the smallest cluster's node any other one's may send.
const GROWTH_MAX: f64 = 1.1;

/// What `idle` does.
#[derive(Debug, Clone, PartialEq)]
pub struct IdlePlan {
    /// Sizes, a row for each.
    pub sizes: Vec<usize>,
    /// Everything random follows from it.
    pub seed: u64,
    /// For how long is counted.
    pub time: Duration,
}

#[derive(Debug)]
struct Row {
    nodes: usize,
    is_one_view: bool,
    packets: f64,
    bytes: f64,
    segments: f64,
    dials: u64,
    /// Packets a node sends, by second.
    by_second: Vec<(f64, f64)>,
}

impl IdlePlan {
    /// Two minutes of each size.
    pub fn new(sizes: Vec<usize>, seed: u64) -> Self {
        Self { sizes, seed, time: Duration::from_secs(120) }
    }

    /// The command that does it again.
    pub fn replay(&self) -> String {
        let sizes: Vec<String> = self.sizes.iter().map(usize::to_string).collect();
        format!("rdb-net-sim idle --nodes {} --seed {} --time {}", sizes.join(","), self.seed, self.time.as_secs())
    }

    /// Carries it out.
    pub fn run(&self, progress: &mut Progress<'_>) -> Findings {
        let total = self.sizes.len() as u64;
        let mut rows = Vec::new();
        for (done, nodes) in self.sizes.iter().enumerate() {
            rows.push(self.row(*nodes));
            progress(done as u64 + 1, total);
        }
        self.findings(&rows)
    }

    fn row(&self, nodes: usize) -> Row {
        let mut simulation = Simulation::new(Config::lan(nodes, self.seed));
        for node in 0..nodes {
            simulation.start(node).expect("invariant: default settings are legal");
            simulation.run_for(Duration::from_millis(1));
        }
        simulation.run_for(SETTLE);
        let before = simulation.traffic();
        let (mut by_second, mut elapsed) = (Vec::new(), Duration::ZERO);
        while elapsed < self.time {
            let (step, sent) = (STEP.min(self.time - elapsed), simulation.traffic().0);
            simulation.run_for(step);
            elapsed += step;
            let packets = (simulation.traffic().0 - sent) as f64 / nodes as f64 / step.as_secs_f64();
            by_second.push((elapsed.as_secs_f64(), packets));
        }
        let after = simulation.traffic();
        let rate = |before: u64, after: u64| (after - before) as f64 / nodes as f64 / self.time.as_secs_f64();
        let packets = rate(before.0, after.0);
        Row {
            nodes,
            is_one_view: simulation.agrees(nodes),
            packets,
            bytes: rate(before.1, after.1) + packets * HEADER_BYTES,
            segments: rate(before.2, after.2),
            dials: after.3 - before.3,
            by_second,
        }
    }

    fn findings(&self, rows: &[Row]) -> Findings {
        let mut problems = Vec::new();
        let least = rows.iter().map(|row| row.packets).fold(f64::INFINITY, f64::min);
        for row in rows {
            let Row { nodes, packets, bytes, .. } = row;
            if !row.is_one_view {
                problems.push(format!("{nodes} nodes have not one view"));
            }
            if *packets > PACKETS_MAX || *bytes > BYTES_MAX {
                problems.push(format!(
                    "{nodes} nodes: {packets:.2} packets and {bytes:.0} bytes are above {PACKETS_MAX} and {BYTES_MAX}"
                ));
            }
            if *packets > least * GROWTH_MAX {
                problems.push(format!("{nodes} nodes: {packets:.2} packets, where others have {least:.2}: it grows"));
            }
        }
        let cells = |row: &Row| {
            vec![
                row.nodes.into(),
                Cell::Number(row.packets, 3),
                Cell::Number(row.bytes, 1),
                Cell::Number(row.segments, 3),
                Cell::Count(row.dials),
            ]
        };
        Findings {
            experiment: "idle",
            about: format!("Whole nodes that do nothing, for {:?}.", self.time),
            table: Table {
                columns: vec![
                    "nodes",
                    "packets/node/s",
                    "bytes/node/s, with headers",
                    "pieces of streams/node/s",
                    "connections dialled",
                ],
                rows: rows.iter().map(cells).collect(),
            },
            figure: self.figure(rows),
            summary: Table::default(),
            problems,
            replay: self.replay(),
        }
    }
    fn figure(&self, rows: &[Row]) -> Figure {
        let rates = rows.iter().flat_map(|row| &row.by_second).map(|(_, packets)| *packets);
        let series = |row: &Row| curve(&format!("{} nodes", row.nodes), &row.by_second, Of::Mean);
        let panel = Panel {
            title: "What an idle node sends".to_owned(),
            x: Axis::linear("seconds", 0.0, self.time.as_secs_f64()),
            y: Axis::linear("packets a node and second", 0.0, rates.fold(4.0, f64::max)),
            series: rows.iter().map(series).collect(),
        };
        Figure { panels: vec![panel] }
    }
}
