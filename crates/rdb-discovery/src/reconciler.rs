//! The machine between a source and its subscribers: what the source says in, what changed out.
//!
//! It keeps two lists. `said` is what the source names; answers replace it and changes patch it. `told` is what subscribers
//! know. A step compares the two: after each input, or once the source has been quiet for the debounce time. Time is a
//! parameter: `now` counts from an origin that the driver chose.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rdb_net_types::NodeInfo;

use crate::guard::{Guard, Loss};
use crate::{Cause, Delta, DiscoveryEvent, Freshness, NodeKey, Policy, ReconcilerStats, RemovalReason, Snapshot};

#[cfg(test)]
mod tests;

type Nodes = BTreeMap<NodeKey, Arc<NodeInfo>>;

/// The pure machine from a source's answers to events.
///
/// The driver calls a `handle_*` for whatever the source does, [`handle_timeout`](Self::handle_timeout) when
/// [`poll_timeout`](Self::poll_timeout) says so, and then reads [`poll_event`](Self::poll_event) until it is empty.
#[derive(Debug)]
pub struct Reconciler {
    policy: Policy,
    said: Nodes,
    told: Nodes,
    /// Why the source removed nodes that are still told; a subset of the keys of `told`.
    reasons: BTreeMap<NodeKey, RemovalReason>,
    answered: bool,
    pending: Pending,
    guard: Guard,
    refresh: bool,
    /// Nodes that the source names and that were not taken, since the last full answer.
    refused: usize,
    failure: Option<(Duration, Cause)>,
    condition: Option<(Duration, Cause)>,
    list: Arc<[Arc<NodeInfo>]>,
    as_of: Duration,
    events: VecDeque<DiscoveryEvent>,
    stats: ReconcilerStats,
}

/// What came since the last step.
#[derive(Debug, Default)]
struct Pending {
    window: Option<Window>,
    /// A full answer came.
    answer: bool,
    /// An answer or a change came: without one there is nothing to compare, and nothing that is held is let go.
    spoken: bool,
    resync: bool,
    /// Whether the source last worked or failed, and when it began to fail.
    heard: Option<Result<(), (Duration, Cause)>>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    first: Duration,
    due: Duration,
}

enum Change {
    Put(Arc<NodeInfo>),
    Remove(RemovalReason),
}

impl Reconciler {
    /// A machine that has heard nothing yet, at this time.
    pub fn new(policy: Policy, now: Duration) -> Self {
        Self {
            policy,
            said: Nodes::new(),
            told: Nodes::new(),
            reasons: BTreeMap::new(),
            answered: false,
            pending: Pending::default(),
            guard: Guard::default(),
            refresh: false,
            refused: 0,
            failure: None,
            condition: None,
            list: Arc::from([]),
            as_of: now,
            events: VecDeque::new(),
            stats: ReconcilerStats::default(),
        }
    }

    /// The source has named all its nodes, in any order.
    ///
    /// Of two entries with one key the higher incarnation is taken, then the lower address, so that the order of an answer
    /// does not matter.
    pub fn handle_full(&mut self, now: Duration, nodes: Vec<NodeInfo>) {
        let changed = self.replace(nodes);
        self.handle_answer(now, changed);
    }

    /// A watch had broken, and the source has named all its nodes anew: as [`handle_full`](Self::handle_full), followed by
    /// [`DiscoveryEvent::Resynced`].
    pub fn handle_resync(&mut self, now: Duration, nodes: Vec<NodeInfo>) {
        self.stats.resyncs += 1;
        self.pending.resync = self.answered;
        self.handle_full(now, nodes);
    }

    /// The source has not answered yet, and this is what it said in a former life, saved this long ago. Ignored once it has
    /// answered, and where the list is empty.
    ///
    /// The list is told as one that cannot be fully trusted, [`Cause::Remembered`]. What the source says then is compared with
    /// it, under the guards of the policy.
    pub fn handle_remembered(&mut self, now: Duration, nodes: Vec<NodeInfo>, saved_ago: Duration) {
        if self.answered || nodes.is_empty() {
            return;
        }
        let since = self.failure.take().map_or(now, |(since, _)| since);
        self.replace(nodes);
        self.begin(now, Some((since, Cause::Remembered { saved_ago })));
    }

    /// The source says what it said before: a full answer that needs no list. Ignored before the first one.
    pub fn handle_unchanged(&mut self, now: Duration) {
        if self.answered {
            self.handle_answer(now, false);
        }
    }

    /// The source reports changes by itself. Ignored, and counted, before the first full answer: they would have nothing to
    /// change.
    pub fn handle_delta(&mut self, now: Duration, deltas: Vec<Delta>) {
        let count = deltas.len() as u64;
        self.stats.deltas += count;
        if !self.answered {
            self.stats.early_deltas += count;
            return;
        }
        for delta in deltas {
            match delta {
                Delta::Put(node) => self.put(node),
                Delta::Remove { key, why } => {
                    if self.said.remove(&key).is_some() {
                        if self.told.contains_key(&key) {
                            self.reasons.insert(key, why);
                        } else {
                            self.stats.passed += 1;
                        }
                    }
                }
            }
        }
        self.as_of = now;
        self.pending.spoken = true;
        self.pending.heard = Some(Ok(()));
        self.schedule(now, true);
    }

    /// The source did not answer, or not with sense. The list stays as it is.
    pub fn handle_failure(&mut self, now: Duration, cause: Cause) {
        self.stats.failures += 1;
        let since = match (&self.pending.heard, &self.failure) {
            (Some(Err((since, _))), _) | (None, Some((since, _))) => *since,
            _ => now,
        };
        if self.answered {
            let changed = !matches!(&self.pending.heard, Some(Err((_, other))) if *other == cause);
            self.pending.heard = Some(Err((since, cause)));
            self.schedule(now, changed);
        } else {
            self.failure = Some((since, cause));
        }
    }

    /// A time named by [`poll_timeout`](Self::poll_timeout) has come. Calling it early changes nothing.
    pub fn handle_timeout(&mut self, now: Duration) {
        if self.pending.window.is_some_and(|window| window.due <= now) {
            self.step(now);
        }
        self.refresh |= self.guard.ask(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let due = self.pending.window.map(|window| window.due);
        due.into_iter().chain(self.guard.ask_at()).min()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<DiscoveryEvent> {
        self.events.pop_front()
    }

    /// Whether the driver should ask the source for a full answer before its own schedule: removals are held, and only the
    /// source can confirm them. A driver that polls often enough may ignore it; one that only watches may not.
    pub fn poll_refresh(&mut self) -> bool {
        std::mem::take(&mut self.refresh)
    }

    /// The nodes as they are told: what all events so far fold to.
    pub fn snapshot(&self) -> Snapshot {
        let freshness = match &self.condition {
            _ if !self.answered => Freshness::Never { cause: self.failure.as_ref().map(|(_, cause)| cause.clone()) },
            Some((since, cause)) => Freshness::Stale { since: *since, cause: cause.clone() },
            None => Freshness::Live,
        };
        Snapshot { nodes: Arc::clone(&self.list), as_of: self.as_of, freshness }
    }

    /// What was seen and done so far.
    pub fn stats(&self) -> ReconcilerStats {
        ReconcilerStats { nodes: self.told.len(), held_removals: self.guard.held(), ..self.stats }
    }

    fn handle_answer(&mut self, now: Duration, changed: bool) {
        self.stats.answers += 1;
        self.as_of = now;
        self.pending.answer = true;
        self.pending.spoken = true;
        self.pending.heard = Some(Ok(()));
        if self.answered {
            self.schedule(now, changed);
        } else {
            self.begin(now, None);
        }
    }

    /// Takes a full list; returns whether it differs from what the source said before.
    fn replace(&mut self, nodes: Vec<NodeInfo>) -> bool {
        let mut said = BTreeMap::new();
        for node in nodes {
            let key = NodeKey::of(&node);
            match said.get(&key) {
                Some(other) => {
                    self.stats.duplicates += 1;
                    if beats(&node, other) {
                        said.insert(key, node);
                    }
                }
                None => {
                    said.insert(key, node);
                }
            }
        }
        self.refused = said.len().saturating_sub(self.policy.nodes_max);
        self.stats.refused += self.refused as u64;
        for key in beyond_limit(&said, &self.told, self.refused) {
            said.remove(&key);
        }
        let passed = self.said.keys().filter(|key| !said.contains_key(key) && !self.told.contains_key(key)).count();
        self.stats.passed += passed as u64;
        self.reasons.retain(|key, _| !said.contains_key(key));
        self.guard.hear(|key| said.contains_key(key));
        let said = said.into_iter().map(|(key, node)| (key, Arc::new(node))).collect();
        let changed = self.said != said;
        self.said = said;
        changed
    }

    fn put(&mut self, node: Arc<NodeInfo>) {
        let key = NodeKey::of(&node);
        if !self.said.contains_key(&key) && self.said.len() >= self.policy.nodes_max {
            self.refused += 1;
            self.stats.refused += 1;
            return;
        }
        self.reasons.remove(&key);
        self.guard.hear(|other| *other == key);
        self.said.insert(key, node);
    }

    /// Steps at once, or when the source has been quiet. A source that repeats itself is quiet.
    fn schedule(&mut self, now: Duration, changed: bool) {
        let longest = self.policy.debounce_max.max(self.policy.debounce);
        let quiet_at = now.saturating_add(self.policy.debounce);
        let (first, due) = match self.pending.window {
            Some(window) if changed => (window.first, quiet_at.min(window.first.saturating_add(longest))),
            Some(window) => (window.first, window.due),
            None => (now, quiet_at),
        };
        self.pending.window = Some(Window { first, due });
        if due <= now {
            self.step(now);
        }
    }

    /// The first answer: there is nothing to guard and nobody to wait for.
    fn begin(&mut self, now: Duration, failure: Option<(Duration, Cause)>) {
        self.pending = Pending::default();
        self.failure = failure;
        self.answered = true;
        self.told = self.said.clone();
        self.list = self.told.values().cloned().collect();
        let since = self.failure.as_ref().map_or(now, |(since, _)| *since);
        self.condition = self.present_cause().map(|cause| (since, cause));
        self.events.push_back(DiscoveryEvent::Snapshot(self.snapshot()));
    }

    fn step(&mut self, now: Duration) {
        let pending = std::mem::take(&mut self.pending);
        match pending.heard {
            Some(Ok(())) => self.failure = None,
            Some(Err(failure)) => self.failure = Some(failure),
            None => {}
        }
        let changes = if pending.spoken { self.changes(now, pending.answer) } else { BTreeMap::new() };
        let (added, updated, removed) = self.apply(changes);
        self.tell_condition(now);
        if pending.resync {
            self.events.push_back(DiscoveryEvent::Resynced { added, updated, removed });
        }
        self.bound_events();
    }

    /// The difference between what is told and what is said, less what is held.
    fn changes(&mut self, now: Duration, answer: bool) -> BTreeMap<NodeKey, Change> {
        let reason = |key: &NodeKey| self.reasons.get(key).copied().unwrap_or(self.policy.absence);
        let gone: Vec<&NodeKey> = self.told.keys().filter(|key| !self.said.contains_key(key)).collect();
        let missing = gone.iter().filter(|key| !reason(key).is_meant()).map(|key| (*key).clone()).collect();
        let loss = Loss { missing, told: self.told.len(), empty: self.said.is_empty(), answer };
        self.guard.judge(&self.policy, now, loss);
        self.stats.held_steps += u64::from(self.guard.held() > 0);

        let mut changes: BTreeMap<NodeKey, Change> = gone
            .into_iter()
            .filter(|key| !self.guard.holds(key))
            .map(|key| (key.clone(), Change::Remove(reason(key))))
            .collect();
        // Held nodes take room: what does not fit beside them is tried again with the next step.
        let mut room = (self.policy.nodes_max + changes.len()).saturating_sub(self.told.len());
        for (key, node) in &self.said {
            match self.told.get(key) {
                Some(old) if old == node => continue,
                Some(_) => {}
                None if room == 0 => {
                    self.stats.refused += 1;
                    continue;
                }
                None => room -= 1,
            }
            changes.insert(key.clone(), Change::Put(Arc::clone(node)));
        }
        changes
    }

    /// Tells the changes; returns how many nodes were added, updated and removed.
    fn apply(&mut self, changes: BTreeMap<NodeKey, Change>) -> (usize, usize, usize) {
        let (mut added, mut updated, mut removed) = (0, 0, 0);
        let changed = !changes.is_empty();
        for (key, change) in changes {
            match change {
                Change::Put(new) => match self.told.insert(key, Arc::clone(&new)) {
                    Some(old) => {
                        updated += 1;
                        self.events.push_back(DiscoveryEvent::Updated { old, new });
                    }
                    None => {
                        added += 1;
                        self.events.push_back(DiscoveryEvent::Added(new));
                    }
                },
                Change::Remove(why) => {
                    self.reasons.remove(&key);
                    if let Some(node) = self.told.remove(&key) {
                        removed += 1;
                        self.events.push_back(DiscoveryEvent::Removed { node, why });
                    }
                }
            }
        }
        if changed {
            self.list = self.told.values().cloned().collect();
        }
        self.stats.added += added as u64;
        self.stats.updated += updated as u64;
        self.stats.removed += removed as u64;
        (added, updated, removed)
    }

    /// Tells whether the list can be trusted, where that has changed.
    fn tell_condition(&mut self, now: Duration) {
        let next = self.present_cause();
        if next.as_ref() == self.condition.as_ref().map(|(_, cause)| cause) {
            return;
        }
        let began = self.failure.as_ref().map_or(now, |(since, _)| *since);
        let since = self.condition.as_ref().map_or(began, |(since, _)| *since);
        self.events.push_back(match &next {
            Some(cause) => DiscoveryEvent::Degraded { cause: cause.clone() },
            None => DiscoveryEvent::Restored,
        });
        self.condition = next.map(|cause| (since, cause));
    }

    fn present_cause(&self) -> Option<Cause> {
        let limit = self.policy.nodes_max;
        let refused = || (self.refused > 0).then_some(Cause::TooManyNodes { refused: self.refused, limit });
        self.failure.as_ref().map(|(_, cause)| cause.clone()).or_else(|| self.guard.cause()).or_else(refused)
    }

    /// A driver that does not read its events costs one snapshot, not all its memory.
    fn bound_events(&mut self) {
        // One step has at most one event a node in either list, a condition and a resync.
        let limit = self.policy.nodes_max.saturating_mul(2).saturating_add(16);
        if self.events.len() > limit {
            self.stats.coalesced += 1;
            self.events.clear();
            self.events.push_back(DiscoveryEvent::Snapshot(self.snapshot()));
        }
    }
}

/// Which of two entries with one key is taken, whatever their order.
fn beats(node: &NodeInfo, other: &NodeInfo) -> bool {
    node.incarnation.cmp(&other.incarnation).then_with(|| other.address.cmp(&node.address)).is_gt()
}

/// The keys to refuse: new nodes before known ones, high keys before low ones.
fn beyond_limit(said: &BTreeMap<NodeKey, NodeInfo>, told: &Nodes, excess: usize) -> Vec<NodeKey> {
    let high_first = || said.keys().rev();
    let new = high_first().filter(|key| !told.contains_key(key));
    let known = high_first().filter(|key| told.contains_key(key));
    new.chain(known).take(excess).cloned().collect()
}
