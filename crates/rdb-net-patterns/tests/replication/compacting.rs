//! Logs that lose their beginning, and replicas that begin again from a copy of the data.

use std::time::Duration;

use rdb_net_patterns::replication::{
    CompactError, Config, Entries, Event, FollowerState, LeadError, LogError, LogStorage, MemoryLog, Message, Position,
    Promise, Question, Replica, RestoreError, Resume, Role,
};

use crate::steps::{Cluster, data, id, log_of};

/// A log of 21 entries in epoch 1 that the first of three leads, everywhere committed; the third is away from then on.
fn without_the_third() -> Cluster {
    let mut cluster = Cluster::new(vec![MemoryLog::new(); 3], |config| config.tail_bytes = 0);
    cluster.lead(1, 1);
    cluster.propose(1, data(20, 100));
    cluster.silent.insert(3);
    cluster.propose(1, data(20, 100));
    cluster
}

#[test]
fn what_is_committed_may_be_dropped_and_nothing_else() {
    let mut cluster = without_the_third();
    cluster.silent.insert(2);
    cluster.propose(1, data(1, 1));
    let leader = cluster.at(1);
    assert_eq!(leader.compact(42), Err(CompactError::NotCommitted { up_to: 42, committed: 41 }));
    let place = leader.log().position(30).expect("it is there");
    assert_eq!(leader.compact(30), Ok(place));
    assert_eq!(leader.compact(7), Ok(place), "it is dropped already");
    let status = leader.status();
    assert_eq!((status.base, status.last.index, status.committed), (place, 42, 41));
    assert_eq!(leader.log().position(29), None);
    assert_eq!(leader.log().read(1, 1, 1).unwrap().heads()[0].index, 31, "it begins there");
}

#[test]
fn a_follower_that_has_what_was_dropped_goes_on_without_it() {
    let mut cluster = without_the_third();
    let third = cluster.at(3).log().last();
    cluster.at(1).compact(third.index).expect("it is committed");
    cluster.silent.clear();
    cluster.fail_held();
    cluster.later(Duration::from_secs(1));
    cluster.check_equal(41);
    assert!(!cluster.has(|event| matches!(event, Event::OutOfReach { .. })));
}

#[test]
fn a_follower_that_lacks_what_was_dropped_is_told_of_until_it_is_restored() {
    let mut cluster = without_the_third();
    let last = cluster.at(3).log().last();
    let base = cluster.at(1).compact(last.index + 5).expect("it is committed");
    cluster.silent.clear();
    cluster.fail_held();
    cluster.later(Duration::from_secs(1));
    let told = |cluster: &Cluster| {
        let is_it = |(_, event): &&(usize, Event)| matches!(event, Event::OutOfReach { node, last: at, base: from } if (node, *at, *from) == (&id(3), last, base));
        cluster.events.iter().filter(is_it).count()
    };
    assert_eq!(told(&cluster), 1);
    let state = |cluster: &mut Cluster| cluster.at(1).status().followers[1].state;
    assert_eq!(state(&mut cluster), FollowerState::OutOfReach);
    cluster.later(Duration::from_secs(1));
    assert_eq!(told(&cluster), 2);
    cluster.propose(1, data(1, 1));
    assert_eq!(cluster.at(1).committed(), 42, "the others are a quorum");
    cluster.at(3).restore(base).expect("it is behind");
    cluster.later(Duration::from_secs(1));
    cluster.check_equal(42);
    assert_ne!(state(&mut cluster), FollowerState::OutOfReach);
    assert_eq!((cluster.at(3).log().base(), told(&cluster)), (base, 2));
}

#[test]
fn a_log_that_was_compacted_is_led_on_after_a_restart_and_in_a_newer_epoch() {
    let mut cluster = without_the_third();
    cluster.silent.clear();
    cluster.fail_held();
    cluster.later(Duration::from_secs(1));
    let logs = (1..=3).map(|number| {
        cluster.at(number).compact(9 * number as u64).expect("it is committed");
        cluster.at(number).log().clone()
    });
    let mut cluster = Cluster::new(logs.collect(), |_| {});
    assert_eq!(cluster.at(3).committed(), 27, "what was dropped was committed");
    cluster.lead(3, 2);
    cluster.propose(3, data(3, 10));
    cluster.check_equal(45);
}

#[test]
fn where_two_logs_differ_before_what_is_left_of_one_nothing_is_guessed() {
    // The second has entries of an epoch whose leader is gone; the first has dropped what would tell from where on.
    let first = log_of(&[(1, "a"), (1, "b"), (3, "c"), (3, "d"), (3, "e")]);
    let second = log_of(&[(1, "a"), (1, "b"), (2, "other"), (2, "other"), (2, "other"), (2, "other")]);
    let mut cluster = Cluster::new(vec![first.clone(), second, first], |_| {});
    cluster.lead(1, 4);
    cluster.check_equal(6);
    for (up_to, is_found) in [(2, true), (3, false)] {
        let mut first = log_of(&[(1, "a"), (1, "b"), (3, "c"), (3, "d"), (3, "e")]);
        first.compact(up_to).unwrap();
        let second = log_of(&[(1, "a"), (1, "b"), (2, "other"), (2, "other"), (2, "other"), (2, "other")]);
        let mut cluster = Cluster::new(vec![first.clone(), second, first], |_| {});
        cluster.lead(1, 4);
        assert_eq!(cluster.at(2).committed() == 6, is_found, "compacted to {up_to}");
        assert_eq!(cluster.has(|event| matches!(event, Event::OutOfReach { .. })), !is_found);
        assert_eq!(cluster.at(2).log().last().index, 6, "nothing was cut on a guess");
    }
}

#[test]
fn a_replica_is_restored_where_it_lacks_something_and_loses_nothing_where_it_does_not() {
    let mut cluster = without_the_third();
    let (early, late) = (cluster.at(1).log().position(10).unwrap(), cluster.at(1).log().last());
    assert_eq!(cluster.at(1).restore(late), Err(RestoreError::Leads));
    let second = cluster.at(2);
    second.restore(early).expect("it is known");
    second.restore(late).expect("it is known");
    assert_eq!((second.log().base(), second.log().last(), second.committed()), (Position::START, late, 41));
    let other = Position { digest: 1, ..early };
    assert_eq!(second.restore(other), Err(RestoreError::Differs { index: 10 }));
    assert_eq!(second.status().role, Role::Follower);
    let promise = cluster.at(3).promise().clone();
    cluster.at(3).restore(late).expect("it lacks something");
    let third = cluster.at(3);
    assert_eq!((third.log().base(), third.log().last(), third.committed()), (late, late, 41));
    assert_eq!((third.promise(), third.log().promise()), (&promise, promise.clone()), "a promise is not forgotten");
}

#[test]
fn a_copy_that_is_older_than_what_the_log_was_compacted_for_is_refused() {
    let mut cluster = without_the_third();
    let early = cluster.at(2).log().position(10).unwrap();
    cluster.at(2).compact(20).expect("it is committed");
    let second = cluster.at(2);
    assert_eq!(second.restore(early), Err(RestoreError::Older { index: 10, base: 20 }), "11 to 20 would be nowhere");
    let nowhere = Position { index: u64::MAX, ..early };
    assert_eq!(second.restore(nowhere), Err(RestoreError::NoPlace { index: u64::MAX }));
    assert_eq!(second.log().base().index, 20);
}

#[test]
fn a_follower_that_is_restored_while_it_is_told_to_cut_is_not_taken_for_damaged() {
    let first = log_of(&[(1, "a"), (1, "b"), (3, "c"), (3, "d")]);
    let third = log_of(&[(1, "a"), (1, "b"), (2, "other"), (2, "other")]);
    let mut cluster = Cluster::new(vec![first.clone(), first, third], |_| {});
    cluster.silent.insert(3);
    cluster.lead(1, 4);
    // The third hears everything late, one question at a time; its application has got a copy before it hears that it has to cut.
    let copy = cluster.at(1).log().last();
    assert_eq!(cluster.at(1).committed(), 5);
    cluster.hear_held(|cluster, message| {
        if matches!(message, Message::Resume(Resume { question: Question::Keep(_), .. })) {
            cluster.at(3).restore(copy).expect("it lacks something");
        }
    });
    cluster.silent.clear();
    assert!(!cluster.has(|event| matches!(event, Event::Damaged { .. })), "{:?}", cluster.events);
    cluster.later(Duration::from_secs(1));
    cluster.propose(1, data(1, 1));
    cluster.check_equal(6);
}

#[test]
fn who_cannot_write_its_promise_does_not_lead_and_says_so() {
    let mut replica = Replica::new(id(1), Config::new(7, (1..=3).map(id)), FullDisk).expect("a member");
    assert_eq!(replica.lead(Duration::ZERO, 1), Err(LeadError::Failed));
    assert_eq!(replica.restore(Position::START), Err(RestoreError::Failed));
}

/// An empty log that takes nothing.
#[derive(Debug)]
struct FullDisk;

impl FullDisk {
    fn full() -> Result<(), LogError> {
        Err(LogError { operation: "write", source: std::io::Error::other("the disk is full") })
    }
}

impl LogStorage for FullDisk {
    fn promise(&self) -> Promise {
        Promise::default()
    }

    fn keep_promise(&mut self, _: &Promise) -> Result<(), LogError> {
        Self::full()
    }

    fn base(&self) -> Position {
        Position::START
    }

    fn last(&self) -> Position {
        Position::START
    }

    fn position(&self, index: u64) -> Option<Position> {
        (index == 0).then_some(Position::START)
    }

    fn append(&mut self, _: &Entries) -> Result<(), LogError> {
        Self::full()
    }

    fn cut(&mut self, _: u64) -> Result<(), LogError> {
        Self::full()
    }

    fn compact(&mut self, _: u64) -> Result<(), LogError> {
        Self::full()
    }

    fn restore(&mut self, _: Position) -> Result<(), LogError> {
        Self::full()
    }

    fn read(&self, _: u64, _: usize, _: usize) -> Result<Entries, LogError> {
        Ok(Entries::default())
    }

    fn sync(&mut self) -> Result<(), LogError> {
        Self::full()
    }
}
