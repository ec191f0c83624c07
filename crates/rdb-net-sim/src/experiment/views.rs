//! Whom each observer holds for gone, as it was told: one number for each view, so that views can be counted.

use std::collections::{BTreeMap, BTreeSet};

use rdb_net_types::SeededRandom;

use crate::fleet::{Change, Told};

/// Views as they follow from what was told, of observers that count.
#[derive(Debug)]
pub(crate) struct Views {
    observers: BTreeSet<usize>,
    gone: BTreeSet<(usize, usize)>,
    /// By observer; who holds nobody for gone has 0.
    views: BTreeMap<usize, u64>,
    seen: BTreeSet<u64>,
}

impl Views {
    pub(crate) fn new(observers: BTreeSet<usize>) -> Self {
        let views = observers.iter().map(|observer| (*observer, 0)).collect();
        Self { observers, gone: BTreeSet::new(), views, seen: BTreeSet::from([0]) }
    }

    pub(crate) fn take(&mut self, told: &[Told]) {
        for Told { by, of, change, .. } in told.iter().filter(|told| self.observers.contains(&told.by)) {
            let is_changed = match change {
                Change::Failed | Change::Left => self.gone.insert((*by, *of)),
                Change::Back | Change::Joined => self.gone.remove(&(*by, *of)),
                Change::Suspected | Change::Updated => false,
            };
            if let Some(view) = self.views.get_mut(by).filter(|_| is_changed) {
                // What a set hashes to whatever the order in which it has come about.
                *view ^= SeededRandom::new(*of as u64 + 1).next_u64();
                self.seen.insert(*view);
            }
        }
    }

    /// How many different views there are just now.
    pub(crate) fn now(&self) -> usize {
        self.views.values().collect::<BTreeSet<_>>().len()
    }

    /// How many different views there ever were, at any observer and if only for a moment.
    pub(crate) fn ever(&self) -> usize {
        self.seen.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn views_are_sets_and_only_those_of_observers_count() {
        let mut views = Views::new(BTreeSet::from([0, 1]));
        let told = |by, of, change| Told { at: Duration::ZERO, by, of, change, is_own: false };
        assert_eq!((views.now(), views.ever()), (1, 1));
        views.take(&[told(0, 7, Change::Suspected), told(0, 7, Change::Failed), told(5, 8, Change::Failed)]);
        assert_eq!((views.now(), views.ever()), (2, 2));
        views.take(&[told(0, 8, Change::Failed), told(1, 8, Change::Failed), told(1, 7, Change::Failed)]);
        assert_eq!((views.now(), views.ever()), (1, 4), "one set, by two ways");
        views.take(&[told(0, 8, Change::Back), told(0, 8, Change::Back), told(1, 8, Change::Back)]);
        assert_eq!((views.now(), views.ever()), (1, 4));
    }
}
