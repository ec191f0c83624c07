//! Where nothing happens, members ask each other and are silent otherwise: two packets a member and period, and calls on those that
//! are gone.
//!
//! Source: SWIM (DSN 2002), section 3.2: the load of a member does not grow with the cluster. Broken in the field by two nodes that
//! told each other of their deaths for ever (caio/foca #25), and by updates that were told anew for ever (hashicorp/consul #18078).

use std::collections::BTreeMap;
use std::time::Duration;

use super::Invariant;
use crate::simulation::Simulation;

/// How much more than it must be it may be: probes are drawn, and a look at the counters falls between two of them.
const SLACK: f64 = 1.1;

#[derive(Debug, Default)]
pub(crate) struct LoadAtRest {
    since: Duration,
    /// Packets sent before, by node.
    before: BTreeMap<usize, u64>,
}

impl Invariant for LoadAtRest {
    fn name(&self) -> &'static str {
        "load-at-rest"
    }

    fn rests(&mut self, simulation: &Simulation) {
        self.since = simulation.now();
        self.before = sent(simulation);
    }

    fn at_rest(&mut self, simulation: &Simulation) -> Result<(), String> {
        let (members, seconds) = (self.before.len(), simulation.now().saturating_sub(self.since).as_secs_f64());
        if members == 0 || seconds < 10.0 {
            return Ok(());
        }
        let now = sent(simulation);
        let packets: u64 = now.iter().map(|(node, sent)| sent - self.before.get(node).unwrap_or(&0)).sum();
        let Some((_, engine)) = simulation.running().next() else { return Ok(()) };
        let swim = engine.membership();
        let periods = seconds / swim.config().probe_interval.as_secs_f64();
        // Three calls for each failed member and interval, from all members together.
        let calls = seconds / swim.config().revisit_interval.as_secs_f64() * 3.0 * engine.census().failed as f64;
        let most = (2.0 * members as f64 * periods + calls) * SLACK + 20.0;
        if packets as f64 <= most {
            return Ok(());
        }
        Err(format!("{members} members have sent {packets} packets in {seconds:.0} s, more than {most:.0}"))
    }
}

fn sent(simulation: &Simulation) -> BTreeMap<usize, u64> {
    simulation.running().map(|(node, engine)| (node, engine.membership().stats().packets_sent)).collect()
}
