//! What a leader knows of one follower.

use std::collections::VecDeque;
use std::time::Duration;

use rdb_net_types::NodeId;

use super::config::Config;
use super::message::Question;
use super::status::{FollowerState, FollowerStatus};

/// What is done about a follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// A question is under way. Where the logs differ, the last common entry is between these two.
    Asking { ticket: u64, question: Question, search: (u64, u64) },
    /// It follows, and the leader has not begun.
    Granted,
    /// It is sent entries.
    Streaming,
    /// It is asked again then.
    Waiting { until: Duration },
    /// Its log contradicts what is committed.
    Damaged,
}

/// Entries that are under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    pub(super) ticket: u64,
    pub(super) last: u64,
    pub(super) bytes: usize,
}

/// What a leader knows of one follower.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) state: State,
    /// Whether it has promised to follow.
    pub(super) has_granted: bool,
    /// Whether it refused because it knows more.
    pub(super) knows_more: bool,
    pub(super) matched: u64,
    pub(super) next: u64,
    /// Which commit it has been told.
    pub(super) told: u64,
    pub(super) in_flight: VecDeque<Batch>,
    pub(super) in_flight_bytes: usize,
    pub(super) is_behind: bool,
    /// Whether it was told that it lacks what is not there any more.
    pub(super) is_out_of_reach: bool,
    attempts: u32,
    resumes: u64,
    pub(super) entries_from_storage: u64,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            state: State::Waiting { until: Duration::ZERO },
            has_granted: false,
            knows_more: false,
            matched: 0,
            next: 1,
            told: 0,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            is_behind: false,
            is_out_of_reach: false,
            attempts: 0,
            resumes: 0,
            entries_from_storage: 0,
        }
    }
}

impl Progress {
    /// A question is under way.
    pub(super) fn asked(&mut self, ticket: u64, question: Question, search: (u64, u64)) {
        self.state = State::Asking { ticket, question, search };
        self.resumes += u64::from(question == Question::Last);
    }

    /// It is sent entries behind this one from now on.
    pub(super) fn stream(&mut self, matched: u64) {
        self.state = State::Streaming;
        (self.matched, self.next) = (matched, matched + 1);
        self.forget_in_flight();
        self.told = 0;
        (self.is_behind, self.is_out_of_reach) = (false, false);
    }

    fn forget_in_flight(&mut self) {
        self.in_flight.clear();
        self.in_flight_bytes = 0;
    }

    /// It is tried again after a while, which grows each time.
    pub(super) fn wait(&mut self, now: Duration, config: &Config) {
        let delay = config.retry_min.saturating_mul(1 << self.attempts.min(16)).min(config.retry_max);
        self.attempts = self.attempts.saturating_add(1);
        self.wait_until(now.saturating_add(delay));
    }

    pub(super) fn wait_until(&mut self, until: Duration) {
        self.state = State::Waiting { until };
        self.forget_in_flight();
    }

    /// It has done what it was asked.
    pub(super) fn goes_well(&mut self) {
        self.attempts = 0;
    }

    pub(super) fn sent(&mut self, batch: Batch) {
        self.next = batch.last + 1;
        self.in_flight_bytes += batch.bytes;
        self.in_flight.push_back(batch);
    }

    /// The batch of this ticket, which is under way no longer.
    pub(super) fn take(&mut self, ticket: u64) -> Option<Batch> {
        let place = self.in_flight.iter().position(|batch| batch.ticket == ticket)?;
        let batch = self.in_flight.remove(place)?;
        self.in_flight_bytes -= batch.bytes;
        Some(batch)
    }

    /// Whether this request is under way.
    pub(super) fn awaits(&self, ticket: u64) -> bool {
        matches!(self.state, State::Asking { ticket: asked, .. } if asked == ticket)
            || self.in_flight.iter().any(|batch| batch.ticket == ticket)
    }

    pub(super) fn status(&self, node: &NodeId) -> FollowerStatus {
        let state = match self.state {
            State::Asking { .. } | State::Waiting { .. } if self.is_out_of_reach => FollowerState::OutOfReach,
            State::Asking { .. } => FollowerState::Resuming,
            State::Granted => FollowerState::Granted,
            State::Streaming if self.is_behind => FollowerState::CatchingUp,
            State::Streaming => FollowerState::Streaming,
            State::Waiting { .. } => FollowerState::Waiting,
            State::Damaged => FollowerState::Damaged,
        };
        FollowerStatus {
            node: node.clone(),
            state,
            matched: self.matched,
            next: self.next,
            in_flight_bytes: self.in_flight_bytes,
            resumes: self.resumes,
            entries_from_storage: self.entries_from_storage,
        }
    }
}
