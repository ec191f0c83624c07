//! What changes about a node between two snapshots: calls in flight, health, counters. It outlives the snapshots.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

use rdb_net_types::{CallOutcome, HealthStatus, NodeId};

use crate::penalty::{Penalty, PickClock};

const STATUS_BITS: u8 = 0b0011;
const DRAINING: u8 = 0b0100;
const EJECTED: u8 = 0b1000;

/// A node's moving parts. Statistics and hints: nothing is ordered by them, so every access is relaxed.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) id: NodeId,
    clock: Arc<PickClock>,
    inflight: AtomicU32,
    flags: AtomicU8,
    /// What is missing of full trust, in parts of 255.
    mistrust: AtomicU8,
    penalty: Penalty,
    pub(crate) picks: AtomicU64,
    pub(crate) successes: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) cancelled: AtomicU64,
}

/// A node's flags, read at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flags(u8);

impl Flags {
    pub(crate) fn status(self) -> HealthStatus {
        match self.0 & STATUS_BITS {
            0 => HealthStatus::Unknown,
            1 => HealthStatus::Healthy,
            2 => HealthStatus::Degraded,
            _ => HealthStatus::Unhealthy,
        }
    }

    pub(crate) fn is_draining(self) -> bool {
        self.0 & DRAINING != 0
    }

    pub(crate) fn is_ejected(self) -> bool {
        self.0 & EJECTED != 0
    }

    /// Whether health lets the node be picked.
    pub(crate) fn is_up(self) -> bool {
        !self.is_ejected() && self.status() != HealthStatus::Unhealthy
    }
}

impl Live {
    pub(crate) fn new(id: NodeId, clock: Arc<PickClock>) -> Self {
        Self {
            id,
            clock,
            inflight: AtomicU32::new(0),
            flags: AtomicU8::new(0),
            mistrust: AtomicU8::new(0),
            penalty: Penalty::default(),
            picks: AtomicU64::new(0),
            successes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
        }
    }

    pub(crate) fn flags(&self) -> Flags {
        Flags(self.flags.load(Relaxed))
    }

    /// The part of its calls that it gets, from 0 to 1.
    pub(crate) fn trust(&self) -> f64 {
        1.0 - f64::from(self.mistrust.load(Relaxed)) / 255.0
    }

    pub(crate) fn set_trust(&self, trust: f64) {
        let mistrust = (1.0 - trust.clamp(0.0, 1.0)) * 255.0;
        self.mistrust.store(mistrust.round() as u8, Relaxed);
    }

    pub(crate) fn inflight(&self) -> u32 {
        self.inflight.load(Relaxed)
    }

    /// The penalty for failed calls, in calls in flight.
    pub(crate) fn penalty_calls(&self) -> f64 {
        self.penalty.calls(&self.clock)
    }

    /// The load that one more call would make, in calls.
    pub(crate) fn load_with_one_more(&self) -> f64 {
        f64::from(self.inflight()) + 1.0 + self.penalty_calls()
    }

    pub(crate) fn set_status(&self, status: HealthStatus) {
        let bits = match status {
            HealthStatus::Unknown => 0,
            HealthStatus::Healthy => 1,
            HealthStatus::Degraded => 2,
            HealthStatus::Unhealthy => 3,
        };
        self.replace_flags(STATUS_BITS, bits);
    }

    pub(crate) fn set_draining(&self, draining: bool) {
        self.replace_flags(DRAINING, if draining { DRAINING } else { 0 });
    }

    pub(crate) fn set_ejected(&self, ejected: bool) {
        self.replace_flags(EJECTED, if ejected { EJECTED } else { 0 });
    }

    /// For a node that was away: what was said of it then says nothing now. Its calls in flight are still in flight.
    pub(crate) fn forget_flags(&self) {
        self.flags.store(0, Relaxed);
        self.mistrust.store(0, Relaxed);
    }

    fn replace_flags(&self, mask: u8, bits: u8) {
        // The closure never refuses, so the update cannot fail.
        let _ = self.flags.fetch_update(Relaxed, Relaxed, |flags| Some(flags & !mask | bits));
    }

    pub(crate) fn begin(&self) {
        self.inflight.fetch_add(1, Relaxed);
        self.picks.fetch_add(1, Relaxed);
    }

    pub(crate) fn end(&self, outcome: CallOutcome) {
        self.inflight.fetch_sub(1, Relaxed);
        match outcome {
            CallOutcome::Success | CallOutcome::ApplicationError => {
                self.successes.fetch_add(1, Relaxed);
                self.penalty.success(&self.clock);
            }
            CallOutcome::Overloaded | CallOutcome::TransportError | CallOutcome::TimedOut => {
                self.failures.fetch_add(1, Relaxed);
                self.penalty.failure(&self.clock);
            }
            CallOutcome::Cancelled => {
                self.cancelled.fetch_add(1, Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_do_not_disturb_each_other() {
        let live = Live::new(NodeId::new("a").expect("legal"), Arc::new(PickClock::new(0)));
        assert_eq!(live.flags().status(), HealthStatus::Unknown);
        for status in [HealthStatus::Unhealthy, HealthStatus::Degraded, HealthStatus::Healthy, HealthStatus::Unknown] {
            for (draining, ejected) in [(true, false), (true, true), (false, true), (false, false)] {
                live.set_draining(draining);
                live.set_status(status);
                live.set_ejected(ejected);
                let flags = live.flags();
                assert_eq!((flags.status(), flags.is_draining(), flags.is_ejected()), (status, draining, ejected));
                assert_eq!(flags.is_up(), !ejected && status != HealthStatus::Unhealthy);
            }
        }
    }
}
