//! What a kernel says of a port where nobody listens.
//!
//! ICMP can be forged by whoever guesses two ports, and QUIC ends no connection by it. Here it does where it cannot be a mistake:
//! several times in a row, each after another packet of ours, while nothing came from the peer. A dial has nothing to lose, and
//! believes the first.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// How many refusals in a row end a connection that was made.
pub(crate) const REFUSALS_OF_LOSS: u32 = 3;

/// The refusals of one socket.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    in_row: AtomicU32,
    has_sent: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

impl Refusals {
    /// A packet has left.
    pub(crate) fn sent(&self) {
        self.has_sent.store(true, Ordering::Relaxed);
    }

    /// A packet has come.
    pub(crate) fn received(&self) {
        if self.in_row.load(Ordering::Relaxed) > 0 {
            self.in_row.store(0, Ordering::Relaxed);
        }
    }

    /// The system says that a packet was refused.
    pub(crate) fn refused(&self) {
        if !self.has_sent.swap(false, Ordering::Relaxed) {
            return;
        }
        self.in_row.fetch_add(1, Ordering::SeqCst);
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    /// Ready when so many packets were refused in a row.
    pub(crate) fn poll(&self, context: &mut Context<'_>, count: u32) -> Poll<()> {
        if self.in_row.load(Ordering::SeqCst) >= count {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
            *waiting = Some(context.waker().clone());
        }
        drop(waiting);
        // One that came meanwhile has found no waker.
        if self.in_row.load(Ordering::SeqCst) >= count { Poll::Ready(()) } else { Poll::Pending }
    }
}
