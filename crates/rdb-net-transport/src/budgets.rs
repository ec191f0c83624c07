//! The memory that peers may make this process hold: one budget for all, and one for each peer, over all its connections in
//! both directions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rdb_net_session::Budget;
use rdb_net_types::NodeId;

/// How many budgets of peers that have left may lie about before they are swept out.
const SWEEP_ABOVE: usize = 64;

/// The budgets of a transport.
#[derive(Debug)]
pub(crate) struct Budgets {
    process: Arc<Budget>,
    peer_bytes_max: u64,
    /// A peer's budget lives as long as a connection of it.
    peers: Mutex<BTreeMap<NodeId, Weak<Budget>>>,
}

impl Budgets {
    pub(crate) fn new(process_bytes_max: u64, peer_bytes_max: u64) -> Self {
        Self { process: Budget::process(process_bytes_max), peer_bytes_max, peers: Mutex::default() }
    }

    /// That of the whole process.
    pub(crate) fn process(&self) -> &Arc<Budget> {
        &self.process
    }

    /// That of this peer.
    pub(crate) fn peer(&self, node: &NodeId) -> Arc<Budget> {
        // Nothing in here panics.
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = peers.get(node).and_then(Weak::upgrade) {
            return budget;
        }
        let alive = peers.values().filter(|budget| budget.strong_count() > 0).count();
        if peers.len() > 2 * alive + SWEEP_ABOVE {
            peers.retain(|_, budget| budget.strong_count() > 0);
        }
        let budget = Budget::peer(&self.process, self.peer_bytes_max);
        peers.insert(node.clone(), Arc::downgrade(&budget));
        budget
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_one_budget_as_long_as_it_has_a_connection() {
        let budgets = Budgets::new(100, 70);
        let node = NodeId::new("n").expect("legal");
        let one = budgets.peer(&node);
        let held = one.reserve(50).expect("within");
        assert!(Arc::ptr_eq(&one, &budgets.peer(&node)));
        drop(one);
        assert_eq!(budgets.peer(&node).reserved_bytes(), 50, "what is reserved keeps it");
        drop(held);
        assert_eq!((budgets.peer(&node).reserved_bytes(), budgets.process().reserved_bytes()), (0, 0));
        for number in 0..1000 {
            let node = NodeId::new(&format!("n{number}")).expect("legal");
            assert!(budgets.peer(&node).reserve(1).is_ok());
        }
        assert!(budgets.peers.lock().expect("no panic").len() < 100, "those of peers that left are swept out");
    }
}
