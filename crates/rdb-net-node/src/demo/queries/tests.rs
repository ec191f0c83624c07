//! Counting: what a tally makes of answers that are right, partial, wrong, missing or too many.

use rdb_net_types::Effect;

use super::super::protocol::{Ended, FailureLine, Outcome};
use super::super::table::{Answer, Partition};
use super::*;

fn id(number: usize) -> NodeId {
    format!("n{number}").parse().expect("legal")
}

/// A tally over three nodes, of which the third may be killed, with one query under way.
fn tally() -> (Tally, QueryOrder) {
    let rows = (1..=3).map(|number| (id(number), Partition::new(number, 3).expect("in range").rows())).collect();
    let mut tally = Tally::over(rows, Some(id(3)));
    let order = QueryOrder { id: 0, text: Query::text(0), first: None };
    tally.ordered(&order);
    (tally, order)
}

/// What the asker tells when these nodes reply and those do not.
fn answered(tally: &Tally, order: &QueryOrder, replied: &[usize], failed: &[usize]) -> Answered {
    let failure = FailureLine { effect: Effect::NotSent, reason: "unreachable".to_owned(), text: "away".to_owned() };
    let mut outcomes: Vec<Outcome> = replied
        .iter()
        .map(|number| Outcome { node: id(*number), ended: Ended::Complete, failure: None, rows: None })
        .collect();
    let failed = failed.iter().map(|number| Outcome {
        node: id(*number),
        ended: Ended::Failed,
        failure: Some(failure.clone()),
        rows: None,
    });
    outcomes.extend(failed);
    let query: Query = order.text.parse().expect("a query");
    let merged = query.run(replied.iter().flat_map(|number| &tally.rows[&id(*number)]));
    let asked = outcomes.iter().map(|outcome| outcome.node.clone()).collect();
    Answered { id: order.id, asked, outcomes, merged: Some(merged) }
}

/// Which assertions fail.
fn failed(tally: &Tally) -> Vec<&'static str> {
    let mut report = Report::default();
    tally.report(&mut report);
    report.assertions.iter().filter(|assertion| !assertion.held).map(|assertion| assertion.name).collect()
}

/// Which assertions fail after the kill of the third node and this answer to a query that was ordered after it.
fn failed_after_kill(change: impl FnOnce(&Tally, &QueryOrder) -> Answered) -> Vec<&'static str> {
    let (mut tally, order) = tally();
    tally.killed_ms = Some(1);
    tally.ordered(&order);
    tally.queries.total = 1;
    let answered = change(&tally, &order);
    tally.count(&answered);
    failed(&tally)
}

#[test]
fn replies_of_all_are_counted_and_nothing_fails_but_what_needs_a_kill() {
    let (mut tally, order) = tally();
    assert!(tally.count(&answered(&tally, &order, &[1, 2, 3], &[])));
    assert_eq!((tally.queries.requests, tally.queries.outcomes.ok, tally.queries.outcomes.failed), (3, 3, 0));
    assert!(tally.all_replied(3).0);
    assert_eq!(failed(&tally), ["queries go on"], "no query came after a kill");
}

#[test]
fn the_killed_node_may_fail_or_not_be_asked_and_the_answer_is_that_of_the_others() {
    assert_eq!(failed_after_kill(|tally, order| answered(tally, order, &[1, 2], &[3])), Vec::<&str>::new());
    assert_eq!(failed_after_kill(|tally, order| answered(tally, order, &[1, 2], &[])), Vec::<&str>::new());
}

#[test]
fn a_failure_before_the_kill_or_of_another_node_is_told() {
    let (mut tally, order) = tally();
    tally.count(&answered(&tally, &order, &[1, 2], &[3]));
    assert_eq!(failed(&tally), ["queries go on"]);
    let (held, detail) = tally.all_replied(3);
    assert_eq!((held, detail.as_str()), (false, "1 times: query 0 at n3: away"));
    assert_eq!(tally.queries.outcomes.reasons, BTreeMap::from([("not_sent/unreachable".to_owned(), 1)]));
    assert_eq!(failed_after_kill(|tally, order| answered(tally, order, &[1, 3], &[2])), ["queries go on"]);
    assert_eq!(failed_after_kill(|tally, order| answered(tally, order, &[1], &[])), ["queries go on"]);
}

#[test]
fn an_answer_that_is_not_that_of_the_partitions_is_a_mismatch() {
    let with_rows_of_the_dead = |tally: &Tally, order: &QueryOrder| {
        let all = answered(tally, order, &[1, 2, 3], &[]).merged;
        Answered { merged: all, ..answered(tally, order, &[1, 2], &[3]) }
    };
    assert_eq!(failed_after_kill(with_rows_of_the_dead), ["every answer is exact"]);
    let unread = |tally: &Tally, order: &QueryOrder| Answered { merged: None, ..answered(tally, order, &[1, 2], &[3]) };
    assert_eq!(failed_after_kill(unread), ["every answer is exact"]);
    let other = |tally: &Tally, order: &QueryOrder| Answered {
        merged: Some(Answer::Rows(Vec::new())),
        ..answered(tally, order, &[1, 2], &[3])
    };
    assert_eq!(failed_after_kill(other), ["every answer is exact"]);
}

#[test]
fn a_request_without_an_outcome_is_told() {
    let lost = |tally: &Tally, order: &QueryOrder| {
        let mut answered = answered(tally, order, &[1, 2], &[3]);
        answered.outcomes.pop();
        answered
    };
    assert_eq!(failed_after_kill(lost), ["every request has one outcome"]);
    let twice = |tally: &Tally, order: &QueryOrder| {
        let mut answered = answered(tally, order, &[1, 2], &[3]);
        answered.outcomes.push(answered.outcomes[2].clone());
        answered
    };
    assert_eq!(failed_after_kill(twice), ["every request has one outcome"]);
}

#[test]
fn a_query_without_an_answer_or_with_two_is_told() {
    let (tally, _) = tally();
    assert_eq!(failed(&tally), ["every request has one outcome", "every answer is exact", "queries go on"]);
    let (mut tally, order) = self::tally();
    let answered = answered(&tally, &order, &[1, 2, 3], &[]);
    assert!(tally.count(&answered));
    assert!(!tally.count(&answered));
    assert!(failed(&tally).contains(&"every request has one outcome"));
}
