//! Who looks after a node and does what `docs/patterns.md` says of nodes that do not come back.
//!
//! Here they all come back, and with their logs. So an operator is mistaken whenever he gives one up, and nothing must be mixed all the same: what
//! is in doubt at who was given up is resolved by the list that its coordinator keeps, after whatever restarts of both.

use std::collections::BTreeSet;
use std::time::Duration;

use rdb_net_patterns::transaction::{Decision, GivenUp, InDoubt};
use rdb_net_types::NodeId;

use crate::host::{Message, Tag, TransactionNode};

/// For how long a transaction is in doubt until an operator asks why.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long he waits for a list.
const LIST_TIMEOUT: Duration = Duration::from_secs(1);

impl TransactionNode {
    /// When he looks next.
    pub(crate) fn look_later(&mut self) {
        self.looks_at = self.now + self.random.duration(Duration::from_secs(1), Duration::from_secs(4));
    }

    /// He gives up one of those that a commit waits for. `false` where none does.
    pub(crate) fn give_up(&mut self) -> bool {
        let waited_for: BTreeSet<NodeId> = self.coordinator.untold().flat_map(|untold| untold.nodes).collect();
        if waited_for.is_empty() {
            return false;
        }
        let chosen = self.random.index(waited_for.len());
        let node = waited_for.into_iter().nth(chosen).expect("there are so many");
        self.coordinator.give_up(&node).expect("a commit waits for it, and there is room");
        true
    }

    /// He looks for what is in doubt, and asks its coordinators for their lists.
    pub(crate) fn look(&mut self) {
        self.look_later();
        let in_doubt = self.participant.in_doubt(self.now).filter(|doubt| doubt.waiting >= PATIENCE);
        let coordinators: BTreeSet<NodeId> = in_doubt.map(|doubt| doubt.coordinator).collect();
        for coordinator in coordinators {
            self.send(Tag::GivenUp(coordinator.clone()), coordinator, Message::GivenUp, LIST_TIMEOUT);
        }
        // What he has resolved nobody may ever confirm.
        let resolved: Vec<_> = self.participant.resolved_by_hand().map(|resolved| resolved.txn).collect();
        for txn in resolved {
            if self.random.chance(0.3) {
                self.participant.forget_resolved(txn);
            }
        }
    }

    /// He resolves by a coordinator's list what is in doubt of that time.
    pub(crate) fn resolve(&mut self, coordinator: &NodeId, list: &GivenUp) {
        let is_of_that_time = |doubt: &InDoubt| doubt.coordinator == *coordinator && doubt.txn <= list.newest;
        let in_doubt: Vec<InDoubt> = self.participant.in_doubt(self.now).filter(is_of_that_time).collect();
        for InDoubt { txn, .. } in in_doubt {
            let decision = if list.transactions.contains(&txn) { Decision::Commit } else { Decision::Abort };
            self.participant.resolve(txn, decision).expect("it is in doubt");
        }
    }
}
