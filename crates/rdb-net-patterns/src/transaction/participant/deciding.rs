//! The second phase: what was decided, by whom it is heard, and the question of who has not heard.

use std::time::Duration;

use rdb_net_types::{AbortTransaction, CommitTransaction, NodeId, RequestError, TransactionId, TransactionVote, Vote};

use super::{CallId, Participant, ParticipantAction, Refusal, State};
use crate::transaction::mutation::Mutation;
use crate::transaction::{Decision, Life, Record, Verdict};

impl Participant {
    /// A coordinator tells of a commit.
    pub fn handle_commit(&mut self, now: Duration, call: CallId, from: &NodeId, message: &CommitTransaction) {
        let txn = message.txn_id;
        if !self.decides(txn, from) {
            return self.refuse(call, Refusal::NotTheCoordinator);
        }
        match self.compare_resolved(txn, Decision::Commit) {
            Some(true) => return self.answer_ack(call, txn),
            Some(false) => return self.refuse(call, Refusal::Contradiction),
            None => {}
        }
        match self.held.get(&txn).map(|held| held.state) {
            Some(State::Resolving { .. }) => self.refuse_busy(call),
            // It is neither held nor over: its vote was lost with its log, and with it what it was to do.
            None if self.over.late_vote(txn).is_none() => {
                self.stats.contradictions += 1;
                self.refuse(call, Refusal::NotVoted);
            }
            // Held for over, and not marked: it was done and the mark is not kept, or it was lost. A refusal would hold the transaction open for
            // ever where it was done, so it is acknowledged, and told.
            None if !self.over.is_marked(txn) => {
                self.stats.presumed_acks += 1;
                self.actions.push_back(ParticipantAction::AckPresumed { txn, coordinator: from.clone() });
                self.answer_ack(call, txn);
            }
            // It was done before, and the acknowledgement was lost.
            None | Some(State::Applying(Decision::Commit)) => self.answer_ack(call, txn),
            Some(State::Committing { .. }) => self.wait_for(txn, call),
            Some(State::Prepared) => {
                self.wait_for(txn, call);
                self.commit(now, txn);
            }
            Some(State::Working { .. } | State::Preparing { .. }) => {
                self.stats.contradictions += 1;
                self.refuse(call, Refusal::NotVoted);
            }
            Some(State::Applying(Decision::Abort)) => {
                self.stats.contradictions += 1;
                self.refuse(call, Refusal::Contradiction);
            }
        }
    }

    /// A coordinator tells of an abort.
    pub fn handle_abort(&mut self, call: CallId, from: &NodeId, message: &AbortTransaction) {
        let txn = message.txn_id;
        if !self.decides(txn, from) {
            return self.refuse(call, Refusal::NotTheCoordinator);
        }
        match self.compare_resolved(txn, Decision::Abort) {
            Some(true) => return self.answer_ack(call, txn),
            Some(false) => return self.refuse(call, Refusal::Contradiction),
            None => {}
        }
        match self.held.get(&txn).map(|held| held.state) {
            Some(State::Resolving { .. }) => return self.refuse_busy(call),
            // Its prepare may still come.
            None => self.over.mark(txn, false),
            Some(State::Working { .. }) => self.set_state(txn, State::Working { is_aborted: true }),
            Some(State::Preparing { ticket, .. }) => {
                self.set_state(txn, State::Preparing { ticket, is_aborted: true });
            }
            Some(State::Prepared) => self.abort(txn),
            Some(State::Applying(Decision::Abort)) => {}
            Some(State::Committing { .. } | State::Applying(Decision::Commit)) => {
                self.stats.contradictions += 1;
                return self.refuse(call, Refusal::Contradiction);
            }
        }
        self.answer_ack(call, txn);
    }

    /// What a coordinator has answered to a question.
    pub fn handle_verdict(&mut self, now: Duration, txn: TransactionId, verdict: Result<Verdict, RequestError>) {
        if let Ok(Verdict::Decided(decision)) = verdict
            && self.compare_resolved(txn, decision).is_some()
        {
            return;
        }
        let is_in_doubt = self.held.get(&txn).is_some_and(|held| held.state == State::Prepared);
        match verdict {
            Ok(Verdict::Decided(decision)) if is_in_doubt => match decision {
                Decision::Commit => self.commit(now, txn),
                Decision::Abort => self.abort(txn),
            },
            // The next question is on the schedule already.
            _ => {}
        }
    }

    /// The resource has committed or aborted.
    pub fn handle_applied(&mut self, txn: TransactionId) {
        let Some(State::Applying(decision)) = self.held.get(&txn).map(|held| held.state) else { return };
        match decision {
            Decision::Commit => {
                self.stats.committed += 1;
                self.append(Record::Applied { txn });
            }
            Decision::Abort => self.stats.aborted += 1,
        }
        self.end(txn);
    }

    /// The resource has failed to commit or abort. It still has to: it is given the same again after a while.
    pub fn handle_apply_failed(&mut self, now: Duration, txn: TransactionId) {
        let Some(held) = self.held.get_mut(&txn).filter(|held| matches!(held.state, State::Applying(_))) else {
            return;
        };
        self.stats.applies_failed += 1;
        self.applies.set(txn, now + held.wait);
        held.wait = (held.wait * 2).min(self.config.apply_again_max);
    }

    /// Whether this node decides about a transaction.
    fn decides(&mut self, txn: TransactionId, from: &NodeId) -> bool {
        let decides = match self.held.get(&txn) {
            Some(held) => held.coordinator == *from,
            None => Life::of(txn).is_of(from),
        };
        self.stats.strangers += u64::from(!decides);
        decides
    }

    fn commit(&mut self, now: Duration, txn: TransactionId) {
        self.schedule.clear(txn);
        let ticket = self.append_forced(txn, Record::Committed { txn });
        self.set_state(txn, State::Committing { ticket });
        if self.planted.has(Mutation::CommittedNotForced) {
            self.handle_synced(now, ticket);
        }
    }

    pub(super) fn abort(&mut self, txn: TransactionId) {
        self.schedule.clear(txn);
        self.append(Record::Aborted { txn });
        self.apply(txn, Decision::Abort);
    }

    pub(super) fn apply(&mut self, txn: TransactionId, decision: Decision) {
        self.set_state(txn, State::Applying(decision));
        if let Some(held) = self.held.get_mut(&txn) {
            held.wait = self.config.apply_again;
        }
        self.actions.push_back(ParticipantAction::Apply { txn, decision });
        if self.planted.has(Mutation::AppliedBeforeEnd) {
            self.handle_applied(txn);
        }
    }

    pub(super) fn ask_later(&mut self, now: Duration, txn: TransactionId) {
        if let Some(held) = self.held.get_mut(&txn) {
            self.schedule.set(txn, now + held.wait);
            held.wait = (held.wait * 2).min(self.config.ask_again_max);
        }
    }

    /// Asks about what is in doubt for too long, and gives the resource again what it has failed to do.
    pub fn handle_timeout(&mut self, now: Duration) {
        while let Some(txn) = self.applies.take_due(now) {
            if let Some(State::Applying(decision)) = self.held.get(&txn).map(|held| held.state) {
                self.actions.push_back(ParticipantAction::Apply { txn, decision });
            }
        }
        while let Some(txn) = self.schedule.take_due(now) {
            if self.ask_about_resolved(now, txn) {
                continue;
            }
            let Some(held) = self.held.get(&txn).filter(|held| held.state == State::Prepared) else { continue };
            if self.planted.has(Mutation::DoubtAborts) {
                self.abort(txn);
                continue;
            }
            if self.planted.has(Mutation::DoubtNeverAsks) {
                continue;
            }
            self.stats.questions += 1;
            let message = TransactionVote { txn_id: txn, vote: Vote::Commit, reason: String::new() };
            let (coordinator, timeout) = (held.coordinator.clone(), self.config.ask_timeout);
            self.actions.push_back(ParticipantAction::Ask { coordinator, message, timeout });
            self.ask_later(now, txn);
        }
    }
}
