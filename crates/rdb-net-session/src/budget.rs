//! How much memory peers may make this process hold: a budget for the process, and one for each peer within it.
//!
//! Every connection has a first window of credits that needs no leave. What goes beyond it (wider windows, messages that are put
//! together from fragments, large replies) is reserved here first, at what it costs in memory and not at what the wire carried.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rdb_net_types::OverloadScope;

/// A number of bytes that may be reserved.
#[derive(Debug)]
pub struct Budget {
    limit_bytes: u64,
    reserved_bytes: AtomicU64,
    refused: AtomicU64,
    scope: OverloadScope,
    parent: Option<Arc<Self>>,
}

impl Budget {
    /// The budget of a process.
    pub fn process(limit_bytes: u64) -> Arc<Self> {
        Arc::new(Self::new(limit_bytes, OverloadScope::Process, None))
    }

    /// The budget of a peer, within that of its process.
    pub fn peer(process: &Arc<Self>, limit_bytes: u64) -> Arc<Self> {
        Arc::new(Self::new(limit_bytes, OverloadScope::Peer, Some(Arc::clone(process))))
    }

    fn new(limit_bytes: u64, scope: OverloadScope, parent: Option<Arc<Self>>) -> Self {
        let (reserved_bytes, refused) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { limit_bytes, reserved_bytes, refused, scope, parent }
    }

    /// Reserves so many bytes, here and in what this is a part of.
    ///
    /// # Errors
    ///
    /// Whose limit would be exceeded; nothing is reserved.
    pub fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation, OverloadScope> {
        self.take(bytes)?;
        Ok(Reservation { budget: Arc::clone(self), bytes })
    }

    /// Reserves so many bytes where three quarters of each limit stay free: for what is convenient and may be held for long.
    pub fn reserve_spare(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        let has_spare = |budget: &Self| budget.reserved_bytes().saturating_add(bytes) <= budget.limit_bytes / 4;
        let spare = has_spare(self) && self.parent.as_ref().is_none_or(|parent| has_spare(parent));
        if spare { self.reserve(bytes).ok() } else { None }
    }

    fn take(&self, bytes: u64) -> Result<(), OverloadScope> {
        let fits = |reserved: u64| reserved.checked_add(bytes).filter(|sum| *sum <= self.limit_bytes);
        // The numbers order nothing else.
        if self.reserved_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(self.scope);
        }
        if let Some(Err(scope)) = self.parent.as_ref().map(|parent| parent.take(bytes)) {
            self.reserved_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(scope);
        }
        Ok(())
    }

    fn give_back(&self, bytes: u64) {
        self.reserved_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(parent) = &self.parent {
            parent.give_back(bytes);
        }
    }

    /// How many bytes may be reserved.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// How many bytes are reserved.
    pub fn reserved_bytes(&self) -> u64 {
        self.reserved_bytes.load(Ordering::Relaxed)
    }

    /// How often a reservation was refused because of this limit.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// Bytes of a budget, which has them back when this is dropped.
#[derive(Debug)]
#[must_use = "the bytes are free again when it is dropped"]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Reservation {
    /// How many bytes are reserved.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_counts_for_the_peer_and_the_process_until_it_is_dropped() {
        let process = Budget::process(100);
        let [one, other] = [Budget::peer(&process, 70), Budget::peer(&process, 70)];
        let held = one.reserve(60).expect("within both limits");
        assert_eq!((held.bytes(), one.reserved_bytes(), process.reserved_bytes()), (60, 60, 60));
        assert_eq!(one.reserve(11).err(), Some(OverloadScope::Peer));
        assert_eq!(other.reserve(41).err(), Some(OverloadScope::Process));
        assert_eq!((other.reserved_bytes(), process.reserved_bytes()), (0, 60), "a refusal leaves nothing behind");
        drop(held);
        assert_eq!((one.reserved_bytes(), process.reserved_bytes()), (0, 0));
        assert_eq!((one.refused(), other.refused(), process.refused()), (1, 0, 1));
        assert_eq!(one.reserve(u64::MAX).err(), Some(OverloadScope::Peer));
    }
}
