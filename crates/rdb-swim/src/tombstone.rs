//! What must not come back: the incarnations of members that were forgotten.
//!
//! Without it, an old record that some member still tells would bring a forgotten one back as a ghost.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rdb_net_types::{Incarnation, NodeId};

/// Forgotten members, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    stones: BTreeMap<NodeId, (Incarnation, Duration)>,
    order: VecDeque<(Duration, NodeId)>,
}

impl Tombstones {
    /// The newest incarnation that is dead for good.
    pub(crate) fn incarnation(&self, id: &NodeId) -> Option<Incarnation> {
        self.stones.get(id).map(|(incarnation, _)| *incarnation)
    }

    /// Keeps old records of this member out until `until`. Gives how many older stones the limit has cost.
    pub(crate) fn insert(&mut self, id: &NodeId, incarnation: Incarnation, until: Duration, stones_max: usize) -> u64 {
        self.stones.insert(id.clone(), (incarnation, until));
        self.order.push_back((until, id.clone()));
        let mut lost = 0;
        while self.order.len() > stones_max {
            lost += u64::from(self.pop());
        }
        lost
    }

    /// Removes the stone of a member that is taken in again.
    pub(crate) fn remove(&mut self, id: &NodeId) {
        if self.stones.remove(id).is_some() {
            self.order.retain(|(_, other)| other != id);
        }
    }

    pub(crate) fn expire(&mut self, now: Duration) {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            self.pop();
        }
    }

    /// Removes the oldest; false where a younger stone of the same member stands.
    fn pop(&mut self) -> bool {
        let Some((until, id)) = self.order.pop_front() else { return false };
        let is_current = self.stones.get(&id).is_some_and(|(_, current)| *current == until);
        if is_current {
            self.stones.remove(&id);
        }
        is_current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stones_stand_until_their_time_or_the_limit() {
        let id = |n: u32| NodeId::new(&format!("n{n}")).expect("legal");
        let inc = Incarnation::first_of(5);
        let mut stones = Tombstones::default();
        for n in 0..4u32 {
            let lost = stones.insert(&id(n), inc, Duration::from_secs(10 + u64::from(n)), 3);
            assert_eq!(lost, u64::from(n == 3));
        }
        assert_eq!(stones.incarnation(&id(0)), None);
        stones.expire(Duration::from_secs(11));
        assert_eq!((stones.incarnation(&id(1)), stones.incarnation(&id(2))), (None, Some(inc)));
        stones.remove(&id(2));
        assert_eq!(stones.incarnation(&id(2)), None);
        assert_eq!(stones.order.len(), 1);
    }
}
