//! Figures of another machine, told beside those of this one: whether quinn by hand is here what it was there, so that a ratio to
//! it means the same.

use crate::peers::Peer;
use crate::race::gate::Metric;
use crate::race::plan::Results;
use crate::workload::{Mode, Workload};

/// A figure that was measured elsewhere.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Absolute {
    /// Where.
    pub mode: Mode,
    /// What.
    pub workload: Workload,
    /// Which figure.
    pub metric: Metric,
    /// Whose.
    pub peer: Peer,
    /// What it was: operations a second, or microseconds.
    pub elsewhere: f64,
}

/// What quinn by hand reached on a machine with two cores (EPYC, Zen 4, virtual).
pub const QUINN_ELSEWHERE: &[Absolute] = &[
    absolute(Mode::OneCore, Workload::W1, Metric::P50, Peer::QuinnMux, 26.6),
    absolute(Mode::OneCore, Workload::W2, Metric::Rate, Peer::QuinnMux, 724_000.0),
    absolute(Mode::OneCore, Workload::W2, Metric::Rate, Peer::QuinnStreams, 308_000.0),
    absolute(Mode::OneCore, Workload::W3, Metric::Rate, Peer::QuinnMux, 55_000.0),
    absolute(Mode::Free, Workload::W5, Metric::Rate, Peer::QuinnMux, 540.0),
];

const fn absolute(mode: Mode, workload: Workload, metric: Metric, peer: Peer, elsewhere: f64) -> Absolute {
    Absolute { mode, workload, metric, peer, elsewhere }
}

impl Absolute {
    /// The same figure of a peer in this race.
    #[must_use]
    pub fn here(&self, peer: Peer, results: &Results) -> Option<f64> {
        let heat = results.heat(self.mode, self.workload)?;
        heat.median_of(heat.entry(peer)?, |sample| self.metric.of(sample))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::race::gate::{GATE_QUIC, gate_plan};

    #[test]
    fn each_figure_is_measured_by_the_gate_of_quic() {
        let heats = gate_plan(GATE_QUIC);
        for absolute in QUINN_ELSEWHERE {
            let heat = heats.iter().find(|heat| heat.mode == absolute.mode && heat.workload == absolute.workload);
            assert!(heat.is_some_and(|heat| heat.peers.contains(&absolute.peer)), "{absolute:?}");
        }
        assert_eq!(QUINN_ELSEWHERE[0].here(Peer::OursQuic, &Results::default()), None);
    }
}
