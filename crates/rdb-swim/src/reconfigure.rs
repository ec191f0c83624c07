//! New settings for a member that runs.

use std::time::Duration;

use rdb_net_types::NodeId;

use crate::config::{Config, ConfigError};
use crate::schedule::Timer;
use crate::swim::{Phase, Swim};

/// Why new settings were not taken. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReconfigureError {
    /// No member can run with them.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// This member's own metadata is longer than they allow.
    #[error("meta_bytes_max = {limit} is below the {bytes} bytes of metadata that {node} has; shorten it first")]
    Meta {
        /// This member.
        node: NodeId,
        /// The length of its metadata.
        bytes: usize,
        /// The limit that was asked for.
        limit: usize,
    },
}

impl Swim {
    /// Takes new settings at once. What comes regularly comes within its new interval from now on, and at the new one after
    /// that. Probes under way and suspicions that have begun keep the time that they were given: a deadline that others count
    /// on does not move. Each field of [`Config`] says what else of before it does not reach.
    ///
    /// # Errors
    ///
    /// [`ReconfigureError`]; nothing was changed.
    pub fn set_config(&mut self, now: Duration, config: Config) -> Result<(), ReconfigureError> {
        config.validate()?;
        let own = self.table.local();
        if own.meta.len() > config.meta_bytes_max {
            let (node, bytes) = (own.id.clone(), own.meta.len());
            return Err(ReconfigureError::Meta { node, bytes, limit: config.meta_bytes_max });
        }
        let former = std::mem::replace(&mut self.config, config);
        let lifeguard = self.config.lifeguard;
        self.health.limit(if lifeguard.local_health { lifeguard.health_max } else { 0 });
        self.broadcasts.limit(self.config.broadcast_bytes_max);
        if !matches!(self.phase, Phase::Active) {
            return Ok(());
        }
        // Drawn, not now: members that are set anew together would otherwise work in step for ever.
        if former.probe_interval != self.config.probe_interval {
            let interval = self.scaled(self.config.probe_interval);
            self.rearm(now, Timer::Probe, interval);
        }
        if former.sync_interval != self.config.sync_interval {
            let interval = self.config.sync_interval_for(self.table.alive_count());
            self.rearm(now, Timer::Sync, interval);
        }
        if former.revisit_interval != self.config.revisit_interval {
            self.rearm(now, Timer::Revisit, self.config.revisit_interval);
        }
        if self.config.gossip_fanout > 0 && !(self.queue.is_empty() && self.broadcasts.is_empty()) {
            self.rearm(now, Timer::Gossip, self.config.gossip_interval);
        }
        Ok(())
    }

    fn rearm(&mut self, now: Duration, timer: Timer, interval: Duration) {
        let wait = self.random.duration(Duration::ZERO, interval);
        self.schedule.set(timer, now + wait);
    }
}
