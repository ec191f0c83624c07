//! A participant that does not come back: its commits stay open here, and count against the limit, until an operator gives it up.
//!
//! What is given up must not be answered by the presumption that it was aborted, should the participant come back after all: it was
//! committed. So the coordinator keeps the name, and up to which transaction it was given up. A question about one of those that is no
//! longer known is not answered. The participant stays in doubt, visibly, until somebody resolves it by hand there.

use rdb_net_types::{NodeId, TransactionId};

use super::{Coordinator, CoordinatorAction, Phase, Progress};
use crate::transaction::{Record, Ticket};

/// A commit that not all participants have acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    /// Which.
    pub txn: TransactionId,
    /// Who has not.
    pub nodes: Vec<NodeId>,
}

/// Why a participant was not given up. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GiveUpError {
    /// No commit waits for it: the name is wrong, or it has come back.
    #[error("no commit waits for {node}; list what waits for whom")]
    NothingWaits {
        /// Whom.
        node: NodeId,
    },
    /// So many names are kept as may be. They are of nodes that are lost for good; raise the limit.
    #[error("{given_up_max} participants are given up, which is the limit (given_up_max); raise it")]
    TooMany {
        /// The limit.
        given_up_max: usize,
    },
    /// This node's transactions ended before the record was durable. Whether it is, shows at the next start.
    #[error("this node ended its transactions before the record of it was durable; look again after its restart")]
    Stopped,
}

impl Coordinator {
    /// Commits that not all participants have acknowledged, and who has not.
    pub fn untold(&self) -> impl Iterator<Item = Untold> {
        let telling = self.open.iter().filter(|(_, transaction)| transaction.phase == Phase::Telling);
        telling.map(|(txn, transaction)| {
            let untold = transaction.members.iter().filter(|member| member.progress != Progress::Done);
            Untold { txn: *txn, nodes: untold.map(|member| member.node.clone()).collect() }
        })
    }

    /// The operator gives up a participant that does not come back. When the record of it is durable, no commit of until now waits for it
    /// ([`CoordinatorAction::GivenUp`] names them). Its part of those is not done, unless it was done before it was lost.
    ///
    /// # Errors
    ///
    /// [`GiveUpError`]; nothing has changed.
    pub fn give_up(&mut self, node: &NodeId) -> Result<Ticket, GiveUpError> {
        if !self.untold().any(|untold| untold.nodes.contains(node)) {
            return Err(GiveUpError::NothingWaits { node: node.clone() });
        }
        let given_up_max = self.config.given_up_max;
        if self.given_up.len() + self.giving_up.len() >= given_up_max && !self.given_up.contains_key(node) {
            return Err(GiveUpError::TooMany { given_up_max });
        }
        let newest = self.life.transaction(self.sequence);
        let ticket = self.append_forced(Record::GivenUp { node: node.clone(), newest });
        self.giving_up.insert(ticket, (node.clone(), newest));
        Ok(ticket)
    }

    /// The records of these are durable.
    pub(super) fn handle_given_up(&mut self, ticket: Ticket) {
        while let Some(entry) = self.giving_up.first_entry().filter(|entry| *entry.key() <= ticket) {
            let (ticket, (node, newest)) = entry.remove_entry();
            let mut transactions = Vec::new();
            for (txn, transaction) in self.open.range_mut(..=newest) {
                let is_telling = transaction.phase == Phase::Telling;
                let member = transaction.member(&node).filter(|member| is_telling && member.progress != Progress::Done);
                if let Some(member) = member {
                    member.progress = Progress::Done;
                    transactions.push(*txn);
                }
            }
            self.stats.parts_given_up += transactions.len() as u64;
            transactions.iter().for_each(|txn| self.end_if_all_are_done(*txn));
            self.given_up.insert(node.clone(), newest);
            self.actions.push_back(CoordinatorAction::GivenUp { ticket, node, transactions });
        }
    }

    /// Whether a node was given up when this transaction was begun already: what became of it is not presumed.
    pub(super) fn is_given_up(&self, node: &NodeId, txn: TransactionId) -> bool {
        self.given_up.get(node).is_some_and(|newest| txn <= *newest)
    }
}
