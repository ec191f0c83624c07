//! Finding the cluster: which addresses are called, when, and when it is said that none answers.
//!
//! Before the cluster is joined every seed is called again and again, with decorrelated jitter; afterwards only those that are
//! no live members, and seldom, so that two halves of a cluster which have forgotten each other find together again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdb_discovery::{DiscoveryEvent, NodeKey};
use rdb_net_types::{NodeAddress, NodeInfo, SeededRandom};

use crate::config::EngineConfig;

/// How many seeds are called at a time.
const CALLS_MAX: usize = 3;

/// How many seeds are held. More are not called, and counted.
const SEEDS_MAX: usize = 20_000;

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallEnd {
    /// It has accepted this node.
    Accepted,
    /// It could not answer just now.
    Busy,
    /// It is this very process.
    Itself,
    /// There was no answer.
    Failed,
}

#[derive(Debug)]
struct Seed {
    /// When it is called next, and its place among those of the same time. `None` while it is called, and for ever where it
    /// is this very process.
    due: Option<(Duration, u64)>,
    last_wait: Duration,
    failures: u64,
    is_itself: bool,
}

/// The addresses to begin with.
#[derive(Debug)]
pub(crate) struct Seeds {
    random: SeededRandom,
    own: NodeAddress,
    retry_first: Duration,
    retry_max: Duration,
    revisit: Duration,
    /// Given by the owner.
    given: BTreeSet<NodeAddress>,
    /// Told by discovery.
    discovered: BTreeMap<NodeKey, NodeAddress>,
    seeds: BTreeMap<NodeAddress, Seed>,
    order: BTreeSet<(Duration, u64, NodeAddress)>,
    calls: usize,
    /// Whether anybody has said which seeds there are.
    is_known: bool,
    attempts: u64,
    told: Option<Vec<NodeAddress>>,
    removed: Vec<NodeAddress>,
    pub(crate) limit_seeds: u64,
}

impl Seeds {
    pub(crate) fn new(config: &EngineConfig, own: NodeAddress, random: SeededRandom) -> Self {
        Self {
            random,
            own,
            retry_first: config.seed_retry_first,
            retry_max: config.seed_retry_max,
            revisit: config.seed_revisit,
            given: BTreeSet::new(),
            discovered: BTreeMap::new(),
            seeds: BTreeMap::new(),
            order: BTreeSet::new(),
            calls: 0,
            is_known: false,
            attempts: 0,
            told: None,
            removed: Vec::new(),
            limit_seeds: 0,
        }
    }

    /// The owner's word; it adds to what is known.
    pub(crate) fn give(&mut self, now: Duration, seeds: Vec<NodeAddress>) {
        self.is_known = true;
        self.given.extend(seeds);
        self.reconcile(now);
    }

    /// Discovery's word.
    pub(crate) fn discover(&mut self, now: Duration, event: &DiscoveryEvent) {
        let entry = |node: &NodeInfo| (NodeKey::of(node), node.address.clone());
        match event {
            DiscoveryEvent::Snapshot(list) => {
                // An empty list of a source that has never answered says nothing.
                self.is_known |= !matches!(list.freshness, rdb_discovery::Freshness::Never { .. });
                self.discovered = list.nodes.iter().map(|node| entry(node)).collect();
            }
            DiscoveryEvent::Added(node) => {
                self.is_known = true;
                self.discovered.extend([entry(node)]);
            }
            DiscoveryEvent::Updated { old, new } => {
                self.discovered.remove(&NodeKey::of(old));
                self.discovered.extend([entry(new)]);
            }
            DiscoveryEvent::Removed { node, .. } => {
                self.discovered.remove(&NodeKey::of(node));
            }
            _ => return,
        }
        self.reconcile(now);
    }

    /// This node is reached at another address from here on.
    pub(crate) fn set_own(&mut self, now: Duration, own: NodeAddress) {
        self.own = own;
        self.reconcile(now);
    }

    fn reconcile(&mut self, now: Duration) {
        let wanted: BTreeSet<NodeAddress> = self
            .given
            .iter()
            .chain(self.discovered.values())
            .filter(|address| **address != self.own)
            .cloned()
            .collect();
        let gone: Vec<NodeAddress> = self.seeds.keys().filter(|address| !wanted.contains(address)).cloned().collect();
        for address in gone {
            self.unschedule(&address);
            self.seeds.remove(&address);
            self.removed.push(address);
        }
        for address in wanted {
            if self.seeds.contains_key(&address) {
                continue;
            }
            if self.seeds.len() >= SEEDS_MAX {
                self.limit_seeds += 1;
                continue;
            }
            let seed = Seed { due: None, last_wait: self.retry_first, failures: 0, is_itself: false };
            self.seeds.insert(address.clone(), seed);
            self.schedule(&address, now);
        }
    }

    /// Calls on all of them without delay, as before the first join.
    pub(crate) fn start_anew(&mut self, now: Duration) {
        (self.attempts, self.told) = (0, None);
        let addresses: Vec<NodeAddress> = self.seeds.keys().cloned().collect();
        for address in addresses {
            if let Some(seed) = self.seeds.get_mut(&address) {
                (seed.failures, seed.last_wait) = (0, self.retry_first);
                if seed.due.is_some() {
                    self.schedule(&address, now);
                }
            }
        }
    }

    /// The next address to call now. Those that are live members already are put off.
    pub(crate) fn next_call(&mut self, now: Duration, is_live: impl Fn(&NodeAddress) -> bool) -> Option<NodeAddress> {
        while self.calls < CALLS_MAX {
            let (_, _, address) = self.order.first().filter(|(at, _, _)| *at <= now)?.clone();
            self.unschedule(&address);
            if is_live(&address) {
                let wait = self.revisit_wait();
                self.schedule(&address, now + wait);
                continue;
            }
            self.calls += 1;
            self.attempts += 1;
            return Some(address);
        }
        None
    }

    /// A call has ended.
    pub(crate) fn ended(&mut self, now: Duration, address: &NodeAddress, end: CallEnd, is_joined: bool) {
        self.calls = self.calls.saturating_sub(1);
        let (first, max) = (self.retry_first, self.retry_max);
        let Some(seed) = self.seeds.get_mut(address) else { return };
        let wait = match end {
            CallEnd::Itself => {
                seed.is_itself = true;
                return;
            }
            CallEnd::Accepted => {
                (seed.failures, seed.last_wait) = (0, first);
                self.revisit_wait()
            }
            CallEnd::Busy | CallEnd::Failed => {
                seed.failures += u64::from(end == CallEnd::Failed);
                if is_joined && end == CallEnd::Failed {
                    self.revisit_wait()
                } else {
                    // Decorrelated jitter (Brooker, "Exponential backoff and jitter", 2015).
                    let wait = self.random.duration(first, seed.last_wait * 3).min(max);
                    seed.last_wait = wait;
                    wait
                }
            }
        };
        self.schedule(address, now + wait);
    }

    /// The list of the seeds and the calls so far, where all were called in vain and that was not said yet.
    pub(crate) fn take_unreachable(&mut self) -> Option<(u64, Vec<NodeAddress>)> {
        let usable = || self.seeds.iter().filter(|(_, seed)| !seed.is_itself);
        if usable().next().is_none() || usable().any(|(_, seed)| seed.failures == 0) {
            return None;
        }
        let list: Vec<NodeAddress> = usable().map(|(address, _)| address.clone()).collect();
        if self.told.as_ref() == Some(&list) {
            return None;
        }
        self.told = Some(list.clone());
        Some((self.attempts, list))
    }

    /// Addresses that are no seeds any more.
    pub(crate) fn take_removed(&mut self) -> Vec<NodeAddress> {
        std::mem::take(&mut self.removed)
    }

    /// Whether it is known that there is no seed but this node.
    pub(crate) fn is_alone(&self) -> bool {
        self.is_known && self.seeds.values().all(|seed| seed.is_itself)
    }

    pub(crate) fn len(&self) -> usize {
        self.seeds.len()
    }

    pub(crate) fn attempts(&self) -> u64 {
        self.attempts
    }

    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        if self.calls >= CALLS_MAX { None } else { self.order.first().map(|(at, _, _)| *at) }
    }

    fn revisit_wait(&mut self) -> Duration {
        let quarter = self.revisit / 4;
        self.random.duration(self.revisit - quarter, self.revisit + quarter)
    }

    fn schedule(&mut self, address: &NodeAddress, at: Duration) {
        self.unschedule(address);
        // The random number spreads the first calls of many nodes over all seeds.
        let place = self.random.next_u64();
        if let Some(seed) = self.seeds.get_mut(address) {
            seed.due = Some((at, place));
            self.order.insert((at, place, address.clone()));
        }
    }

    fn unschedule(&mut self, address: &NodeAddress) {
        if let Some((at, place)) = self.seeds.get_mut(address).and_then(|seed| seed.due.take()) {
            self.order.remove(&(at, place, address.clone()));
        }
    }
}
