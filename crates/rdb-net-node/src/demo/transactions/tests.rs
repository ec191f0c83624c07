//! A run as it must be, and doctored ones: a run without anything in doubt is no run.

use std::collections::{BTreeMap, BTreeSet};

use rdb_net_types::Vote;

use super::*;

const IN_DOUBT: &str = "what the kills left in doubt is resolved after the restarts";

fn id(number: usize) -> NodeId {
    NodeId::new(&format!("n{number}")).expect("legal")
}

/// When the participant n2 and the coordinator n3 are killed.
const PARTICIPANT_KILLED_US: u64 = 100;
const COORDINATOR_KILLED_US: u64 = 200;
/// In doubt at the participant; decided at the coordinator and not acknowledged; aborted.
const VOTED: TransactionId = TransactionId(1);
const DECIDED: TransactionId = TransactionId(2);
const ABORTED: TransactionId = TransactionId(3);

/// What the run is made of, for a change.
struct Draft {
    tally: Tally,
    events: Vec<Event>,
}

impl Draft {
    fn participant(&mut self) -> &mut Doubt {
        &mut self.tally.doubts[0]
    }

    fn coordinator(&mut self) -> &mut Doubt {
        &mut self.tally.doubts[1]
    }
}

/// Which assertions fail of a run of three nodes, changed.
fn failed(change: impl FnOnce(&mut Draft)) -> Vec<&'static str> {
    let everybody: Vec<NodeId> = (1..=3).map(id).collect();
    let mut events = Vec::new();
    let mut at = |at_us, number, what| events.push(Event { at_us, node: id(number), what });
    let begun = |txn| Occurrence::Begun { txn, participants: everybody.clone() };
    let (commit, abort) = (Decision::Commit, Decision::Abort);
    for (txn, begun_us, decided_us) in [(VOTED, 90, 110), (DECIDED, 190, 195)] {
        at(begun_us, 3, begun(txn));
        (1..=3).for_each(|number| at(begun_us + 2, number, Occurrence::Voted { txn, vote: Vote::Commit }));
        at(decided_us, 3, Occurrence::Decided { txn, decision: commit });
        for number in 1..=3 {
            at(250, number, Occurrence::Applying { txn, decision: commit });
            at(251, number, Occurrence::Applied { txn, decision: commit });
        }
    }
    at(120, 3, begun(ABORTED));
    at(121, 1, Occurrence::Voted { txn: ABORTED, vote: Vote::Abort });
    at(122, 3, Occurrence::Decided { txn: ABORTED, decision: abort });
    let doubt =
        |number, killed_us| Doubt { node: id(number), killed_us, prepared: BTreeSet::new(), decided: BTreeMap::new() };
    let participant = Doubt { prepared: BTreeSet::from([VOTED]), ..doubt(2, PARTICIPANT_KILLED_US) };
    let coordinator =
        Doubt { decided: BTreeMap::from([(DECIDED, everybody.clone())]), ..doubt(3, COORDINATOR_KILLED_US) };
    let transactions = Transactions {
        total: 3,
        committed: 1,
        aborted: 1,
        unanswered: 1,
        under_way_at_kills: vec![1, 1],
        recovered: 2,
        ..Transactions::default()
    };
    let tally = Tally { transactions, doubts: vec![participant, coordinator], ..Tally::default() };
    let mut draft = Draft { tally, events };
    change(&mut draft);
    let mut report = Report::default();
    draft.tally.conclude(draft.events.into_iter(), &mut report);
    report.assertions.iter().filter(|assertion| !assertion.held).map(|assertion| assertion.name).collect()
}

/// Takes out what a node has done of a transaction.
fn without_applied(draft: &mut Draft, of: TransactionId, node: usize) {
    let is_out = |event: &Event| {
        event.node == id(node)
            && matches!(event.what, Occurrence::Applied { txn, .. } | Occurrence::Applying { txn, .. } if txn == of)
    };
    draft.events.retain(|event| !is_out(event));
}

#[test]
fn a_run_in_which_all_that_was_in_doubt_is_resolved_holds() {
    assert_eq!(failed(|_| {}), Vec::<&str>::new());
}

#[test]
fn a_run_without_anything_in_doubt_fails() {
    let nothing_voted = |draft: &mut Draft| {
        draft.participant().prepared.clear();
        draft.tally.transactions.recovered = 1;
    };
    assert_eq!(failed(nothing_voted), [IN_DOUBT]);
    let nothing_decided = |draft: &mut Draft| {
        draft.coordinator().decided.clear();
        draft.tally.transactions.recovered = 1;
    };
    assert_eq!(failed(nothing_decided), [IN_DOUBT]);
    let nothing = |draft: &mut Draft| {
        draft.participant().prepared.clear();
        draft.coordinator().decided.clear();
        draft.tally.transactions.recovered = 0;
    };
    assert_eq!(failed(nothing), [IN_DOUBT]);
    assert_eq!(failed(|draft| draft.tally.doubts.clear()), [IN_DOUBT]);
}

#[test]
fn a_run_in_which_a_restart_does_not_take_up_what_is_in_the_log_fails() {
    assert_eq!(failed(|draft| draft.tally.transactions.recovered = 1), [IN_DOUBT]);
}

#[test]
fn a_run_in_which_something_stays_in_doubt_fails() {
    let stays_in_doubt = |draft: &mut Draft| without_applied(draft, VOTED, 2);
    assert!(failed(stays_in_doubt).contains(&IN_DOUBT));
    let stays_untold = |draft: &mut Draft| without_applied(draft, DECIDED, 1);
    assert!(failed(stays_untold).contains(&IN_DOUBT));
    // Done before the kill, it was not in doubt at it.
    let before = |draft: &mut Draft| draft.participant().killed_us = 300;
    assert_eq!(failed(before), [IN_DOUBT]);
}
