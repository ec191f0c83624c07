//! The tables of outcomes in `docs/patterns.md`, row by row: what the application is told, and what is done.

use rdb_net_types::{Effect, Payload, PrepareTransaction, Reason, RequestError, TransactionAck, Vote};

use super::super::{
    CallId, CoordinatorAction, Decision, Life, Participant, ParticipantAction, ParticipantConfig, Ticket, Verdict,
};
use super::coordinating::{actions, begun};
use super::{ms, node, vote};

/// Every way in which a request can fail, a handler that refuses among them.
const FAILURES: [(Effect, Reason); 5] = [
    (Effect::NotSent, Reason::Unreachable),
    (Effect::NotStarted, Reason::Draining),
    (Effect::NotStarted, Reason::HandlerFailed),
    (Effect::Unknown, Reason::ConnectionLost),
    (Effect::Unknown, Reason::Expired),
];

#[test]
fn whatever_becomes_of_a_told_commit_the_application_has_heard_commit_once_and_nothing_else() {
    let failed = FAILURES.map(|(effect, reason)| Err(RequestError::new(effect, reason)));
    for outcome in failed.into_iter().chain([Ok(())]) {
        let (mut coordinator, txn) = begun(&["a", "b"]);
        for name in ["a", "b"] {
            coordinator.handle_prepared(ms(0), txn, &node(name), Ok(vote(txn, Vote::Commit)));
        }
        coordinator.handle_synced(ms(0), Ticket(2));
        let mut told = Vec::new();
        while let Some(action) = coordinator.poll_action() {
            if let CoordinatorAction::Decided { decision, cause, .. } = action {
                told.push((decision, cause));
            }
        }
        assert_eq!(told, [(Decision::Commit, None)]);
        let acked = || Ok(TransactionAck { txn_id: txn });
        coordinator.handle_told(txn, &node("b"), acked());
        coordinator.handle_told(txn, &node("a"), outcome.clone().and_then(|()| acked()));
        if outcome.is_ok() {
            assert_eq!(actions(&mut coordinator), ["append Ended", "ended"]);
            assert_eq!((coordinator.is_open(txn), coordinator.poll_timeout()), (false, None), "it is done with both");
            continue;
        }
        assert_eq!(actions(&mut coordinator), [""; 0], "{outcome:?}");
        assert_eq!(coordinator.poll_timeout(), Some(ms(200)), "{outcome:?}");
        coordinator.handle_timeout(ms(200));
        assert_eq!(actions(&mut coordinator), ["commit a"], "{outcome:?}: it is told again, and who has heard is not");
        coordinator.abort(txn);
        assert_eq!(actions(&mut coordinator), [""; 0], "it is too late for that");
        let verdict = coordinator.handle_question(ms(300), &node("a"), vote(txn, Vote::Commit));
        assert_eq!(verdict, Verdict::Decided(Decision::Commit), "{outcome:?}");
    }
}

#[test]
fn whatever_becomes_of_a_question_only_the_coordinators_word_decides() {
    let failed = FAILURES.map(|(effect, reason)| (Err(RequestError::new(effect, reason)), None));
    let answered = [
        (Ok(Verdict::Undecided), None),
        (Ok(Verdict::Decided(Decision::Commit)), Some("Committed")),
        (Ok(Verdict::Decided(Decision::Abort)), Some("Aborted")),
    ];
    for (verdict, written) in failed.into_iter().chain(answered) {
        let txn = Life::new(&node("c"), 1).transaction(1);
        let mut participant = Participant::new(ParticipantConfig::default(), [], ms(0));
        let (participants, work) = (vec![node("a")], Payload::from("work"));
        let message = PrepareTransaction { txn_id: txn, coordinator: node("c"), participants, work };
        participant.handle_prepare(CallId(1), &node("c"), message);
        participant.handle_worked(ms(0), txn, Vote::Commit, "");
        participant.handle_synced(ms(0), Ticket(1));
        participant.handle_timeout(ms(1000));
        while participant.poll_action().is_some() {}
        let text = format!("{verdict:?}");
        participant.handle_verdict(ms(1001), txn, verdict);
        let records = std::iter::from_fn(|| participant.poll_action()).filter_map(|action| match action {
            ParticipantAction::Append { record, .. } => Some(format!("{record:?}")),
            _ => None,
        });
        let records: Vec<String> = records.collect();
        match written {
            Some(kind) => {
                assert!(records.len() == 1 && records[0].starts_with(kind), "{text}: {records:?}");
                assert_eq!(participant.poll_timeout(), None, "{text}: it asks no more");
            }
            None => {
                assert!(records.is_empty(), "{text}: {records:?}");
                assert_eq!(participant.stats().in_doubt, 1, "{text}");
                assert_eq!(participant.poll_timeout(), Some(ms(3000)), "{text}: it asks again, after twice as long");
            }
        }
    }
}
