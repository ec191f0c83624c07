//! Where callers write requests: an outbox for some of the threads, so that callers on different threads seldom meet.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread::available_parallelism;

use rdb_net_session::Outbox;

use crate::link::Padded;
use crate::places::Places;

/// An outbox, and the places of its requests.
pub(crate) struct Shard {
    outbox: Padded<Mutex<Outbox>>,
    pub(crate) places: Places,
}

impl Shard {
    pub(crate) fn new(outbox: Outbox) -> Self {
        Self { outbox: Padded(Mutex::new(outbox)), places: Places::default() }
    }

    /// The outbox; where code panicked while it held it, `recover` says what becomes of it.
    #[inline]
    pub(crate) fn lock<'a>(
        &'a self,
        recover: impl FnOnce(MutexGuard<'a, Outbox>) -> MutexGuard<'a, Outbox>,
    ) -> MutexGuard<'a, Outbox> {
        match self.outbox.0.lock() {
            Ok(outbox) => outbox,
            Err(poisoned) => recover(poisoned.into_inner()),
        }
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.outbox.0.is_poisoned()
    }

    pub(crate) fn clear_poison(&self) {
        self.outbox.0.clear_poison();
    }
}

/// How many shards a connection has: more than there are threads at work would only be visited in vain. One less than a power
/// of two, since the session is numbered with them.
pub(crate) fn shards() -> u32 {
    if available_parallelism().is_ok_and(|threads| threads.get() > 2) { 7 } else { 3 }
}

/// A number of this thread's own, as long as there are fewer threads than numbers are asked for.
#[inline]
pub(crate) fn this_thread() -> u32 {
    thread_local! {
        static NUMBER: u32 = {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            NEXT.fetch_add(1, Ordering::Relaxed)
        };
    }
    NUMBER.with(|number| *number)
}
