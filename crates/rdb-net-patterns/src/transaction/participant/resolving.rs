//! What an operator decides about a transaction whose coordinator does not come back: a *heuristic* outcome.
//!
//! A participant in doubt may do nothing by itself, and its locks stay taken for as long as its coordinator is away. Where that is for
//! good, somebody has to decide who can look at the other participants. That may be wrong, and then the transaction is mixed. So it is
//! written down before it is done, and kept until the coordinator is known to have decided the same (X/Open: "Distributed Transaction
//! Processing: The XA Specification", 1991, §2.3.3, `xa_forget`). Meanwhile the coordinator is asked on.

use std::time::Duration;

use rdb_net_types::{NodeId, TransactionId, TransactionVote, Vote};

use super::{Participant, ParticipantAction, State};
use crate::transaction::{Decision, Record};

/// How many that were forgotten are still compared with what their coordinators say.
const FORGOTTEN_MAX: usize = 1024;

/// A transaction that waits for its coordinator's decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InDoubt {
    /// Which.
    pub txn: TransactionId,
    /// Who decides.
    pub coordinator: NodeId,
    /// For how long it has waited, in this life.
    pub waiting: Duration,
    /// How many bytes its work has.
    pub work_bytes: usize,
}

/// A transaction that was resolved by hand, and of which its coordinator has not said the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedByHand {
    /// Which.
    pub txn: TransactionId,
    /// Who decides.
    pub coordinator: NodeId,
    /// What was done here.
    pub decision: Decision,
    /// Whether the coordinator has decided the opposite: the transaction is mixed, and somebody has to repair its data.
    pub is_contradicted: bool,
}

/// Why a transaction was not resolved. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// It is not in doubt here: it is unknown, its vote is not given, or its decision has come. Look at the list again.
    #[error("transaction {:032x} is not in doubt here; list what is", txn.0)]
    NotInDoubt {
        /// Which.
        txn: TransactionId,
    },
    /// This node's transactions ended before the record was durable. Whether it is, shows at the next start.
    #[error("this node ended its transactions before the record of it was durable; look again after its restart")]
    Stopped,
}

/// What was resolved by hand.
#[derive(Debug)]
pub(super) struct Resolution {
    coordinator: NodeId,
    decision: Decision,
    is_contradicted: bool,
    wait: Duration,
}

impl Participant {
    /// What waits for its coordinator's decision.
    pub fn in_doubt(&self, now: Duration) -> impl Iterator<Item = InDoubt> {
        let held = self.held.iter().filter(|(_, held)| held.state == State::Prepared);
        held.map(move |(txn, held)| InDoubt {
            txn: *txn,
            coordinator: held.coordinator.clone(),
            waiting: now.saturating_sub(held.since),
            work_bytes: held.work.len(),
        })
    }

    /// What was resolved by hand and is not known to be what the coordinator has decided.
    pub fn resolved_by_hand(&self) -> impl Iterator<Item = ResolvedByHand> {
        self.resolved.iter().map(|(txn, resolution)| ResolvedByHand {
            txn: *txn,
            coordinator: resolution.coordinator.clone(),
            decision: resolution.decision,
            is_contradicted: resolution.is_contradicted,
        })
    }

    /// The operator decides about a transaction in doubt. It is done when the record of it is durable.
    ///
    /// # Errors
    ///
    /// [`ResolveError::NotInDoubt`]; nothing has changed.
    pub fn resolve(&mut self, txn: TransactionId, decision: Decision) -> Result<(), ResolveError> {
        let held = self.held.get(&txn).filter(|held| held.state == State::Prepared);
        let coordinator = held.ok_or(ResolveError::NotInDoubt { txn })?.coordinator.clone();
        self.schedule.clear(txn);
        let ticket = self.append_forced(txn, Record::Resolved { txn, coordinator, decision });
        self.set_state(txn, State::Resolving { ticket, decision });
        Ok(())
    }

    /// Keeps nothing more of what was resolved by hand, contradicted or not, and asks no more. `false` where nothing is kept.
    ///
    /// A contradiction that was not told yet would be news: of 1,024 of these this life still compares what their coordinators say, and takes
    /// those back into [`resolved_by_hand`](Self::resolved_by_hand) of which that is the opposite. Those beyond are counted.
    pub fn forget_resolved(&mut self, txn: TransactionId) -> bool {
        let Some(resolution) = self.end_resolution(txn) else { return false };
        if resolution.is_contradicted {
            return true;
        }
        if self.forgotten.len() < FORGOTTEN_MAX {
            self.forgotten.insert(txn, resolution);
        } else {
            self.stats.resolved_uncompared += 1;
        }
        true
    }

    fn end_resolution(&mut self, txn: TransactionId) -> Option<Resolution> {
        let resolution = self.resolved.remove(&txn)?;
        self.schedule.clear(txn);
        self.append(Record::ResolvedForgotten { txn });
        Some(resolution)
    }

    /// Of what was forgotten its coordinator has decided the opposite: it is listed again, until it is forgotten once more.
    fn remember(&mut self, txn: TransactionId, resolution: Resolution) {
        let (coordinator, decision) = (resolution.coordinator.clone(), resolution.decision);
        self.append_forced(txn, Record::Resolved { txn, coordinator, decision });
        self.resolved.insert(txn, resolution);
    }

    /// The record of it is durable.
    pub(super) fn resolved(&mut self, now: Duration, txn: TransactionId, decision: Decision) {
        let Some(held) = self.held.get(&txn) else { return };
        let coordinator = held.coordinator.clone();
        self.stats.resolved_by_hand += 1;
        self.keep_resolved(txn, coordinator, decision);
        self.actions.push_back(ParticipantAction::Resolved { txn, decision });
        self.apply(txn, decision);
        self.schedule.set(txn, now + self.config.ask_after);
    }

    pub(super) fn recover_resolved(&mut self, txn: TransactionId, coordinator: NodeId, decision: Decision) {
        self.keep_resolved(txn, coordinator, decision);
        if decision == Decision::Commit && self.held.contains_key(&txn) {
            self.set_state(txn, State::Applying(decision));
        } else {
            self.end(txn);
        }
    }

    fn keep_resolved(&mut self, txn: TransactionId, coordinator: NodeId, decision: Decision) {
        let wait = self.config.ask_after;
        self.resolved.insert(txn, Resolution { coordinator, decision, is_contradicted: false, wait });
    }

    /// How a transaction was resolved by hand, or is being.
    pub(super) fn resolved_as(&self, txn: TransactionId) -> Option<Decision> {
        match self.held.get(&txn).map(|held| held.state) {
            Some(State::Resolving { decision, .. }) => Some(decision),
            _ => self.resolved.get(&txn).map(|resolution| resolution.decision),
        }
    }

    pub(super) fn resolved_records(&self) -> impl Iterator<Item = Record> {
        let record = |txn: &TransactionId, coordinator: &NodeId, decision| {
            let coordinator = coordinator.clone();
            Record::Resolved { txn: *txn, coordinator, decision }
        };
        let under_way = self.held.iter().filter_map(move |(txn, held)| match held.state {
            State::Resolving { decision, .. } => Some(record(txn, &held.coordinator, decision)),
            _ => None,
        });
        let resolved = self.resolved.iter();
        under_way.chain(resolved.map(move |(txn, kept)| record(txn, &kept.coordinator, kept.decision)))
    }

    /// The coordinator's decision about what was resolved by hand: whether it is the same. `None` where it was not.
    pub(super) fn compare_resolved(&mut self, txn: TransactionId, decision: Decision) -> Option<bool> {
        if let Some(forgotten) = self.forgotten.remove(&txn) {
            if forgotten.decision == decision {
                return Some(true);
            }
            self.remember(txn, forgotten);
        }
        let resolution = self.resolved.get_mut(&txn)?;
        let (coordinator, resolved) = (resolution.coordinator.clone(), resolution.decision);
        if resolved == decision {
            self.end_resolution(txn);
            return Some(true);
        }
        self.stats.contradictions += 1;
        if !std::mem::replace(&mut resolution.is_contradicted, true) {
            self.schedule.clear(txn);
            self.actions.push_back(ParticipantAction::Contradicted { txn, coordinator, resolved });
        }
        Some(false)
    }

    /// Asks the coordinator what it has decided. `false` where nothing was resolved by hand.
    pub(super) fn ask_about_resolved(&mut self, now: Duration, txn: TransactionId) -> bool {
        let Some(resolution) = self.resolved.get_mut(&txn) else { return false };
        // A coordinator that still counts votes hears what is true here.
        let vote = if resolution.decision == Decision::Commit { Vote::Commit } else { Vote::Abort };
        let message = TransactionVote { txn_id: txn, vote, reason: String::new() };
        let (coordinator, timeout) = (resolution.coordinator.clone(), self.config.ask_timeout);
        self.schedule.set(txn, now + resolution.wait);
        resolution.wait = (resolution.wait * 2).min(self.config.ask_again_max);
        self.stats.questions += 1;
        self.actions.push_back(ParticipantAction::Ask { coordinator, message, timeout });
        true
    }
}
