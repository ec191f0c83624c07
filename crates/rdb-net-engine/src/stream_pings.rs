//! Membership's pings over connections: of those who have answered no packet yet.
//!
//! Their outcome concerns membership, which counts an answer as one to its own ping, and health: it shows how the link is, whoever
//! else may have reached the member meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use rdb_health::PingId;
use rdb_net_types::{NodeAddress, NodeId, Reason};

use crate::command::Command;
use crate::engine::Engine;

/// Health numbers its pings from 0.
const OURS: u64 = 1 << 63;

/// How many may be under way; membership has fewer probes at a time. Of those beyond it health hears nothing.
const UNDER_WAY_MAX: usize = 64;

/// Who was asked by the pings that are under way.
#[derive(Debug, Default)]
pub(crate) struct StreamPings {
    asked: BTreeMap<u32, NodeId>,
}

impl StreamPings {
    /// Which probe of membership a ping is for; `None` where it is health's.
    pub(crate) fn probe_of(id: PingId) -> Option<u32> {
        u32::try_from(id.0.checked_sub(OURS)?).ok()
    }

    /// The ping of a probe.
    fn ask(&mut self, node: &NodeId, sequence: u32) -> PingId {
        if self.asked.len() < UNDER_WAY_MAX {
            self.asked.insert(sequence, node.clone());
        }
        PingId(OURS | u64::from(sequence))
    }
}

impl Engine {
    pub(crate) fn ping_over_stream(&mut self, node: NodeId, sequence: u32, timeout: Duration, address: NodeAddress) {
        let id = self.stream_pings.ask(&node, sequence);
        self.order(Command::Ping { id, node, address, timeout });
    }

    pub(crate) fn handle_stream_pong(&mut self, now: Duration, sequence: u32, result: Result<Duration, Reason>) {
        if result.is_ok() {
            self.swim.handle_stream_pong(now, sequence);
        }
        // That no answer came in time the probe sees by itself.
        if let Some(node) = self.stream_pings.asked.remove(&sequence) {
            self.health.handle_answer(now, &node, result);
        }
    }
}
