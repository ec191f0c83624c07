//! The very message at which a follower's storage fails is answered: its leader does not wait out a time for it.

use std::time::Duration;

use rdb_net_patterns::replication::{
    Action, AppendEntries, Config, Entries, LogError, LogStorage, MemoryLog, Message, Position, Promise, Question,
    Refusal, Replica, Reply, Resume, Resumed,
};
use rdb_net_types::LogEntry;

use crate::steps::{id, log_of};

/// A log whose disk may become full: it is read on, and takes nothing more.
#[derive(Debug)]
struct Filling {
    log: MemoryLog,
    is_full: bool,
}

impl Filling {
    fn room(&self) -> Result<(), LogError> {
        let full = || LogError { operation: "write", source: std::io::Error::other("the disk is full") };
        if self.is_full { Err(full()) } else { Ok(()) }
    }
}

impl LogStorage for Filling {
    fn promise(&self) -> Promise {
        self.log.promise()
    }

    fn keep_promise(&mut self, promise: &Promise) -> Result<(), LogError> {
        self.room()?;
        self.log.keep_promise(promise)
    }

    fn base(&self) -> Position {
        self.log.base()
    }

    fn last(&self) -> Position {
        self.log.last()
    }

    fn position(&self, index: u64) -> Option<Position> {
        self.log.position(index)
    }

    fn append(&mut self, entries: &Entries) -> Result<(), LogError> {
        self.room()?;
        self.log.append(entries)
    }

    fn cut(&mut self, keep: u64) -> Result<(), LogError> {
        self.room()?;
        self.log.cut(keep)
    }

    fn compact(&mut self, up_to: u64) -> Result<(), LogError> {
        self.room()?;
        self.log.compact(up_to)
    }

    fn restore(&mut self, base: Position) -> Result<(), LogError> {
        self.room()?;
        self.log.restore(base)
    }

    fn read(&self, from: u64, bytes_max: usize, entries_max: usize) -> Result<Entries, LogError> {
        self.log.read(from, bytes_max, entries_max)
    }

    fn sync(&mut self) -> Result<(), LogError> {
        self.room()?;
        self.log.sync()
    }
}

/// A follower of `n1` in epoch 2, behind two entries of epoch 1; its disk is full from here on.
fn full_follower() -> Replica<Filling> {
    let log = Filling { log: log_of(&[(1, "a"), (1, "b")]), is_full: false };
    let mut follower = Replica::new(id(2), Config::new(7, (1..=3).map(id)), log).expect("a member");
    follower.handle_message(&id(1), 1, Message::Resume(resume(&follower, 2, Question::Last)));
    while let Some(action) = follower.poll_action() {
        if let Action::Sync { mark } = action {
            follower.handle_synced(mark);
        }
    }
    follower.log_mut().is_full = true;
    follower
}

fn resume(follower: &Replica<Filling>, epoch: u64, question: Question) -> Resume {
    Resume { log_id: 7, epoch, leader_last: follower.log().last(), question }
}

/// What a message with ticket 9 is answered at once: no sync comes any more, and no time.
fn answers(mut follower: Replica<Filling>, message: Message) -> Vec<Reply> {
    follower.handle_message(&id(1), 9, message);
    let mut answers = Vec::new();
    while let Some(action) = follower.poll_action() {
        match action {
            Action::Reply { ticket: 9, reply } => answers.push(reply),
            Action::Sync { .. } | Action::Reply { .. } => {
                panic!("nothing is written, and nobody else waits: {action:?}")
            }
            _ => {}
        }
    }
    assert_eq!(follower.poll_timeout(), None::<Duration>);
    answers
}

#[test]
fn a_leader_is_refused_at_once_where_the_promise_or_the_cut_that_it_wants_cannot_be_written() {
    for (epoch, question) in [(3, Question::Last), (2, Question::Keep(1))] {
        let follower = full_follower();
        let message = Message::Resume(resume(&follower, epoch, question));
        let answers = answers(follower, message);
        let is_refused =
            matches!(answers.as_slice(), [Reply::Resumed(Resumed::Refused { epoch: 2, refusal: Refusal::Unable, .. })]);
        assert!(is_refused, "{answers:?}");
    }
}

#[test]
fn entries_that_cannot_be_written_are_refused_at_once() {
    let follower = full_follower();
    let entries = vec![LogEntry { index: 3, epoch: 2, data: "c".into() }].into();
    let append =
        AppendEntries { log_id: 7, epoch: 2, previous_index: 2, previous_epoch: 1, committed_index: 0, entries };
    let answers = answers(follower, Message::Append(append));
    assert!(matches!(answers.as_slice(), [Reply::Ack(ack)] if !ack.accepted && ack.epoch == 2), "{answers:?}");
}
