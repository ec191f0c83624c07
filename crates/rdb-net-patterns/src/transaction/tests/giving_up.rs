//! A participant that does not come back is given up, and comes back after all.

use rdb_net_types::{NodeId, TransactionId, Vote};

use super::super::{
    AbortCause, Coordinator, CoordinatorAction, CoordinatorConfig, Decision, GiveUpError, GivenUp, Life, Record,
    Ticket, Untold, Verdict,
};
use super::coordinating::{acknowledge, actions, begun, coordinator, parts};
use super::{ms, node, vote};

fn ask(coordinator: &mut Coordinator, txn: TransactionId, name: &str) -> Verdict {
    coordinator.handle_question(ms(4), &node(name), vote(txn, Vote::Commit))
}

/// A log in which `c` has decided these, and given up `a` because of the first.
fn given_up(decided: &[(TransactionId, &[&str])]) -> Vec<Record> {
    let named = |names: &[&str]| names.iter().map(|name| node(name)).collect::<Vec<NodeId>>();
    let decided_of =
        |(txn, names): &(TransactionId, &[&str])| Record::Decided { txn: *txn, participants: named(names) };
    let (first, _) = decided[0];
    let given_up = Record::GivenUp { node: node("a"), newest: first, transactions: vec![first] };
    let started = Record::Started { epoch: Life::of(first).epoch };
    std::iter::once(started).chain(decided.iter().map(decided_of)).chain([given_up]).collect()
}

fn transactions() -> [TransactionId; 2] {
    let life = Life::new(&node("c"), 1);
    [life.transaction(1), life.transaction(2)]
}

/// Two commits, told to `a` and `b`, of which `b` has acknowledged the first.
fn untold() -> (Coordinator, [TransactionId; 2]) {
    let (mut coordinator, first) = begun(&["a", "b"]);
    let second = coordinator.begin(ms(0), parts(&["a"]), ms(1000)).expect("legal");
    for (txn, name) in [(first, "a"), (first, "b"), (second, "a")] {
        coordinator.handle_prepared(ms(1), txn, &node(name), Ok(vote(txn, Vote::Commit)));
    }
    coordinator.handle_synced(ms(1), Ticket(3));
    acknowledge(&mut coordinator, first, "b");
    actions(&mut coordinator);
    (coordinator, [first, second])
}

#[test]
fn who_is_given_up_is_waited_for_no_more_and_never_answered_by_a_presumption() {
    let (mut coordinator, [first, second]) = untold();
    let waits = |txn| Untold { txn, nodes: vec![node("a")] };
    assert_eq!(coordinator.untold().collect::<Vec<_>>(), [waits(first), waits(second)]);
    assert_eq!(coordinator.give_up(&node("b")), Err(GiveUpError::NothingWaits { node: node("b") }));
    let ticket = coordinator.give_up(&node("a")).expect("two commits wait for it");
    assert_eq!(actions(&mut coordinator), ["force GivenUp"]);
    assert_eq!(coordinator.untold().count(), 2, "nothing is given up before that is durable");
    let third = coordinator.begin(ms(2), parts(&["a"]), ms(1000)).expect("legal");
    coordinator.handle_synced(ms(3), ticket);
    let ended = ["prepare a", "append Ended", "ended", "append Ended", "ended", "given up a"];
    assert_eq!(actions(&mut coordinator), ended);
    coordinator.abort(third);
    assert_eq!(ask(&mut coordinator, first, "a"), Verdict::Undecided, "it was committed");
    assert_eq!(ask(&mut coordinator, first, "b"), Verdict::Decided(Decision::Abort), "it has acknowledged");
    assert_eq!(ask(&mut coordinator, third, "a"), Verdict::Decided(Decision::Abort), "it was begun later");
    let stats = coordinator.stats();
    assert_eq!((stats.given_up, stats.parts_given_up, stats.questions_of_given_up), (1, 2, 1));
    let mut next = self::coordinator(CoordinatorConfig::default(), coordinator.live_records());
    assert_eq!(ask(&mut next, second, "a"), Verdict::Undecided, "the next life knows it too");
}

#[test]
fn the_next_life_does_not_tell_those_that_were_given_up() {
    let [first, second] = transactions();
    let mut coordinator =
        coordinator(CoordinatorConfig::default(), given_up(&[(first, &["a", "b"]), (second, &["a"])]));
    assert_eq!(actions(&mut coordinator), ["commit b", "commit a", "still given up a"]);
    let told: Vec<_> = coordinator.untold().collect();
    assert_eq!(told[0], Untold { txn: first, nodes: vec![node("b")] });
    assert_eq!(told[1], Untold { txn: second, nodes: vec![node("a")] });
}

#[test]
fn the_next_life_does_not_answer_that_a_commit_was_aborted_to_who_was_given_up() {
    let [first, _] = transactions();
    let mut records = given_up(&[(first, &["a", "b"])]);
    // The same after any number of restarts, and of logs that were replaced.
    for life in 2..5 {
        let mut next = coordinator(CoordinatorConfig::default(), records);
        assert_eq!(next.life().epoch, life);
        assert_eq!(ask(&mut next, first, "a"), Verdict::Decided(Decision::Commit), "b is still told of it");
        assert_eq!(ask(&mut next, first, "z"), Verdict::Decided(Decision::Abort), "it has no part in it");
        records = next.live_records();
    }
    let mut last = coordinator(CoordinatorConfig::default(), records);
    acknowledge(&mut last, first, "b");
    assert!(!last.is_open(first));
    assert_eq!(ask(&mut last, first, "a"), Verdict::Undecided, "nothing is known of it any more");
}

#[test]
fn a_commit_that_waited_only_for_who_was_given_up_ends_in_the_next_life() {
    let [first, _] = transactions();
    let mut coordinator = coordinator(CoordinatorConfig::default(), given_up(&[(first, &["a"])]));
    assert_eq!(actions(&mut coordinator), ["append Ended", "ended", "still given up a"]);
    assert_eq!((coordinator.open().count(), coordinator.stats().recovered), (0, 0));
    assert_eq!(ask(&mut coordinator, first, "a"), Verdict::Undecided);
}

#[test]
fn what_is_voted_on_is_aborted_when_its_participant_is_given_up() {
    let (mut coordinator, [first, second]) = untold();
    let of_both = coordinator.begin(ms(2), parts(&["a", "b"]), ms(1000)).expect("legal");
    let of_others = coordinator.begin(ms(2), parts(&["b"]), ms(1000)).expect("legal");
    actions(&mut coordinator);
    let ticket = coordinator.give_up(&node("a")).expect("two commits wait for it");
    let cause = std::iter::from_fn(|| coordinator.poll_action()).find_map(|action| match action {
        CoordinatorAction::Decided { txn, decision: Decision::Abort, cause } if txn == of_both => cause,
        _ => None,
    });
    assert_eq!(cause, Some(AbortCause::GivenUp { node: node("a") }));
    assert!(coordinator.is_open(of_others), "it does not name a");
    for name in ["a", "b"] {
        coordinator.handle_prepared(ms(3), of_both, &node(name), Ok(vote(of_both, Vote::Commit)));
        assert_eq!(ask(&mut coordinator, of_both, name), Verdict::Decided(Decision::Abort), "its vote comes too late");
    }
    coordinator.handle_synced(ms(3), ticket);
    assert_eq!(listed(&coordinator), [(node("a"), vec![first, second])], "no commit of that time is missing");
    assert_eq!((coordinator.stats().aborted_by_give_up, coordinator.stats().open), (1, 1));
}

/// Who is given up, and which commits did without them.
fn listed(coordinator: &Coordinator) -> Vec<(NodeId, Vec<TransactionId>)> {
    coordinator.given_up().map(|given_up| (given_up.node.clone(), given_up.transactions.clone())).collect()
}

/// What a machine has appended.
fn appended(coordinator: &mut Coordinator) -> Vec<Record> {
    let actions = std::iter::from_fn(|| coordinator.poll_action());
    let records = actions.filter_map(|action| match action {
        CoordinatorAction::Append { record, .. } => Some(record),
        _ => None,
    });
    records.collect()
}

#[test]
fn a_commit_that_is_being_written_is_given_up_with_its_participant() {
    let (mut coordinator, [first, second]) = untold();
    let third = coordinator.begin(ms(2), parts(&["a"]), ms(1000)).expect("legal");
    coordinator.handle_prepared(ms(2), third, &node("a"), Ok(vote(third, Vote::Commit)));
    let ticket = coordinator.give_up(&node("a")).expect("two commits wait for it");
    coordinator.handle_synced(ms(3), ticket);
    assert_eq!(listed(&coordinator), [(node("a"), vec![first, second, third])]);
    assert_eq!(coordinator.untold().count(), 0);
}

#[test]
fn a_crash_before_the_operator_is_told_loses_nothing_of_the_list() {
    let (mut former, [first, second]) = untold();
    let mut records = former.live_records();
    former.give_up(&node("a")).expect("two commits wait for it");
    // The record is durable, and the process ends before it hears so.
    records.extend(appended(&mut former));
    let mut next = coordinator(CoordinatorConfig::default(), records);
    let expected = GivenUp { node: node("a"), newest: second, transactions: vec![first, second] };
    assert_eq!(next.given_up().collect::<Vec<_>>(), [&expected]);
    let told = std::iter::from_fn(|| next.poll_action())
        .find(|action| matches!(action, CoordinatorAction::StillGivenUp { .. }));
    let still = CoordinatorAction::StillGivenUp { node: node("a"), transactions: vec![first, second] };
    assert_eq!(told, Some(still), "the operator is told now");
    let after = coordinator(CoordinatorConfig::default(), next.live_records());
    assert_eq!(after.given_up().collect::<Vec<_>>(), [&expected], "a log that was replaced holds it too");
}

#[test]
fn who_is_given_up_twice_has_one_list() {
    let [first, second] = transactions();
    let records = given_up(&[(first, &["a"]), (second, &["a"])]);
    let mut coordinator = coordinator(CoordinatorConfig::default(), records.clone());
    let ticket = coordinator.give_up(&node("a")).expect("the second commit waits for it");
    let again = appended(&mut coordinator);
    coordinator.handle_synced(ms(1), ticket);
    assert_eq!(listed(&coordinator), [(node("a"), vec![first, second])]);
    let next = self::coordinator(CoordinatorConfig::default(), records.into_iter().chain(again).collect());
    assert_eq!(listed(&next), [(node("a"), vec![first, second])]);
}

#[test]
fn participants_that_are_given_up_are_bounded() {
    let config = CoordinatorConfig { given_up_max: 1, ..CoordinatorConfig::default() };
    let life = Life::new(&node("c"), 1);
    let records = vec![
        Record::Decided { txn: life.transaction(1), participants: vec![node("a")] },
        Record::Decided { txn: life.transaction(2), participants: vec![node("b")] },
    ];
    let mut coordinator = coordinator(config, records);
    coordinator.give_up(&node("a")).expect("there is room for one");
    assert_eq!(coordinator.give_up(&node("b")), Err(GiveUpError::TooMany { given_up_max: 1 }));
}

#[test]
fn the_list_of_what_is_given_up_is_bounded() {
    let [first, second] = transactions();
    let config = CoordinatorConfig { parts_given_up_max: 1, ..CoordinatorConfig::default() };
    let mut coordinator = coordinator(config, given_up(&[(first, &["a"]), (second, &["a", "b"])]));
    actions(&mut coordinator);
    let voting = coordinator.begin(ms(1), parts(&["b"]), ms(1000)).expect("legal");
    for name in ["a", "b"] {
        let refused = Err(GiveUpError::TooManyParts { parts_given_up_max: 1 });
        assert_eq!(coordinator.give_up(&node(name)), refused);
    }
    assert!(coordinator.is_open(voting), "nothing has changed");
    assert_eq!(coordinator.stats().parts_given_up, 1);
}
