//! A participant that does not come back: its commits stay open here, and count against the limit, until an operator gives it up.
//!
//! What is given up must not be answered by the presumption that it was aborted, should the participant come back after all: it was
//! committed. So the coordinator keeps the name, up to which transaction it was given up, and which commits did without it. A question about
//! one of those is answered while the commit is told to others, and not answered when it has ended. The participant stays in doubt, visibly,
//! until somebody resolves it by hand there: by the list that is kept here, over restarts as well.
//!
//! The list is complete when it is written. What is still voted on, and names the participant, is aborted first: otherwise it could be
//! committed without the participant after the operator was told what was.

use rdb_net_types::{NodeId, TransactionId};

use super::{AbortCause, Coordinator, CoordinatorAction, Phase, Progress, Transaction};
use crate::transaction::mutation::Mutation;
use crate::transaction::{Record, Ticket};

/// A commit that not all participants have acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    /// Which.
    pub txn: TransactionId,
    /// Who has not.
    pub nodes: Vec<NodeId>,
}

/// A participant that is given up. It is remembered for good.
///
/// Should it come back with its log, it is in doubt of some transactions of this coordinator. Of those up to `newest`, the listed ones are
/// to be committed there by hand, and the others to be aborted. About later ones its questions are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// Who.
    pub node: NodeId,
    /// The newest transaction at that time.
    pub newest: TransactionId,
    /// The commits that did without it. It may have done its part of some before it was lost.
    pub transactions: Vec<TransactionId>,
}

impl GivenUp {
    pub(super) fn record(&self) -> Record {
        let Self { node, newest, transactions } = self.clone();
        Record::GivenUp { node, newest, transactions }
    }
}

/// Why a participant was not given up. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GiveUpError {
    /// No commit waits for it: the name is wrong, or it has come back, or it is given up already.
    #[error("no commit waits for {node}; list what waits for whom, and who is given up")]
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
    /// So many parts of commits are listed as may be. Raise the limit.
    #[error("{parts_given_up_max} parts of commits are given up, which is the limit (parts_given_up_max); raise it")]
    TooManyParts {
        /// The limit.
        parts_given_up_max: usize,
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

    /// Who is given up, and which commits did without them. It is in the log as well.
    pub fn given_up(&self) -> impl Iterator<Item = &GivenUp> {
        self.given_up.values()
    }

    /// The operator gives up a participant that does not come back. What is voted on and names it is aborted at once. When the record of it is
    /// durable, no commit of until now waits for it ([`CoordinatorAction::GivenUp`] names them). Its part of those is not done, unless it was
    /// done before it was lost.
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
        let mut transactions = self.given_up.get(node).map(|before| before.transactions.clone()).unwrap_or_default();
        transactions.extend(self.waiting_for(node));
        let others = self.given_up.values().chain(self.giving_up.values()).filter(|other| other.node != *node);
        let parts_given_up_max = self.config.parts_given_up_max;
        if others.map(|other| other.transactions.len()).sum::<usize>() + transactions.len() > parts_given_up_max {
            return Err(GiveUpError::TooManyParts { parts_given_up_max });
        }
        if !self.planted.has(Mutation::GiveUpLeavesVoting) {
            self.abort_voting(node);
        }
        let given_up = GivenUp { node: node.clone(), newest: self.life.transaction(self.sequence), transactions };
        let ticket = self.append_forced(given_up.record());
        self.giving_up.insert(ticket, given_up);
        Ok(ticket)
    }

    /// The commits, told or being written, whose acknowledgement by this participant is missing.
    fn waiting_for(&self, node: &NodeId) -> impl Iterator<Item = TransactionId> {
        let is_waiting = move |transaction: &Transaction| match transaction.phase {
            Phase::Voting => false,
            // Who is only read from is told nothing.
            Phase::Deciding => transaction.committed().any(|member| member == node),
            Phase::Telling => {
                transaction.members.iter().any(|member| member.node == *node && member.progress != Progress::Done)
            }
        };
        self.open.iter().filter(move |(_, transaction)| is_waiting(transaction)).map(|(txn, _)| *txn)
    }

    fn abort_voting(&mut self, node: &NodeId) {
        let is_voting = |transaction: &Transaction| {
            transaction.phase == Phase::Voting && transaction.members.iter().any(|member| member.node == *node)
        };
        let voting = self.open.iter().filter(|(_, transaction)| is_voting(transaction)).map(|(txn, _)| *txn);
        for txn in voting.collect::<Vec<_>>() {
            self.decide_abort(txn, AbortCause::GivenUp { node: node.clone() });
        }
    }

    /// The records of these are durable.
    pub(super) fn handle_given_up(&mut self, ticket: Ticket) {
        while let Some(entry) = self.giving_up.first_entry().filter(|entry| *entry.key() <= ticket) {
            let (ticket, given_up) = entry.remove_entry();
            let node = given_up.node.clone();
            let mut transactions = Vec::new();
            for txn in &given_up.transactions {
                let member = self.open.get_mut(txn).and_then(|transaction| transaction.member(&node));
                // It may have acknowledged in the meantime.
                if let Some(member) = member.filter(|member| member.progress != Progress::Done) {
                    member.progress = Progress::Done;
                    transactions.push(*txn);
                }
            }
            self.given_up.insert(node.clone(), given_up);
            transactions.iter().for_each(|txn| self.end_if_all_are_done(*txn));
            self.actions.push_back(CoordinatorAction::GivenUp { ticket, node, transactions });
        }
    }

    /// Whether a node was given up when this transaction was begun already: what became of it is not presumed.
    pub(super) fn is_given_up(&self, node: &NodeId, txn: TransactionId) -> bool {
        self.given_up.get(node).is_some_and(|given_up| txn <= given_up.newest)
    }
}
