//! The lines that this workspace has to hold against its peers, in one run.
//!
//! The unfavourable end of the interval counts, not the median: a gate that passes by luck half of the time says
//! nothing.

use serde::Serialize;

use crate::peers::Peer;
use crate::race::offered::{OFFERED_MODE, OFFERED_PEERS};
use crate::race::plan::{Heat, Results, Sample};
use crate::race::statistics::Interval;
use crate::workload::{Mode, Workload};

/// A figure of a run that two peers are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Operations per second.
    Rate,
    /// Median latency.
    P50,
    /// The latency that one call of a thousand exceeds.
    P999,
    /// Processor time of both sides per operation.
    Cpu,
}

impl Metric {
    /// The figure of one run.
    #[must_use]
    pub fn of(self, sample: &Sample) -> Option<f64> {
        match self {
            Self::Rate => Some(sample.operations_per_second),
            Self::P50 => sample.latency.map(|latency| latency.p50_us),
            Self::P999 => sample.latency.map(|latency| latency.p999_us),
            Self::Cpu => Some(sample.cpu_us_per_operation),
        }
    }

    /// The name used in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::P50 => "p50",
            Self::P999 => "p99.9",
            Self::Cpu => "CPU",
        }
    }
}

/// What the ratio must be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Requirement {
    /// The lower end of the interval is at least this.
    AtLeast(f64),
    /// The upper end of the interval is at most this.
    AtMost(f64),
    /// Printed, never failed.
    Shown,
}

impl Requirement {
    /// Whether an interval holds it: its unfavourable end counts.
    #[must_use]
    pub fn holds(self, interval: &Interval) -> bool {
        match self {
            Self::AtLeast(bound) => interval.low >= bound,
            Self::AtMost(bound) => interval.high <= bound,
            Self::Shown => true,
        }
    }
}

/// One line of the gate: our ratio to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GateLine {
    /// Where.
    pub mode: Mode,
    /// What.
    pub workload: Workload,
    /// By which figure.
    pub metric: Metric,
    /// The peer in the numerator: one of this workspace's.
    pub own: Peer,
    /// The peer in the denominator.
    pub against: Peer,
    /// What the ratio must be.
    pub requirement: Requirement,
}

/// The first gate: what the request path has to hold.
pub const GATE: &[GateLine] = &[
    line(Mode::Mt, Workload::W2, Metric::Rate, Peer::SingleTask, Requirement::AtLeast(0.75)),
    line(Mode::Mt, Workload::W2, Metric::Rate, Peer::TonicStream, Requirement::AtLeast(1.5)),
    line(Mode::OneCore, Workload::W2, Metric::Rate, Peer::Mux, Requirement::AtLeast(0.85)),
    line(Mode::OneCore, Workload::W1, Metric::P50, Peer::SingleTask, Requirement::AtMost(1.25)),
    line(Mode::Mt, Workload::W1, Metric::P50, Peer::SingleTask, Requirement::Shown),
    line(Mode::Free, Workload::W1, Metric::P50, Peer::SingleTask, Requirement::Shown),
];

/// The whole gate's lines against peers, but for those of TLS.
pub const GATE_ALL: &[GateLine] = &[
    line(Mode::OneCore, Workload::W1, Metric::P50, Peer::SingleTask, Requirement::AtMost(1.20)),
    line(Mode::OneCore, Workload::W1, Metric::P999, Peer::SingleTask, Requirement::Shown),
    line(Mode::OneCore, Workload::W2, Metric::Rate, Peer::Mux, Requirement::AtLeast(1.0)),
    line(Mode::OneCore, Workload::W2, Metric::Rate, Peer::TonicStream, Requirement::AtLeast(1.5)),
    line(Mode::OneCore, Workload::W2, Metric::Rate, Peer::Tarpc, Requirement::AtLeast(4.0)),
    line(Mode::OneCore, Workload::W2, Metric::Cpu, Peer::Mux, Requirement::AtMost(1.0)),
    line(Mode::Mt, Workload::W2, Metric::Rate, Peer::TonicStream, Requirement::AtLeast(1.8)),
    line(Mode::Mt, Workload::W2, Metric::Rate, Peer::SingleTask, Requirement::AtLeast(0.9)),
    line(Mode::OneCore, Workload::W3, Metric::Rate, Peer::Mux, Requirement::AtLeast(0.85)),
    line(Mode::OneCore, Workload::W3, Metric::Rate, Peer::TonicStream, Requirement::AtLeast(3.5)),
    line(Mode::Mt, Workload::W3, Metric::Rate, Peer::TonicStream, Requirement::AtLeast(3.0)),
    line(Mode::Free, Workload::W4, Metric::Rate, Peer::Mux, Requirement::AtLeast(0.85)),
    line(Mode::Free, Workload::W4, Metric::Rate, Peer::TonicStream, Requirement::AtLeast(1.1)),
    line(Mode::Free, Workload::W5, Metric::Rate, Peer::Mux, Requirement::AtLeast(0.85)),
    line(Mode::Free, Workload::W5, Metric::Rate, Peer::TonicStream, Requirement::AtLeast(1.8)),
    GateLine {
        own: Peer::OursLargeFrames,
        ..line(Mode::Free, Workload::W5, Metric::Rate, Peer::Mux, Requirement::Shown)
    },
    GateLine {
        own: Peer::OursLargeFrames,
        ..line(Mode::Free, Workload::W5, Metric::Rate, Peer::TonicStream, Requirement::Shown)
    },
];

/// The lines of TLS: what it costs, and against others inside TLS.
pub const GATE_TLS: &[GateLine] = &[
    tls_line(Mode::OneCore, Workload::W1, Metric::P50, Peer::Ours, Requirement::AtMost(1.12)),
    tls_line(Mode::OneCore, Workload::W2, Metric::Rate, Peer::Ours, Requirement::AtLeast(0.8)),
    tls_line(Mode::OneCore, Workload::W2, Metric::Rate, Peer::TonicStreamTls, Requirement::AtLeast(1.4)),
    tls_line(Mode::OneCore, Workload::W3, Metric::Rate, Peer::MuxTls, Requirement::AtLeast(1.3)),
    tls_line(Mode::Free, Workload::W5, Metric::Rate, Peer::MuxTls, Requirement::AtLeast(1.0)),
    tls_line(Mode::Free, Workload::W5, Metric::Rate, Peer::TonicStreamTls, Requirement::AtLeast(1.0)),
];

/// The lines of QUIC, against quinn by hand. A 0.95th of the rate is 1.05 of the time.
pub const GATE_QUIC: &[GateLine] = &[
    quic_line(Mode::OneCore, Workload::W1, Metric::P50, Peer::QuinnMux, Requirement::AtMost(1.05)),
    quic_line(Mode::OneCore, Workload::W1, Metric::Rate, Peer::QuinnMux, Requirement::AtLeast(0.95)),
    quic_line(Mode::OneCore, Workload::W2, Metric::Rate, Peer::QuinnMux, Requirement::AtLeast(0.95)),
    quic_line(Mode::OneCore, Workload::W2, Metric::Rate, Peer::QuinnStreams, Requirement::AtLeast(2.2)),
    quic_line(Mode::OneCore, Workload::W3, Metric::Rate, Peer::QuinnMux, Requirement::AtLeast(0.95)),
    quic_line(Mode::Free, Workload::W5, Metric::Rate, Peer::QuinnMux, Requirement::AtLeast(0.95)),
    quic_line(Mode::OneCore, Workload::W1, Metric::P50, Peer::QuinnMuxLargePackets, Requirement::Shown),
    quic_line(Mode::OneCore, Workload::W2, Metric::Rate, Peer::QuinnMuxLargePackets, Requirement::Shown),
    quic_line(Mode::OneCore, Workload::W3, Metric::Rate, Peer::QuinnMuxLargePackets, Requirement::Shown),
    quic_line(Mode::Free, Workload::W5, Metric::Rate, Peer::QuinnMuxLargePackets, Requirement::Shown),
];

/// The whole gate: its lines against peers, those of TLS and of QUIC at the end.
#[must_use]
pub fn whole_gate() -> Vec<GateLine> {
    [GATE_ALL, GATE_TLS, GATE_QUIC].concat()
}

const fn tls_line(mode: Mode, workload: Workload, metric: Metric, against: Peer, requirement: Requirement) -> GateLine {
    GateLine { own: Peer::OursTls, ..line(mode, workload, metric, against, requirement) }
}

const fn quic_line(
    mode: Mode,
    workload: Workload,
    metric: Metric,
    against: Peer,
    requirement: Requirement,
) -> GateLine {
    GateLine { own: Peer::OursQuic, ..line(mode, workload, metric, against, requirement) }
}

const fn line(mode: Mode, workload: Workload, metric: Metric, against: Peer, requirement: Requirement) -> GateLine {
    GateLine { mode, workload, metric, own: Peer::Ours, against, requirement }
}

/// The heats that these lines need, and no more.
#[must_use]
pub fn gate_plan(lines: &[GateLine]) -> Vec<Heat> {
    let mut heats: Vec<Heat> = Vec::new();
    for line in lines {
        let place = heats.iter().position(|heat| heat.mode == line.mode && heat.workload == line.workload);
        let place = place.unwrap_or_else(|| {
            heats.push(Heat { mode: line.mode, workload: line.workload, peers: Vec::new() });
            heats.len() - 1
        });
        for peer in [line.own, line.against] {
            if !heats[place].peers.contains(&peer) {
                heats[place].peers.push(peer);
            }
        }
    }
    heats
}

/// The heats of the whole race: those of the whole gate, with every peer that offers them (those inside TLS only where a line
/// needs them), and the one whose rate the calls at fixed times refer to.
#[must_use]
pub fn full_plan() -> Vec<Heat> {
    let mut heats = gate_plan(&whole_gate());
    for heat in &mut heats {
        let takes_part = |peer: &Peer| peer.offers(heat.workload) && (!peer.is_tls() || heat.peers.contains(peer));
        heat.peers = Peer::ALL.into_iter().filter(takes_part).collect();
    }
    heats.push(Heat { mode: OFFERED_MODE, workload: Workload::W2, peers: OFFERED_PEERS.to_vec() });
    heats
}

/// How a line was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// The requirement holds.
    Held,
    /// The requirement does not hold, or there are no figures to show that it does.
    Missed,
    /// There is no requirement.
    Shown,
}

/// A line and what came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// The line.
    pub line: GateLine,
    /// How it was judged.
    pub judgement: Judgement,
    /// Our ratio; `None` without a single pair.
    pub ratio: Option<Interval>,
    /// What is missing, where figures are.
    pub missing: Option<String>,
}

/// Judges lines.
#[must_use]
pub fn judge(lines: &[GateLine], results: &Results) -> Vec<Verdict> {
    lines.iter().map(|line| judge_line(line, results)).collect()
}

fn judge_line(line: &GateLine, results: &Results) -> Verdict {
    /// Below this no interval of enough coverage exists.
    const PAIRS_MIN: usize = 5;
    let heat = results.heat(line.mode, line.workload);
    let ratio = heat.and_then(|heat| heat.ratio(line.own, line.against, line.metric));
    let absent = heat.and_then(|heat| heat.entry(line.own)).and_then(|entry| entry.absent.clone());
    let missing = match ratio {
        None => Some(absent.map_or("no pair of runs".to_owned(), |reason| format!("ours is absent: {reason}"))),
        Some(_) if heat.is_some_and(|heat| heat.is_disturbed(line.own, line.against)) => {
            Some("others used the machine, repeat".to_owned())
        }
        Some(ratio) if ratio.values < PAIRS_MIN => Some(format!("{} pairs of {PAIRS_MIN}", ratio.values)),
        Some(_) => None,
    };
    let holds = ratio.filter(|_| missing.is_none()).is_some_and(|ratio| line.requirement.holds(&ratio));
    let judgement = match (line.requirement, holds) {
        (Requirement::Shown, _) => Judgement::Shown,
        (_, true) => Judgement::Held,
        (_, false) => Judgement::Missed,
    };
    Verdict { line: *line, judgement, ratio, missing }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::race::plan::{Entry, Measured};

    const FIRST: GateLine = GATE[0];

    fn results(ours: &[f64], absent: Option<&str>) -> Results {
        disturbed_results(ours, absent, 0.0)
    }

    fn disturbed_results(ours: &[f64], absent: Option<&str>, foreign_share: f64) -> Results {
        let run = |rate: &f64| {
            Some(Sample { operations_per_second: *rate, latency: None, cpu_us_per_operation: 1.0, foreign_share })
        };
        let entry =
            |peer, runs, absent: Option<&str>| Entry { absent: absent.map(str::to_owned), runs, ..Entry::new(peer) };
        let entries = vec![
            entry(Peer::Ours, ours.iter().map(run).collect(), absent),
            entry(Peer::SingleTask, vec![run(&100.0); 5], None),
        ];
        Results {
            heats: vec![Measured { mode: FIRST.mode, workload: FIRST.workload, entries, foreign_share_max: 0.25 }],
        }
    }

    #[track_caller]
    fn check(ours: &[f64], absent: Option<&str>, judgement: Judgement) {
        assert_eq!(judge_line(&FIRST, &results(ours, absent)).judgement, judgement);
    }

    #[test]
    fn the_lower_end_counts_and_not_the_median() {
        check(&[90.0, 90.0, 90.0, 90.0, 76.0], None, Judgement::Held);
        check(&[90.0, 90.0, 90.0, 90.0, 74.0], None, Judgement::Missed);
    }

    #[test]
    fn what_was_not_measured_fails() {
        check(&[], Some("not built yet"), Judgement::Missed);
        check(&[90.0, 90.0, 90.0, 90.0], None, Judgement::Missed);
        assert_eq!(judge_line(&FIRST, &Results { heats: Vec::new() }).judgement, Judgement::Missed);
    }

    #[test]
    fn a_race_on_a_busy_machine_proves_nothing() {
        let verdict = judge_line(&FIRST, &disturbed_results(&[90.0; 5], None, 0.5));
        assert_eq!(verdict.judgement, Judgement::Missed);
    }

    #[test]
    fn each_plan_races_each_line_once() {
        let whole = whole_gate();
        let plans = [
            (GATE, gate_plan(GATE)),
            (GATE_TLS, gate_plan(GATE_TLS)),
            (GATE_QUIC, gate_plan(GATE_QUIC)),
            (&whole, gate_plan(&whole)),
            (&whole, full_plan()),
        ];
        for (lines, heats) in plans {
            for line in lines {
                let with = |heat: &&Heat| heat.mode == line.mode && heat.workload == line.workload;
                let peers: Vec<_> = heats.iter().filter(with).map(|heat| &heat.peers).collect();
                assert!(peers.len() == 1 && peers[0].contains(&line.own) && peers[0].contains(&line.against));
                let count = |peer| peers[0].iter().filter(|one| **one == peer).count();
                assert_eq!((count(line.own), count(line.against)), (1, 1));
            }
        }
    }
}
