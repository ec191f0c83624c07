//! A replica as a follower: whom it follows, and what it takes into its log.

use rdb_net_types::{NodeId, ReplicationAck};

use super::entries::Head;
use super::event::{Action, Event};
use super::log::{LogError, LogStorage, Promise};
use super::message::{AppendEntries, Question, Refusal, Reply, Resume, Resumed};
use super::mutation::Mutation;
use super::replica::{EPOCH_MAX, Replica};

/// An answer that waits until so much is durable.
#[derive(Debug)]
pub(super) struct WaitingReply {
    mark: u64,
    ticket: u64,
    reply: Reply,
}

impl<S: LogStorage> Replica<S> {
    /// A leader presents itself.
    pub(super) fn resume(&mut self, from: &NodeId, ticket: u64, resume: Resume) -> Result<(), LogError> {
        if let Some(refusal) = self.refusal(from, &resume) {
            self.refuse(ticket, refusal);
            return Ok(());
        }
        match self.grant(from, &resume) {
            Ok(resumed) => self.answer(ticket, Reply::Resumed(resumed)),
            Err(error) => {
                // Its leader would wait for nothing.
                self.refuse(ticket, Refusal::Unable);
                return Err(error);
            }
        }
        Ok(())
    }

    fn refuse(&mut self, ticket: u64, refusal: Refusal) {
        let resumed = Resumed::Refused { epoch: self.promise.epoch, last: self.log.last(), refusal };
        self.actions.push_back(Action::Reply { ticket, reply: Reply::Resumed(resumed) });
    }

    fn grant(&mut self, from: &NodeId, resume: &Resume) -> Result<Resumed, LogError> {
        if resume.epoch > self.promise.epoch {
            self.follow(Promise { epoch: resume.epoch, leader: Some(from.clone()) })?;
        }
        if let Question::Keep(keep) = resume.question
            && keep < self.log.last().index
        {
            self.cut(keep)?;
            self.counters.cuts += 1;
            self.actions.push_back(Action::Event(Event::Cut { keep }));
        }
        let last = self.log.last();
        let asked = if let Question::At(index) = resume.question { index } else { last.index };
        let at = self.log.position(asked).unwrap_or(last);
        Ok(Resumed::Granted { epoch: self.promise.epoch, last, committed: self.committed, at })
    }

    fn refusal(&mut self, from: &NodeId, resume: &Resume) -> Option<Refusal> {
        if resume.log_id != self.config.log_id || !self.config.members.contains(from) {
            return Some(Refusal::Stranger);
        }
        if self.has_failed {
            return Some(Refusal::Unable);
        }
        if self.waiting.len() >= self.config.replies_max {
            self.counters.overloaded += 1;
            return Some(Refusal::Unable);
        }
        let is_newer = resume.epoch > self.promise.epoch;
        // One that is followed already, by a promise from before there was a highest epoch, goes on.
        if is_newer && resume.epoch > EPOCH_MAX {
            self.counters.contradictions += 1;
            return Some(Refusal::Unable);
        }
        let is_followed = resume.epoch == self.promise.epoch && self.promise.leader.as_ref() == Some(from);
        if !is_newer && !is_followed {
            self.counters.fenced += 1;
            return Some(Refusal::Fenced);
        }
        let knows_enough = resume.leader_last.is_as_current_as(&self.log.last());
        if is_newer && !knows_enough && !self.planted.has(Mutation::GrantsAnybody) {
            return Some(Refusal::Behind);
        }
        match resume.question {
            // What was acknowledged to this very leader stays: its word that came late, by a former connection, is not obeyed.
            Question::Keep(keep) if keep < self.committed.max(self.matched_with(resume)) => Some(Refusal::Committed),
            _ => None,
        }
    }

    /// Up to where the log is known to be that of whoever asks.
    fn matched_with(&self, resume: &Resume) -> u64 {
        if resume.epoch == self.promise.epoch { self.matched } else { 0 }
    }

    /// Removes what is behind this entry.
    pub(super) fn cut(&mut self, keep: u64) -> Result<(), LogError> {
        self.log.cut(keep)?;
        let durability = &mut self.durability;
        durability.written += 1;
        durability.index = durability.index.min(keep);
        durability.under_way = durability.under_way.map(|(mark, index)| (mark, index.min(keep)));
        // What was to be acknowledged is not there any more.
        let end = self.log.last();
        for waiting in &mut self.waiting {
            match &mut waiting.reply {
                Reply::Ack(ack) if ack.durable_index > keep => (ack.accepted, ack.durable_index) = (false, keep),
                Reply::Resumed(Resumed::Granted { last, at, .. }) => {
                    for position in [last, at] {
                        if position.index > keep {
                            *position = end;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Entries of a leader.
    pub(super) fn entries(&mut self, from: &NodeId, ticket: u64, log: AppendEntries) -> Result<(), LogError> {
        let Some(known) = self.known_entries(from, &log) else {
            self.refuse_entries(ticket, log.log_id);
            return Ok(());
        };
        let new = if known == 0 { log.entries.clone() } else { log.entries.part(known..log.entries.len()) };
        self.counters.duplicates += known as u64;
        self.counters.entries_taken += new.len() as u64;
        let is_forgotten = self.planted.has(Mutation::AckBeforeAppend) && self.counters.entries_taken % 7 == 1;
        if !new.is_empty()
            && !is_forgotten
            && let Err(error) = self.append(&new)
        {
            self.refuse_entries(ticket, log.log_id);
            return Err(error);
        }
        // No entry behind these is known to be the leader's.
        let matched = log.previous_index + log.entries.len() as u64;
        self.matched = self.matched.max(matched);
        self.commit(log.committed_index.min(matched));
        let ack = ReplicationAck { log_id: log.log_id, epoch: log.epoch, durable_index: matched, accepted: true };
        self.answer(ticket, Reply::Ack(ack));
        Ok(())
    }

    fn refuse_entries(&mut self, ticket: u64, log_id: u64) {
        let (epoch, durable_index) = (self.promise.epoch, self.durability.index);
        let ack = ReplicationAck { log_id, epoch, durable_index, accepted: false };
        self.actions.push_back(Action::Reply { ticket, reply: Reply::Ack(ack) });
    }

    /// How many of the entries are in the log already; `None` where they are not to be taken.
    fn known_entries(&mut self, from: &NodeId, log: &AppendEntries) -> Option<usize> {
        let is_followed = log.epoch == self.promise.epoch && self.promise.leader.as_ref() == Some(from);
        let is_unfenced = self.planted.has(Mutation::EpochUnfenced) && self.config.members.contains(from);
        if log.log_id != self.config.log_id || !(is_followed || is_unfenced) || *from == self.id {
            self.counters.fenced += 1;
            return None;
        }
        if self.has_failed || self.waiting.len() >= self.config.replies_max {
            self.counters.overloaded += 1;
            return None;
        }
        let Some(previous) = self.log.position(log.previous_index) else {
            self.counters.gaps += 1;
            return None;
        };
        let known = log.entries.heads().iter().take_while(|entry| entry.index <= self.log.last().index);
        let is_known = |entry: &Head| self.log.position(entry.index).is_some_and(|at| at.epoch == entry.epoch);
        let known: Vec<bool> = known.map(is_known).collect();
        if previous.epoch != log.previous_epoch || !are_in_order(log) || known.contains(&false) {
            self.counters.contradictions += 1;
            return None;
        }
        Some(known.len())
    }

    /// Answers as soon as everything is durable that has been written so far.
    fn answer(&mut self, ticket: u64, reply: Reply) {
        let mark = self.durability.written;
        if self.durability.synced >= mark || self.planted.has(Mutation::AckBeforeSync) {
            self.actions.push_back(Action::Reply { ticket, reply });
        } else {
            self.waiting.push_back(WaitingReply { mark, ticket, reply });
        }
    }

    /// Answers what has become durable.
    pub(super) fn answer_waiting(&mut self) {
        let ready = self.waiting.iter().take_while(|waiting| waiting.mark <= self.durability.synced).count();
        let ready = self.waiting.drain(..ready);
        self.actions.extend(ready.map(|WaitingReply { ticket, reply, .. }| Action::Reply { ticket, reply }));
    }

    /// Nothing becomes durable any more.
    pub(super) fn refuse_waiting(&mut self) {
        for WaitingReply { ticket, reply, .. } in std::mem::take(&mut self.waiting) {
            let reply = match reply {
                Reply::Resumed(_) => Reply::Resumed(Resumed::Refused {
                    epoch: self.promise.epoch,
                    last: self.log.last(),
                    refusal: Refusal::Unable,
                }),
                Reply::Ack(ack) => Reply::Ack(ReplicationAck { accepted: false, durable_index: 0, ..ack }),
            };
            self.actions.push_back(Action::Reply { ticket, reply });
        }
    }
}

/// Whether the entries follow each other and what is before them, by index and by epoch, and none is of a later leader.
fn are_in_order(log: &AppendEntries) -> bool {
    let mut before = (log.previous_index, log.previous_epoch);
    log.entries.heads().iter().all(|entry| {
        let follows = before.0.checked_add(1) == Some(entry.index) && (before.1..=log.epoch).contains(&entry.epoch);
        before = (entry.index, entry.epoch);
        follows
    })
}
