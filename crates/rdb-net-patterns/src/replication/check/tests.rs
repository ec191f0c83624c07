//! Each rule is broken by a run that breaks it, and by none that does not.

use super::{Fact, Position, Rules};
use rdb_net_types::NodeId;

fn node(number: usize) -> NodeId {
    NodeId::new(&format!("n{number}")).unwrap()
}

/// A log with an opening entry and entries of these numbers.
fn log(epoch: u64, values: &[u64]) -> Vec<Position> {
    let mut log = vec![Position::START.next(epoch, b"")];
    for value in values {
        log.push(log[log.len() - 1].next(epoch, &value.to_be_bytes()));
    }
    log
}

/// A run in which the first of three nodes leads, two entries are acknowledged, and everybody has them.
fn good() -> Vec<Fact> {
    let log = log(1, &[10, 11]);
    let mut facts = vec![Fact::Led { node: node(1), epoch: 1, log: log[..1].to_vec() }, Fact::Healed];
    for (index, value) in [(2, 10), (3, 11)] {
        facts.push(Fact::Proposed { node: node(1), epoch: 1, index, value });
    }
    for (place, value) in [(1, 10), (2, 11)] {
        let durable_at = Some(vec![node(1), node(2)]);
        facts.push(Fact::Acknowledged { position: log[place], value, durable_at });
    }
    for number in 1..=3 {
        for (place, value) in [None, Some(10), Some(11)].into_iter().enumerate() {
            facts.push(Fact::Committed { node: node(number), position: log[place], value });
        }
    }
    facts.extend((1..=3).map(|number| Fact::Ended { node: node(number), log: log.clone(), committed: 3 }));
    facts
}

fn broken(facts: &[Fact]) -> Vec<String> {
    let mut rules = Rules::new(3);
    facts.iter().for_each(|fact| rules.see(fact));
    rules.end()
}

/// The good run, changed, breaks this rule.
#[track_caller]
fn check(rule: &str, change: impl FnOnce(&mut Vec<Fact>)) {
    let mut facts = good();
    change(&mut facts);
    let broken = broken(&facts);
    assert!(broken.iter().any(|problem| problem.starts_with(&format!("{rule}: "))), "{broken:#?}");
}

#[test]
fn a_good_run_breaks_no_rule() {
    assert_eq!(broken(&good()), [""; 0]);
}

#[test]
fn each_rule_is_broken_by_what_it_forbids() {
    check("one-leader", |facts| facts.push(Fact::Led { node: node(2), epoch: 1, log: log(1, &[10, 11]) }));
    check("committed-prefix", |facts| {
        facts.push(Fact::Ended { node: node(3), log: log(1, &[10, 12]), committed: 3 });
    });
    check("committed-prefix", |facts| {
        facts.push(Fact::Ended { node: node(3), log: log(1, &[]), committed: 3 });
    });
    check("acknowledged-is-durable", |facts| {
        let position = log(1, &[10, 11])[2];
        facts.push(Fact::Acknowledged { position, value: 11, durable_at: Some(vec![node(1)]) });
    });
    check("nothing-lost", |facts| {
        facts.push(Fact::Led { node: node(2), epoch: 2, log: [log(1, &[10]), log(2, &[])].concat() });
    });
    check("nothing-lost", |facts| facts.push(Fact::Ended { node: node(2), log: log(1, &[10]), committed: 2 }));
    check("order-kept", |facts| {
        facts.retain(|fact| !matches!(fact, Fact::Committed { position: Position { index: 2, .. }, .. }));
    });
    check("order-kept", |facts| {
        let position = log(1, &[10, 11, 10])[3];
        facts.push(Fact::Proposed { node: node(1), epoch: 1, index: 4, value: 10 });
        facts.push(Fact::Committed { node: node(1), position, value: Some(10) });
    });
    check("progress", |facts| facts.push(Fact::Proposed { node: node(1), epoch: 1, index: 4, value: 12 }));
    check("progress", |facts| facts.retain(|fact| !matches!(fact, Fact::Acknowledged { .. })));
    check("progress", |facts| facts.push(Fact::Ended { node: node(3), log: log(1, &[10, 11]), committed: 2 }));
    check("progress", |facts| facts.retain(|fact| !matches!(fact, Fact::Ended { .. })));
}
