//! The first phase: votes are asked for and counted, until the decision.

use std::time::Duration;

use rdb_net_types::{
    AbortTransaction, Effect, NodeId, PrepareTransaction, RequestError, TransactionId, TransactionVote, Vote,
};

use super::{AbortCause, Coordinator, CoordinatorAction, Member, Phase, Progress};
use crate::transaction::mutation::Mutation;
use crate::transaction::{Decision, Record};

impl Coordinator {
    /// What came of asking a participant for its vote.
    pub fn handle_prepared(
        &mut self,
        now: Duration,
        txn: TransactionId,
        node: &NodeId,
        outcome: Result<TransactionVote, RequestError>,
    ) {
        match outcome {
            Ok(vote) if vote.txn_id == txn => {
                let _first = self.voted(now, node, vote);
            }
            Ok(_) => self.stats.strangers += 1,
            Err(error) => self.not_voted(now, txn, node, &error),
        }
    }

    fn not_voted(&mut self, now: Duration, txn: TransactionId, node: &NodeId, error: &RequestError) {
        let Some(transaction) = self.open.get_mut(&txn).filter(|open| open.phase == Phase::Voting) else { return };
        let deadline = transaction.deadline;
        let Some(member) = transaction.member(node).filter(|member| member.progress == Progress::Asked) else { return };
        if error.effect == Effect::Unknown {
            (member.progress, member.may_hold) = (Progress::Silent, true);
            self.schedule.set_earlier(txn, deadline.min(now + self.config.ask_again));
        } else {
            // Nothing is left there, unless an earlier prepare was heard.
            if !member.may_hold {
                member.progress = Progress::Voted(Vote::Abort);
            }
            let (node, effect, reason) = (node.clone(), error.effect, error.reason);
            self.decide_abort(txn, AbortCause::NotReached { node, effect, reason });
        }
    }

    /// Counts a vote. `false` where it was counted before, or is of no use.
    pub(super) fn voted(&mut self, now: Duration, node: &NodeId, vote: TransactionVote) -> bool {
        let TransactionVote { txn_id: txn, vote, reason } = vote;
        let Some(transaction) = self.open.get_mut(&txn) else { return false };
        let is_voting = transaction.phase == Phase::Voting;
        let Some(member) = transaction.member(node) else {
            self.stats.strangers += 1;
            return false;
        };
        if !is_voting || matches!(member.progress, Progress::Voted(_)) {
            return false;
        }
        member.progress = Progress::Voted(vote);
        if vote == Vote::Abort {
            self.decide_abort(txn, AbortCause::Vote { node: node.clone(), reason });
            return true;
        }
        let missing = |member: &&Member| !matches!(member.progress, Progress::Voted(_));
        let missing = transaction.members.iter().filter(missing).count();
        if missing == 0 || missing == 1 && self.planted.has(Mutation::CommitBeforeVotes) {
            self.decide_commit(now, txn);
        }
        true
    }

    fn decide_commit(&mut self, now: Duration, txn: TransactionId) {
        self.schedule.clear(txn);
        let transaction = self.open.get_mut(&txn).expect("a transaction is decided once");
        let participants: Vec<NodeId> = transaction.committed().cloned().collect();
        if participants.is_empty() {
            // Nobody changed anything: there is nothing to be told, and nothing to be kept.
            self.open.remove(&txn);
            self.stats.committed += 1;
            self.actions.push_back(CoordinatorAction::Decided { txn, decision: Decision::Commit, cause: None });
            self.actions.push_back(CoordinatorAction::Ended { txn });
            return;
        }
        transaction.phase = Phase::Deciding;
        let ticket = self.append_forced(Record::Decided { txn, participants });
        self.deciding.insert(ticket, txn);
        if self.planted.has(Mutation::DecidedNotForced) {
            self.handle_synced(now, ticket);
        }
    }

    pub(super) fn decide_abort(&mut self, txn: TransactionId, cause: AbortCause) {
        if self.open.get(&txn).is_none_or(|open| open.phase != Phase::Voting) {
            return;
        }
        self.schedule.clear(txn);
        let transaction = self.open.remove(&txn).expect("it is open");
        let stats = &mut self.stats;
        *match &cause {
            AbortCause::Vote { .. } => &mut stats.aborted_by_vote,
            AbortCause::NotReached { .. } => &mut stats.aborted_not_reached,
            AbortCause::Deadline { .. } => &mut stats.aborted_at_deadline,
            AbortCause::Requested => &mut stats.aborted_by_request,
            AbortCause::GivenUp { .. } => &mut stats.aborted_by_give_up,
        } += 1;
        let reason = cause.to_string();
        for Member { node, progress, .. } in transaction.members {
            if progress == Progress::Asked {
                self.actions.push_back(CoordinatorAction::GiveUp { txn, node: node.clone() });
            }
            if !matches!(progress, Progress::Voted(Vote::Abort | Vote::ReadOnly)) {
                let message = AbortTransaction { txn_id: txn, reason: reason.clone() };
                let timeout = self.config.tell_timeout;
                self.actions.push_back(CoordinatorAction::Abort { node, message, timeout });
            }
        }
        let cause = Some(cause);
        self.actions.push_back(CoordinatorAction::Decided { txn, decision: Decision::Abort, cause });
        self.actions.push_back(CoordinatorAction::Ended { txn });
    }

    /// Asks all who are silent for their votes.
    pub(super) fn ask(&mut self, now: Duration, txn: TransactionId) {
        let transaction = self.open.get_mut(&txn).expect("the caller has looked");
        let timeout = transaction.deadline.saturating_sub(now);
        let participants: Vec<NodeId> = transaction.members.iter().map(|member| member.node.clone()).collect();
        for member in transaction.members.iter_mut().filter(|member| member.progress == Progress::Silent) {
            member.progress = Progress::Asked;
            let message = PrepareTransaction {
                txn_id: txn,
                coordinator: self.node.clone(),
                participants: participants.clone(),
                work: member.work.clone(),
            };
            self.actions.push_back(CoordinatorAction::Prepare { node: member.node.clone(), message, timeout });
        }
        self.schedule.set(txn, transaction.deadline);
    }
}
