//! What other nodes ask of this one.

use std::sync::{Arc, Weak};

use rdb_net_manager::{Answer, HandlerError, HandlerOptions, Handling, NetworkManager, Request};
use rdb_net_types::{AbortTransaction, CommitTransaction, MessageType, NodeId, PrepareTransaction, TransactionVote};
use tokio::sync::oneshot;

use super::shared::Shared;
use crate::transaction::{Decision, ParticipantAnswer, Refusal, Verdict};

/// The network holds its handlers, and they do not hold what holds the network.
type Link = Weak<Shared>;

fn gone() -> HandlerError {
    HandlerError::not_started("this node's transactions have ended; ask again after its restart")
}

pub(super) fn register(network: &NetworkManager, shared: &Arc<Shared>) {
    let handle = |message_type, handler: fn(&Arc<Shared>, &NodeId, &Request) -> Result<Handling, HandlerError>| {
        let link: Link = Arc::downgrade(shared);
        let handler = move |from: &NodeId, request: Request| {
            let shared = link.upgrade().filter(|shared| !shared.is_stopped());
            let handled = shared.ok_or_else(gone).and_then(|shared| handler(&shared, from, &request));
            handled.unwrap_or_else(|error| Handling::Ready(Err(error)))
        };
        network.handle(message_type, Arc::new(handler), HandlerOptions::default());
    };
    handle(MessageType::PREPARE_TRANSACTION, |shared, from, request| {
        let message: PrepareTransaction = request.decode()?;
        Ok(later(shared.call(|participant, _, call| participant.handle_prepare(call, from, message))))
    });
    handle(MessageType::COMMIT_TRANSACTION, |shared, from, request| {
        let message: CommitTransaction = request.decode()?;
        Ok(later(shared.call(|participant, now, call| participant.handle_commit(now, call, from, &message))))
    });
    handle(MessageType::ABORT_TRANSACTION, |shared, from, request| {
        let message: AbortTransaction = request.decode()?;
        Ok(later(shared.call(|participant, _, call| participant.handle_abort(call, from, &message))))
    });
    handle(MessageType::TRANSACTION_VOTE, |shared, from, request| {
        let vote: TransactionVote = request.decode()?;
        let txn_id = vote.txn_id;
        let verdict = shared.with(|machines, now| machines.coordinator.handle_question(now, from, vote));
        Ok(Handling::Ready(Ok(match verdict {
            Verdict::Decided(Decision::Commit) => CommitTransaction { txn_id }.into(),
            Verdict::Decided(Decision::Abort) => AbortTransaction { txn_id, reason: String::new() }.into(),
            Verdict::Undecided => Answer::Empty,
        })))
    });
}

/// The participant's answer, when it comes.
fn later(answer: Option<oneshot::Receiver<ParticipantAnswer>>) -> Handling {
    let Some(answer) = answer else { return Handling::Ready(Err(gone())) };
    Handling::Later(Box::pin(async move {
        match answer.await {
            Ok(ParticipantAnswer::Vote(vote)) => Ok(vote.into()),
            Ok(ParticipantAnswer::Ack(ack)) => Ok(ack.into()),
            // What an earlier copy began goes on.
            Ok(ParticipantAnswer::Refused(refusal @ Refusal::Busy)) => Err(HandlerError::failed(refusal.to_string())),
            Ok(ParticipantAnswer::Refused(refusal)) => Err(HandlerError::not_started(refusal.to_string())),
            // It may be prepared, or committed, and the answer alone is missing.
            Err(_) => Err(HandlerError::failed("this node's transactions ended meanwhile")),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_whose_work_goes_on_without_it_is_not_said_to_be_not_started() {
        for (refusal, started) in [(Refusal::Busy, true), (Refusal::Full, false)] {
            let (sender, answer) = oneshot::channel();
            sender.send(ParticipantAnswer::Refused(refusal)).expect("it is waited for");
            let Handling::Later(answer) = later(Some(answer)) else { panic!("it is told later") };
            let error = answer.await.expect_err("it is refused");
            assert_eq!((error.started, error.malformed), (started, false), "{refusal}");
        }
    }
}
