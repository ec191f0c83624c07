//! What was resolved by hand and forgotten, and an abort that a crash finds under way.

use rdb_net_types::TransactionId;

use super::super::{Decision, Participant, ParticipantConfig, Ticket};
use super::ms;
use super::participating::{abort, actions, commit, prepare, prepared, records_of, txn};

fn told(participant: &mut Participant, call: u64, txn: TransactionId, decision: Decision) -> Vec<String> {
    match decision {
        Decision::Commit => commit(participant, call, txn),
        Decision::Abort => abort(participant, call, txn),
    }
    actions(participant)
}

/// A transaction that was resolved by hand, done, and forgotten.
fn forgotten(by_hand: Decision) -> Participant {
    let mut participant = prepared();
    participant.resolve(txn(1), by_hand).expect("it is in doubt");
    participant.handle_synced(ms(0), Ticket(2));
    participant.handle_applied(txn(1));
    assert!(participant.forget_resolved(txn(1)));
    actions(&mut participant);
    participant
}

/// An acknowledgement would tell the coordinator that its decision was done here, and nobody that it was not.
#[test]
fn a_decision_against_what_was_resolved_by_hand_and_forgotten_is_refused_and_listed_until_it_is_forgotten_again() {
    for (by_hand, decided) in [(Decision::Commit, Decision::Abort), (Decision::Abort, Decision::Commit)] {
        let mut participant = forgotten(by_hand);
        let expected = ["force Resolved".into(), format!("contradicted {by_hand}"), "2: refused Contradiction".into()];
        assert_eq!(told(&mut participant, 2, txn(1), decided), expected);
        let kept: Vec<_> = participant.resolved_by_hand().map(|kept| (kept.decision, kept.is_contradicted)).collect();
        assert_eq!((kept, participant.stats().contradictions), (vec![(by_hand, true)], 1));
        assert_eq!(participant.poll_timeout(), None, "there is nothing to be asked");
        assert!(participant.forget_resolved(txn(1)), "its data is repaired");
        assert_eq!(told(&mut participant, 3, txn(1), decided), ["append ResolvedForgotten", "3: ack"]);
        assert_eq!((participant.resolved_by_hand().count(), participant.stats().contradictions), (0, 1));
    }
}

#[test]
fn a_decision_as_it_was_resolved_by_hand_and_forgotten_is_acknowledged() {
    for decision in [Decision::Commit, Decision::Abort] {
        let mut participant = forgotten(decision);
        assert_eq!(told(&mut participant, 2, txn(1), decision), ["2: ack"]);
        assert_eq!((participant.resolved_by_hand().count(), participant.stats().contradictions), (0, 0));
    }
}

#[test]
fn of_1024_that_were_forgotten_is_known_how_they_were_resolved_and_more_are_counted() {
    let mut participant = Participant::new(ParticipantConfig::default(), records_of(1025), ms(0));
    assert!((1..=1025).all(|sequence| participant.forget_resolved(txn(sequence))));
    actions(&mut participant);
    assert_eq!(participant.stats().resolved_uncompared, 1);
    assert_eq!(told(&mut participant, 1, txn(1025), Decision::Commit), ["1: ack"]);
    let expected = ["force Resolved", "contradicted abort", "2: refused Contradiction"];
    assert_eq!(told(&mut participant, 2, txn(1024), Decision::Commit), expected);
}

#[test]
fn an_abort_that_a_crash_finds_under_way_is_over_in_the_next_life() {
    let mut participant = prepared();
    abort(&mut participant, 2, txn(1));
    assert_eq!(actions(&mut participant), ["append Aborted", "apply abort", "2: ack"]);
    // The log is replaced now, and then the node dies.
    let mut next = Participant::new(ParticipantConfig::default(), participant.live_records(), ms(0));
    prepare(&mut next, 3, txn(1));
    assert_eq!(actions(&mut next), ["3: vote Abort"], "a late copy is not carried out");
}
