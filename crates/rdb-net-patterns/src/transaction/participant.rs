//! The participant: votes on what others begin, and is bound by its vote until it knows the decision.
//!
//! After a vote to commit it decides nothing by itself, however long it waits: it asks the coordinator, by sending its vote again.
//! What it had prepared when its process ended is prepared again at its next start, and asked about at once.

mod action;
mod config;
mod deciding;
mod resolving;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rdb_net_types::{NodeId, Payload, PrepareTransaction, TransactionAck, TransactionId, TransactionVote, Vote};

pub use action::{CallId, ParticipantAction, ParticipantAnswer};
pub use config::{ParticipantConfig, ParticipantStats, Refusal};
use resolving::Resolution;
pub use resolving::{InDoubt, ResolveError, ResolvedByHand};

use super::mutation::Mutation;
use super::schedule::Schedule;
use super::window::Windows;
use super::{Decision, Life, Record, Ticket};
use crate::planted::Planted;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The resource prepares.
    Working { is_aborted: bool },
    /// It has, and the record of it is being written.
    Preparing { ticket: Ticket, is_aborted: bool },
    /// In doubt.
    Prepared,
    /// The record of what was resolved by hand is being written.
    Resolving { ticket: Ticket, decision: Decision },
    /// The record of the commit is being written.
    Committing { ticket: Ticket },
    /// The resource commits or aborts.
    Applying(Decision),
}

#[derive(Debug)]
struct Held {
    coordinator: NodeId,
    work: Payload,
    state: State,
    /// Who waits for what comes next.
    callers: Vec<CallId>,
    /// Since when the decision is waited for.
    since: Duration,
    /// How long is waited until the next question; once it is decided, until the resource is tried again.
    wait: Duration,
}

/// The transactions of others in which this node takes part.
#[derive(Debug)]
pub struct Participant {
    config: ParticipantConfig,
    held: BTreeMap<TransactionId, Held>,
    /// What was resolved by hand, until the coordinator is known to have decided the same.
    resolved: BTreeMap<TransactionId, Resolution>,
    /// What of that an operator has forgotten before its coordinator had said anything; some of it.
    forgotten: BTreeMap<TransactionId, Resolution>,
    over: Windows,
    schedule: Schedule,
    /// What the resource has failed to do, and is given again.
    applies: Schedule,
    actions: VecDeque<ParticipantAction>,
    tickets: u64,
    /// Whose record is durable when a ticket is.
    writing: BTreeMap<Ticket, TransactionId>,
    stats: ParticipantStats,
    planted: Planted<Mutation>,
}

impl Participant {
    /// A new life of a participant, after what the log holds of its former ones. What is in doubt is restored and asked about.
    pub fn new(config: ParticipantConfig, records: impl IntoIterator<Item = Record>, now: Duration) -> Self {
        let mut participant = Self {
            held: BTreeMap::new(),
            resolved: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            over: Windows::new(config.coordinators_max),
            schedule: Schedule::default(),
            applies: Schedule::default(),
            actions: VecDeque::new(),
            tickets: 0,
            writing: BTreeMap::new(),
            stats: ParticipantStats::default(),
            planted: Planted::default(),
            config,
        };
        for record in records {
            participant.recover(record, now);
        }
        participant.resolved.keys().for_each(|txn| participant.schedule.set(*txn, now));
        let found: Vec<_> = participant.held.iter().map(|(txn, held)| (*txn, held.state, held.work.clone())).collect();
        for (txn, state, work) in found {
            participant.actions.push_back(ParticipantAction::Restore { txn, work });
            match state {
                State::Applying(decision) => participant.apply(txn, decision),
                _ => {
                    participant.stats.recovered += 1;
                    participant.schedule.set(txn, now);
                }
            }
        }
        participant
    }

    fn recover(&mut self, record: Record, now: Duration) {
        match record {
            Record::Prepared { txn, coordinator, work } => {
                self.stats.work_bytes += work.len();
                let wait = self.config.ask_after;
                let (work, callers, since) = (work.into(), Vec::new(), now);
                let held = Held { coordinator, work, state: State::Prepared, callers, since, wait };
                self.over.admit(txn);
                self.held.insert(txn, held);
            }
            Record::Committed { txn } => {
                if let Some(held) = self.held.get_mut(&txn) {
                    held.state = State::Applying(Decision::Commit);
                }
            }
            Record::Aborted { txn } | Record::Applied { txn } => self.end(txn),
            Record::Resolved { txn, coordinator, decision } => self.recover_resolved(txn, coordinator, decision),
            Record::ResolvedForgotten { txn } => {
                self.resolved.remove(&txn);
            }
            Record::Over { life, highest, bits } => self.over.restore(life, highest, &bits),
            _ => {}
        }
    }

    /// Plants a bug.
    #[cfg(feature = "mutations")]
    pub fn plant(&mut self, mutation: Mutation) {
        self.planted.mutation = Some(mutation);
    }

    /// What was counted.
    pub fn stats(&self) -> ParticipantStats {
        let in_doubt = self.held.values().filter(|held| held.state == State::Prepared).count();
        ParticipantStats {
            held: self.held.len(),
            in_doubt,
            resolved: self.resolved.len(),
            windows_closed: self.over.closed_count,
            coordinators_forgotten: self.over.forgotten_count,
            ..self.stats
        }
    }

    /// The transactions that are held.
    pub fn held(&self) -> impl Iterator<Item = TransactionId> {
        self.held.keys().copied()
    }

    /// What the log must hold for a next life to go on from here: everything else may be dropped from it.
    pub fn live_records(&self) -> Vec<Record> {
        let mut records: Vec<Record> = self.over.records().collect();
        for (txn, held) in &self.held {
            let (txn, is_committed) = match held.state {
                State::Working { .. } => continue,
                State::Applying(Decision::Abort) => {
                    records.push(Record::Aborted { txn: *txn });
                    continue;
                }
                State::Preparing { .. } | State::Prepared | State::Resolving { .. } => (*txn, false),
                State::Committing { .. } | State::Applying(Decision::Commit) => (*txn, true),
            };
            let (coordinator, work) = (held.coordinator.clone(), held.work.clone().into_bytes().into());
            records.push(Record::Prepared { txn, coordinator, work });
            records.extend(is_committed.then_some(Record::Committed { txn }));
        }
        records.extend(self.resolved_records());
        records
    }

    /// A coordinator asks for a vote.
    pub fn handle_prepare(&mut self, call: CallId, from: &NodeId, message: PrepareTransaction) {
        let PrepareTransaction { txn_id: txn, coordinator, work, .. } = message;
        if coordinator != *from || !Life::of(txn).is_of(from) {
            self.stats.strangers += 1;
            return self.refuse(call, Refusal::NotTheCoordinator);
        }
        if let Some(decision) = self.resolved_as(txn) {
            let vote = if decision == Decision::Commit { Vote::Commit } else { Vote::Abort };
            return self.answer_vote(call, txn, vote, "it was resolved by hand");
        }
        match self.held.get_mut(&txn).map(|held| held.state) {
            Some(State::Working { .. } | State::Preparing { .. }) => self.wait_for(txn, call),
            Some(State::Prepared | State::Resolving { .. } | State::Committing { .. })
            | Some(State::Applying(Decision::Commit)) => {
                self.answer_vote(call, txn, Vote::Commit, "");
            }
            Some(State::Applying(Decision::Abort)) => self.answer_vote(call, txn, Vote::Abort, "it was aborted"),
            None => match self.over.late_vote(txn) {
                Some(vote) => {
                    self.stats.late_prepares += 1;
                    self.answer_vote(call, txn, vote, "the transaction is over");
                }
                None => self.begin(call, txn, coordinator, work),
            },
        }
    }

    fn begin(&mut self, call: CallId, txn: TransactionId, coordinator: NodeId, work: Payload) {
        let bytes = self.stats.work_bytes.saturating_add(work.len());
        let is_full =
            self.held.len() + self.resolved.len() >= self.config.held_max || bytes > self.config.work_bytes_max;
        if is_full {
            self.stats.refused_full += 1;
            return self.refuse(call, Refusal::Full);
        }
        self.over.admit(txn);
        self.stats.work_bytes = bytes;
        // The work is kept for longer than the buffer that it came in.
        let (work, wait) = (work.detach(), self.config.ask_after);
        let state = State::Working { is_aborted: false };
        self.actions.push_back(ParticipantAction::Work { txn, work: work.clone() });
        let (callers, since) = (vec![call], Duration::ZERO);
        self.held.insert(txn, Held { coordinator, work, state, callers, since, wait });
    }

    /// The resource has voted. Anything but a commit leaves nothing prepared.
    pub fn handle_worked(&mut self, now: Duration, txn: TransactionId, vote: Vote, reason: &str) {
        let Some(held) = self.held.get_mut(&txn) else { return };
        let State::Working { is_aborted } = held.state else { return };
        if vote != Vote::Commit {
            let vote = if is_aborted { Vote::Abort } else { vote };
            self.stats.not_prepared += 1;
            self.answer_votes(txn, vote, reason);
            self.over.mark(txn, vote == Vote::ReadOnly);
            return self.release(txn);
        }
        if is_aborted {
            self.answer_votes(txn, Vote::Abort, "it was aborted");
            return self.apply(txn, Decision::Abort);
        }
        let (coordinator, work) = (held.coordinator.clone(), held.work.clone().into_bytes().into());
        let ticket = self.append_forced(txn, Record::Prepared { txn, coordinator, work });
        self.set_state(txn, State::Preparing { ticket, is_aborted: false });
        if self.planted.has(Mutation::PreparedNotForced) {
            self.handle_synced(now, ticket);
        }
    }

    /// Everything up to this ticket is durable.
    pub fn handle_synced(&mut self, now: Duration, ticket: Ticket) {
        while let Some(entry) = self.writing.first_entry().filter(|entry| *entry.key() <= ticket) {
            let (written, txn) = (*entry.key(), entry.remove());
            match self.held.get(&txn).map(|held| held.state) {
                Some(State::Preparing { ticket, is_aborted: false }) if ticket == written => {
                    self.stats.prepared += 1;
                    self.doubt(now, txn);
                    self.answer_votes(txn, Vote::Commit, "");
                    self.ask_later(now, txn);
                }
                Some(State::Preparing { ticket, is_aborted: true }) if ticket == written => {
                    self.answer_votes(txn, Vote::Abort, "it was aborted");
                    self.append(Record::Aborted { txn });
                    self.apply(txn, Decision::Abort);
                }
                Some(State::Resolving { ticket, decision }) if ticket == written => self.resolved(now, txn, decision),
                Some(State::Committing { ticket }) if ticket == written => {
                    self.acknowledge(txn);
                    self.apply(txn, Decision::Commit);
                }
                _ => {}
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Duration> {
        [self.schedule.next(), self.applies.next()].into_iter().flatten().min()
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<ParticipantAction> {
        self.actions.pop_front()
    }

    /// The transaction is over, and its prepare is not carried out again.
    fn end(&mut self, txn: TransactionId) {
        self.over.mark(txn, false);
        self.release(txn);
    }

    fn release(&mut self, txn: TransactionId) {
        if !self.resolved.contains_key(&txn) {
            self.schedule.clear(txn);
        }
        self.applies.clear(txn);
        if let Some(held) = self.held.remove(&txn) {
            self.stats.work_bytes = self.stats.work_bytes.saturating_sub(held.work.len());
        }
    }

    fn doubt(&mut self, now: Duration, txn: TransactionId) {
        if let Some(held) = self.held.get_mut(&txn) {
            (held.state, held.since) = (State::Prepared, now);
        }
    }

    fn set_state(&mut self, txn: TransactionId, state: State) {
        if let Some(held) = self.held.get_mut(&txn) {
            held.state = state;
        }
    }

    /// Answers a message when what it waits for has come. Where too many wait, the oldest goes: its coordinator waits for one copy at a
    /// time, and that is the newest.
    fn wait_for(&mut self, txn: TransactionId, call: CallId) {
        let callers_max = self.config.callers_max;
        let Some(held) = self.held.get_mut(&txn) else { return self.refuse_busy(call) };
        held.callers.push(call);
        if held.callers.len() > callers_max {
            let oldest = held.callers.remove(0);
            self.refuse_busy(oldest);
        }
    }

    fn refuse_busy(&mut self, call: CallId) {
        self.stats.refused_busy += 1;
        self.refuse(call, Refusal::Busy);
    }

    fn take_callers(&mut self, txn: TransactionId) -> Vec<CallId> {
        self.held.get_mut(&txn).map(|held| std::mem::take(&mut held.callers)).unwrap_or_default()
    }

    fn answer_votes(&mut self, txn: TransactionId, vote: Vote, reason: &str) {
        for call in self.take_callers(txn) {
            self.answer_vote(call, txn, vote, reason);
        }
    }

    fn answer_vote(&mut self, call: CallId, txn: TransactionId, vote: Vote, reason: &str) {
        let vote = TransactionVote { txn_id: txn, vote, reason: reason.to_owned() };
        self.answer(call, ParticipantAnswer::Vote(vote));
    }

    fn acknowledge(&mut self, txn: TransactionId) {
        for call in self.take_callers(txn) {
            self.answer_ack(call, txn);
        }
    }

    fn answer_ack(&mut self, call: CallId, txn: TransactionId) {
        self.answer(call, ParticipantAnswer::Ack(TransactionAck { txn_id: txn }));
    }

    fn refuse(&mut self, call: CallId, refusal: Refusal) {
        self.answer(call, ParticipantAnswer::Refused(refusal));
    }

    fn answer(&mut self, call: CallId, answer: ParticipantAnswer) {
        self.actions.push_back(ParticipantAction::Answer { call, answer });
    }

    fn append(&mut self, record: Record) {
        self.actions.push_back(ParticipantAction::Append { record, forced: None });
    }

    fn append_forced(&mut self, txn: TransactionId, record: Record) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.writing.insert(ticket, txn);
        self.actions.push_back(ParticipantAction::Append { record, forced: Some(ticket) });
        ticket
    }
}
