//! Latencies of the last minute, from histograms that only ever grow.
//!
//! A snapshot of the cumulative histograms is kept every ten seconds; what was counted since the one of a minute ago is the
//! window. Nothing is done per message.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rdb_net_session::LatencyHistogram;
use rdb_net_types::NodeId;

/// How far back the quantiles look, to the width of one interval.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);
/// How often a snapshot is taken.
pub(crate) const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(10);
/// Enough for the window, and the one before it.
const SNAPSHOTS_MAX: usize = 7;

type Latencies = BTreeMap<NodeId, LatencyHistogram>;

#[derive(Debug)]
struct Snapshot {
    taken_at: Duration,
    /// Histograms that did not change are shared between snapshots: a silent peer costs nothing.
    latencies: BTreeMap<NodeId, Arc<LatencyHistogram>>,
}

/// The snapshots of a minute.
#[derive(Debug, Default)]
pub(crate) struct LatencyWindow {
    snapshots: VecDeque<Snapshot>,
}

impl LatencyWindow {
    /// Keeps a snapshot.
    pub(crate) fn push(&mut self, now: Duration, latencies: &Latencies) {
        let last = self.snapshots.back();
        let shared = |node: &NodeId, histogram: &LatencyHistogram| {
            let kept = last.and_then(|snapshot| snapshot.latencies.get(node)).filter(|kept| ***kept == *histogram);
            kept.cloned().unwrap_or_else(|| Arc::new(histogram.clone()))
        };
        let latencies = latencies.iter().map(|(node, histogram)| (node.clone(), shared(node, histogram))).collect();
        self.snapshots.push_back(Snapshot { taken_at: now, latencies });
        let is_needless = |second: &Snapshot| now.saturating_sub(second.taken_at) >= WINDOW;
        while self.snapshots.get(1).is_some_and(is_needless) || self.snapshots.len() > SNAPSHOTS_MAX {
            self.snapshots.pop_front();
        }
    }

    /// What was counted in the window. A peer of which nothing was counted is left out.
    pub(crate) fn recent(&self, now: Duration, latencies: &Latencies) -> Latencies {
        let is_old = |snapshot: &&Snapshot| now.saturating_sub(snapshot.taken_at) >= WINDOW;
        let base = self.snapshots.iter().rev().find(is_old).or_else(|| self.snapshots.front());
        let since = |node: &NodeId, histogram: &LatencyHistogram| match base.and_then(|base| base.latencies.get(node)) {
            // Fewer than before: the peer was forgotten and came back, and its counts began anew.
            Some(earlier) if earlier.count() <= histogram.count() => histogram.since(earlier),
            Some(_) | None => histogram.clone(),
        };
        let recent = latencies.iter().map(|(node, histogram)| (node.clone(), since(node, histogram)));
        recent.filter(|(_, histogram)| histogram.count() > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn of(node: &str, counted: &[(u64, u64)]) -> Latencies {
        let mut histogram = LatencyHistogram::default();
        for (count, ms) in counted {
            (0..*count).for_each(|_| histogram.record(Duration::from_millis(*ms)));
        }
        [(NodeId::new(node).expect("legal"), histogram)].into()
    }

    fn count(latencies: &Latencies) -> u64 {
        latencies.values().map(LatencyHistogram::count).sum()
    }

    #[test]
    fn the_window_forgets_what_is_older_than_a_minute() {
        let mut window = LatencyWindow::default();
        window.push(seconds(0), &Latencies::new());
        let slow = of("a", &[(100, 500)]);
        (1..=6).for_each(|tick| window.push(seconds(10 * tick), &slow));
        assert_eq!(count(&window.recent(seconds(65), &slow)), 100);
        let both = of("a", &[(100, 500), (3, 1)]);
        window.push(seconds(70), &slow);
        let recent = window.recent(seconds(72), &both);
        assert_eq!(count(&recent), 3);
        let worst = recent.values().next().and_then(|histogram| histogram.quantile(0.999)).expect("not empty");
        assert!(worst < Duration::from_millis(2), "{worst:?}");
    }

    #[test]
    fn a_silent_peer_has_no_window_and_costs_nothing() {
        let mut window = LatencyWindow::default();
        let latencies = of("a", &[(5, 1)]);
        (0..20).for_each(|tick| window.push(seconds(10 * tick), &latencies));
        assert_eq!(window.recent(seconds(195), &latencies), Latencies::new());
        assert_eq!(window.snapshots.len(), SNAPSHOTS_MAX);
        let mut kept = window.snapshots.iter().flat_map(|snapshot| snapshot.latencies.values());
        let first = kept.next().expect("kept");
        assert!(kept.all(|other| Arc::ptr_eq(first, other)));
    }

    #[test]
    fn counts_that_began_anew_are_taken_whole() {
        let mut window = LatencyWindow::default();
        window.push(seconds(0), &of("a", &[(1000, 500)]));
        assert_eq!(count(&window.recent(seconds(5), &of("a", &[(7, 1)]))), 7);
    }

    #[test]
    fn before_the_first_snapshot_everything_is_recent() {
        assert_eq!(count(&LatencyWindow::default().recent(seconds(1), &of("a", &[(7, 1)]))), 7);
    }

    #[test]
    fn snapshots_that_come_too_often_are_bounded() {
        let mut window = LatencyWindow::default();
        (0..1000).for_each(|tick| window.push(Duration::from_millis(tick), &of("a", &[(tick, 1)])));
        assert_eq!(window.snapshots.len(), SNAPSHOTS_MAX);
    }
}
