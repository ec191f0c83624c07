//! Epochs above the highest one: nobody begins one, and a member that has promised one all the same is alone with it.

use std::time::Duration;

use rdb_net_patterns::replication::{
    Action, Config, EPOCH_MAX, Event, FollowerState, LeadError, LogStorage, MemoryLog, Message, Position, Promise,
    Question, Refusal, Replica, Reply, Resume, Resumed, Role,
};
use rdb_net_types::ReplicationAck;

use crate::steps::{Cluster, id};

/// A promise is for good: with such an epoch a member's mistake would close the log for ever.
#[test]
fn an_epoch_behind_which_there_is_none_is_refused_by_its_leader_and_by_followers_and_closes_no_log() {
    for wanted in [u64::MAX, u64::MAX - 1, i64::MAX as u64, EPOCH_MAX + 1] {
        let mut cluster = Cluster::of(3);
        cluster.lead(1, 1);
        let now = cluster.now;
        assert_eq!(cluster.at(2).lead(now, wanted), Err(LeadError::NoEpoch { wanted }));
        let leader_last = cluster.at(2).log().last();
        let resume = Resume { log_id: 7, epoch: wanted, leader_last, question: Question::Last };
        let third = cluster.at(3);
        third.handle_message(&id(2), 99, Message::Resume(resume));
        let answered = std::iter::from_fn(|| third.poll_action()).find_map(|action| match action {
            Action::Reply { ticket: 99, reply: Reply::Resumed(resumed) } => Some(resumed),
            _ => None,
        });
        let is_refused = matches!(answered, Some(Resumed::Refused { epoch: 1, refusal: Refusal::Unable, .. }));
        assert!(is_refused, "{answered:?}");
        assert_eq!((third.promise().epoch, third.log().promise().epoch), (1, 1), "nothing is promised");
        assert_eq!(third.status().counters.contradictions, 1);
        // The log goes on, in this epoch and in the highest.
        cluster.propose(1, vec!["a".into()]);
        cluster.lead(2, EPOCH_MAX);
        cluster.propose(2, vec!["b".into()]);
        cluster.check_equal(4);
    }
}

/// A log whose replica has promised to follow this member in an epoch that is none.
fn promised(leader: usize) -> MemoryLog {
    let mut log = MemoryLog::new();
    log.keep_promise(&Promise { epoch: u64::MAX, leader: Some(id(leader)) }).expect("memory takes it");
    log
}

#[test]
fn a_leader_that_was_promised_such_an_epoch_before_there_was_a_highest_one_is_followed_on() {
    let mut replica = Replica::new(id(3), Config::new(7, (1..=3).map(id)), promised(1)).expect("it is a member");
    let resume = Resume { log_id: 7, epoch: u64::MAX, leader_last: Position::START, question: Question::Last };
    for (from, is_granted) in [(1, true), (2, false)] {
        replica.handle_message(&id(from), 1, Message::Resume(resume));
        match replica.poll_action() {
            Some(Action::Reply { reply: Reply::Resumed(Resumed::Granted { epoch: u64::MAX, .. }), .. }) => {
                assert!(is_granted, "n{from}");
            }
            Some(Action::Reply { reply: Reply::Resumed(Resumed::Refused { refusal, .. }), .. }) => {
                assert!(!is_granted && refusal == Refusal::Fenced, "n{from}: {refusal:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_member_that_has_promised_such_an_epoch_does_not_close_the_log_for_the_others() {
    // Asked before a quorum follows, and after.
    for leader in [2, 3] {
        let mut cluster = Cluster::new(vec![promised(1), MemoryLog::new(), MemoryLog::new()], |_| {});
        cluster.lead(leader, 1);
        assert_eq!(cluster.at(leader).status().role, Role::Leader, "{:?}", cluster.events);
        for _ in 0..3 {
            cluster.propose(leader, vec!["kept".into()]);
            cluster.later(Duration::from_secs(1));
        }
        let status = cluster.at(leader).status();
        assert_eq!((status.role, status.committed), (Role::Leader, 4));
        assert_eq!(status.followers[0].state, FollowerState::Waiting, "it is asked again, and refuses");
        assert!(status.followers[0].resumes >= 3 && cluster.at(1).log().last() == Position::START);
        assert!(!cluster.has(|event| matches!(event, Event::NotLeading { .. })), "{:?}", cluster.events);
        // The next epoch can still begin, and fences this one.
        cluster.lead(5 - leader, 2);
        cluster.propose(5 - leader, vec!["kept".into()]);
        assert_eq!(cluster.at(leader).status().role, Role::Follower);
        assert_eq!((cluster.at(2).committed(), cluster.at(3).committed()), (6, 6));
    }
}

#[test]
fn entries_that_are_refused_with_such_an_epoch_do_not_end_a_leadership() {
    let mut cluster = Cluster::of(3);
    cluster.lead(1, 1);
    cluster.silent = [3].into();
    cluster.propose(1, vec!["a".into()]);
    let (_, _, ticket, _) = cluster.held.pop_back().expect("they were sent");
    let (now, refused) =
        (cluster.now, ReplicationAck { log_id: 7, epoch: u64::MAX, durable_index: 1, accepted: false });
    cluster.at(1).handle_reply(now, &id(3), ticket, Reply::Ack(refused));
    let status = cluster.at(1).status();
    assert_eq!((status.role, status.committed), (Role::Leader, 2));
    assert_eq!(status.followers[1].state, FollowerState::Waiting);
}

#[test]
fn a_time_in_nanoseconds_is_an_epoch() {
    let in_2100 = Duration::from_secs(4_102_444_800);
    let mut cluster = Cluster::of(3);
    cluster.lead(1, u64::try_from(in_2100.as_nanos()).expect("it fits"));
    cluster.propose(1, vec!["a".into()]);
    cluster.check_equal(2);
}
