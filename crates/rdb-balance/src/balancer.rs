//! The balancer: picks by many threads at once, changes by one at a time.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rdb_net_types::{HealthStatus, NodeId, SeededRandom, SelectionCriteria, Weight};

use crate::config::{Config, FailMode, Strategy};
use crate::eligibility::Gate;
use crate::live::Live;
use crate::penalty::PickClock;
use crate::pick::{Pick, PickError};
use crate::snapshot::{Backend, Node, Snapshot};
use crate::statistics::{Counters, NodeStatistics, Statistics};
use crate::{least_connections, round_robin};

/// Chooses nodes. Share it by reference or in an `Arc`.
#[derive(Debug)]
pub struct Balancer {
    config: Config,
    seed: u64,
    snapshot: ArcSwap<Snapshot>,
    clock: Arc<PickClock>,
    builder: Mutex<Builder>,
    counters: Counters,
}

/// What snapshots are built from.
#[derive(Debug, Default)]
struct Builder {
    backends: BTreeMap<NodeId, Backend>,
    /// Set by `update_weights`; for nodes in `backends` only.
    overrides: BTreeMap<NodeId, Weight>,
    /// Of the nodes in `backends`, and of those that left with calls in flight.
    lives: BTreeMap<NodeId, Arc<Live>>,
}

impl Balancer {
    /// A balancer without nodes that fails closed.
    ///
    /// The seed should differ from process to process: it says where a round robin begins and how ties are broken.
    pub fn new(strategy: Strategy, seed: u64) -> Self {
        Self::with_config(Config { strategy, ..Config::default() }, seed)
    }

    /// A balancer without nodes.
    pub fn with_config(config: Config, seed: u64) -> Self {
        let mut random = SeededRandom::new(seed);
        Self {
            config,
            seed: random.next_u64(),
            snapshot: ArcSwap::default(),
            clock: Arc::new(PickClock::new(random.next_u64())),
            builder: Mutex::default(),
            counters: Counters::default(),
        }
    }

    /// The settings.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Replaces the nodes. Calls in flight, health and counters of a node that stays are kept, and so is a weight that
    /// [`update_weights`](Self::update_weights) gave it. A node that comes back after having been away starts with unknown
    /// health. Of two entries with one id the one with the higher incarnation counts.
    ///
    /// Builds a snapshot, which takes time in proportion to the number of nodes: a caller with many changes brings them
    /// together.
    pub fn set_nodes(&self, backends: Vec<Backend>) {
        let mut builder = self.builder.lock().unwrap_or_else(PoisonError::into_inner);
        builder.replace(backends, &self.clock);
        self.rebuild(&builder);
    }

    /// Sets weights. An entry that is no legal [`Weight`] (NaN, infinite, negative, too large) or whose node is not there is
    /// refused by itself. Returns how many were refused. What is set stands until the node is gone.
    pub fn update_weights(&self, weights: HashMap<NodeId, f64>) -> usize {
        let mut builder = self.builder.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = weights.len();
        let mut accepted = 0;
        for (node, weight) in weights {
            if let (Ok(weight), true) = (Weight::new(weight), builder.backends.contains_key(&node)) {
                builder.overrides.insert(node, weight);
                accepted += 1;
            }
        }
        if accepted > 0 {
            self.rebuild(&builder);
        }
        self.counters.weights_rejected.fetch_add((asked - accepted) as u64, Relaxed);
        asked - accepted
    }

    fn rebuild(&self, builder: &Builder) {
        self.clock.set_nodes(builder.backends.len());
        self.snapshot.store(Arc::new(Snapshot::new(self.config.strategy, builder.nodes())));
        self.counters.rebuilds.fetch_add(1, Relaxed);
    }

    /// Tells how a node is. Rebuilds nothing. False where the node is not there.
    pub fn set_status(&self, node: &NodeId, status: HealthStatus) -> bool {
        self.with_live(node, |live| live.set_status(status))
    }

    /// Gives a node only this part of its calls, from 0 to 1, until told otherwise: silence on its link is no failure yet. A node
    /// that is degraded gets the smaller of the two parts. Rebuilds nothing. False where the node is not there.
    pub fn set_trust(&self, node: &NodeId, trust: f64) -> bool {
        self.with_live(node, |live| live.set_trust(trust))
    }

    /// Lets a node take no new calls, or again. Rebuilds nothing. False where the node is not there.
    pub fn set_draining(&self, node: &NodeId, draining: bool) -> bool {
        self.with_live(node, |live| live.set_draining(draining))
    }

    /// Takes a node out for bad results, or back in. Rebuilds nothing. False where the node is not there.
    pub fn set_ejected(&self, node: &NodeId, ejected: bool) -> bool {
        self.with_live(node, |live| live.set_ejected(ejected))
    }

    fn with_live(&self, node: &NodeId, change: impl FnOnce(&Live)) -> bool {
        self.snapshot.load().find(node).map(|node| change(&node.live)).is_some()
    }

    /// A node for one call.
    ///
    /// # Errors
    ///
    /// [`PickError`] says why no node can take the call.
    pub fn pick(&self, criteria: &SelectionCriteria) -> Result<Pick, PickError> {
        let snapshot = self.snapshot.load();
        let (node, failed_open) = self.choose(&snapshot, criteria)?;
        Ok(Pick::new(Arc::clone(&node.live), failed_open))
    }

    /// A node that fits, or none. The call is not tracked: it never counts as in flight and no outcome is learnt from it, so
    /// [`pick`](Self::pick) is the better question wherever the caller can answer for the call.
    pub fn select_node(&self, criteria: &SelectionCriteria) -> Option<NodeId> {
        let snapshot = self.snapshot.load();
        self.choose(&snapshot, criteria).ok().map(|(node, _)| node.info.id.clone())
    }

    /// The chosen node, and whether it was chosen in spite of its health.
    fn choose<'a>(&self, snapshot: &'a Snapshot, criteria: &SelectionCriteria) -> Result<(&'a Node, bool), PickError> {
        let turn = self.clock.tick();
        let gate = Gate::new(criteria);
        if let Some(node) = criteria.sticky.as_ref().and_then(|id| snapshot.find(id))
            && gate.keeps(node)
        {
            return Ok((node, false));
        }
        let mut random = SeededRandom::new(self.seed ^ turn);
        let chosen = match self.config.strategy {
            Strategy::RoundRobin => round_robin::choose(snapshot, gate, turn, &mut random),
            Strategy::LeastConnections => least_connections::choose(snapshot, gate, &mut random),
        };
        if let Some(index) = chosen {
            return Ok((&snapshot.nodes[index], false));
        }
        if self.config.fail_mode == FailMode::Open
            && let Some(index) = gate.ignoring_health().any_by_weight(&snapshot.nodes, &mut random)
        {
            self.counters.failed_open.fetch_add(1, Relaxed);
            return Ok((&snapshot.nodes[index], true));
        }
        let error = gate.refusal(snapshot);
        self.counters.refused(error);
        Err(error)
    }

    /// The best health among the nodes that take new calls: what a call can hope for. `Unknown` without nodes, `Unhealthy`
    /// where there are nodes and none can be picked.
    pub fn status(&self) -> HealthStatus {
        let snapshot = self.snapshot.load();
        let criteria = SelectionCriteria::default();
        let gate = Gate::new(&criteria);
        let eligible = snapshot.nodes.iter().filter(|node| gate.weight(node) > 0.0);
        let best = eligible.map(|node| node.live.flags().status()).min();
        best.unwrap_or(if snapshot.nodes.is_empty() { HealthStatus::Unknown } else { HealthStatus::Unhealthy })
    }

    /// What was done so far, and how the nodes stand.
    pub fn statistics(&self) -> Statistics {
        let snapshot = self.snapshot.load();
        Statistics {
            picks: self.clock.elapsed(),
            all_weights_zero: snapshot.all_weights_zero,
            nodes: snapshot.nodes.iter().map(node_statistics).collect(),
            ..self.counters.read()
        }
    }
}

fn node_statistics(node: &Node) -> NodeStatistics {
    let (live, flags) = (&node.live, node.live.flags());
    NodeStatistics {
        node: node.info.id.clone(),
        weight: node.weight,
        status: flags.status(),
        draining: flags.is_draining(),
        ejected: flags.is_ejected(),
        inflight: live.inflight(),
        penalty_calls: live.penalty_calls(),
        picks: live.picks.load(Relaxed),
        successes: live.successes.load(Relaxed),
        failures: live.failures.load(Relaxed),
        cancelled: live.cancelled.load(Relaxed),
    }
}

impl Builder {
    fn replace(&mut self, backends: Vec<Backend>, clock: &Arc<PickClock>) {
        let former = std::mem::take(&mut self.backends);
        for backend in backends {
            let rank = |backend: &Backend| (backend.info.incarnation, backend.weight.value().to_bits());
            let known = self.backends.get(&backend.info.id);
            if known.is_none_or(|known| rank(known) < rank(&backend)) {
                self.backends.insert(backend.info.id.clone(), backend);
            }
        }
        self.overrides.retain(|id, _| self.backends.contains_key(id));
        self.lives.retain(|id, live| self.backends.contains_key(id) || live.inflight() > 0);
        for id in self.backends.keys() {
            let live =
                self.lives.entry(id.clone()).or_insert_with(|| Arc::new(Live::new(id.clone(), Arc::clone(clock))));
            if !former.contains_key(id) {
                live.forget_flags();
            }
        }
    }

    fn nodes(&self) -> impl Iterator<Item = (Backend, Arc<Live>)> {
        self.backends.iter().map(|(id, backend)| {
            let weight = self.overrides.get(id).copied().unwrap_or(backend.weight);
            let live = self.lives.get(id).expect("replace gives every backend its live part");
            (Backend { info: Arc::clone(&backend.info), weight }, Arc::clone(live))
        })
    }
}
