//! How a connection's path is doing: QUIC counts by itself.

use rdb_net_transport::PathProbe;
use rdb_net_types::PathStatistics;

/// Asks a connection, whoever has it.
#[derive(Debug)]
pub(crate) struct QuicPath(pub(crate) quinn::Connection);

impl PathProbe for QuicPath {
    fn statistics(&self) -> Option<PathStatistics> {
        if self.0.close_reason().is_some() {
            return None;
        }
        let path = self.0.stats().path;
        Some(PathStatistics {
            smoothed_rtt: path.rtt,
            rtt_variance: None,
            congestion_window_bytes: path.cwnd,
            retransmits: path.lost_packets,
            unacknowledged: None,
            delivery_rate_bytes: None,
            packet_bytes_max: path.current_mtu.into(),
        })
    }
}
