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

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Keeps old records of this member out until `until`. Gives whose stones the limit has cost.
    pub(crate) fn insert(
        &mut self,
        id: &NodeId,
        incarnation: Incarnation,
        until: Duration,
        stones_max: usize,
    ) -> Vec<NodeId> {
        self.remove(id);
        self.stones.insert(id.clone(), (incarnation, until));
        self.order.insert((until, id.clone()));
        let excess = self.order.len().saturating_sub(stones_max);
        (0..excess).filter_map(|_| self.pop()).collect()
    }

    /// Removes the stone of a member that is taken in again.
    pub(crate) fn remove(&mut self, id: &NodeId) {
        if let Some((_, until)) = self.stones.remove(id) {
            self.order.remove(&(until, id.clone()));
        }
    }

    /// Removes one whose time is up, and gives whose it was.
    pub(crate) fn expire(&mut self, now: Duration) -> Option<NodeId> {
        self.order.first().filter(|(until, _)| *until <= now)?;
        self.pop()
    }

    /// Removes the one whose time is up first.
    fn pop(&mut self) -> Option<NodeId> {
        let (_, id) = self.order.pop_first()?;
        self.stones.remove(&id);
        Some(id)
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
            assert_eq!(lost, if n == 3 { vec![id(0)] } else { Vec::new() });
        }
        assert_eq!(stones.incarnation(&id(0)), None);
        let expired: Vec<NodeId> = std::iter::from_fn(|| stones.expire(Duration::from_secs(11))).collect();
        assert_eq!(expired, [id(1)]);
        assert_eq!((stones.incarnation(&id(1)), stones.incarnation(&id(2))), (None, Some(inc)));
        stones.remove(&id(2));
        assert_eq!(stones.incarnation(&id(2)), None);
        assert_eq!(stones.order.len(), 1);
    }
}
