//! Where callers write requests: an outbox for some of the threads, so that callers on different threads seldom meet.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::thread::available_parallelism;

use rdb_net_session::{Outbox, RequestId};

/// An outbox, and who waits for its requests.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) outbox: Outbox,
    callers: Vec<Option<Waker>>,
}

impl Shard {
    pub(crate) fn new(outbox: Outbox) -> Self {
        Self { outbox, callers: Vec::new() }
    }

    #[inline]
    pub(crate) fn set_caller(&mut self, id: RequestId, waker: &Waker) {
        let Some(place) = self.outbox.place(id) else { return };
        if self.callers.len() <= place {
            self.callers.resize_with(place + 1, || None);
        }
        self.callers[place] = Some(waker.clone());
    }

    /// The request has ended; `Some` with its caller, if that waits for it.
    #[inline]
    pub(crate) fn end(&mut self, id: RequestId) -> Option<Option<Waker>> {
        let caller = self.outbox.place(id).and_then(|place| self.callers.get_mut(place)).and_then(Option::take);
        self.outbox.end(id).then_some(caller)
    }

    /// Whether nothing is left of any request.
    #[cfg(test)]
    pub(crate) fn is_clean(&self) -> bool {
        self.outbox.is_idle() && self.callers.iter().all(Option::is_none)
    }

    /// The caller leaves. `false` where the request has ended already.
    pub(crate) fn abandon(&mut self, id: RequestId) -> bool {
        let left = self.outbox.abandon(id);
        if left && let Some(caller) = self.outbox.place(id).and_then(|place| self.callers.get_mut(place)) {
            *caller = None;
        }
        left
    }
}

/// How many shards a connection has: more than there are threads at work would only be visited in vain.
pub(crate) fn shards() -> u32 {
    available_parallelism().map_or(2, |threads| 2 * threads.get()).clamp(2, 8) as u32
}

/// A number of this thread's own, as long as there are fewer threads than numbers are asked for.
#[inline]
pub(crate) fn this_thread() -> usize {
    thread_local! {
        static NUMBER: usize = {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            NEXT.fetch_add(1, Ordering::Relaxed)
        };
    }
    NUMBER.with(|number| *number)
}
