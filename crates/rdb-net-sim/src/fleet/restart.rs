//! A later life of a member, which remembers what the former one has written down.

use std::time::Duration;

use rdb_net_types::{BootId, Incarnation};
use rdb_swim::{LocalNode, Snapshot, Swim};

use crate::fleet::{Fleet, Node};

impl Fleet {
    /// Starts a member anew on its host, with nothing but this memory.
    pub fn restart(&mut self, node: usize, memory: &Snapshot) {
        let (now, seed, size) = (self.now, self.random.next_u64(), self.nodes.len() as u64);
        let Some(held) = self.nodes.get_mut(node) else { return };
        let own = held.swim.local();
        let local = LocalNode {
            id: own.id.clone(),
            boot: BootId(own.boot.0 + size),
            incarnation: Incarnation::first_of(memory.incarnation.generation() + 1),
            address: own.address,
            meta: own.meta.clone(),
        };
        let mut swim = Swim::new(held.swim.config().clone(), &self.cluster, local, seed, now);
        // As an engine does with what was in a file.
        swim.recall(now, &memory.clone().unheard());
        *held = Node { swim, is_up: true, slow: None, planned: Duration::MAX };
        self.flush(node, false);
    }

    /// A member asks another for its view, as a process does that starts and knows somebody.
    pub fn call_on(&mut self, node: usize, other: usize) {
        self.wanted.push((node, other));
        self.exchange_views();
    }
}
