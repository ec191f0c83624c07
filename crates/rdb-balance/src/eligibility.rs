//! Which nodes a pick may go to, and why there is none.

use rdb_net_types::SeededRandom;
use rdb_net_types::{HealthStatus, SelectionCriteria};

use crate::pick::PickError;
use crate::snapshot::{Node, Snapshot};

/// What the weight of a degraded node is multiplied with.
const DEGRADED_FACTOR: f64 = 0.1;

/// Who is trusted least still gets some calls, as one that is degraded does.
const TRUST_MIN: f64 = DEGRADED_FACTOR;

/// What one pick asks of a node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gate<'a> {
    criteria: &'a SelectionCriteria,
    ignores_health: bool,
}

impl<'a> Gate<'a> {
    pub(crate) fn new(criteria: &'a SelectionCriteria) -> Self {
        Self { criteria, ignores_health: false }
    }

    /// The same, with unhealthy and ejected nodes let through.
    pub(crate) fn ignoring_health(self) -> Self {
        Self { ignores_health: true, ..self }
    }

    /// The weight with which this node takes part in this pick; 0 where it may not be picked.
    pub(crate) fn weight(&self, node: &Node) -> f64 {
        let flags = node.live.flags();
        if node.share == 0.0 || flags.is_draining() || !(self.ignores_health || flags.is_up()) || !self.fits(node) {
            return 0.0;
        }
        let factor = if flags.status() == HealthStatus::Degraded { DEGRADED_FACTOR } else { 1.0 };
        node.share * factor.min(node.live.trust().max(TRUST_MIN))
    }

    /// Whether a drawn node is taken, where the draw was by its full share.
    pub(crate) fn accepts(&self, node: &Node, random: &mut SeededRandom) -> bool {
        let weight = self.weight(node);
        weight > 0.0 && (weight == node.share || random.chance(weight / node.share))
    }

    /// Whether a caller that was there before may stay: draining and weight 0 do not send it away.
    pub(crate) fn keeps(&self, node: &Node) -> bool {
        node.info.state.is_routable() && node.live.flags().is_up() && self.fits(node)
    }

    /// Whether the node is what the caller asks for, however it is.
    fn fits(&self, node: &Node) -> bool {
        let SelectionCriteria { capabilities, labels, exclude, .. } = self.criteria;
        let info = &node.info;
        (capabilities.is_empty() || capabilities.is_subset(&info.capabilities))
            && labels.iter().all(|(name, value)| info.labels.get(name) == Some(value))
            && !exclude.contains(&info.id)
    }

    /// One of the nodes by weight, in one pass (weighted reservoir of one). For when drawing finds none.
    pub(crate) fn any_by_weight(&self, nodes: &[Node], random: &mut SeededRandom) -> Option<usize> {
        let mut total = 0.0;
        let mut chosen = None;
        for (index, node) in nodes.iter().enumerate() {
            let weight = self.weight(node);
            if weight > 0.0 {
                total += weight;
                if random.chance(weight / total) {
                    chosen = Some(index);
                }
            }
        }
        chosen
    }

    /// Why no node can be picked.
    pub(crate) fn refusal(&self, snapshot: &Snapshot) -> PickError {
        if snapshot.nodes.is_empty() {
            return PickError::Empty;
        }
        let (mut filtered, mut unhealthy, mut draining) = (0, 0, 0);
        for node in &snapshot.nodes {
            if !self.fits(node) {
                filtered += 1;
            } else if !node.info.state.is_routable() || !node.live.flags().is_up() {
                unhealthy += 1;
            } else {
                draining += 1;
            }
        }
        if unhealthy > 0 {
            PickError::AllUnhealthy { unhealthy, draining, filtered }
        } else if draining > 0 {
            PickError::AllDraining { draining, filtered }
        } else {
            PickError::NoneEligible { filtered }
        }
    }
}
