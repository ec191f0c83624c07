//! The Prometheus endpoint: pulled statistics, with bounded labels, as text.
//!
//! `node_id` is the peer, by the name that its hello proved; the node itself is the scraper's `instance`, and named once in
//! `networking_node_info`.

mod exposition;
mod format;
mod labels;
#[cfg(test)]
pub(crate) mod strict;
mod window;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdb_net_manager::ControlPlane;

pub(crate) use self::format::Format;
pub(crate) use self::labels::type_label;

use self::exposition::Exposition;
use self::labels::LabelBook;
use self::window::LatencyWindow;

const LOCKED: &str = "no code panics while it holds this lock";

/// The metrics of one node.
pub(crate) struct Metrics {
    control: Arc<dyn ControlPlane>,
    window: Mutex<LatencyWindow>,
    labels: Mutex<LabelBook>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// How often [`sample`](Self::sample) is due.
    pub(crate) const SAMPLE_INTERVAL: Duration = window::SNAPSHOT_INTERVAL;

    pub(crate) fn new(control: Arc<dyn ControlPlane>) -> Self {
        Self { control, window: Mutex::default(), labels: Mutex::default() }
    }

    /// Remembers the latencies as they are; `now` is the time since any fixed origin.
    pub(crate) fn sample(&self, now: Duration) {
        let latencies = self.control.statistics().latencies;
        self.window.lock().expect(LOCKED).push(now, &latencies);
    }

    /// Everything as text. Costs some milliseconds at a thousand peers.
    pub(crate) fn render(&self, now: Duration, format: Format) -> String {
        let statistics = self.control.statistics();
        let recent = self.window.lock().expect(LOCKED).recent(now, &statistics.latencies);
        let exposition = {
            let mut labels = self.labels.lock().expect(LOCKED);
            Exposition::of(&*self.control, &statistics, &recent, &mut labels)
        };
        format.render(exposition)
    }
}
