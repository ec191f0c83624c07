//! When each transaction wants to be looked at again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdb_net_types::TransactionId;

/// At most one time for each transaction.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    at: BTreeMap<TransactionId, Duration>,
    order: BTreeSet<(Duration, TransactionId)>,
}

impl Schedule {
    pub(super) fn set(&mut self, txn: TransactionId, at: Duration) {
        self.clear(txn);
        self.at.insert(txn, at);
        self.order.insert((at, txn));
    }

    /// Sets a time where none is earlier: who comes later puts nobody off.
    pub(super) fn set_earlier(&mut self, txn: TransactionId, at: Duration) {
        let earliest = self.at.get(&txn).map_or(at, |set| at.min(*set));
        self.set(txn, earliest);
    }

    pub(super) fn clear(&mut self, txn: TransactionId) {
        if let Some(at) = self.at.remove(&txn) {
            self.order.remove(&(at, txn));
        }
    }

    pub(super) fn next(&self) -> Option<Duration> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes one whose time has come.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<TransactionId> {
        let (at, txn) = self.order.first().copied()?;
        if at > now {
            return None;
        }
        self.clear(txn);
        Some(txn)
    }
}
