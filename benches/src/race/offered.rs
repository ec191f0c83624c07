//! Latency by load: calls at fixed times, at shares of what a peer reached with 64 callers.

use std::time::Duration;

use serde::Serialize;

use crate::measure::{Latency, Offered};
use crate::peers::Peer;
use crate::race::child::{offer_once, run_once};
use crate::race::plan::{Contest, Plan, Results};
use crate::race::statistics::median;
use crate::workload::{Mode, Workload};

/// Where calls are made at fixed times: whoever makes them never sleeps, so the server needs a core of its own.
pub const OFFERED_MODE: Mode = Mode::Free;
/// Who is asked.
pub const OFFERED_PEERS: [Peer; 2] = [Peer::Ours, Peer::TonicStream];
/// Shares of a peer's rate with 64 callers.
pub const OFFERED_SHARES: [f64; 4] = [0.25, 0.5, 0.75, 0.9];

const WINDOW: Duration = Duration::from_millis(1500);
const RUNS: usize = 3;

/// What came of one peer at one load.
#[derive(Debug, Clone, Serialize)]
pub struct OfferedRow {
    /// Who.
    pub peer: Peer,
    /// The share of its rate with 64 callers.
    pub share: f64,
    /// Calls due in a second.
    pub calls_per_second: f64,
    /// One per repetition.
    pub runs: Vec<Offered>,
    /// Why runs failed.
    pub failures: Vec<String>,
}

impl OfferedRow {
    /// The median of each quantile over the runs.
    #[must_use]
    pub fn latency(&self) -> Option<Latency> {
        let of = |quantile: fn(&Latency) -> f64| {
            median(&self.runs.iter().map(|run| quantile(&run.latency)).collect::<Vec<_>>())
        };
        Some(Latency {
            p50_us: of(|latency| latency.p50_us)?,
            p99_us: of(|latency| latency.p99_us)?,
            p999_us: of(|latency| latency.p999_us)?,
        })
    }

    /// Calls without an answer, over all runs.
    #[must_use]
    pub fn unanswered(&self) -> u64 {
        self.runs.iter().map(|run| run.unanswered).sum()
    }
}

impl Plan {
    /// Offers each peer its loads, peers in turn. The rates that the loads refer to are those of `results`, or are measured
    /// first. `progress` is told before each run.
    #[must_use]
    pub fn run_offered(&self, results: &Results, mut progress: impl FnMut(Peer, f64, usize)) -> Vec<OfferedRow> {
        let mut rows = Vec::new();
        for share in OFFERED_SHARES {
            for peer in OFFERED_PEERS {
                let row = OfferedRow { peer, share, calls_per_second: 0.0, runs: Vec::new(), failures: Vec::new() };
                rows.push(row);
            }
        }
        for peer in OFFERED_PEERS {
            let rate = self.rate_of(peer, results);
            for row in rows.iter_mut().filter(|row| row.peer == peer) {
                match rate {
                    Some(rate) => row.calls_per_second = (rate * row.share).round(),
                    None => row.failures.push("no rate to refer to".to_owned()),
                }
            }
        }
        for repetition in 0..RUNS {
            for row in rows.iter_mut().filter(|row| row.calls_per_second > 0.0) {
                progress(row.peer, row.share, repetition);
                match offer_once(row.peer, OFFERED_MODE, row.calls_per_second, self, WINDOW) {
                    Ok(offered) => row.runs.push(offered),
                    Err(error) => row.failures.push(error.to_string()),
                }
            }
        }
        rows
    }

    fn rate_of(&self, peer: Peer, results: &Results) -> Option<f64> {
        let heat = results.heat(OFFERED_MODE, Workload::W2);
        let measured = heat.and_then(|heat| {
            let entry = heat.entry(peer)?;
            heat.median_of(entry, |sample| Some(sample.operations_per_second))
        });
        measured.or_else(|| {
            let contest = Contest { peer, workload: Workload::W2, mode: OFFERED_MODE };
            let rates = (0..RUNS).filter_map(|_| Some(run_once(&contest, self).ok()?.operations_per_second));
            median(&rates.collect::<Vec<_>>())
        })
    }
}
