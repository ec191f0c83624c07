//! What is raced against what, in which order, and what came of it.
//!
//! The peers of one heat take turns, and each repetition starts with another of them: a pair of two peers is one
//! repetition's two runs, a few seconds apart. What disturbs the machine for longer disturbs both.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::measure::Latency;
use crate::peers::Peer;
use crate::race::child::{RunError, count_once, run_once};
use crate::race::gate::Metric;
use crate::race::statistics::{Interval, median, median_interval};
use crate::workload::{Mode, Workload};

/// A peer in a workload and mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contest {
    /// Who.
    pub peer: Peer,
    /// What.
    pub workload: Workload,
    /// Where.
    pub mode: Mode,
}

/// Peers that race against each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heat {
    /// Where.
    pub mode: Mode,
    /// What.
    pub workload: Workload,
    /// Who.
    pub peers: Vec<Peer>,
}

/// The whole race.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The binary that plays both roles: this one.
    pub program: PathBuf,
    /// The binary that plays them and counts allocations, where it is built.
    pub counting_program: Option<PathBuf>,
    /// The folder with the certificates of those who need one.
    pub certificates: Option<PathBuf>,
    /// Whether the processes of all peers keep memory that they have freed, as those of glibc do once they have freed a large
    /// block. It favours who allocates large blocks.
    pub keep_freed_memory: bool,
    /// In the order in which they are run.
    pub heats: Vec<Heat>,
    /// Runs of each peer in each heat; five or more give an interval.
    pub repetitions: usize,
    /// Traffic before the window opens.
    pub warm_up: Duration,
    /// Length of the window.
    pub window: Duration,
    /// Time after which a run is ended.
    pub run_timeout: Duration,
    /// The core of [`Mode::OneCore`].
    pub core: usize,
    /// Share of the machine, 0 to 1, that others may use in a run that counts, in the modes that use all cores. Where
    /// fewer than half of the pairs (at least two) are this quiet, all count.
    pub foreign_share_max: f64,
}

impl Plan {
    /// What a child is told of its runtime, core and certificates.
    pub(crate) fn place(&self, mode: Mode) -> Vec<String> {
        let core = (mode == Mode::OneCore).then(|| format!("--core={}", self.core));
        let certificates = self.certificates.as_ref().map(|dir| format!("--certificates={}", dir.display()));
        let keeps = self.keep_freed_memory.then(|| "--keep-freed-memory".to_owned());
        std::iter::once(format!("--runtime={}", mode.runtime().name()))
            .chain(core)
            .chain(certificates)
            .chain(keeps)
            .collect()
    }

    /// How long the race takes at least.
    #[must_use]
    pub fn shortest(&self) -> Duration {
        let peers = self.heats.iter().flat_map(|heat| &heat.peers);
        let runs: usize = peers.map(|peer| peer.repetitions(self.repetitions)).sum();
        (self.warm_up + self.window) * u32::try_from(runs).unwrap_or(u32::MAX)
    }

    /// Runs every heat; `progress` is told before each run.
    #[must_use]
    pub fn run(&self, mut progress: impl FnMut(&Contest, usize)) -> Results {
        Results { heats: self.heats.iter().map(|heat| self.run_heat(heat, &mut progress)).collect() }
    }

    fn run_heat(&self, heat: &Heat, progress: &mut impl FnMut(&Contest, usize)) -> Measured {
        let mut entries: Vec<Entry> = heat.peers.iter().map(|peer| Entry::new(*peer)).collect();
        for repetition in 0..self.repetitions {
            for turn in 0..entries.len() {
                let place = (turn + repetition) % entries.len();
                let entry = &mut entries[place];
                if entry.absent.is_some() || repetition >= entry.peer.repetitions(self.repetitions) {
                    continue;
                }
                let contest = Contest { peer: entry.peer, workload: heat.workload, mode: heat.mode };
                progress(&contest, repetition);
                entry.take(run_once(&contest, self));
            }
        }
        for entry in entries.iter_mut().filter(|entry| entry.absent.is_none()) {
            let Some(program) = &self.counting_program else { break };
            let contest = Contest { peer: entry.peer, workload: heat.workload, mode: heat.mode };
            match count_once(&contest, self, program) {
                Ok(heap) => entry.heap = Some(heap),
                Err(error) => entry.failures.push(format!("counting allocations: {error}")),
            }
        }
        let foreign_share_max = if heat.mode == Mode::OneCore { 1.0 } else { self.foreign_share_max };
        Measured { mode: heat.mode, workload: heat.workload, entries, foreign_share_max }
    }
}

/// The figures of one run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sample {
    /// Calls answered, or messages delivered, per second.
    pub operations_per_second: f64,
    /// Latency of a call; `None` for one-way messages.
    pub latency: Option<Latency>,
    /// Processor time of both processes per operation in microseconds; the same number is seconds per million.
    pub cpu_us_per_operation: f64,
    /// Share of the machine, 0 to 1, that others used.
    pub foreign_share: f64,
}

/// Allocations per operation in a steady state, from a run of its own whose times do not count.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct HeapUse {
    /// In the driver's process.
    pub client: f64,
    /// In the server's process.
    pub server: f64,
}

/// What one peer did in one heat.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Who.
    pub peer: Peer,
    /// Why there is nothing to measure.
    pub absent: Option<String>,
    /// One per repetition; `None` where the run failed.
    pub runs: Vec<Option<Sample>>,
    /// Why runs failed.
    pub failures: Vec<String>,
    /// What it allocated.
    pub heap: Option<HeapUse>,
}

impl Entry {
    pub(crate) fn new(peer: Peer) -> Self {
        Self { peer, absent: None, runs: Vec::new(), failures: Vec::new(), heap: None }
    }

    fn take(&mut self, result: Result<Sample, RunError>) {
        match result {
            Ok(sample) => self.runs.push(Some(sample)),
            Err(RunError::Absent(reason)) => self.absent = Some(reason),
            Err(error) => {
                self.runs.push(None);
                self.failures.push(error.to_string());
            }
        }
    }
}

/// What came of one heat.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// Where.
    pub mode: Mode,
    /// What.
    pub workload: Workload,
    /// One per peer.
    pub entries: Vec<Entry>,
    /// See [`Plan::foreign_share_max`].
    pub foreign_share_max: f64,
}

/// What came of the race.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Results {
    /// In the order of the plan.
    pub heats: Vec<Measured>,
}

impl Results {
    /// The heat of a workload and mode.
    #[must_use]
    pub fn heat(&self, mode: Mode, workload: Workload) -> Option<&Measured> {
        self.heats.iter().find(|heat| heat.mode == mode && heat.workload == workload)
    }
}

impl Measured {
    /// What a peer did.
    #[must_use]
    pub fn entry(&self, peer: Peer) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.peer == peer)
    }

    /// The median of a figure over the quiet runs of an entry.
    #[must_use]
    pub fn median_of(&self, entry: &Entry, figure: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        let samples: Vec<&Sample> = entry.runs.iter().flatten().collect();
        let quiet = self.quiet_or_all(&samples, |sample| sample.foreign_share);
        median(&quiet.into_iter().filter_map(figure).collect::<Vec<_>>())
    }

    /// The ratio of `peer` to `base`, pair by pair; `None` when no repetition has both.
    #[must_use]
    pub fn ratio(&self, peer: Peer, base: Peer, metric: Metric) -> Option<Interval> {
        let pairs = self.pairs(peer, base);
        let quiet = self.quiet_or_all(&pairs, |(own, other)| own.foreign_share.max(other.foreign_share));
        let ratios: Vec<f64> =
            quiet.into_iter().filter_map(|(own, other)| Some(metric.of(own)? / metric.of(other)?)).collect();
        median_interval(&ratios)
    }

    /// Whether others used so much of the machine that the pairs of `peer` and `base` show another mode than this one:
    /// with the second core taken, two processes share the first.
    #[must_use]
    pub fn is_disturbed(&self, peer: Peer, base: Peer) -> bool {
        let pairs = self.pairs(peer, base);
        let quiet = self.quiet_or_all(&pairs, |(own, other)| own.foreign_share.max(other.foreign_share));
        quiet.iter().any(|(own, other)| own.foreign_share.max(other.foreign_share) > self.foreign_share_max)
    }

    fn pairs(&self, peer: Peer, base: Peer) -> Vec<(&Sample, &Sample)> {
        let Some((peer, base)) = self.entry(peer).zip(self.entry(base)) else { return Vec::new() };
        peer.runs.iter().zip(&base.runs).filter_map(|(own, other)| own.as_ref().zip(other.as_ref())).collect()
    }

    fn quiet_or_all<T: Copy>(&self, all: &[T], foreign_share: impl Fn(&T) -> f64) -> Vec<T> {
        let quiet: Vec<T> = all.iter().copied().filter(|one| foreign_share(one) <= self.foreign_share_max).collect();
        if quiet.len() >= 2 && quiet.len() * 2 >= all.len() { quiet } else { all.to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rate: f64, foreign_share: f64) -> Option<Sample> {
        Some(Sample { operations_per_second: rate, latency: None, cpu_us_per_operation: 1.0, foreign_share })
    }

    fn measured(ours: Vec<Option<Sample>>, base: Vec<Option<Sample>>) -> Measured {
        let entry = |peer, runs| Entry { runs, ..Entry::new(peer) };
        Measured {
            mode: Mode::Mt,
            workload: Workload::W2,
            entries: vec![entry(Peer::Ours, ours), entry(Peer::Mux, base)],
            foreign_share_max: 0.25,
        }
    }

    #[test]
    fn a_ratio_pairs_runs_of_the_same_repetition() {
        // The machine halves its speed in the second repetition: the pairs agree, the rates do not.
        let heat = measured(vec![sample(90.0, 0.0), sample(45.0, 0.0)], vec![sample(100.0, 0.0), sample(50.0, 0.0)]);
        let ratio = heat.ratio(Peer::Ours, Peer::Mux, Metric::Rate).unwrap();
        assert_eq!((ratio.low, ratio.median, ratio.high), (0.9, 0.9, 0.9));
    }

    #[test]
    fn a_failed_run_takes_its_pair_with_it() {
        let heat = measured(vec![None, sample(45.0, 0.0)], vec![sample(1.0, 0.0), sample(50.0, 0.0)]);
        assert_eq!(heat.ratio(Peer::Ours, Peer::Mux, Metric::Rate).unwrap().values, 1);
        assert_eq!(heat.ratio(Peer::Ours, Peer::SingleTask, Metric::Rate), None);
    }

    #[test]
    fn disturbed_pairs_count_only_where_most_are_disturbed() {
        let quiet = || sample(100.0, 0.0);
        let heat = measured(vec![quiet(), sample(1.0, 0.5), quiet()], vec![quiet(), quiet(), quiet()]);
        assert_eq!(heat.ratio(Peer::Ours, Peer::Mux, Metric::Rate).unwrap().values, 2);
        assert!(!heat.is_disturbed(Peer::Ours, Peer::Mux));
        let heat = measured(vec![quiet(), sample(1.0, 0.5), sample(1.0, 0.5)], vec![quiet(), quiet(), quiet()]);
        assert_eq!(heat.ratio(Peer::Ours, Peer::Mux, Metric::Rate).unwrap().values, 3);
        assert!(heat.is_disturbed(Peer::Ours, Peer::Mux));
    }
}
