//! A request's way through a connection, as its caller sees it: written into a shard, given up, or ended and delivered.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use rdb_net_session::{Outcome, RequestId, RequestOptions, SendError};
use rdb_net_wire::Encode;

use crate::guarded::Core;
use crate::link::Link;
use crate::shard::{Shard, this_thread};

/// A request that has ended, on its way to its caller.
pub(crate) struct Ended {
    pub(crate) id: RequestId,
    /// `None` of a stream: its news are taken from the session.
    pub(crate) outcome: Option<Outcome>,
    /// Of the session's own requests; a shard knows its callers itself.
    pub(crate) caller: Option<Waker>,
}

impl Link {
    /// Writes a request into this thread's shard. What a shard refuses, the session itself may still take.
    #[inline]
    pub(crate) fn write(
        &self,
        options: RequestOptions,
        message: &(impl Encode + ?Sized),
        caller: &Waker,
    ) -> Result<RequestId, SendError> {
        if self.shards.is_empty() {
            return Err(SendError::NotUp);
        }
        let index = this_thread() % self.shards.len();
        let mut shard = self.lock_shard(index);
        let written = shard.outbox.request(options, message);
        if let Ok(id) = written {
            shard.set_caller(id, caller);
        }
        drop(shard);
        match written {
            Ok(_) => {
                self.mark_written(index);
                self.wake_task();
            }
            // It is given new credits when it is visited.
            Err(SendError::NoCredit) => self.mark_written(index),
            Err(_) => {}
        }
        written
    }

    #[inline]
    fn mark_written(&self, index: usize) {
        let bit = 1 << index;
        if self.written.0.load(Ordering::SeqCst) & bit == 0 {
            self.written.0.fetch_or(bit, Ordering::SeqCst);
        }
    }

    #[inline]
    fn lock_shard(&self, index: usize) -> MutexGuard<'_, Shard> {
        match self.shards[index].0.lock() {
            Ok(shard) => shard,
            Err(poisoned) => self.recover_shard(index, poisoned.into_inner()),
        }
    }

    /// Half a frame is in the outbox: the connection ends before anybody writes behind it.
    #[cold]
    fn recover_shard<'a>(&'a self, index: usize, shard: MutexGuard<'a, Shard>) -> MutexGuard<'a, Shard> {
        drop(shard);
        self.close_broken(&mut self.lock());
        self.shards[index].0.clear_poison();
        self.with(|_| ());
        self.shards[index].0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shard that gave this request its id.
    fn shard_of(&self, id: RequestId) -> Option<MutexGuard<'_, Shard>> {
        (id.slot() % (self.shards.len() + 1)).checked_sub(1).map(|index| self.lock_shard(index))
    }

    /// Takes what is in the shards into the session, so that what is sent next leaves behind it.
    #[inline]
    pub(crate) fn collect_written(&self, core: &mut Core) {
        if self.written.0.load(Ordering::SeqCst) != 0 {
            self.collect(core, self.clock.now());
        }
    }

    /// Takes what is in the shards into the session. Those that nothing was written to keep the credits that they have, and are
    /// visited only when the connection has come up or ended.
    #[inline]
    pub(crate) fn collect(&self, core: &mut Core, now: Duration) {
        let takes = core.session.is_up();
        let has_turned = std::mem::replace(&mut core.outboxes_take, takes) != takes;
        if !has_turned && self.written.0.load(Ordering::SeqCst) == 0 {
            return;
        }
        let written = self.written.0.swap(0, Ordering::SeqCst);
        for (index, shard) in self.shards.iter().enumerate() {
            if !has_turned && written & (1 << index) == 0 {
                continue;
            }
            let mut shard = shard.0.lock().unwrap_or_else(|poisoned| {
                self.shards[index].0.clear_poison();
                self.close_broken(core);
                poisoned.into_inner()
            });
            core.session.collect(now, &mut shard.outbox);
        }
    }

    /// Visits every shard, so that credits which some were granted and do not use are there for others. Only for who finds none.
    /// Returns whether there are shards.
    #[cold]
    pub(crate) fn collect_all(&self, core: &mut Core) -> bool {
        let now = self.clock.now();
        self.written.0.store(0, Ordering::SeqCst);
        for (index, shard) in self.shards.iter().enumerate() {
            let mut shard = shard.0.lock().unwrap_or_else(|poisoned| {
                self.shards[index].0.clear_poison();
                self.close_broken(core);
                poisoned.into_inner()
            });
            core.session.collect(now, &mut shard.outbox);
        }
        !self.shards.is_empty()
    }

    /// Looks again for a request that has no outcome yet. `false` where the outcome is on its way.
    pub(crate) fn waits(&self, id: RequestId, caller: &Waker) -> bool {
        if let Some(mut shard) = self.shard_of(id) {
            let waits = shard.outbox.is_open(id);
            if waits {
                shard.set_caller(id, caller);
            }
            return waits;
        }
        let mut core = self.lock();
        let waits = core.session.is_waiting(id);
        if waits {
            core.set_caller(id, caller);
        }
        waits
    }

    /// Nobody waits for the request any more.
    pub(crate) fn give_up(&self, id: RequestId) {
        let now = self.clock.now();
        let Some(mut shard) = self.shard_of(id) else {
            let held = self.with(|core| {
                let holds = core.session.cancel(now, id);
                if holds {
                    core.clear_caller(id);
                }
                holds
            });
            if !held {
                self.mail.refuse(id);
            }
            return;
        };
        if !shard.abandon(id) {
            drop(shard);
            return self.mail.refuse(id);
        }
        drop(shard);
        // Where the session does not know it, it is still in the outbox, or on its way here: either sees that it is abandoned.
        if self.with(|core| core.session.cancel(now, id))
            && let Some(mut shard) = self.shard_of(id)
        {
            shard.end(id);
        }
    }

    /// Gives ended requests to their callers.
    #[inline]
    pub(crate) fn deliver(&self, ended: &mut Vec<Ended>) {
        if ended.is_empty() {
            return;
        }
        self.find_callers(ended);
        for Ended { id, outcome, caller } in ended.drain(..) {
            if let Some(outcome) = outcome {
                self.mail.deliver(id, outcome);
            }
            if let Some(caller) = caller {
                caller.wake();
            }
        }
    }

    /// Frees the requests' places in their shards, and forgets those that nobody waits for. Replies come in the order of the
    /// requests, so neighbours are mostly of one shard.
    fn find_callers(&self, ended: &mut Vec<Ended>) {
        let mut visited: Option<(usize, MutexGuard<'_, Shard>)> = None;
        ended.retain_mut(|ended| {
            let Some(index) = (ended.id.slot() % (self.shards.len() + 1)).checked_sub(1) else { return true };
            if visited.as_ref().is_none_or(|(visited, _)| *visited != index) {
                // One at a time: nobody waits for one shard while it holds another.
                visited = None;
                visited = Some((index, self.lock_shard(index)));
            }
            let caller = visited.as_mut().and_then(|(_, shard)| shard.end(ended.id));
            let is_waited_for = caller.is_some();
            ended.caller = caller.flatten();
            is_waited_for
        });
    }

    /// Whether nothing is left of any request.
    #[cfg(test)]
    pub(crate) fn is_clean(&self) -> bool {
        self.mail.is_empty() && (0..self.shards.len()).all(|index| self.lock_shard(index).is_clean())
    }
}
