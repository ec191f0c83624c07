//! The two queries as they must end, and doctored ones.

use rdb_net_types::Effect;

use super::super::super::protocol::FailureLine;
use super::super::super::table::Partition;
use super::*;

const STREAMED: &str = "a streamed query under the kill gives what has come of each part";
const FIRST_PART: &str = "a query for the first part under the kill ends with it";

fn id(number: usize) -> NodeId {
    format!("n{number}").parse().expect("legal")
}

fn rows() -> BTreeMap<NodeId, Vec<Row>> {
    (1..=3).map(|number| (id(number), Partition::new(number, 3).expect("in range").rows())).collect()
}

/// How a part ended, with so many of its rows.
fn part(number: usize, ended: Ended, came: usize) -> Outcome {
    let failure = FailureLine { effect: Effect::Unknown, reason: "reason".to_owned(), text: "text".to_owned() };
    let rows = Some(Answer::Rows(rows()[&id(number)].iter().take(came).copied().collect()));
    let failure = (ended != Ended::Complete).then_some(failure);
    Outcome { node: id(number), ended, failure, rows }
}

/// Which assertions fail after the kill of the third node, of answers that were changed.
fn failed(change: impl FnOnce(&mut Vec<Outcome>, &mut Vec<Outcome>)) -> Vec<&'static str> {
    use Ended::{Broken, Complete, NotNeeded};
    let mut slow = Slow::default();
    assert_eq!(slow.begin().len(), 2);
    assert_eq!(slow.begin(), []);
    let mut all = vec![part(1, Complete, usize::MAX), part(2, Complete, usize::MAX), part(3, Broken, 100)];
    let mut first = vec![part(1, Complete, usize::MAX), part(2, NotNeeded, 500), part(3, Broken, 100)];
    change(&mut all, &mut first);
    for (number, outcomes) in [(ALL, all), (FIRST, first)] {
        let asked = (1..=3).map(id).collect();
        assert!(slow.take(&Answered { id: number, asked, outcomes, merged: None }));
    }
    assert!(!slow.is_under_way());
    let mut report = Report::default();
    slow.report(&rows(), Some(&id(3)), &mut report);
    report.assertions.iter().filter(|assertion| !assertion.held).map(|assertion| assertion.name).collect()
}

#[test]
fn what_has_come_of_each_part_holds() {
    assert_eq!(failed(|_, _| {}), Vec::<&str>::new());
}

#[test]
fn a_part_without_an_outcome_or_with_another_one_is_told() {
    assert_eq!(failed(|all, _| drop(all.pop())), [STREAMED]);
    assert_eq!(failed(|_, first| drop(first.pop())), [FIRST_PART]);
    assert_eq!(failed(|all, _| all[2] = part(3, Ended::Failed, 0)), [STREAMED]);
    assert_eq!(failed(|all, _| all[1] = part(2, Ended::Late, 100)), [STREAMED]);
    assert_eq!(failed(|all, _| all[2] = part(3, Ended::Complete, usize::MAX)), [STREAMED]);
}

#[test]
fn a_first_part_with_a_second_one_is_told() {
    assert_eq!(failed(|_, first| first[1] = part(2, Ended::Complete, usize::MAX)), [FIRST_PART]);
}

#[test]
fn rows_that_are_not_those_of_the_part_are_told() {
    assert_eq!(failed(|all, _| all[0] = part(1, Ended::Complete, 100)), [STREAMED]);
    let of_another = part(2, Ended::Broken, 100).rows;
    assert_eq!(failed(|all, _| all[2].rows = of_another), [STREAMED]);
    assert_eq!(
        failed(|all, _| all[2] = part(3, Ended::Broken, 0)),
        [STREAMED],
        "none has come: it was not in the middle"
    );
}
