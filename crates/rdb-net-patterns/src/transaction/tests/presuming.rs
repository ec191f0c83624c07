//! Commits of transactions that are over: what this participant has ended itself is told from what it only presumes.

use rdb_net_types::{AbortTransaction, CommitTransaction, Payload, PrepareTransaction, TransactionId, Vote};

use super::super::{
    CallId, Life, Participant, ParticipantAction, ParticipantAnswer, ParticipantConfig, Refusal, Ticket,
};
use super::coordinating::{acknowledge, actions, begun};
use super::{ms, node, vote};

/// A participant that tells one coordinator's transactions apart, and presumes the others'.
fn participant() -> Participant {
    Participant::new(ParticipantConfig { coordinators_max: 1, ..ParticipantConfig::default() }, [], ms(0))
}

fn txn(coordinator: &str, epoch: u32, sequence: u32) -> TransactionId {
    Life::new(&node(coordinator), epoch).transaction(sequence)
}

/// A transaction comes and is aborted.
fn abort(participant: &mut Participant, coordinator: &str, txn: TransactionId) {
    let message = AbortTransaction { txn_id: txn, reason: String::new() };
    participant.handle_abort(CallId(1), &node(coordinator), &message);
    while participant.poll_action().is_some() {}
}

/// A transaction of `c` comes, is prepared and committed, and its acknowledgement is lost.
fn commit_all_of_it(participant: &mut Participant, txn: TransactionId, ticket: u64) {
    let (participants, work) = (vec![node("a")], Payload::from("work"));
    let message = PrepareTransaction { txn_id: txn, coordinator: node("c"), participants, work };
    participant.handle_prepare(CallId(1), &node("c"), message);
    participant.handle_worked(ms(0), txn, Vote::Commit, "");
    participant.handle_synced(ms(0), Ticket(ticket));
    participant.handle_commit(ms(0), CallId(2), &node("c"), &CommitTransaction { txn_id: txn });
    participant.handle_synced(ms(0), Ticket(ticket + 1));
    participant.handle_applied(txn);
    while participant.poll_action().is_some() {}
}

/// What a commit told by `c` comes to: the answer, and what is told to the operator.
fn told(participant: &mut Participant, txn: TransactionId) -> (ParticipantAnswer, Vec<TransactionId>) {
    participant.handle_commit(ms(0), CallId(9), &node("c"), &CommitTransaction { txn_id: txn });
    let (mut answers, mut presumed) = (Vec::new(), Vec::new());
    while let Some(action) = participant.poll_action() {
        match action {
            ParticipantAction::Answer { call: CallId(9), answer } => answers.push(answer),
            ParticipantAction::AckPresumed { txn, coordinator } if coordinator == node("c") => presumed.push(txn),
            other => panic!("{other:?}"),
        }
    }
    let [answer] = answers.try_into().expect("one answer");
    (answer, presumed)
}

type Later = fn(&mut Participant);

/// What comes after transaction 7 of the first life of `c` so that it is over by presumption, one for each way.
const WAYS: [(&str, Later); 4] = [
    ("of an older life", |participant| abort(participant, "c", txn("c", 2, 1))),
    ("below the window", |participant| abort(participant, "c", txn("c", 1, 7 + 4096))),
    ("its window closed", |participant| {
        abort(participant, "c", txn("c", 1, 8));
        abort(participant, "d", txn("d", 1, 1));
    }),
    ("its window closed and opened again", |participant| {
        abort(participant, "c", txn("c", 1, 8));
        abort(participant, "d", txn("d", 1, 1));
        abort(participant, "c", txn("c", 1, 9));
    }),
];

#[test]
fn a_commit_that_is_over_by_presumption_alone_is_acknowledged_counted_and_named_whether_done_or_lost() {
    let transaction = txn("c", 1, 7);
    for (way, later) in WAYS {
        for is_lost in [false, true] {
            let mut participant = participant();
            if !is_lost {
                commit_all_of_it(&mut participant, transaction, 1);
            }
            later(&mut participant);
            let (answer, presumed) = told(&mut participant, transaction);
            let text = format!("{way}, lost: {is_lost}");
            assert!(matches!(answer, ParticipantAnswer::Ack(_)), "{text}: {answer:?}");
            assert_eq!((presumed, participant.stats().presumed_acks), (vec![transaction], 1), "{text}");
            assert_eq!(participant.stats().contradictions, 0, "{text}");
            // The next life has the same to go by, from a log that holds nothing of it any more.
            let config = ParticipantConfig { coordinators_max: 1, ..ParticipantConfig::default() };
            let mut next = Participant::new(config, participant.live_records(), ms(0));
            assert_eq!(told(&mut next, transaction).1, [transaction], "{text}, in the next life");
        }
    }
}

#[test]
fn a_commit_that_this_participant_has_done_is_acknowledged_as_often_as_it_comes_and_told_to_nobody() {
    let mut participant = participant();
    commit_all_of_it(&mut participant, txn("c", 1, 7), 1);
    // Others after it, up to the edge of the window.
    abort(&mut participant, "c", txn("c", 1, 7 + 4095));
    for mut life in [Participant::new(ParticipantConfig::default(), participant.live_records(), ms(0)), participant] {
        for _ in 0..3 {
            let (answer, presumed) = told(&mut life, txn("c", 1, 7));
            assert!(matches!(answer, ParticipantAnswer::Ack(_)), "{answer:?}");
            assert!(presumed.is_empty());
        }
        assert_eq!(life.stats().presumed_acks, 0);
    }
}

#[test]
fn a_commit_that_this_participant_knows_to_have_lost_is_refused() {
    let mut participant = participant();
    abort(&mut participant, "c", txn("c", 1, 8));
    // It is in the window, and not marked: what was marked beside it does not vouch for it.
    let (answer, presumed) = told(&mut participant, txn("c", 1, 7));
    assert_eq!(answer, ParticipantAnswer::Refused(Refusal::NotVoted));
    assert_eq!((presumed, participant.stats().contradictions), (Vec::new(), 1));
}

/// The other half of the choice: a coordinator whose acknowledgement was lost is not held up for ever.
#[test]
fn the_coordinator_of_a_commit_that_is_over_by_presumption_comes_to_its_end() {
    for (way, later) in WAYS {
        let (mut coordinator, transaction) = begun(&["a"]);
        coordinator.handle_prepared(ms(0), transaction, &node("a"), Ok(vote(transaction, Vote::Commit)));
        coordinator.handle_synced(ms(0), Ticket(2));
        assert_eq!(actions(&mut coordinator), ["force Decided", "decided commit", "commit a"]);
        let mut participant = participant();
        commit_all_of_it(&mut participant, transaction, 1);
        later(&mut participant);
        if told(&mut participant, transaction).0
            == ParticipantAnswer::Ack(rdb_net_types::TransactionAck { txn_id: transaction })
        {
            acknowledge(&mut coordinator, transaction, "a");
        }
        assert_eq!(actions(&mut coordinator), ["append Ended", "ended"], "{way}");
    }
}
