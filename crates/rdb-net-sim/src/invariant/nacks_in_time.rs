//! In a network that loses nothing, the relays of a probe answer before it is over.
//!
//! Source: Lifeguard (arXiv 1707.00788), section IV-A: a relay sends its nack while the prober waits; one that is missing shows that
//! the prober itself is the slow one. Broken in the field where the nack came when the prober had given up (hashicorp/memberlist,
//! `handleIndirectPing`): asking a dead member made the healthy one ill.

use std::collections::BTreeMap;
use std::time::Duration;

use rdb_net_engine::Engine;

use super::{Invariant, Stepped};

/// So long nothing must have been wrong: a probe of a member that thinks itself ill takes that long, and twice.
const CALM: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(crate) struct NacksInTime {
    missed: BTreeMap<usize, u64>,
}

impl Invariant for NacksInTime {
    fn name(&self) -> &'static str {
        "nacks-in-time"
    }

    fn started(&mut self, observer: usize, _engine: &Engine) {
        self.missed.remove(&observer);
    }

    fn stepped(&mut self, stepped: &Stepped<'_>) -> Result<(), String> {
        let swim = stepped.engine.membership();
        let missed = swim.stats().nacks_missed;
        let more = missed - self.missed.insert(stepped.observer, missed).unwrap_or(0);
        let (scene, now) = (stepped.scene, stepped.now);
        if more == 0 || scene.calm_for(now).is_none_or(|calm| calm < CALM) {
            return Ok(());
        }
        // Relays may be down themselves: only where the one that was asked for is the only one that is, or was until lately in the
        // eyes of this node, all must answer.
        let is_counted_on = |node: &usize| {
            let held = swim.member(&scene.ids[*node]);
            held.is_some_and(|held| held.state.is_routable() || now.saturating_sub(held.since) < CALM)
        };
        let silent =
            scene.down.iter().filter(|(node, at)| is_counted_on(node) || now.saturating_sub(**at) < CALM).count();
        if silent > 1 { Ok(()) } else { Err(format!("{more} relays did not answer in time")) }
    }
}
