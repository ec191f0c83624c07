//! The second phase: the commit is durable, and told until all have acknowledged it.

use std::time::Duration;

use rdb_net_types::{
    CommitTransaction, NodeId, Payload, RequestError, TransactionAck, TransactionId, TransactionVote, Vote,
};

use super::{Coordinator, CoordinatorAction, Phase, Progress, Verdict};
use crate::transaction::{Decision, Life, Record, Ticket};

impl Coordinator {
    /// Everything up to this ticket is durable.
    pub fn handle_synced(&mut self, now: Duration, ticket: Ticket) {
        if self.starting.is_some_and(|starting| starting <= ticket) {
            self.starting = None;
        }
        while let Some(entry) = self.deciding.first_entry().filter(|entry| *entry.key() <= ticket) {
            let txn = entry.remove();
            let transaction = self.open.get_mut(&txn).expect("a transaction is open until its commit is told");
            transaction.phase = Phase::Telling;
            for member in &mut transaction.members {
                let is_read_only = member.progress == Progress::Voted(Vote::ReadOnly);
                member.progress = if is_read_only { Progress::Done } else { Progress::Untold };
                member.work = Payload::new();
            }
            transaction.members.retain(|member| member.progress != Progress::Done);
            self.stats.committed += 1;
            self.actions.push_back(CoordinatorAction::Decided { txn, decision: Decision::Commit, cause: None });
            self.tell(now, txn);
        }
        self.handle_given_up(ticket);
    }

    /// What came of telling a participant of a commit.
    pub fn handle_told(&mut self, txn: TransactionId, node: &NodeId, outcome: Result<TransactionAck, RequestError>) {
        let Some(transaction) = self.open.get_mut(&txn).filter(|open| open.phase == Phase::Telling) else { return };
        let Some(member) = transaction.member(node) else {
            self.stats.strangers += 1;
            return;
        };
        let is_acknowledged = outcome.is_ok_and(|ack| ack.txn_id == txn);
        if is_acknowledged {
            member.progress = Progress::Done;
        } else if member.progress == Progress::Told {
            member.progress = Progress::Untold;
        }
        self.end_if_all_are_done(txn);
    }

    pub(super) fn end_if_all_are_done(&mut self, txn: TransactionId) {
        let Some(transaction) = self.open.get(&txn) else { return };
        if transaction.members.iter().all(|member| member.progress == Progress::Done) {
            self.open.remove(&txn);
            self.schedule.clear(txn);
            self.actions.push_back(CoordinatorAction::Append { record: Record::Ended { txn }, forced: None });
            self.actions.push_back(CoordinatorAction::Ended { txn });
        }
    }

    /// A participant in doubt sends its vote again, which asks what was decided. It counts as a vote where it is the first.
    pub fn handle_question(&mut self, now: Duration, from: &NodeId, vote: TransactionVote) -> Verdict {
        let txn = vote.txn_id;
        self.stats.questions += 1;
        if !Life::of(txn).is_of(&self.node) {
            // Whatever is presumed of it is another coordinator's to say.
            self.stats.strangers += 1;
            return Verdict::Undecided;
        }
        if self.voted(now, from, vote) {
            // Its answer to the prepare, if one is still waited for, says nothing new.
            self.actions.push_back(CoordinatorAction::GiveUp { txn, node: from.clone() });
        }
        let Some(transaction) = self.open.get_mut(&txn) else {
            if self.is_given_up(from, txn) {
                self.stats.questions_of_given_up += 1;
                return Verdict::Undecided;
            }
            return Verdict::Decided(Decision::Abort);
        };
        if transaction.phase != Phase::Telling {
            return Verdict::Undecided;
        }
        // Who is not told of the commit has nothing to commit. Who is given up is a member still.
        let is_told = transaction.member(from).is_some();
        Verdict::Decided(if is_told { Decision::Commit } else { Decision::Abort })
    }

    /// Tells all who may not have heard of a commit, and looks again later.
    pub(super) fn tell(&mut self, now: Duration, txn: TransactionId) {
        let transaction = self.open.get_mut(&txn).expect("the caller has looked");
        for member in transaction.members.iter_mut().filter(|member| member.progress == Progress::Untold) {
            member.progress = Progress::Told;
            let message = CommitTransaction { txn_id: txn };
            let (node, timeout) = (member.node.clone(), self.config.tell_timeout);
            self.actions.push_back(CoordinatorAction::Commit { node, message, timeout });
        }
        self.schedule.set(txn, now + transaction.wait);
        transaction.wait = (transaction.wait * 2).min(self.config.tell_again_max);
    }
}
