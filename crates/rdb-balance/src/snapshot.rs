//! The nodes at one moment: immutable, sorted by id, with the tables that the strategies draw from.

use std::sync::Arc;

use rdb_net_types::{NodeId, NodeInfo, Weight};

use crate::config::Strategy;
use crate::least_connections::EXACT_NODES_MAX;
use crate::live::Live;
use crate::table::{AliasTable, smooth_order};

/// A node to choose from.
#[derive(Debug, Clone, PartialEq)]
pub struct Backend {
    /// The node. One that membership holds for failed or left is known but never picked.
    pub info: Arc<NodeInfo>,
    /// Its share of traffic, relative to the others. 0: no new calls.
    pub weight: Weight,
}

impl From<Arc<NodeInfo>> for Backend {
    fn from(info: Arc<NodeInfo>) -> Self {
        Self { weight: info.weight, info }
    }
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) info: Arc<NodeInfo>,
    /// What was asked for.
    pub(crate) weight: Weight,
    /// What counts: 0 for an unroutable node, 1 for all where every weight is 0.
    pub(crate) share: f64,
    pub(crate) live: Arc<Live>,
}

#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// By ascending id.
    pub(crate) nodes: Box<[Node]>,
    /// For round robin: turns, as indexes into `nodes`.
    pub(crate) order: Box<[u32]>,
    /// For least connections over many nodes.
    pub(crate) alias: AliasTable,
    /// Every routable node had weight 0, which is taken for equal weights.
    pub(crate) all_weights_zero: bool,
}

impl Snapshot {
    /// Of these nodes, which must be sorted by id and have different ids.
    pub(crate) fn new(strategy: Strategy, backends: impl IntoIterator<Item = (Backend, Arc<Live>)>) -> Self {
        let mut nodes: Box<[Node]> = backends
            .into_iter()
            .map(|(Backend { info, weight }, live)| {
                let share = if info.state.is_routable() { weight.value() } else { 0.0 };
                Node { info, weight, share, live }
            })
            .collect();
        debug_assert!(nodes.is_sorted_by(|a, b| a.info.id < b.info.id));
        let all_weights_zero =
            nodes.iter().all(|node| node.share == 0.0) && nodes.iter().any(|node| node.info.state.is_routable());
        if all_weights_zero {
            for node in nodes.iter_mut().filter(|node| node.info.state.is_routable()) {
                node.share = 1.0;
            }
        }
        let shares: Vec<f64> = nodes.iter().map(|node| node.share).collect();
        let (order, alias) = match strategy {
            Strategy::RoundRobin => (smooth_order(&shares), AliasTable::default()),
            Strategy::LeastConnections if nodes.len() > EXACT_NODES_MAX => (Box::default(), AliasTable::new(&shares)),
            Strategy::LeastConnections => (Box::default(), AliasTable::default()),
        };
        Self { nodes, order, alias, all_weights_zero }
    }

    pub(crate) fn find(&self, id: &NodeId) -> Option<&Node> {
        self.nodes.binary_search_by(|node| node.info.id.cmp(id)).ok().map(|index| &self.nodes[index])
    }
}
