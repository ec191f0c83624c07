//! A request's way through a connection, as its caller sees it: written into a shard, given up, or ended and delivered.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rdb_net_session::{Outbox, Outcome, RequestId, RequestOptions, SendError};
use rdb_net_wire::Encode;

use crate::guarded::{Core, Ended};
use crate::link::Link;
use crate::shard::this_thread;

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
        let index = (this_thread() % self.shards.len() as u32) as usize;
        let places = &self.places[index];
        let mut outbox = self.lock_outbox(index);
        let mut found = None;
        let written = outbox.request_in(options, message, |place| {
            found = places.get_or_make(place).filter(|place| place.is_free());
            found.is_some()
        });
        if let (Ok(id), Some(place)) = (written, found) {
            place.give(id, caller);
        }
        drop(outbox);
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
    fn lock_outbox(&self, index: usize) -> MutexGuard<'_, Outbox> {
        match self.shards[index].0.lock() {
            Ok(outbox) => outbox,
            Err(poisoned) => self.recover_outbox(index, poisoned.into_inner()),
        }
    }

    /// Half a frame is in the outbox: the connection ends before anybody writes behind it.
    #[cold]
    fn recover_outbox<'a>(&'a self, index: usize, outbox: MutexGuard<'a, Outbox>) -> MutexGuard<'a, Outbox> {
        drop(outbox);
        self.close_broken(&mut self.lock());
        self.shards[index].0.clear_poison();
        self.with(|_| ());
        self.shards[index].0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shard that gave this request its id; `None` where the session itself did.
    #[inline]
    fn shard_of(&self, id: RequestId) -> Option<usize> {
        (id.slot() & self.owner_mask).checked_sub(1)
    }

    /// The request's place in its shard.
    #[inline]
    fn place_of(&self, id: RequestId) -> usize {
        id.slot() >> self.owner_mask.trailing_ones()
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
        for index in 0..self.shards.len() {
            if has_turned || written & (1 << index) != 0 {
                self.collect_one(core, index, now);
            }
        }
    }

    /// Visits every shard, so that credits which some were granted and do not use are there for others. Only for who finds none.
    /// Returns whether there are shards.
    #[cold]
    pub(crate) fn collect_all(&self, core: &mut Core) -> bool {
        let now = self.clock.now();
        self.written.0.store(0, Ordering::SeqCst);
        (0..self.shards.len()).for_each(|index| self.collect_one(core, index, now));
        !self.shards.is_empty()
    }

    #[inline]
    fn collect_one(&self, core: &mut Core, index: usize, now: Duration) {
        let mut outbox = self.shards[index].0.lock().unwrap_or_else(|poisoned| {
            self.shards[index].0.clear_poison();
            self.close_broken(core);
            poisoned.into_inner()
        });
        core.session.collect(now, &mut outbox);
    }

    /// The request's outcome, once it is there.
    #[inline(always)]
    pub(crate) fn poll_ended(&self, id: RequestId, context: &Context<'_>) -> Poll<Outcome> {
        let outcome = match self.shard_of(id) {
            Some(index) => self.places[index].take(self.place_of(id), id, context.waker()),
            None => self.take_own(id, context.waker()),
        };
        outcome.map_or(Poll::Pending, Poll::Ready)
    }

    #[inline(never)]
    fn take_own(&self, id: RequestId, caller: &Waker) -> Option<Outcome> {
        let mut core = self.lock();
        let Some(outcome) = core.session.take_outcome(id) else {
            core.set_caller(id, caller);
            return None;
        };
        // Its end frees a slot, which others may wait for.
        let frees_others = core.session.has_events();
        drop(core);
        if frees_others {
            self.wake_task();
        }
        Some(outcome)
    }

    /// Nobody waits for the request any more.
    pub(crate) fn give_up(&self, id: RequestId) {
        let now = self.clock.now();
        let Some(index) = self.shard_of(id) else {
            return self.with(|core| {
                core.session.cancel(now, id);
                core.clear_caller(id);
            });
        };
        let had_ended = self.places[index].leave(self.place_of(id), id);
        // Where the outbox knows it no more, its outcome is on its way here, and nobody's.
        if had_ended || !self.lock_outbox(index).abandon(id) {
            return;
        }
        // Where the session does not know it, it is still in the outbox, or on its way here: either sees that it is abandoned.
        if self.with(|core| core.session.cancel(now, id)) {
            self.lock_outbox(index).end(id);
        }
    }

    /// Gives ended requests to their callers.
    #[inline]
    pub(crate) fn deliver(&self, ended: &mut Ended) {
        let Ended { outcomes, callers } = ended;
        // Replies come in the order of the requests, so neighbours are mostly of one shard.
        let mut visited: Option<(usize, MutexGuard<'_, Outbox>)> = None;
        for (id, _) in &*outcomes {
            let Some(index) = self.shard_of(*id) else { continue };
            if visited.as_ref().is_none_or(|(visited, _)| *visited != index) {
                // One at a time: nobody waits for one outbox while it holds another.
                drop(visited.take());
                visited = Some((index, self.lock_outbox(index)));
            }
            if let Some((_, outbox)) = &mut visited {
                outbox.end(*id);
            }
        }
        drop(visited);
        for (id, outcome) in outcomes.drain(..) {
            if let Some(index) = self.shard_of(id) {
                callers.extend(self.places[index].arrive(self.place_of(id), id, outcome));
            }
        }
        callers.drain(..).for_each(Waker::wake);
    }

    /// Whether nothing is left of any request.
    #[cfg(test)]
    pub(crate) fn is_clean(&self) -> bool {
        let is_clean = |index: usize| self.lock_outbox(index).is_idle() && self.places[index].are_free();
        (0..self.shards.len()).all(is_clean)
    }
}
