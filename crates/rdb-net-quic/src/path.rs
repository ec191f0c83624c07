//! How a connection's path is doing: QUIC counts by itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdb_net_transport::PathProbe;
use rdb_net_types::PathStatistics;

use crate::datagrams::Outgoing;

/// How old what is told may be while packets come and go. Who asks has it brought up to date for the next time as well.
const OLD: Duration = Duration::from_millis(100);

/// What the task of a connection tells of its path.
#[derive(Debug, Default)]
pub(crate) struct PathCell {
    told: Mutex<Option<PathStatistics>>,
    is_wanted: AtomicBool,
}

impl PathCell {
    fn lock(&self) -> MutexGuard<'_, Option<PathStatistics>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps what is told up to date.
#[derive(Debug, Default)]
pub(crate) struct PathKeeper {
    cell: Arc<PathCell>,
    told_at: Option<Instant>,
    dropped: u64,
}

impl PathKeeper {
    pub(crate) fn cell(&self) -> Arc<PathCell> {
        Arc::clone(&self.cell)
    }

    /// So many packets found no room before the connection's task took them.
    pub(crate) fn dropped(&mut self, packets: u64) {
        self.dropped = packets;
    }

    /// Tells how the path is doing, where that is due.
    pub(crate) fn keep(&mut self, quic: &quinn_proto::Connection, now: Instant) {
        let is_fresh = self.told_at.is_some_and(|told| now.saturating_duration_since(told) < OLD);
        if is_fresh && !self.cell.is_wanted.swap(false, Ordering::Relaxed) {
            return;
        }
        self.told_at = Some(now);
        let path = quic.stats().path;
        *self.cell.lock() = Some(PathStatistics {
            smoothed_rtt: path.rtt,
            rtt_variance: None,
            congestion_window_bytes: path.cwnd,
            retransmits: path.lost_packets,
            dropped: Some(self.dropped),
            unacknowledged: None,
            delivery_rate_bytes: None,
            packet_bytes_max: path.current_mtu.into(),
        });
    }
}

/// Asks a connection, whoever has it.
#[derive(Debug)]
pub(crate) struct QuicPath {
    pub(crate) cell: Arc<PathCell>,
    pub(crate) outgoing: Arc<Outgoing>,
}

impl PathProbe for QuicPath {
    fn statistics(&self) -> Option<PathStatistics> {
        if self.outgoing.is_over() {
            return None;
        }
        if !self.cell.is_wanted.swap(true, Ordering::Relaxed) {
            self.outgoing.wake();
        }
        *self.cell.lock()
    }
}
