//! A replica of a log: follower, or leader where the application says so.
//!
//! It does no input or output but to its log, and reads no clock. Inputs are the application's calls, messages, their outcomes, and
//! the end of a sync; what has to be done about them is polled as [`Action`]s.
//!
//! There is no election: the application names the leader of an epoch. What the replicas see to is that it may be named: as in Raft
//! (Ongaro, Ousterhout: "In search of an understandable consensus algorithm", USENIX ATC 2014), a leader begins when a quorum has
//! promised to follow it, and nobody follows a leader whose log knows less than its own. So whom the application names cannot lose
//! what a quorum has acknowledged, and an epoch fences every older one.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use rdb_net_types::NodeId;

use super::config::{Config, ConfigError};
use super::entries::{ENTRY_BYTES, Entries};
use super::event::{Action, Event, LeadError, NotLeading, ProposeError};
use super::leading::Leadership;
use super::log::{LogError, LogStorage, Promise};
use super::message::{Message, Reply};
use super::mutation::Mutation;
use super::proposed::{Piece, Proposed};
use super::status::{Counters, Role, Status};
use crate::planted::Planted;

/// The largest entry. A message may carry twice as much.
pub const ENTRY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The highest epoch: a quarter of the numbers, so that one that was counted below zero, or that means "none" or "for ever", as `u64::MAX` and
/// `i64::MAX` do, is none. A time in nanoseconds is one until 2116. A promise is for good, and behind the highest epoch nobody could lead the
/// log any more; a member that holds a promise above it all the same is waited for, and does not end the leadership of others.
pub const EPOCH_MAX: u64 = u64::MAX / 4;

/// How much of what was written is durable.
#[derive(Debug, Default)]
pub(super) struct Durability {
    /// Counts what was written.
    pub(super) written: u64,
    /// The sync under way: what was written when it began, and the last entry then.
    pub(super) under_way: Option<(u64, u64)>,
    pub(super) synced: u64,
    /// The last durable entry.
    pub(super) index: u64,
}

/// A replica of a log.
pub struct Replica<S> {
    pub(super) id: NodeId,
    pub(super) config: Config,
    pub(super) log: S,
    pub(super) promise: Promise,
    pub(super) committed: u64,
    pub(super) durability: Durability,
    /// Up to where the log is known to be that of the leader that it follows.
    pub(super) matched: u64,
    /// What it leads, where it does or wants to.
    pub(super) leadership: Option<Box<Leadership>>,
    pub(super) has_failed: bool,
    /// Answers that wait until the log is durable.
    pub(super) waiting: VecDeque<super::following::WaitingReply>,
    pub(super) next_ticket: u64,
    pub(super) actions: VecDeque<Action>,
    pub(super) counters: Counters,
    pub(super) planted: Planted<Mutation>,
}

impl<S: LogStorage> Replica<S> {
    /// A replica over its log, as a follower. What the log holds is durable.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] where the configuration does not count this node, or cannot work.
    pub fn new(id: NodeId, config: Config, log: S) -> Result<Self, ConfigError> {
        config.check(&id)?;
        let durability = Durability { index: log.last().index, ..Durability::default() };
        Ok(Self {
            id,
            config,
            promise: log.promise(),
            // Nothing else is dropped.
            committed: log.base().index,
            log,
            durability,
            matched: 0,
            leadership: None,
            has_failed: false,
            waiting: VecDeque::new(),
            next_ticket: 0,
            actions: VecDeque::new(),
            counters: Counters::default(),
            planted: Planted::default(),
        })
    }

    /// Leads from now on, in this epoch. It begins when a quorum follows ([`Event::Leading`]), and goes on asking until then.
    ///
    /// # Errors
    ///
    /// [`LeadError`]; nothing has changed.
    pub fn lead(&mut self, now: Duration, epoch: u64) -> Result<(), LeadError> {
        if self.has_failed {
            return Err(LeadError::Failed);
        }
        if epoch > EPOCH_MAX {
            return Err(LeadError::NoEpoch { wanted: epoch });
        }
        if epoch <= self.promise.epoch {
            return Err(LeadError::Fenced { wanted: epoch, known: self.promise.epoch });
        }
        self.guarded(|this| {
            this.follow(Promise { epoch, leader: Some(this.id.clone()) })?;
            this.claim(now)
        });
        if self.has_failed { Err(LeadError::Failed) } else { Ok(()) }
    }

    /// Leads no longer. Entries that wait for a quorum may be committed by the next leader all the same.
    pub fn resign(&mut self) {
        self.step_down(NotLeading::Resigned);
    }

    /// Appends entries to the log, as its leader. They are committed when [`Event::Committed`] reaches the last of these indexes
    /// while the node leads in the same epoch; after [`Event::NotLeading`] nobody knows what becomes of them. No entries are an empty
    /// range, and nothing is waited for. Entries of 16 KiB and more are not copied: what they are slices of is kept whole.
    ///
    /// # Errors
    ///
    /// [`ProposeError`]; nothing has been written.
    pub fn propose(&mut self, entries: Vec<Bytes>) -> Result<RangeInclusive<u64>, ProposeError> {
        self.propose_all(&entries.into())
    }

    /// As [`propose`](Self::propose), of entries that are in one piece.
    ///
    /// # Errors
    ///
    /// [`ProposeError`]; nothing has been written.
    pub fn propose_piece(&mut self, piece: Piece) -> Result<RangeInclusive<u64>, ProposeError> {
        self.propose_all(&piece.into())
    }

    pub(super) fn propose_all(&mut self, entries: &Proposed) -> Result<RangeInclusive<u64>, ProposeError> {
        let leads = self.leadership.as_ref().filter(|leadership| leadership.opened.is_some());
        let Some(leadership) = leads else {
            let leader = self.promise.leader.clone().filter(|leader| *leader != self.id);
            return Err(ProposeError::NotLeader { leader });
        };
        if entries.largest() > ENTRY_BYTES_MAX {
            return Err(ProposeError::TooLarge { bytes: entries.largest() });
        }
        if !self.has_room_for(entries.len(), entries.bytes()) {
            return Err(ProposeError::Full { pending_bytes: leadership.pending_bytes });
        }
        let first = self.log.last().index + 1;
        let last = first + entries.len() as u64 - 1;
        self.guarded(|this| this.write_as_leader(entries));
        Ok(first..=last)
    }

    /// Whether so many entries with as many bytes of data may wait for a quorum beside those that do, at what they cost in memory. Whatever
    /// waits alone may.
    pub fn has_room_for(&self, entries: usize, bytes: usize) -> bool {
        let bytes = bytes.saturating_add(entries.saturating_mul(ENTRY_BYTES));
        let pending_bytes = self.leadership.as_ref().map_or(0, |leadership| leadership.pending_bytes);
        pending_bytes == 0 || pending_bytes.saturating_add(bytes) <= self.config.pending_bytes_max
    }

    /// A message of another member, to be answered with this ticket.
    pub fn handle_message(&mut self, from: &NodeId, ticket: u64, message: Message) {
        self.guarded(|this| match message {
            Message::Resume(resume) => this.resume(from, ticket, resume),
            Message::Append(append) => this.entries(from, ticket, append),
        });
    }

    /// The answer to a request.
    pub fn handle_reply(&mut self, now: Duration, from: &NodeId, ticket: u64, reply: Reply) {
        self.guarded(|this| match reply {
            Reply::Resumed(resumed) => this.resumed(now, from, ticket, resumed),
            Reply::Ack(ack) => this.acknowledged(now, from, ticket, &ack),
        });
    }

    /// A request has no answer. Whether its node has acted is all the same: what was sent before is asked for at the next
    /// handshake.
    pub fn handle_failure(&mut self, now: Duration, from: &NodeId, ticket: u64) {
        self.guarded(|this| {
            this.failed(now, from, ticket);
            Ok(())
        });
    }

    /// The log is durable as it was at [`Action::Sync`] with this mark.
    pub fn handle_synced(&mut self, mark: u64) {
        let Some((under_way, index)) = self.durability.under_way.filter(|(under_way, _)| *under_way == mark) else {
            return;
        };
        self.durability.under_way = None;
        self.durability.synced = under_way;
        self.durability.index = self.durability.index.max(index);
        self.guarded(|this| {
            this.answer_waiting();
            this.own_log_synced()
        });
    }

    /// The storage failed where the replica does not see it, as in a sync.
    pub fn handle_storage_failure(&mut self, error: LogError) {
        self.fail(error);
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.guarded(|this| this.retry(now));
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` while there is nothing to wait for.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.leadership.as_ref().and_then(|leadership| leadership.next_retry())
    }

    /// The next thing to be done.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Its log.
    pub fn log(&self) -> &S {
        &self.log
    }

    /// Its log, to make it durable. Whatever else is done to it is the caller's fault.
    pub fn log_mut(&mut self) -> &mut S {
        &mut self.log
    }

    /// Its log, at the replica's end.
    pub fn into_log(self) -> S {
        self.log
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        let role = match &self.leadership {
            _ if self.has_failed => Role::Failed,
            None => Role::Follower,
            Some(leadership) if leadership.opened.is_some() => Role::Leader,
            Some(_) => Role::Claiming,
        };
        Status {
            role,
            epoch: self.promise.epoch,
            leader: self.promise.leader.clone(),
            base: self.log.base(),
            last: self.log.last(),
            durable: self.durability.index,
            committed: self.committed,
            counters: self.counters,
            followers: self.leadership.as_ref().map(|leadership| leadership.statuses()).unwrap_or_default(),
        }
    }

    /// The newest epoch that is known here, and whom this node follows in it.
    pub fn promise(&self) -> &Promise {
        &self.promise
    }

    /// Up to where the log is committed, as far as is known here.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// Does something to the log: where that fails, the replica has failed. What was written is asked to be made durable.
    pub(super) fn guarded(&mut self, act: impl FnOnce(&mut Self) -> Result<(), LogError>) {
        if let Err(error) = act(self) {
            self.fail(error);
        }
        let Durability { written, under_way, synced, .. } = self.durability;
        if under_way.is_none() && synced < written && !self.has_failed {
            self.durability.under_way = Some((written, self.log.last().index));
            self.actions.push_back(Action::Sync { mark: written });
        }
    }

    fn fail(&mut self, error: LogError) {
        if std::mem::replace(&mut self.has_failed, true) {
            return;
        }
        self.step_down(NotLeading::Failed);
        self.refuse_waiting();
        self.actions.push_back(Action::Event(Event::Failed(error)));
    }

    /// Follows another leader, or oneself, from now on.
    pub(super) fn follow(&mut self, promise: Promise) -> Result<(), LogError> {
        self.step_down(NotLeading::Fenced { epoch: promise.epoch });
        self.log.keep_promise(&promise)?;
        self.durability.written += 1;
        self.promise = promise;
        self.matched = 0;
        Ok(())
    }

    pub(super) fn step_down(&mut self, reason: NotLeading) {
        let Some(leadership) = self.leadership.take() else { return };
        for node in leadership.followers.keys() {
            self.actions.push_back(Action::GiveUp { to: node.clone() });
        }
        let epoch = leadership.epoch;
        self.actions.push_back(Action::Event(Event::NotLeading { epoch, reason }));
    }

    pub(super) fn append(&mut self, entries: &Entries) -> Result<(), LogError> {
        self.log.append(entries)?;
        self.durability.written += 1;
        Ok(())
    }

    pub(super) fn commit(&mut self, index: u64) {
        if index > self.committed {
            self.committed = index;
            self.actions.push_back(Action::Event(Event::Committed { index }));
        }
    }

    pub(super) fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// Everybody else.
    pub(super) fn others(&self) -> BTreeMap<NodeId, super::progress::Progress> {
        let others = self.config.members.iter().filter(|member| **member != self.id);
        others.map(|member| (member.clone(), super::progress::Progress::default())).collect()
    }
}

impl<S> std::fmt::Debug for Replica<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica")
            .field("id", &self.id)
            .field("promise", &self.promise)
            .field("committed", &self.committed)
            .finish_non_exhaustive()
    }
}
