//! What an operator does about transactions of nodes that do not come back.

use rdb_net_types::{NodeId, TransactionId};
use tokio::sync::oneshot;

use super::{Decision, GiveUpError, GivenUp, InDoubt, ResolveError, ResolvedByHand, TransactionManager, Untold};

impl TransactionManager {
    /// The transactions that wait here for their coordinators' decisions, with their locks taken.
    pub fn in_doubt(&self) -> Vec<InDoubt> {
        self.shared.with(|machines, now| machines.participant.in_doubt(now).collect())
    }

    /// Decides by hand about a transaction in doubt, and returns when that is durable; the resource does it then. It is an operator's
    /// last resort, for a coordinator that does not come back: where the others did the opposite, the transaction is mixed.
    ///
    /// The coordinator is asked on. When it says the same, nothing is left of it; when it says the opposite, that is an error in the log,
    /// and [`resolved_by_hand`](Self::resolved_by_hand) says so.
    ///
    /// # Errors
    ///
    /// [`ResolveError`].
    ///
    /// # Cancel safety
    ///
    /// Once it was polled, dropping the future does not take it back.
    pub async fn resolve(&self, txn: TransactionId, decision: Decision) -> Result<(), ResolveError> {
        let durable = self.shared.with(|machines, _| {
            if machines.is_stopped() {
                return Err(ResolveError::Stopped);
            }
            machines.participant.resolve(txn, decision)?;
            let (sender, durable) = oneshot::channel();
            machines.resolving.insert(txn, sender);
            Ok(durable)
        })?;
        durable.await.map_err(|_| ResolveError::Stopped)
    }

    /// What was resolved by hand and is not known to be what the coordinator has decided.
    pub fn resolved_by_hand(&self) -> Vec<ResolvedByHand> {
        self.shared.with(|machines, _| machines.participant.resolved_by_hand().collect())
    }

    /// Keeps nothing more of what was resolved by hand: its data is repaired, or its coordinator is gone for good. `false` where nothing is
    /// kept of it, or this node has ended its transactions: then nothing has changed. It is written with the log's next records and not
    /// waited for: after a crash it may have to be forgotten again.
    ///
    /// Where the coordinator comes back after all and decides the opposite, that is an error in the log and refused, and it stands in
    /// [`resolved_by_hand`](Self::resolved_by_hand) again. So it is of the last 1,024 that were forgotten, in this life of the node.
    pub fn forget_resolved(&self, txn: TransactionId) -> bool {
        self.shared.with(|machines, _| !machines.is_stopped() && machines.participant.forget_resolved(txn))
    }

    /// The commits of this node that not all participants have acknowledged, and who has not.
    pub fn untold(&self) -> Vec<Untold> {
        self.shared.with(|machines, _| machines.coordinator.untold().collect())
    }

    /// The participants that are given up, and which commits did without them: of this life and of former ones.
    pub fn given_up(&self) -> Vec<GivenUp> {
        self.shared.with(|machines, _| machines.coordinator.given_up().cloned().collect())
    }

    /// Gives up a participant that does not come back, and returns when that is durable: no commit of until now waits for it. What is voted
    /// on and names it is aborted. Returns the commits that waited for it. Its part of those is lost, unless it did it before it was.
    ///
    /// Should it come back all the same, look at [`given_up`](Self::given_up): of what it is in doubt of up to the newest transaction that
    /// stands there, the commits that are listed are to be committed there, by hand, and all others are to be aborted.
    ///
    /// # Errors
    ///
    /// [`GiveUpError`].
    ///
    /// # Cancel safety
    ///
    /// Once it was polled, dropping the future does not take it back, and neither does a crash once it is durable: [`given_up`](Self::given_up) says what
    /// was given up.
    pub async fn give_up(&self, node: &NodeId) -> Result<Vec<TransactionId>, GiveUpError> {
        let durable = self.shared.with(|machines, _| {
            if machines.is_stopped() {
                return Err(GiveUpError::Stopped);
            }
            let ticket = machines.coordinator.give_up(node)?;
            let (sender, durable) = oneshot::channel();
            machines.giving_up.insert(ticket, sender);
            Ok(durable)
        })?;
        durable.await.map_err(|_| GiveUpError::Stopped)
    }
}
