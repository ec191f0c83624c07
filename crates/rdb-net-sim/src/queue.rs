//! What happens next: deliveries in the order of their times, and one timer for each machine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is next: something arrives at a host, or a timer is due.
pub(crate) enum Next<D, T> {
    Delivery(usize, D),
    Timer(T),
}

/// All that is to happen, in order; of two things at one time what arrives comes before what is due.
#[derive(Debug)]
pub(crate) struct Queue<D, T> {
    serial: u64,
    deliveries: BTreeMap<(Duration, u64), (usize, D)>,
    timers: BTreeSet<(Duration, T)>,
    armed: BTreeMap<T, Duration>,
}

impl<D, T: Ord + Clone> Queue<D, T> {
    pub(crate) fn new() -> Self {
        Self { serial: 0, deliveries: BTreeMap::new(), timers: BTreeSet::new(), armed: BTreeMap::new() }
    }

    /// Of two deliveries at one time the one that was given first comes first.
    pub(crate) fn deliver(&mut self, at: Duration, host: usize, delivery: D) {
        self.serial += 1;
        self.deliveries.insert((at, self.serial), (host, delivery));
    }

    /// Sets a timer or, with `None`, takes it off.
    pub(crate) fn arm(&mut self, timer: T, at: Option<Duration>) {
        let former = self.armed.get(&timer).copied();
        if former == at {
            return;
        }
        if let Some(former) = former {
            self.timers.remove(&(former, timer.clone()));
        }
        match at {
            Some(at) => {
                self.timers.insert((at, timer.clone()));
                self.armed.insert(timer, at);
            }
            None => {
                self.armed.remove(&timer);
            }
        }
    }

    /// The next thing that happens up to `end`, and when.
    pub(crate) fn pop(&mut self, end: Duration) -> Option<(Duration, Next<D, T>)> {
        let delivery = self.deliveries.first_key_value().map(|((at, _), _)| *at);
        let timer = self.timers.first().map(|(at, _)| *at);
        let at = [delivery, timer].into_iter().flatten().min().filter(|at| *at <= end)?;
        if delivery == Some(at) {
            let (_, (host, delivery)) = self.deliveries.pop_first()?;
            return Some((at, Next::Delivery(host, delivery)));
        }
        let (_, timer) = self.timers.pop_first()?;
        self.armed.remove(&timer);
        Some((at, Next::Timer(timer)))
    }
}
