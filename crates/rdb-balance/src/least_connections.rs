//! The least loaded node: of all, where they are few, else of two drawn by weight.

use rdb_net_types::SeededRandom;

use crate::eligibility::Gate;
use crate::snapshot::Snapshot;

/// Up to this many nodes all are compared.
pub(crate) const EXACT_NODES_MAX: usize = 64;
/// How many draws there are for two different nodes that may be picked.
const DRAWS_MAX: u32 = 16;

/// A node with its load and its weight, for comparison.
#[derive(Clone, Copy)]
struct Candidate {
    index: usize,
    load: f64,
    weight: f64,
}

impl Candidate {
    fn of(snapshot: &Snapshot, gate: Gate<'_>, index: usize) -> Option<Self> {
        let node = &snapshot.nodes[index];
        let weight = gate.weight(node);
        (weight > 0.0).then(|| Self { index, load: node.live.load_with_one_more(), weight })
    }

    /// Compares load by weight, crosswise: a division would round equal quotients apart.
    fn compare(&self, other: &Self) -> std::cmp::Ordering {
        (self.load * other.weight).total_cmp(&(other.load * self.weight))
    }
}

pub(crate) fn choose(snapshot: &Snapshot, gate: Gate<'_>, random: &mut SeededRandom) -> Option<usize> {
    if snapshot.alias.is_empty() {
        return least_of_all(snapshot, gate, random);
    }
    let mut first: Option<Candidate> = None;
    for _ in 0..DRAWS_MAX {
        let index = snapshot.alias.draw(random);
        if first.is_some_and(|first| first.index == index) {
            continue;
        }
        let Some(drawn) = Candidate::of(snapshot, gate, index) else { continue };
        let Some(first) = first.replace(drawn) else { continue };
        // Which of the two was drawn first is chance already, so a tie may go to either.
        return Some(if drawn.compare(&first).is_lt() { drawn.index } else { first.index });
    }
    // One alone means that one has nearly all the weight, or that few may be picked: only a look at all can tell.
    least_of_all(snapshot, gate, random)
}

/// The least loaded of all nodes; of several, each with the same chance.
fn least_of_all(snapshot: &Snapshot, gate: Gate<'_>, random: &mut SeededRandom) -> Option<usize> {
    let mut ties = 0;
    let mut best: Option<Candidate> = None;
    for index in 0..snapshot.nodes.len() {
        let Some(candidate) = Candidate::of(snapshot, gate, index) else { continue };
        let order = best.map_or(std::cmp::Ordering::Less, |best| candidate.compare(&best));
        ties = if order.is_lt() { 1 } else { ties + u64::from(order.is_eq()) };
        if order.is_lt() || order.is_eq() && random.below(ties) == 0 {
            best = Some(candidate);
        }
    }
    best.map(|best| best.index)
}
