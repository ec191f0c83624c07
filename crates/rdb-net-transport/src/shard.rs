//! How the threads that write requests are spread over a connection's outboxes, so that callers on different threads seldom meet.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::available_parallelism;

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
