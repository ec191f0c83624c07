//! A replica as a leader: it gathers a quorum, finds where each follower's log ends or differs, and streams entries.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use bytes::Bytes;
use rdb_net_types::{NodeId, ReplicationAck};

use super::entries::{ENTRY_BYTES, Entries};
use super::event::{Action, Event, NotLeading};
use super::log::{LogError, LogStorage, Position};
use super::message::{AppendEntries, Message, Question, Refusal, Resume, Resumed};
use super::mutation::Mutation;
use super::progress::{Batch, Progress, State};
use super::proposed::Proposed;
use super::replica::{EPOCH_MAX, Replica};
use super::status::FollowerStatus;
use super::tail::Tail;

/// How many messages with entries may be under way to one follower: what is proposed meanwhile travels together.
const BATCHES_MAX: usize = 16;

/// What a leader, or one who wants to be, keeps beside its log.
#[derive(Debug)]
pub(super) struct Leadership {
    pub(super) epoch: u64,
    /// What has to be durable for the own promise to count.
    promised: u64,
    /// The entry that opened the epoch; `None` until a quorum follows.
    pub(super) opened: Option<u64>,
    pub(super) followers: BTreeMap<NodeId, Progress>,
    /// Who knows most of those that do not follow because they know more.
    newest: Option<(NodeId, Position)>,
    tail: Tail,
    /// The last entry of each proposal that waits for a quorum, and what it costs in memory.
    pending: VecDeque<(u64, usize)>,
    pub(super) pending_bytes: usize,
}

impl Leadership {
    pub(super) fn next_retry(&self) -> Option<Duration> {
        let waiting = self.followers.values().filter_map(|progress| match progress.state {
            State::Waiting { until } => Some(until),
            _ => None,
        });
        waiting.min()
    }

    pub(super) fn statuses(&self) -> Vec<FollowerStatus> {
        self.followers.iter().map(|(node, progress)| progress.status(node)).collect()
    }
}

impl<S: LogStorage> Replica<S> {
    /// Asks everybody to follow.
    pub(super) fn claim(&mut self, now: Duration) -> Result<(), LogError> {
        self.leadership = Some(Box::new(Leadership {
            epoch: self.promise.epoch,
            promised: self.durability.written,
            opened: None,
            followers: self.others(),
            newest: None,
            tail: Tail::new(self.config.tail_bytes, self.config.batch_bytes_max, self.config.batch_entries_max),
            pending: VecDeque::new(),
            pending_bytes: 0,
        }));
        self.retry(now)
    }

    /// Asks those again whose time has come.
    pub(super) fn retry(&mut self, now: Duration) -> Result<(), LogError> {
        let Some(leadership) = &self.leadership else { return Ok(()) };
        let is_due = |progress: &Progress| matches!(progress.state, State::Waiting { until } if until <= now);
        let due = leadership.followers.iter().filter(|(_, progress)| is_due(progress));
        let due: Vec<NodeId> = due.map(|(node, _)| node.clone()).collect();
        due.iter().for_each(|node| self.ask(node, Question::Last, (0, 0)));
        Ok(())
    }

    pub(super) fn ask(&mut self, to: &NodeId, question: Question, search: (u64, u64)) {
        let (ticket, leader_last, log_id) = (self.ticket(), self.log.last(), self.config.log_id);
        let Some(leadership) = &mut self.leadership else { return };
        let epoch = leadership.epoch;
        let Some(progress) = leadership.followers.get_mut(to) else { return };
        progress.asked(ticket, question, search);
        let message = Message::Resume(Resume { log_id, epoch, leader_last, question });
        self.actions.push_back(Action::Send { to: to.clone(), ticket, message });
    }

    /// A follower is tried again later.
    fn wait(&mut self, now: Duration, node: &NodeId) {
        let Some(progress) = self.leadership.as_mut().and_then(|leadership| leadership.followers.get_mut(node)) else {
            return;
        };
        progress.wait(now, &self.config);
        self.actions.push_back(Action::GiveUp { to: node.clone() });
    }

    /// A request has no answer.
    pub(super) fn failed(&mut self, now: Duration, node: &NodeId, ticket: u64) {
        let progress = self.leadership.as_ref().and_then(|leadership| leadership.followers.get(node));
        if progress.is_some_and(|progress| progress.awaits(ticket)) {
            self.wait(now, node);
        }
    }

    /// A follower has answered the handshake.
    pub(super) fn resumed(
        &mut self,
        now: Duration,
        node: &NodeId,
        ticket: u64,
        resumed: Resumed,
    ) -> Result<(), LogError> {
        let Some(leadership) = &mut self.leadership else { return Ok(()) };
        let Some(progress) = leadership.followers.get_mut(node) else { return Ok(()) };
        let State::Asking { ticket: asked, question, search } = progress.state else { return Ok(()) };
        if asked != ticket {
            return Ok(());
        }
        match resumed {
            // Nobody leads in such an epoch: it is this member's mistake, and does not end what the others promised.
            Resumed::Refused { epoch, refusal: Refusal::Fenced, .. } if epoch > EPOCH_MAX => self.wait(now, node),
            Resumed::Refused { epoch, refusal: Refusal::Fenced, .. } => {
                self.step_down(NotLeading::Fenced { epoch });
            }
            // It was restored while it was asked: the two do not differ any more.
            Resumed::Refused { refusal: Refusal::Committed, last, .. }
                if self.log.position(last.index) == Some(last) || last.index < self.log.base().index =>
            {
                self.wait(now, node);
            }
            Resumed::Refused { refusal: Refusal::Committed, .. } => self.found_damaged(node),
            Resumed::Refused { refusal, last, .. } => {
                if refusal == Refusal::Behind {
                    progress.knows_more = true;
                    if leadership.newest.as_ref().is_none_or(|(_, newest)| !newest.is_as_current_as(&last)) {
                        leadership.newest = Some((node.clone(), last));
                    }
                }
                self.wait(now, node);
                self.give_up_where_behind();
            }
            Resumed::Granted { last, committed, at, .. } => {
                progress.goes_well();
                progress.has_granted = true;
                progress.knows_more = false;
                if leadership.opened.is_none() {
                    progress.state = State::Granted;
                    return self.open_with_quorum();
                }
                match question {
                    Question::Last => self.compare(now, node, last, committed),
                    Question::At(index) => self.narrow(now, node, index, (last, at), search),
                    Question::Keep(_) if self.log.position(last.index) == Some(last) => self.stream(node, last),
                    // The log was compacted meanwhile.
                    Question::Keep(_) if last.index < self.log.base().index => self.out_of_reach(now, node, last),
                    Question::Keep(_) => self.found_damaged(node),
                }
                self.advance();
                return self.pump_all();
            }
        }
        Ok(())
    }

    /// Too many know more for a quorum to follow.
    fn give_up_where_behind(&mut self) {
        let Some(leadership) = &self.leadership else { return };
        let knowing = leadership.followers.values().filter(|progress| progress.knows_more).count();
        let others = self.config.members.len() - knowing;
        if leadership.opened.is_none()
            && others < self.config.quorum()
            && let Some((node, last)) = leadership.newest.clone()
        {
            self.step_down(NotLeading::Behind { node, last });
        }
    }

    /// Begins, if a quorum follows.
    fn open_with_quorum(&mut self) -> Result<(), LogError> {
        let Some(leadership) = &self.leadership else { return Ok(()) };
        // Its own promise first: an epoch that was begun before it was durable could begin again after a crash.
        if self.durability.synced < leadership.promised {
            return Ok(());
        }
        let granted = leadership.followers.values().filter(|progress| progress.has_granted).count();
        if leadership.opened.is_some() || 1 + granted < self.config.quorum() {
            return Ok(());
        }
        // Entries of former epochs are committed with the first one of this epoch (Raft, section 5.4.2): so there is one at once.
        let (index, epoch) = (self.log.last().index + 1, leadership.epoch);
        self.write_as_leader(&vec![Bytes::new()].into())?;
        let Some(leadership) = &mut self.leadership else { return Ok(()) };
        leadership.opened = Some(index);
        let granted = leadership.followers.iter().filter(|(_, progress)| progress.state == State::Granted);
        let granted: Vec<NodeId> = granted.map(|(node, _)| node.clone()).collect();
        self.actions.push_back(Action::Event(Event::Leading { epoch, opened: self.log.last() }));
        granted.iter().for_each(|node| self.ask(node, Question::Last, (0, 0)));
        Ok(())
    }

    fn found_damaged(&mut self, node: &NodeId) {
        let progress = self.leadership.as_mut().and_then(|leadership| leadership.followers.get_mut(node));
        if let Some(progress) = progress {
            progress.state = State::Damaged;
            self.actions.push_back(Action::Event(Event::Damaged { node: node.clone() }));
        }
    }

    pub(super) fn stream(&mut self, node: &NodeId, last: Position) {
        let progress = self.leadership.as_mut().and_then(|leadership| leadership.followers.get_mut(node));
        if let Some(progress) = progress {
            progress.stream(last.index);
        }
    }

    /// A follower has answered to entries.
    pub(super) fn acknowledged(
        &mut self,
        now: Duration,
        node: &NodeId,
        ticket: u64,
        ack: &ReplicationAck,
    ) -> Result<(), LogError> {
        let Some(leadership) = &mut self.leadership else { return Ok(()) };
        let Some(progress) = leadership.followers.get_mut(node) else { return Ok(()) };
        let Some(batch) = progress.take(ticket) else { return Ok(()) };
        if !ack.accepted {
            // Where it promised what is no epoch, it alone is lost, as above.
            if ack.epoch > leadership.epoch && ack.epoch <= EPOCH_MAX {
                self.step_down(NotLeading::Fenced { epoch: ack.epoch });
            } else {
                self.wait(now, node);
            }
            return Ok(());
        }
        progress.goes_well();
        // It cannot have what it was not sent.
        progress.matched = progress.matched.max(ack.durable_index.min(batch.last));
        let committed = self.committed;
        self.advance();
        if self.committed > committed { self.pump_all() } else { self.pump(node) }
    }

    /// The own log is durable further than before.
    pub(super) fn own_log_synced(&mut self) -> Result<(), LogError> {
        if self.leadership.is_some() {
            self.open_with_quorum()?;
            self.advance();
            self.pump_all()?;
        }
        Ok(())
    }

    /// Appends to the own log, and sends it on: the followers' disks work beside the own one.
    pub(super) fn write_as_leader(&mut self, entries: &Proposed) -> Result<(), LogError> {
        let (first, bytes) = (self.log.last().index + 1, entries.bytes() + entries.len() * ENTRY_BYTES);
        let Some(leadership) = self.leadership.as_mut().filter(|_| entries.len() > 0) else { return Ok(()) };
        leadership.pending.push_back((first + entries.len() as u64 - 1, bytes));
        leadership.pending_bytes += bytes;
        for batch in leadership.tail.packed(first, leadership.epoch, entries) {
            self.append(&batch)?;
            if let Some(leadership) = &mut self.leadership {
                leadership.tail.push(batch);
            }
        }
        self.pump_all()
    }

    /// Commits what a quorum has for good.
    fn advance(&mut self) {
        let Some(leadership) = &self.leadership else { return };
        if leadership.opened.is_none() {
            return;
        }
        let matched = leadership.followers.values().map(|progress| progress.matched);
        let mut durable: Vec<u64> = matched.chain([self.durability.index]).collect();
        durable.sort_unstable_by(|a, b| b.cmp(a));
        let index = durable[self.config.quorum() - 1];
        let epoch = self.log.position(index).map(|position| position.epoch);
        if index <= self.committed
            || (epoch != Some(leadership.epoch) && !self.planted.has(Mutation::CountsFormerEpochs))
        {
            return;
        }
        self.commit(index);
        let Some(leadership) = &mut self.leadership else { return };
        while let Some((last, bytes)) = leadership.pending.front().copied()
            && last <= index
        {
            leadership.pending.pop_front();
            leadership.pending_bytes -= bytes;
        }
    }

    fn pump_all(&mut self) -> Result<(), LogError> {
        let nodes = self.leadership.as_ref().map(|leadership| leadership.followers.keys().cloned().collect::<Vec<_>>());
        nodes.unwrap_or_default().iter().try_for_each(|node| self.pump(node))
    }

    /// Sends a follower what it lacks, as far as its window allows; when it lacks nothing, what has been committed since.
    fn pump(&mut self, to: &NodeId) -> Result<(), LogError> {
        if self.has_lost(to) {
            return Ok(());
        }
        while let Some(entries) = self.next_batch(to)? {
            let ticket = self.ticket();
            let Some(leadership) = &mut self.leadership else { return Ok(()) };
            let Some(progress) = leadership.followers.get_mut(to) else { return Ok(()) };
            let previous_index = progress.next - 1;
            let Some(previous) = self.log.position(previous_index) else { return Ok(()) };
            let (last, bytes) = (previous_index + entries.len() as u64, entries.data_bytes());
            progress.sent(Batch { ticket, last, bytes });
            progress.told = self.committed;
            let message = Message::Append(AppendEntries {
                log_id: self.config.log_id,
                epoch: leadership.epoch,
                previous_index,
                previous_epoch: previous.epoch,
                committed_index: self.committed,
                entries,
            });
            self.actions.push_back(Action::Send { to: to.clone(), ticket, message });
        }
        Ok(())
    }

    /// What to send next; `None` for nothing, without entries where only a commit is to be told.
    fn next_batch(&mut self, to: &NodeId) -> Result<Option<Entries>, LogError> {
        let (config, last) = (&self.config, self.log.last().index);
        let Some(leadership) = self.leadership.as_mut().filter(|leadership| leadership.opened.is_some()) else {
            return Ok(None);
        };
        let Some(progress) = leadership.followers.get_mut(to) else { return Ok(None) };
        if progress.state != State::Streaming || progress.in_flight.len() >= BATCHES_MAX {
            return Ok(None);
        }
        if progress.next > last {
            // It has all there is, where from matters no more.
            if progress.in_flight.is_empty() && std::mem::take(&mut progress.is_behind) {
                self.actions.push_back(Action::Event(Event::CaughtUp { node: to.clone() }));
            }
            let is_told = progress.told >= self.committed || !progress.in_flight.is_empty();
            return Ok(if is_told { None } else { Some(Entries::default()) });
        }
        let room = config.window_bytes.saturating_sub(progress.in_flight_bytes);
        if !progress.in_flight.is_empty() && room < config.batch_bytes_max {
            return Ok(None);
        }
        let from = progress.next;
        let (entries, was_behind) = (leadership.tail.read(from), progress.is_behind);
        progress.is_behind = entries.is_none();
        let entries = match entries {
            Some(entries) => entries,
            None => {
                let entries = self.log.read(from, config.batch_bytes_max, config.batch_entries_max)?;
                progress.entries_from_storage += entries.len() as u64;
                entries
            }
        };
        if progress.is_behind != was_behind {
            let node = to.clone();
            let event = if was_behind { Event::CaughtUp { node } } else { Event::CatchingUp { node, from } };
            self.actions.push_back(Action::Event(event));
        }
        if entries.heads().first().is_none_or(|head| head.index != from) {
            // Nobody would ever ask again for what is not there.
            let text = format!("entry {from} cannot be read, although the log ends with {last}");
            return Err(LogError { operation: "be read", source: io::Error::other(text) });
        }
        Ok(Some(entries))
    }
}
