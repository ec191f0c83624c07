//! A log that does not grow for ever: its beginning is dropped when the application has its own copy of what it led to, and a replica
//! that lacks what was dropped begins again from such a copy.

use std::time::Duration;

use rdb_net_types::NodeId;

use super::event::{Action, CompactError, Event, RestoreError};
use super::log::{LogStorage, Position, Promise};
use super::mutation::Mutation;
use super::progress::State;
use super::replica::Replica;

/// No log gets there. What lies beyond is a mistake.
const INDEX_MAX: u64 = u64::MAX / 2;

impl<S: LogStorage> Replica<S> {
    /// Drops the entries up to this index, which the application needs no more: it has applied them, and keeps what came of them for
    /// good. Returns the place behind which the log begins now: whoever is given a copy of the data needs it to
    /// [`restore`](Self::restore).
    ///
    /// A leader may drop what a follower lacks. It cannot be helped by entries then, which [`Event::OutOfReach`] tells.
    ///
    /// # Errors
    ///
    /// [`CompactError`]; nothing was dropped.
    pub fn compact(&mut self, up_to: u64) -> Result<Position, CompactError> {
        if self.has_failed {
            return Err(CompactError::Failed);
        }
        if up_to > self.committed {
            return Err(CompactError::NotCommitted { up_to, committed: self.committed });
        }
        let up_to = if self.planted.has(Mutation::CompactsUncommitted) { self.log.last().index } else { up_to };
        if up_to > self.log.base().index {
            self.guarded(|this| {
                this.log.compact(up_to)?;
                this.durability.written += 1;
                Ok(())
            });
        }
        Ok(self.log.base())
    }

    /// The application has got a copy of the data up to this place, of a node whose log was compacted there or which knows the place to
    /// be committed: the log goes on behind it. Where the log has the place already, nothing is dropped. It is durable with the next
    /// sync: an application says it again after a restart, with the place of its own data.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]; nothing has changed, but where the storage failed.
    pub fn restore(&mut self, base: Position) -> Result<(), RestoreError> {
        if self.has_failed {
            return Err(RestoreError::Failed);
        }
        if self.leadership.is_some() {
            return Err(RestoreError::Leads);
        }
        if base.index > INDEX_MAX {
            return Err(RestoreError::NoPlace { index: base.index });
        }
        if base.index < self.log.base().index {
            return Err(RestoreError::Older { index: base.index, base: self.log.base().index });
        }
        let own = self.log.position(base.index);
        if base.index <= self.committed && own.is_some_and(|own| own != base) {
            return Err(RestoreError::Differs { index: base.index });
        }
        if own != Some(base) && base.index > self.committed {
            self.guarded(|this| {
                // What waits for an answer about entries that go is told that they are gone.
                this.cut(this.log.base().index)?;
                this.log.restore(base)?;
                this.durability.written += 1;
                if this.planted.has(Mutation::RestoreForgetsPromise) {
                    this.promise = Promise::default();
                }
                this.actions.push_back(Action::Event(Event::Restored { base }));
                Ok(())
            });
        }
        if self.has_failed {
            return Err(RestoreError::Failed);
        }
        self.commit(base.index);
        Ok(())
    }

    /// A follower lacks entries that are not there any more. It is asked again, and this told again, until somebody restores it.
    pub(super) fn out_of_reach(&mut self, now: Duration, node: &NodeId, last: Position) {
        let (base, until) = (self.log.base(), now.saturating_add(self.config.retry_max));
        let progress = self.leadership.as_mut().and_then(|leadership| leadership.followers.get_mut(node));
        let Some(progress) = progress else { return };
        progress.wait_until(until);
        progress.is_out_of_reach = true;
        self.actions.push_back(Action::Event(Event::OutOfReach { node: node.clone(), last, base }));
    }

    /// Whether a follower is sent entries that were dropped meanwhile. It is asked at once where its log ends.
    pub(super) fn has_lost(&mut self, node: &NodeId) -> bool {
        let base = self.log.base().index;
        let progress = self.leadership.as_mut().and_then(|leadership| leadership.followers.get_mut(node));
        let Some(progress) = progress.filter(|progress| progress.state == State::Streaming && progress.next <= base)
        else {
            return false;
        };
        progress.wait_until(Duration::ZERO);
        self.actions.push_back(Action::GiveUp { to: node.clone() });
        true
    }
}
