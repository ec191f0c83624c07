//! What is known of one node, and the status that follows from it.

use std::collections::BTreeMap;
use std::time::Duration;

use rdb_net_types::{HealthStatus, NodeState};

use crate::config::Config;
use crate::event::Cause;
use crate::schedule::Phase;

/// How one node is, for people and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeHealth {
    /// The worst of what is known.
    pub status: HealthStatus,
    /// The last input that changed it.
    pub cause: Cause,
    /// Failures in a row.
    pub failures_in_a_row: u32,
    /// Pings that failed or were not answered in time, since the node is followed.
    pub failures: u64,
    /// The last measured round trip.
    pub round_trip: Option<Duration>,
    /// Smoothed round trip (RFC 6298, section 2: an eighth of each new sample).
    pub smoothed_round_trip: Option<Duration>,
    /// Application checks by name.
    pub checks: BTreeMap<String, HealthStatus>,
}

#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) watched: bool,
    /// The state in which membership holds it, where membership has spoken.
    pub(crate) member: Option<NodeState>,
    pub(crate) phase: Phase,
    pub(crate) last_ping: Option<Duration>,
    /// When it was last known to answer.
    pub(crate) heard: Option<Duration>,
    pub(crate) checks: BTreeMap<String, HealthStatus>,
    /// What pings and evidence say.
    pub(crate) link: HealthStatus,
    pub(crate) failures_in_a_row: u32,
    pub(crate) successes_in_a_row: u32,
    pub(crate) failures: u64,
    pub(crate) round_trip: Option<Duration>,
    smoothed: Option<Duration>,
    is_slow: bool,
    pub(crate) cause: Option<Cause>,
}

impl Record {
    /// The worst of link, latency, application and membership.
    pub(crate) fn status(&self) -> HealthStatus {
        let latency = if self.is_slow { HealthStatus::Degraded } else { HealthStatus::Healthy };
        let member =
            if self.member == Some(NodeState::Failed) { HealthStatus::Unhealthy } else { HealthStatus::Healthy };
        let application = self.checks.values().copied().max().unwrap_or(HealthStatus::Healthy);
        self.link.max(latency).max(member).max(application)
    }

    /// An answer came, by whatever way.
    pub(crate) fn success(&mut self, config: &Config, now: Duration, round_trip: Duration) {
        self.heard = Some(now);
        self.failures_in_a_row = 0;
        self.successes_in_a_row = self.successes_in_a_row.saturating_add(1);
        if self.link == HealthStatus::Unknown || self.successes_in_a_row >= config.success_threshold {
            self.link = HealthStatus::Healthy;
        }
        self.measure(config, round_trip);
    }

    /// A ping brought nothing.
    pub(crate) fn failure(&mut self, config: &Config) {
        self.failures += 1;
        self.successes_in_a_row = 0;
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        let reached = self.failures_in_a_row >= config.failure_threshold;
        self.link = self.link.max(if reached { HealthStatus::Unhealthy } else { HealthStatus::Degraded });
    }

    /// Something that bodes ill was seen. It stands for one failure however often it is seen: only pings go further.
    pub(crate) fn doubt(&mut self) {
        self.successes_in_a_row = 0;
        self.failures_in_a_row = self.failures_in_a_row.max(1);
        self.link = self.link.max(HealthStatus::Degraded);
    }

    /// The node may be another process than before: only what the application says of it stays.
    pub(crate) fn start_anew(&mut self) {
        self.link = HealthStatus::Unknown;
        (self.failures_in_a_row, self.successes_in_a_row) = (0, 0);
        (self.round_trip, self.smoothed, self.is_slow) = (None, None, false);
    }

    fn measure(&mut self, config: &Config, round_trip: Duration) {
        self.round_trip = Some(round_trip);
        let smoothed = match self.smoothed {
            None => round_trip,
            Some(smoothed) => smoothed - smoothed / 8 + round_trip / 8,
        };
        self.smoothed = Some(smoothed);
        if let Some(limit) = config.degraded_latency {
            // Leaving at four fifths keeps a node at the limit from flapping.
            self.is_slow = smoothed > if self.is_slow { limit / 5 * 4 } else { limit };
        }
    }

    pub(crate) fn is_well(&self) -> bool {
        self.link <= HealthStatus::Unknown
    }

    pub(crate) fn report(&self) -> NodeHealth {
        NodeHealth {
            status: self.status(),
            cause: self.cause.clone().unwrap_or(Cause::Nothing),
            failures_in_a_row: self.failures_in_a_row,
            failures: self.failures,
            round_trip: self.round_trip,
            smoothed_round_trip: self.smoothed,
            checks: self.checks.clone(),
        }
    }
}
