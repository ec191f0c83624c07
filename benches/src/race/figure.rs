//! Figures that are judged by themselves and not against a peer: those of the probes, and the race's allocations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::peers::Peer;
use crate::probe::{Probe, Reading};
use crate::race::child::probe_once;
use crate::race::gate::{Judgement, Requirement};
use crate::race::plan::{Plan, Results};
use crate::race::statistics::{Interval, median_interval};
use crate::workload::{Mode, Workload};

/// A figure, and what it must be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figure {
    /// Its name.
    pub name: &'static str,
    /// What it is, and its unit.
    pub meaning: &'static str,
    /// What it must be.
    pub requirement: Requirement,
    /// How many values a judgement needs: five where they scatter, one where they repeat.
    pub values_min: usize,
}

const fn figure(name: &'static str, meaning: &'static str, requirement: Requirement, values_min: usize) -> Figure {
    Figure { name, meaning, requirement, values_min }
}

const fn shown(name: &'static str, meaning: &'static str) -> Figure {
    figure(name, meaning, Requirement::Shown, 1)
}

use Requirement::AtMost;

/// All of them, in the order of the report.
pub const FIGURES: &[Figure] = &[
    figure("frame-opaque", "ns, 64 opaque bytes written and read, both checksums", AtMost(40.0), 5),
    figure("frame-typed", "ns, the largest message of plain fields (68-byte frame)", AtMost(90.0), 5),
    figure("frame-opaque-allocations", "allocations a frame", AtMost(0.0), 1),
    figure("frame-typed-allocations", "allocations a frame", AtMost(0.0), 1),
    figure("one-way-allocations", "allocations of the sender a 64-byte message, free w4", AtMost(0.005), 1),
    shown("one-way-allocations-receiver", "allocations of the receiver a 64-byte message, free w4"),
    figure("request-allocations", "allocations of both sides a request, one-core w2", AtMost(2.0), 1),
    shown("ping-idle-p99", "us, System lane, nothing else on the connection"),
    shown("ping-under-bulk-p50", "us, System lane, 1 MiB messages on the same connection"),
    shown("ping-under-bulk-p99", "us, System lane, 1 MiB messages on the same connection"),
    shown("ping-under-bulk-rate", "MiB/s of 1 MiB messages meanwhile"),
    figure("ping-under-bulk", "x its idle p99", AtMost(3.0), 5),
    shown("fan-out-p99-in-memory", "us, an answer of 1,000 peers, from the beginning of a request to all"),
    shown("fan-out-last-in-memory", "us, the last answer, median of 20"),
    shown("fan-out-p99-over-loopback", "us, an answer of 200 peers in another process"),
    shown("fan-out-last-over-loopback", "us, the last answer, median of 20"),
    shown("fan-out-p99-over-loopback-tls", "us, the same inside TLS"),
    shown("fan-out-last-over-loopback-tls", "us, the last answer, median of 20"),
    figure("idle-peer-heap-in-memory", "KiB of heap a peer, half of both ends", AtMost(16.0), 1),
    shown("idle-peer-resident-in-memory", "KiB of main memory a peer, half of both ends"),
    figure("idle-peer-heap-over-loopback", "KiB of heap a peer", AtMost(16.0), 1),
    shown("idle-peer-resident-over-loopback", "KiB of main memory a peer"),
    figure("idle-peer-heap-over-loopback-tls", "KiB of heap a peer inside TLS", AtMost(64.0), 1),
    shown("idle-peer-resident-over-loopback-tls", "KiB of main memory a peer inside TLS"),
    shown("reconnect-all-in-memory", "ms until 1,000 lost peers are up again"),
    shown("reconnect-all-over-loopback", "ms until 200 lost peers are up again"),
    shown("reconnect-all-over-loopback-tls", "ms until 200 lost peers are up again inside TLS"),
    figure("reconnect-dials-in-memory", "most dials at once, x their limit", AtMost(1.0), 1),
    figure("reconnect-dials-over-loopback", "most dials at once, x their limit", AtMost(1.0), 1),
    figure("reconnect-dials-over-loopback-tls", "most dials at once, x their limit", AtMost(1.0), 1),
    shown("copies-sender", "bytes copied by us a byte of 1 MiB attachments, until the socket"),
    shown("copies-receiver", "the same, from the socket to the handler"),
    shown("copies-receiver-opaque", "the same, of 1 MiB opaque payloads"),
    shown("copies-sender-1mib-frames", "frames of 1 MiB: until the socket"),
    shown("copies-receiver-1mib-frames", "the same, from the socket to the handler"),
    shown("copies-receiver-opaque-1mib-frames", "the same, of 1 MiB opaque payloads"),
];

/// Values by figure, and why some are missing.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Readings {
    /// One a run.
    pub values: BTreeMap<String, Vec<f64>>,
    /// Why runs failed.
    pub failures: Vec<String>,
}

impl Readings {
    fn add(&mut self, readings: Vec<Reading>) {
        for reading in readings {
            self.values.entry(reading.figure).or_default().push(reading.value);
        }
    }
}

impl Plan {
    /// Runs the probes, in turn. `progress` is told before each run.
    #[must_use]
    pub fn run_probes(&self, probes: &[Probe], mut progress: impl FnMut(Probe, usize)) -> Readings {
        let mut all = Readings::default();
        let timed = probes.iter().map(|probe| probe.timed_runs(self.repetitions)).max().unwrap_or(0);
        let mut run = |probe: Probe, repetition, program| {
            progress(probe, repetition);
            match probe_once(probe, self, program) {
                Ok(readings) => all.add(readings),
                Err(error) => all.failures.push(format!("{}: {error}", probe.name())),
            }
        };
        for repetition in 0..timed {
            for probe in probes.iter().filter(|probe| repetition < probe.timed_runs(self.repetitions)) {
                run(*probe, repetition, &self.program);
            }
        }
        if let Some(program) = &self.counting_program {
            probes.iter().filter(|probe| probe.counts()).for_each(|probe| run(*probe, 0, program));
        }
        all
    }
}

/// A figure and what came of it.
#[derive(Debug, Clone, Serialize)]
pub struct FigureVerdict {
    /// The figure.
    pub figure: Figure,
    /// How it was judged.
    pub judgement: Judgement,
    /// Its values; `None` of nothing.
    pub interval: Option<Interval>,
}

/// Judges every figure.
#[must_use]
pub fn judge_figures(readings: &Readings, results: &Results) -> Vec<FigureVerdict> {
    let allocations = of_race(results);
    FIGURES
        .iter()
        .map(|figure| {
            let values = readings.values.get(figure.name).or_else(|| allocations.get(figure.name));
            let interval = values.and_then(|values| median_interval(values));
            let enough = interval.filter(|interval| interval.values >= figure.values_min);
            let judgement = match (figure.requirement, enough) {
                (Requirement::Shown, _) => Judgement::Shown,
                (requirement, Some(interval)) if requirement.holds(&interval) => Judgement::Held,
                _ => Judgement::Missed,
            };
            FigureVerdict { figure: *figure, judgement, interval }
        })
        .collect()
}

fn of_race(results: &Results) -> BTreeMap<String, Vec<f64>> {
    let heap = |mode, workload| results.heat(mode, workload)?.entry(Peer::Ours)?.heap;
    let mut values = BTreeMap::new();
    let mut put = |name: &str, value: f64| values.insert(name.to_owned(), vec![value]);
    if let Some(heap) = heap(Mode::Free, Workload::W4) {
        put("one-way-allocations", heap.client);
        put("one-way-allocations-receiver", heap.server);
    }
    if let Some(heap) = heap(Mode::OneCore, Workload::W2) {
        put("request-allocations", heap.client + heap.server);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, values: &[f64], judgement: Judgement) {
        let mut readings = Readings::default();
        values.iter().for_each(|value| readings.add(vec![Reading::new(name, *value)]));
        let verdicts = judge_figures(&readings, &Results { heats: Vec::new() });
        let verdict = verdicts.iter().find(|verdict| verdict.figure.name == name).unwrap();
        assert_eq!(verdict.judgement, judgement);
    }

    #[test]
    fn the_upper_end_of_a_time_counts() {
        check("frame-opaque", &[30.0, 30.0, 30.0, 30.0, 40.0], Judgement::Held);
        check("frame-opaque", &[30.0, 30.0, 30.0, 30.0, 41.0], Judgement::Missed);
    }

    #[test]
    fn what_was_not_measured_often_enough_is_missed() {
        check("frame-opaque", &[30.0, 30.0], Judgement::Missed);
        check("frame-opaque", &[], Judgement::Missed);
        check("frame-opaque-allocations", &[0.0], Judgement::Held);
        check("ping-idle-p99", &[], Judgement::Shown);
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> = FIGURES.iter().map(|figure| figure.name).collect();
        assert_eq!(names.len(), FIGURES.len());
    }
}
