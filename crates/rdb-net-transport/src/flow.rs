//! Whether a connection carries traffic, for those who ask more of links that do.

use std::time::Duration;

use rdb_net_session::SessionStatistics;
use rdb_net_types::Lane;

/// How often it is looked at most whether something was carried.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// What a connection had carried when it was last looked at.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    carried_bytes: u64,
    look_at: Duration,
}

impl Flow {
    /// Whether it is time to look.
    #[inline]
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        now >= self.look_at
    }

    /// Looks. Gives whether the application has sent or received anything since the last look.
    pub(crate) fn look(&mut self, now: Duration, statistics: &SessionStatistics) -> bool {
        self.look_at = now + LOOK_AFTER;
        let carried_bytes = carried_bytes(statistics);
        std::mem::replace(&mut self.carried_bytes, carried_bytes) != carried_bytes
    }
}

/// Bytes in both directions on all lanes but System, which belongs to membership, health and the connection itself.
fn carried_bytes(statistics: &SessionStatistics) -> u64 {
    let lanes = Lane::ALL.into_iter().zip(&statistics.lanes).filter(|(lane, _)| *lane != Lane::System);
    lanes.map(|(_, carried)| carried.bytes_sent + carried.bytes_received).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn what_the_data_lanes_carry_is_traffic_and_what_the_system_lane_carries_is_not() {
        let (mut flow, mut statistics) = (Flow::default(), SessionStatistics::default());
        assert!(flow.is_due(secs(5)));
        assert!(!flow.look(secs(5), &statistics));
        statistics.lanes[Lane::System as usize].bytes_sent = 100;
        assert!(!flow.is_due(Duration::from_millis(5999)) && flow.is_due(secs(6)));
        assert!(!flow.look(secs(6), &statistics));
        for lane in [Lane::Interactive, Lane::Replication, Lane::Bulk] {
            statistics.lanes[lane as usize].bytes_sent += 1;
            assert!(flow.look(secs(7), &statistics), "{lane:?}, sent");
            statistics.lanes[lane as usize].bytes_received += 1;
            assert!(flow.look(secs(8), &statistics), "{lane:?}, received");
            assert!(!flow.look(secs(9), &statistics), "{lane:?}, nothing since");
        }
    }
}
