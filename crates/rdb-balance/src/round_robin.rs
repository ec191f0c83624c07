//! Round robin by weight over the frozen order of a snapshot.

use rdb_net_types::SeededRandom;

use crate::eligibility::Gate;
use crate::snapshot::Snapshot;

/// How many other turns are looked at when the node whose turn it is may not be picked. With half of the nodes down, one pick
/// in 65,000 needs more.
const PROBES_MAX: u32 = 16;

/// The node of this turn, or another by weight.
///
/// Another, not the next: going on to the neighbour would give it the whole share of the node that is down.
pub(crate) fn choose(snapshot: &Snapshot, gate: Gate<'_>, turn: u64, random: &mut SeededRandom) -> Option<usize> {
    let order = &snapshot.order;
    if order.is_empty() {
        return None;
    }
    let mut slot = (turn % order.len() as u64) as usize;
    for _ in 0..=PROBES_MAX {
        let index = order[slot] as usize;
        if gate.accepts(&snapshot.nodes[index], random) {
            return Some(index);
        }
        slot = random.index(order.len());
    }
    gate.any_by_weight(&snapshot.nodes, random)
}
