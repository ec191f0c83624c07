//! The doing of what the machines want: requests, answers, records, and the resource's work.

use std::sync::Arc;
use std::time::Duration;

use rdb_net_manager::{CallOptions, Reply};
use rdb_net_types::{
    AbortTransaction, CommitTransaction, Effect, MessageType, NodeId, PrepareTransaction, Reason, RequestError,
    TransactionId, TransactionVote, Vote,
};

use super::caught::{caught, caught_later};
use super::log::Entry;
use super::shared::{Machines, Shared};
use super::{Outcome, Prepared};
use crate::transaction::{CoordinatorAction, Decision, Occurrence, ParticipantAction, ParticipantAnswer, Verdict};

impl Shared {
    pub(super) fn coordinate(self: &Arc<Self>, machines: &mut Machines, action: CoordinatorAction) {
        match action {
            CoordinatorAction::Prepare { node, message, timeout } => {
                let (this, txn) = (Arc::clone(self), message.txn_id);
                let key = (txn, node.clone());
                let task = self.spawn(async move { this.prepare(txn, node, message, timeout).await });
                machines.prepares.insert(key, task);
            }
            CoordinatorAction::GiveUp { txn, node } => {
                if let Some(task) = machines.prepares.remove(&(txn, node)) {
                    task.abort();
                }
            }
            CoordinatorAction::Append { record, forced } => {
                self.queue.push(Entry { record, coordinator: forced, participant: None });
            }
            CoordinatorAction::Commit { node, message, timeout } => {
                let this = Arc::clone(self);
                self.spawn(async move { this.commit(node, message, timeout).await });
            }
            CoordinatorAction::Abort { node, message, timeout } => {
                let this = Arc::clone(self);
                self.spawn(async move {
                    // Whether it was heard does not matter: who was not told asks.
                    let _heard = this.network.request(&node, &message, CallOptions::timeout(timeout)).await;
                });
            }
            CoordinatorAction::Decided { txn, decision, cause } => {
                self.saw(Occurrence::Decided { txn, decision });
                if let Some(outcome) = machines.outcomes.remove(&txn) {
                    // Who has stopped waiting needs no answer.
                    let _sent = outcome.send(Outcome { txn, decision, cause });
                }
            }
            CoordinatorAction::Ended { txn } => {
                machines.endings.remove(&txn);
            }
            CoordinatorAction::GivenUp { ticket, node, transactions } => {
                for txn in &transactions {
                    let txn = format_args!("{:032x}", txn.0);
                    tracing::warn!(%node, %txn, "the participant is given up by hand; its part of this commit is not waited for");
                }
                if let Some(waiting) = machines.giving_up.remove(&ticket) {
                    let _sent = waiting.send(transactions);
                }
            }
            CoordinatorAction::StillGivenUp { node, transactions } => {
                for txn in transactions {
                    let txn = format_args!("{:032x}", txn.0);
                    tracing::warn!(%node, %txn, "the participant was given up by hand before this start; its part of this commit is not waited for");
                }
            }
        }
    }

    async fn prepare(
        self: Arc<Self>,
        txn: TransactionId,
        node: NodeId,
        message: PrepareTransaction,
        timeout: Duration,
    ) {
        let reply = self.network.request(&node, &message, CallOptions::timeout(timeout)).await;
        let vote = reply.and_then(|reply| reply.decode::<TransactionVote>().map_err(|_| malformed()));
        self.with(|machines, now| {
            machines.prepares.remove(&(txn, node.clone()));
            machines.coordinator.handle_prepared(now, txn, &node, vote);
        });
    }

    async fn commit(self: Arc<Self>, node: NodeId, message: CommitTransaction, timeout: Duration) {
        let reply = self.network.request(&node, &message, CallOptions::timeout(timeout)).await;
        let ack = reply.and_then(|reply| reply.decode().map_err(|_| malformed()));
        self.with(|machines, _| machines.coordinator.handle_told(message.txn_id, &node, ack));
    }

    pub(super) fn participate(self: &Arc<Self>, machines: &mut Machines, action: ParticipantAction) {
        match action {
            ParticipantAction::Answer { call, answer } => {
                if let ParticipantAnswer::Vote(TransactionVote { txn_id: txn, vote, .. }) = answer {
                    self.saw(Occurrence::Voted { txn, vote });
                }
                if let Some(sender) = machines.calls.remove(&call) {
                    // A caller that has left needs no answer.
                    let _sent = sender.send(answer);
                }
            }
            ParticipantAction::Work { txn, work } => {
                let this = Arc::clone(self);
                self.spawn(async move {
                    let prepared = caught_later(|| this.resource.prepare(txn, work)).await.unwrap_or_else(|_| {
                        let txn = format_args!("{:032x}", txn.0);
                        tracing::error!(%txn, "the resource panicked while it prepared; it counts as a vote to abort");
                        Prepared { vote: Vote::Abort, reason: "the resource panicked".to_owned() }
                    });
                    this.with(|machines, now| {
                        machines.participant.handle_worked(now, txn, prepared.vote, &prepared.reason);
                    });
                });
            }
            ParticipantAction::Restore { txn, work } => {
                if caught(|| self.resource.restore(txn, work)).is_err() {
                    machines.not_restored.get_or_insert(txn);
                }
            }
            ParticipantAction::Append { record, forced } => {
                self.queue.push(Entry { record, coordinator: None, participant: forced });
            }
            ParticipantAction::Apply { txn, decision } => self.apply(txn, decision),
            ParticipantAction::Resolved { txn, decision } => {
                self.saw(Occurrence::Resolved { txn, decision });
                if let Some(waiting) = machines.resolving.remove(&txn) {
                    let _sent = waiting.send(());
                }
                let txn = format_args!("{:032x}", txn.0);
                tracing::warn!(%txn, %decision, "a transaction in doubt is resolved by hand");
            }
            ParticipantAction::Contradicted { txn, coordinator, resolved } => {
                let txn = format_args!("{:032x}", txn.0);
                tracing::error!(%txn, %coordinator, %resolved, "a transaction is mixed: its coordinator decided against what was \
                    resolved by hand; its data has to be repaired");
            }
            ParticipantAction::AckPresumed { txn, coordinator } => {
                let Some(untold) = machines.presumed.count(self.now(), &coordinator) else { return };
                let txn = format_args!("{:032x}", txn.0);
                tracing::warn!(%txn, %coordinator, untold, "a commit is acknowledged that is over here by presumption alone: it was done before, unless \
                    this node's log has lost its end; then look whether its part is there");
            }
            ParticipantAction::Ask { coordinator, message, timeout } => {
                self.saw(Occurrence::Voted { txn: message.txn_id, vote: message.vote });
                let this = Arc::clone(self);
                self.spawn(async move { this.ask(coordinator, message, timeout).await });
            }
        }
    }

    fn apply(self: &Arc<Self>, txn: TransactionId, decision: Decision) {
        self.saw(Occurrence::Applying { txn, decision });
        let this = Arc::clone(self);
        self.spawn(async move {
            let applied = caught_later(|| this.resource.apply(txn, decision)).await;
            if applied.is_err() {
                let txn = format_args!("{:032x}", txn.0);
                tracing::error!(%txn, %decision, "the resource panicked while it did what was decided; it is told again");
            }
            this.with(|machines, now| match applied {
                Ok(()) => {
                    this.saw(Occurrence::Applied { txn, decision });
                    machines.participant.handle_applied(txn);
                }
                Err(_) => machines.participant.handle_apply_failed(now, txn),
            });
        });
    }

    async fn ask(self: Arc<Self>, coordinator: NodeId, message: TransactionVote, timeout: Duration) {
        let reply = self.network.request(&coordinator, &message, CallOptions::timeout(timeout)).await;
        let verdict = reply.and_then(|reply| verdict(message.txn_id, &reply));
        self.with(|machines, now| machines.participant.handle_verdict(now, message.txn_id, verdict));
    }
}

/// The answer to a question: the decision's own message, or nothing yet.
fn verdict(txn: TransactionId, reply: &Reply) -> Result<Verdict, RequestError> {
    let (about, decision) = match reply.message_type {
        MessageType::COMMIT_TRANSACTION => {
            let message: CommitTransaction = reply.decode().map_err(|_| malformed())?;
            (message.txn_id, Decision::Commit)
        }
        MessageType::ABORT_TRANSACTION => {
            let message: AbortTransaction = reply.decode().map_err(|_| malformed())?;
            (message.txn_id, Decision::Abort)
        }
        _ => return Ok(Verdict::Undecided),
    };
    if about == txn { Ok(Verdict::Decided(decision)) } else { Err(malformed()) }
}

const fn malformed() -> RequestError {
    RequestError::new(Effect::Unknown, Reason::Malformed)
}
