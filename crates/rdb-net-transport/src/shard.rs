//! Where callers write requests: an outbox for some of the threads, so that callers on different threads seldom meet.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::thread::available_parallelism;

use rdb_net_session::{Outbox, Outcome, RequestId};

/// An outbox, and who waits for its requests.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) outbox: Outbox,
    places: Vec<Place>,
}

/// Who waits for a request, and what for. Its id is given out again when the outcome was taken.
#[derive(Debug, Default)]
struct Place {
    caller: Option<Waker>,
    outcome: Option<Outcome>,
}

impl Shard {
    pub(crate) fn new(outbox: Outbox) -> Self {
        Self { outbox, places: Vec::new() }
    }

    #[inline]
    pub(crate) fn set_caller(&mut self, id: RequestId, waker: &Waker) {
        let Some(place) = self.outbox.place(id) else { return };
        if self.places.len() <= place {
            self.places.resize_with(place + 1, Place::default);
        }
        self.places[place].caller = Some(waker.clone());
    }

    #[inline]
    fn place(&mut self, id: RequestId) -> Option<&mut Place> {
        self.outbox.place(id).and_then(|place| self.places.get_mut(place))
    }

    /// Keeps the outcome for the request's caller, and returns whom to wake. Nobody waits for an abandoned request.
    #[inline]
    pub(crate) fn arrive(&mut self, id: RequestId, outcome: Outcome) -> Option<Waker> {
        if !self.outbox.is_open(id) {
            self.outbox.end(id);
            return None;
        }
        let place = self.place(id)?;
        place.outcome = Some(outcome);
        place.caller.take()
    }

    /// The request's outcome, if it has come; otherwise this caller is woken when it does.
    #[inline(always)]
    pub(crate) fn take(&mut self, id: RequestId, caller: &Waker) -> Option<Outcome> {
        let place = self.place(id)?;
        let Some(outcome) = place.outcome.take() else {
            place.caller = Some(caller.clone());
            return None;
        };
        self.outbox.end(id);
        Some(outcome)
    }

    /// The caller leaves. `false` where the request has ended already.
    pub(crate) fn abandon(&mut self, id: RequestId) -> bool {
        let place = self.place(id).map(std::mem::take);
        if place.is_some_and(|place| place.outcome.is_some()) {
            self.outbox.end(id);
            return false;
        }
        self.outbox.abandon(id)
    }

    /// Whether nothing is left of any request.
    #[cfg(test)]
    pub(crate) fn is_clean(&self) -> bool {
        let is_empty = |place: &Place| place.caller.is_none() && place.outcome.is_none();
        self.outbox.is_idle() && self.places.iter().all(is_empty)
    }
}

/// How many shards a connection has: more than there are threads at work would only be visited in vain. One less than a power
/// of two, since the session is numbered with them.
pub(crate) fn shards() -> u32 {
    if available_parallelism().is_ok_and(|threads| threads.get() > 2) { 7 } else { 3 }
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
