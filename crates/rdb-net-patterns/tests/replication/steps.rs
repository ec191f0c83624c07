//! What leader and followers do, step by step: with no delay and no loss, but where a test wants it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use rdb_net_patterns::replication::{
    Action, Config, Event, FollowerState, Head, LeadError, LogError, LogStorage, MemoryLog, Message, NotLeading,
    Position, Promise, ProposeError, Question, Refusal, Replica, Reply, Resume, Resumed, Role,
};
use rdb_net_types::{LogEntry, NodeId, ReplicationAck, ReplicationLog};

pub(crate) fn id(number: usize) -> NodeId {
    NodeId::new(&format!("n{number}")).expect("the test is right")
}

fn entry(index: u64, epoch: u64, data: &str) -> LogEntry {
    LogEntry { index, epoch, data: Bytes::from(data.to_owned()) }
}

pub(crate) fn log_of(entries: &[(u64, &str)]) -> MemoryLog {
    let mut log = MemoryLog::new();
    for (place, (epoch, data)) in entries.iter().enumerate() {
        log.append(&vec![entry(place as u64 + 1, *epoch, data)].into()).expect("the test is right");
        log.keep_promise(&Promise { epoch: *epoch, leader: None }).expect("the test is right");
    }
    log
}

pub(crate) fn data(count: usize, bytes: usize) -> Vec<Bytes> {
    vec![Bytes::from(vec![7; bytes]); count]
}

/// Replicas whose messages arrive at once, except at those that are silent.
pub(crate) struct Cluster {
    pub(crate) now: Duration,
    replicas: Vec<Replica<MemoryLog>>,
    pub(crate) silent: BTreeSet<usize>,
    /// Requests that wait at a silent replica.
    pub(crate) held: VecDeque<(usize, usize, u64, Message)>,
    pub(crate) events: Vec<(usize, Event)>,
    sent: Vec<(usize, usize, Message)>,
}

impl Cluster {
    pub(crate) fn new(logs: Vec<MemoryLog>, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(7, (1..=logs.len()).map(id));
        change(&mut config);
        let replica = |(place, log)| Replica::new(id(place + 1), config.clone(), log).expect("the test is right");
        Self {
            now: Duration::ZERO,
            replicas: logs.into_iter().enumerate().map(replica).collect(),
            silent: BTreeSet::new(),
            held: VecDeque::new(),
            events: Vec::new(),
            sent: Vec::new(),
        }
    }

    pub(crate) fn of(count: usize) -> Self {
        Self::new(vec![MemoryLog::new(); count], |_| {})
    }

    pub(crate) fn at(&mut self, number: usize) -> &mut Replica<MemoryLog> {
        &mut self.replicas[number - 1]
    }

    pub(crate) fn lead(&mut self, number: usize, epoch: u64) {
        let now = self.now;
        self.at(number).lead(now, epoch).expect("the test is right");
        self.settle();
    }

    pub(crate) fn propose(&mut self, number: usize, entries: Vec<Bytes>) {
        self.at(number).propose(entries).expect("the test is right");
        self.settle();
    }

    /// Carries out everything, until there is nothing more to be done now.
    fn settle(&mut self) {
        let mut requests: BTreeMap<(usize, u64), (usize, u64)> = BTreeMap::new();
        let mut next = 0;
        loop {
            let mut is_quiet = true;
            for number in 1..=self.replicas.len() {
                while let Some(action) = self.at(number).poll_action() {
                    is_quiet = false;
                    match action {
                        Action::Send { to, ticket, message } => {
                            let to = (1..).find(|number| id(*number) == to).expect("the test is right");
                            self.sent.push((number, to, message.clone()));
                            if self.silent.contains(&to) {
                                self.held.push_back((number, to, ticket, message));
                                continue;
                            }
                            next += 1;
                            requests.insert((to, next), (number, ticket));
                            self.at(to).handle_message(&id(number), next, message);
                        }
                        Action::Reply { ticket, reply } => {
                            let (to, asked) = requests[&(number, ticket)];
                            let now = self.now;
                            self.at(to).handle_reply(now, &id(number), asked, reply);
                        }
                        Action::Sync { mark } => self.at(number).handle_synced(mark),
                        Action::GiveUp { .. } => {}
                        Action::Event(event) => self.events.push((number, event)),
                    }
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    pub(crate) fn later(&mut self, delay: Duration) {
        self.now += delay;
        let now = self.now;
        self.replicas.iter_mut().for_each(|replica| replica.handle_timeout(now));
        self.settle();
    }

    /// What was sent to a silent replica has failed.
    pub(crate) fn fail_held(&mut self) {
        let now = self.now;
        while let Some((from, to, ticket, _)) = self.held.pop_front() {
            self.at(from).handle_failure(now, &id(to), ticket);
        }
        self.settle();
    }

    /// What was held arrives, one after the other, and what comes of it too; before each it is shown to the test.
    pub(crate) fn hear_held(&mut self, before: impl Fn(&mut Self, &Message)) {
        while let Some((from, to, ticket, message)) = self.held.pop_front() {
            before(self, &message);
            self.at(to).handle_message(&id(from), ticket, message);
            let mut reply = None;
            while let Some(action) = self.at(to).poll_action() {
                match action {
                    Action::Reply { ticket: answered, reply: answer } if answered == ticket => reply = Some(answer),
                    Action::Sync { mark } => self.at(to).handle_synced(mark),
                    Action::Event(event) => self.events.push((to, event)),
                    other => panic!("a follower that asks nothing: {other:?}"),
                }
            }
            let (now, reply) = (self.now, reply.expect("its log is synced at once"));
            self.at(from).handle_reply(now, &id(to), ticket, reply);
            self.settle();
        }
    }

    #[track_caller]
    pub(crate) fn check_equal(&self, committed: u64) {
        let last = self.replicas[0].log().last();
        for replica in &self.replicas {
            assert_eq!((replica.log().last(), replica.committed()), (last, committed), "{replica:?}");
        }
    }

    pub(crate) fn has(&self, found: impl Fn(&Event) -> bool) -> bool {
        self.events.iter().any(|(_, event)| found(event))
    }
}

#[test]
fn what_is_proposed_is_committed_everywhere_and_in_order() {
    let mut cluster = Cluster::of(3);
    cluster.lead(2, 1);
    cluster.propose(2, vec!["a".into(), "b".into()]);
    cluster.propose(2, vec!["c".into()]);
    cluster.check_equal(4);
    let entries = cluster.at(3).log().read(1, 1000, 1000).unwrap();
    let expected = [entry(1, 1, ""), entry(2, 1, "a"), entry(3, 1, "b"), entry(4, 1, "c")];
    assert!(entries.iter().eq(expected), "the first one opens the epoch");
}

#[test]
fn a_log_of_one_member_needs_nobody() {
    let mut cluster = Cluster::of(1);
    cluster.lead(1, 1);
    cluster.propose(1, vec!["a".into()]);
    cluster.check_equal(2);
}

#[test]
fn without_a_quorum_nothing_begins_and_nothing_is_committed() {
    let mut cluster = Cluster::of(5);
    cluster.silent = [3, 4, 5].into();
    cluster.lead(1, 1);
    assert_eq!(cluster.at(1).status().role, Role::Claiming);
    assert_eq!(cluster.at(1).propose(vec!["a".into()]), Err(ProposeError::NotLeader { leader: None }));
    cluster.silent = [4, 5].into();
    cluster.fail_held();
    cluster.later(Duration::from_millis(20));
    cluster.propose(1, vec!["a".into()]);
    assert_eq!((cluster.at(1).status().role, cluster.at(1).committed()), (Role::Leader, 2));
    cluster.silent.insert(2);
    cluster.propose(1, vec!["b".into()]);
    assert_eq!(cluster.at(1).committed(), 2, "two of five are no quorum");
}

#[test]
fn an_older_leader_is_refused_with_the_newer_epoch() {
    let mut cluster = Cluster::of(3);
    cluster.lead(1, 1);
    cluster.silent = [1].into();
    cluster.lead(2, 4);
    assert_eq!(cluster.at(2).status().role, Role::Leader);
    cluster.propose(1, vec!["lost".into()]);
    let fenced =
        |event: &Event| matches!(event, Event::NotLeading { epoch: 1, reason: NotLeading::Fenced { epoch: 4 } });
    assert!(cluster.has(fenced), "{:?}", cluster.events);
    assert_eq!(cluster.at(3).status().counters.fenced, 1);
    let now = cluster.now;
    assert_eq!(cluster.at(2).lead(now, 4), Err(LeadError::Fenced { wanted: 4, known: 4 }), "an epoch begins once");
    cluster.silent.clear();
    cluster.fail_held();
    cluster.later(Duration::from_secs(1));
    cluster.propose(2, vec!["kept".into()]);
    cluster.check_equal(3);
}

#[test]
fn nobody_follows_a_leader_that_knows_less_and_the_application_is_told_who_knows_more() {
    let mut cluster = Cluster::of(3);
    cluster.silent = [3].into();
    cluster.lead(1, 1);
    cluster.propose(1, vec!["acknowledged".into()]);
    cluster.silent.clear();
    cluster.held.clear();
    cluster.lead(3, 2);
    let behind = |event: &Event| matches!(event, Event::NotLeading { epoch: 2, reason: NotLeading::Behind { last, .. } } if last.index == 2);
    assert!(cluster.has(behind), "{:?}", cluster.events);
    cluster.lead(2, 3);
    cluster.check_equal(3);
}

/// A follower with this log under a leader with that one: it ends with the leader's, and so many questions were asked.
#[track_caller]
fn check_repair(leader: &[(u64, &str)], follower: &[(u64, &str)], common: u64, questions_max: usize) {
    let logs = vec![log_of(leader), log_of(leader), log_of(follower)];
    let mut cluster = Cluster::new(logs, |_| {});
    cluster.silent = [3].into();
    let epoch = 1 + leader.iter().chain(follower).map(|(epoch, _)| *epoch).max().expect("not empty");
    cluster.lead(1, epoch);
    cluster.silent.clear();
    cluster.fail_held();
    cluster.sent.clear();
    cluster.later(Duration::from_secs(1));
    cluster.check_equal(leader.len() as u64 + 1);
    let differs = |event: &Event| matches!(event, Event::Differs { common: found, .. } if *found == common);
    assert_eq!(cluster.has(differs), common < follower.len() as u64, "{:?}", cluster.events);
    let asked = cluster.sent.iter().filter(|(_, to, message)| *to == 3 && matches!(message, Message::Resume(_)));
    assert!(asked.count() <= questions_max, "{:?}", cluster.sent);
}

#[test]
fn a_follower_goes_on_where_its_log_ends() {
    let log = [(1, "a"), (1, "b"), (2, "c"), (2, "d")];
    check_repair(&log, &log, 4, 1);
    check_repair(&log, &log[..2], 2, 1);
    check_repair(&log, &[], 0, 1);
}

#[test]
fn a_log_that_differs_is_found_told_and_cut_behind_the_last_common_entry() {
    let log = [(1, "a"), (1, "b"), (3, "c"), (3, "d")];
    check_repair(&log, &[(1, "a"), (1, "b"), (2, "x")], 2, 4);
    check_repair(&log, &[(1, "a"), (1, "b"), (2, "x"), (2, "y"), (2, "z"), (2, "z")], 2, 5);
    check_repair(&log, &[(1, "a"), (1, "b"), (3, "c"), (3, "d"), (3, "e")], 4, 5);
    check_repair(&log, &[(2, "x")], 0, 3);
}

#[test]
fn a_log_of_the_same_epochs_with_other_contents_is_found_by_its_digest() {
    check_repair(&[(1, "a"), (1, "b"), (1, "c")], &[(1, "a"), (1, "x"), (1, "c")], 1, 5);
}

#[test]
fn the_last_common_entry_of_long_logs_is_found_by_halves() {
    let mut leader = vec![(1, "same"); 3000];
    leader.push((9, "newest"));
    let mut follower = leader[..1234].to_vec();
    follower.extend([(2, "other"); 2000]);
    check_repair(&leader, &follower, 1234, 15);
}

#[test]
fn what_is_known_to_be_committed_is_not_cut() {
    let mut cluster = Cluster::of(3);
    cluster.lead(1, 1);
    cluster.propose(1, vec!["kept".into()]);
    let last = cluster.at(3).log().last();
    let resume = |question| {
        let leader_last = Position { epoch: 1, index: 9, digest: 1 };
        Message::Resume(Resume { log_id: 7, epoch: 2, leader_last, question })
    };
    cluster.at(3).handle_message(&id(2), 77, resume(Question::Keep(1)));
    let refused = Resumed::Refused { epoch: 1, last, refusal: Refusal::Committed };
    match cluster.at(3).poll_action() {
        Some(Action::Reply { ticket: 77, reply: Reply::Resumed(resumed) }) => assert_eq!(resumed, refused),
        other => panic!("{other:?}"),
    }
}

/// A leader's word comes late, by a connection that another one has replaced. What was acknowledged since is not committed yet as
/// far as the follower knows, and the leader counts on it.
#[test]
fn what_was_acknowledged_to_a_leader_is_not_cut_by_a_late_word_of_its_own() {
    let mut cluster = Cluster::of(5);
    cluster.lead(1, 1);
    cluster.silent = BTreeSet::from([2, 4, 5]);
    let before = cluster.at(3).log().last();
    let leader_last = cluster.at(1).log().last();
    cluster.propose(1, vec!["acknowledged".into()]);
    let last = cluster.at(3).log().last();
    assert_eq!(last.index, before.index + 1);
    assert_eq!(cluster.at(3).committed(), before.index, "it is not committed yet");
    let keep = Question::Keep(before.index);
    let late = Message::Resume(Resume { log_id: 7, epoch: 1, leader_last, question: keep });
    cluster.at(3).handle_message(&id(1), 77, late);
    let refused = Resumed::Refused { epoch: 1, last, refusal: Refusal::Committed };
    match cluster.at(3).poll_action() {
        Some(Action::Reply { ticket: 77, reply: Reply::Resumed(resumed) }) => assert_eq!(resumed, refused),
        other => panic!("{other:?}"),
    }
    assert_eq!(cluster.at(3).log().last(), last);
}

#[test]
fn a_follower_whose_committed_entries_differ_is_damaged_and_sent_nothing() {
    let mut cluster = Cluster::of(3);
    cluster.lead(1, 1);
    cluster.propose(1, vec!["kept".into()]);
    // Another life of the leader, with another log of the same epochs.
    let config = Config::new(7, (1..=3).map(id));
    cluster.replicas[0] = Replica::new(id(1), config.clone(), log_of(&[(1, ""), (1, "lost"), (1, "more")])).unwrap();
    cluster.replicas[1] = Replica::new(id(2), config, log_of(&[(1, ""), (1, "lost"), (1, "more")])).unwrap();
    cluster.lead(1, 2);
    cluster.propose(1, vec!["next".into()]);
    let damaged = |event: &Event| matches!(event, Event::Damaged { node } if *node == id(3));
    assert!(cluster.has(damaged), "{:?}", cluster.events);
    assert_eq!(cluster.at(1).status().followers[1].state, FollowerState::Damaged);
    assert_eq!((cluster.at(3).log().last().index, cluster.at(1).committed()), (2, 5), "the other two go on");
}

#[test]
fn a_follower_that_has_all_there_is_has_caught_up_wherever_it_came_from() {
    let mut cluster = Cluster::new(vec![MemoryLog::new(); 3], |config| config.tail_bytes = 1);
    cluster.lead(1, 1);
    cluster.propose(1, data(10, 100));
    let status = cluster.at(1).status().followers[1].clone();
    assert_eq!((status.state, status.matched, status.entries_from_storage), (FollowerState::Streaming, 11, 11));
    assert!(cluster.has(|event| matches!(event, Event::CaughtUp { node } if *node == id(3))));
}

#[test]
fn a_slow_follower_slows_nobody_and_holds_no_more_than_its_window() {
    let mut cluster = Cluster::new(vec![MemoryLog::new(); 3], |config| {
        (config.batch_bytes_max, config.window_bytes, config.tail_bytes) = (1000, 4000, 10_000);
    });
    cluster.lead(1, 1);
    cluster.silent = [3].into();
    for _ in 0..100 {
        cluster.propose(1, data(10, 100));
    }
    assert_eq!((cluster.at(1).committed(), cluster.at(2).committed()), (1001, 1001), "nobody waits for the third");
    let status = cluster.at(1).status().followers[1].clone();
    assert_eq!((status.state, status.in_flight_bytes), (FollowerState::Streaming, 4000));
    // It comes back long after what it needs has left the leader's memory.
    cluster.silent.clear();
    cluster.fail_held();
    cluster.later(Duration::from_millis(20));
    let status = cluster.at(1).status().followers[1].clone();
    assert!(cluster.has(|event| matches!(event, Event::CatchingUp { node, .. } if *node == id(3))));
    assert!(cluster.has(|event| matches!(event, Event::CaughtUp { node } if *node == id(3))));
    assert!((800..1000).contains(&status.entries_from_storage), "{status:?}");
    cluster.check_equal(1001);
}

#[test]
fn more_than_may_wait_for_a_quorum_is_refused() {
    let mut cluster = Cluster::new(vec![MemoryLog::new(); 3], |config| config.pending_bytes_max = 1000);
    cluster.lead(1, 1);
    cluster.silent = [2, 3].into();
    cluster.propose(1, data(2, 400));
    let pending_bytes = 2 * (400 + size_of::<Head>());
    assert_eq!(cluster.at(1).propose(data(1, 105)), Err(ProposeError::Full { pending_bytes }));
    assert_eq!(cluster.at(1).log().last().index, 3, "nothing was written");
    let bytes = 33 * 1024 * 1024;
    assert_eq!(cluster.at(1).propose(data(1, bytes)), Err(ProposeError::TooLarge { bytes }));
    cluster.silent.clear();
    cluster.fail_held();
    cluster.later(Duration::from_millis(20));
    cluster.propose(1, data(1, 105));
    cluster.check_equal(4);
}

#[test]
fn entries_without_data_take_room_too() {
    let mut cluster = Cluster::new(vec![MemoryLog::new(); 3], |config| config.pending_bytes_max = 1000);
    cluster.lead(1, 1);
    cluster.silent = [2, 3].into();
    let taken = (0..100).take_while(|_| cluster.at(1).propose(data(1, 0)).is_ok()).count();
    assert_eq!(taken, 1000 / size_of::<Head>());
    assert!(!cluster.at(1).has_room_for(1, 0));
}

/// What a follower answers to entries; its log has three of epoch 2, one of them committed.
fn ack_of(log: ReplicationLog) -> (ReplicationAck, Replica<MemoryLog>) {
    let mut cluster = Cluster::of(3);
    cluster.lead(1, 2);
    cluster.silent = [2, 3].into();
    cluster.propose(1, vec!["a".into(), "b".into()]);
    let (_, _, _, message) = cluster.held.pop_back().expect("they were sent");
    let mut follower = cluster.replicas.pop().expect("three");
    follower.handle_message(&id(1), 1, message);
    follower.handle_message(&id(1), 2, Message::Append(log.into()));
    let mut ack = None;
    while let Some(action) = follower.poll_action() {
        match action {
            Action::Sync { mark } => follower.handle_synced(mark),
            Action::Reply { ticket: 2, reply: Reply::Ack(given) } => ack = Some(given),
            _ => {}
        }
    }
    (ack.expect("it answers"), follower)
}

fn entries(previous_index: u64, entries: Vec<LogEntry>) -> ReplicationLog {
    ReplicationLog { log_id: 7, epoch: 2, previous_index, previous_epoch: 2, committed_index: 1, entries }
}

#[test]
fn entries_that_come_again_are_acknowledged_and_not_taken_again() {
    let (ack, follower) = ack_of(entries(1, vec![entry(2, 2, "a"), entry(3, 2, "b"), entry(4, 2, "c")]));
    assert_eq!((ack.accepted, ack.durable_index), (true, 4));
    assert_eq!((follower.status().counters.duplicates, follower.log().last().index), (2, 4));
}

#[test]
fn a_gap_is_refused_with_what_is_durable_before_it() {
    let (ack, follower) = ack_of(entries(5, vec![entry(6, 2, "x")]));
    assert_eq!((ack.accepted, ack.durable_index, ack.epoch), (false, 1, 2));
    assert_eq!((follower.status().counters.gaps, follower.log().last().index), (1, 3));
}

#[test]
fn entries_that_contradict_themselves_or_the_log_change_nothing() {
    for log in [
        entries(3, vec![entry(5, 2, "not the next")]),
        entries(3, vec![entry(4, 2, "one"), entry(4, 2, "twice")]),
        entries(3, vec![entry(4, 3, "of a later epoch than its leader")]),
        entries(3, vec![entry(4, 1, "of an earlier epoch than before it")]),
        entries(2, vec![entry(3, 1, "another than is there")]),
        ReplicationLog { previous_epoch: 1, ..entries(3, vec![entry(4, 2, "behind another entry")]) },
        ReplicationLog { previous_epoch: 0, ..entries(u64::MAX, vec![entry(0, 2, "beyond every number")]) },
        ReplicationLog { epoch: 3, ..entries(3, vec![entry(4, 3, "of a leader that has not presented itself")]) },
        ReplicationLog { log_id: 8, ..entries(3, vec![entry(4, 2, "of another log")]) },
    ] {
        let text = format!("{log:?}");
        let (ack, follower) = ack_of(log);
        assert!(!ack.accepted, "{text}");
        let counters = follower.status().counters;
        assert_eq!(counters.contradictions + counters.fenced + counters.gaps, 1, "{text}");
        assert_eq!(follower.log().last().index, 3, "{text}");
    }
}

#[test]
fn a_follower_commits_no_entry_that_its_leader_has_not_confirmed() {
    let (_, follower) = ack_of(ReplicationLog { committed_index: 99, ..entries(2, Vec::new()) });
    assert_eq!(follower.committed(), 2);
}

#[test]
fn strangers_are_refused() {
    let mut replica = Replica::new(id(1), Config::new(7, (1..=3).map(id)), MemoryLog::new()).unwrap();
    let leader_last = Position { index: 9, epoch: 9, digest: 9 };
    let resume = Resume { log_id: 7, epoch: 9, leader_last, question: Question::Last };
    for (from, log_id) in [(id(4), 7), (id(2), 8)] {
        replica.handle_message(&from, 1, Message::Resume(Resume { log_id, ..resume }));
        match replica.poll_action() {
            Some(Action::Reply { reply: Reply::Resumed(Resumed::Refused { refusal, .. }), .. }) => {
                assert_eq!(refusal, Refusal::Stranger);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(replica.promise().epoch, 0);
    }
    assert!(Replica::new(id(4), Config::new(7, (1..=3).map(id)), MemoryLog::new()).is_err());
}

#[test]
fn a_follower_answers_nothing_before_it_is_durable_and_holds_a_bounded_number_of_answers() {
    let config = Config { replies_max: 3, ..Config::new(7, (1..=3).map(id)) };
    let mut replica = Replica::new(id(1), config, MemoryLog::new()).unwrap();
    let leader_last = Position::START;
    let resume = Resume { log_id: 7, epoch: 1, leader_last, question: Question::Last };
    replica.handle_message(&id(2), 1, Message::Resume(resume));
    for index in 1..=3 {
        let log = ReplicationLog {
            epoch: 1,
            previous_epoch: u64::from(index > 1),
            ..entries(index - 1, vec![entry(index, 1, "x")])
        };
        replica.handle_message(&id(2), index + 1, Message::Append(log.into()));
    }
    let mut mark = None;
    let mut replies = Vec::new();
    while let Some(action) = replica.poll_action() {
        match action {
            Action::Sync { mark: asked } => mark = Some(asked),
            Action::Reply { ticket, reply: Reply::Ack(ack) } => replies.push((ticket, ack.accepted)),
            Action::Event(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(replies, [(4, false)], "three answers wait, and there is no room for a fourth");
    // The first sync began before the entries came.
    replica.handle_synced(mark.expect("one was asked for"));
    assert!(matches!(replica.poll_action(), Some(Action::Reply { ticket: 1, .. })));
    let Some(Action::Sync { mark }) = replica.poll_action() else { panic!("the entries are not durable") };
    replica.handle_synced(mark);
    assert!(matches!(replica.poll_action(), Some(Action::Reply { ticket: 2, .. })));
    assert!(matches!(replica.poll_action(), Some(Action::Reply { ticket: 3, .. })));
}

#[test]
fn a_replica_whose_storage_failed_has_stopped() {
    let mut cluster = Cluster::of(3);
    cluster.lead(1, 1);
    let error = || LogError { operation: "sync", source: std::io::Error::other("the disk is gone") };
    cluster.at(1).handle_storage_failure(error());
    cluster.at(3).handle_storage_failure(error());
    cluster.settle();
    assert!(cluster.has(|event| matches!(event, Event::NotLeading { reason: NotLeading::Failed, .. })));
    assert_eq!(cluster.at(1).status().role, Role::Failed);
    let now = cluster.now;
    assert_eq!(cluster.at(1).lead(now, 2), Err(LeadError::Failed));
    cluster.lead(2, 2);
    assert_eq!(cluster.at(2).status().role, Role::Claiming, "neither of the two follows any more");
}
