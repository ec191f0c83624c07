//! The world's network: how long messages take, and when none passes.

use std::time::Duration;

use rdb_net_patterns::replication::Role;

use crate::script::SETTLING;
use crate::world::{Due, World};

impl World {
    pub(crate) fn delay(&mut self) -> Duration {
        self.random.duration(Duration::from_micros(100), Duration::from_millis(2))
    }

    /// How long a message takes; `None` when it gets lost.
    pub(crate) fn transit(&mut self, from: usize, to: usize) -> Option<Duration> {
        let delay = self.delay();
        if self.is_healed {
            return Some(delay);
        }
        let is_cut = self.cuts.get(&(from, to)).is_some_and(|cuts| *cuts > 0);
        if is_cut || self.random.chance(self.script.loss) {
            return None;
        }
        if self.random.chance(self.script.late) {
            return Some(self.about(Duration::from_millis(150)));
        }
        // The others keep their order.
        let arrival = self.arrivals.entry((from, to)).or_default();
        *arrival = (*arrival + Duration::from_nanos(1)).max(self.now + delay);
        Some(*arrival - self.now)
    }

    /// Cuts one way, or a node from all others.
    pub(crate) fn cut(&mut self) {
        if self.is_healed {
            return;
        }
        let count = self.nodes.len();
        let (node, other) = (self.random.index(count), self.random.index(count));
        let others: Vec<usize> = if self.random.chance(0.3) { (0..count).collect() } else { vec![other] };
        let long = self.about(Duration::from_millis(200));
        let (is_deaf, is_mute) = (self.random.chance(0.7), self.random.chance(0.7));
        self.note(|| format!("cut: node {} and {others:?}, to it {is_deaf}, from it {is_mute}", node + 1));
        for other in others {
            for (from, to) in [(other, node)].into_iter().filter(|_| is_deaf).chain(is_mute.then_some((node, other))) {
                *self.cuts.entry((from, to)).or_default() += 1;
                self.later(long, Due::Mend { from, to });
            }
        }
        let next = self.about(self.script.cut_every);
        self.later(next, Due::Cut);
    }

    pub(crate) fn heal(&mut self) {
        self.is_healed = true;
        self.cuts.clear();
        self.note(|| "from here on nothing fails".to_owned());
        for node in 0..self.nodes.len() {
            // Whose disk has failed begins anew.
            if self.replica(node).is_some_and(|replica| replica.status().role == Role::Failed) {
                self.crash(node);
            }
            self.start(node);
        }
        self.later(SETTLING, Due::Settled);
    }
}
