//! What must not come back: the incarnations of members that were forgotten.
//!
//! Without it, an old record that some member still tells would bring a forgotten one back as a ghost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdb_net_types::{Incarnation, NodeId};

/// Forgotten members, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    stones: BTreeMap<NodeId, (Incarnation, Duration)>,
    order: BTreeSet<(Duration, NodeId)>,
}

impl Tombstones {
    /// The newest incarnation that is dead for good.
    pub(crate) fn incarnation(&self, id: &NodeId) -> Option<Incarnation> {
        self.stones.get(id).map(|(incarnation, _)| *incarnation)
    }

    /// Keeps old records of this member out until `until`. Gives how many older stones the limit has cost.
    pub(crate) fn insert(&mut self, id: &NodeId, incarnation: Incarnation, until: Duration, stones_max: usize) -> u64 {
        self.remove(id);
        self.stones.insert(id.clone(), (incarnation, until));
        self.order.insert((until, id.clone()));
        let mut lost = 0;
        while self.order.len() > stones_max {
            self.pop();
            lost += 1;
        }
        lost
    }

    /// Removes the stone of a member that is taken in again.
    pub(crate) fn remove(&mut self, id: &NodeId) {
        if let Some((_, until)) = self.stones.remove(id) {
            self.order.remove(&(until, id.clone()));
        }
    }

    pub(crate) fn expire(&mut self, now: Duration) {
        while self.order.first().is_some_and(|(until, _)| *until <= now) {
            self.pop();
        }
    }

    /// Removes the one whose time is up first.
    fn pop(&mut self) {
        if let Some((_, id)) = self.order.pop_first() {
            self.stones.remove(&id);
        }
    }
}
