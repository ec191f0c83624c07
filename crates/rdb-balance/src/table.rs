//! Two tables that are built once per snapshot so that a draw by weight costs the same for any number of nodes and any weights.

/// Slots per node where the weights do not divide evenly.
const SLOTS_PER_NODE: usize = 64;
/// Slots at most, unless that would be fewer than four a node.
const SLOTS_MAX: usize = 65_536;
/// The golden ratio's fraction: its multiples, modulo 1, are as evenly spread as any sequence's.
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// The smooth order of a weighted round robin, frozen: entry `i` is the node of turn `i`, by index. Over one cycle each node
/// of weight above 0 has its share to within one slot, and at least one slot. Empty where no weight is above 0.
///
/// A heap of deadlines (Envoy's EDF) costs O(log n) a pick, and skipping by stride (gRFC A58) up to n skips; both also begin
/// with the heavy nodes. A table that is entered at a random place gives exact shares from the first pick on.
pub(crate) fn smooth_order(weights: &[f64]) -> Box<[u32]> {
    let slots = quantise(weights);
    let total: usize = slots.iter().map(|&count| count as usize).sum();
    let mut turns: Vec<(f64, u32)> = Vec::with_capacity(total);
    for (node, &count) in slots.iter().enumerate() {
        // Each node's turns are evenly spaced; the golden phases keep nodes of equal weight from lumping together.
        let phase = ((node + 1) as f64 * GOLDEN).fract();
        turns.extend((0..count).map(|turn| ((f64::from(turn) + phase) / f64::from(count), node as u32)));
    }
    turns.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    turns.into_iter().map(|(_, node)| node).collect()
}

/// How many slots each node has.
fn quantise(weights: &[f64]) -> Vec<u32> {
    let positive = || weights.iter().copied().filter(|w| *w > 0.0);
    let nodes = positive().count();
    if nodes == 0 {
        return vec![0; weights.len()];
    }
    let lightest = positive().fold(f64::INFINITY, f64::min);
    (1..=8).find_map(|factor| whole_multiples(weights, f64::from(factor) / lightest)).unwrap_or_else(|| {
        let slots = (SLOTS_PER_NODE * nodes).min(SLOTS_MAX).max(4 * nodes);
        largest_remainder(weights, positive().sum(), slots)
    })
}

/// The weights times `scale`, where all come out whole and the table stays small: shares are then exact.
fn whole_multiples(weights: &[f64], scale: f64) -> Option<Vec<u32>> {
    let mut total = 0.0;
    weights
        .iter()
        .map(|weight| {
            let scaled = weight * scale;
            total += scaled;
            let whole = scaled.round();
            (total <= SLOTS_MAX as f64 && (scaled - whole).abs() <= 1e-9 * whole).then_some(whole as u32)
        })
        .collect()
}

/// Hamilton's method: everybody gets the whole part of their share, and the largest remainders get what is left.
fn largest_remainder(weights: &[f64], total: f64, slots: usize) -> Vec<u32> {
    let share = |weight: f64| weight / total * slots as f64;
    let mut counts: Vec<u32> = weights.iter().map(|&weight| share(weight).floor() as u32).collect();
    let given: usize = counts.iter().map(|&count| count as usize).sum();
    let mut by_remainder: Vec<usize> = (0..weights.len()).filter(|&node| weights[node] > 0.0).collect();
    by_remainder.sort_by(|&a, &b| share(weights[b]).fract().total_cmp(&share(weights[a]).fract()).then(a.cmp(&b)));
    for &node in by_remainder.iter().take(slots.saturating_sub(given)) {
        counts[node] += 1;
    }
    for node in by_remainder {
        counts[node] = counts[node].max(1);
    }
    counts
}

/// Draws by weight with two numbers and one look-up (Vose: "A linear algorithm for generating random numbers with a given
/// distribution", 1991).
#[derive(Debug, Default)]
pub(crate) struct AliasTable {
    columns: Box<[Column]>,
}

#[derive(Debug, Clone, Copy)]
struct Column {
    /// Below this the column's own node is drawn, else `alias`.
    keep: f64,
    alias: u32,
}

impl AliasTable {
    pub(crate) fn new(weights: &[f64]) -> Self {
        let total: f64 = weights.iter().sum();
        if total <= 0.0 {
            return Self::default();
        }
        let mean = total / weights.len() as f64;
        let mut rest: Vec<f64> = weights.iter().map(|weight| weight / mean).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..rest.len()).partition(|&node| rest[node] < 1.0);
        let mut columns: Vec<Column> = (0..rest.len()).map(|node| Column { keep: 1.0, alias: node as u32 }).collect();
        while let (Some(&light), Some(&heavy)) = (small.last(), large.last()) {
            small.pop();
            columns[light] = Column { keep: rest[light], alias: heavy as u32 };
            rest[heavy] -= 1.0 - rest[light];
            if rest[heavy] < 1.0 {
                large.pop();
                small.push(heavy);
            }
        }
        // Rounding may leave a column of weight 0 without a partner: it must not be drawn.
        let heaviest = (0..weights.len()).max_by(|&a, &b| weights[a].total_cmp(&weights[b])).unwrap_or(0) as u32;
        for node in small.into_iter().filter(|&node| weights[node] == 0.0) {
            columns[node] = Column { keep: 0.0, alias: heaviest };
        }
        Self { columns: columns.into() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// A node's index by weight. The table may not be empty.
    pub(crate) fn draw(&self, random: &mut rdb_net_types::SeededRandom) -> usize {
        let index = random.index(self.columns.len());
        let column = self.columns[index];
        if random.unit() < column.keep { index } else { column.alias as usize }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rdb_net_types::SeededRandom;

    use super::*;

    fn counts(order: &[u32], nodes: usize) -> Vec<usize> {
        let mut counts = vec![0; nodes];
        order.iter().for_each(|&node| counts[node as usize] += 1);
        counts
    }

    fn any_weights() -> impl Strategy<Value = Vec<f64>> {
        let weight =
            prop_oneof![Just(0.0), 1e-6f64..1.0, 1.0f64..10.0, 10.0f64..65_536.0, (1u32..20).prop_map(f64::from)];
        prop::collection::vec(weight, 1..80)
    }

    proptest! {
        #[test]
        fn over_one_cycle_each_node_has_its_share_to_within_one_slot(weights in any_weights()) {
            let order = smooth_order(&weights);
            let total: f64 = weights.iter().sum::<f64>().max(f64::MIN_POSITIVE);
            let tiny = weights.iter().filter(|w| **w > 0.0 && **w / total * (order.len() as f64) < 1.0).count();
            for (weight, count) in weights.iter().zip(counts(&order, weights.len())) {
                // Nodes that would have had no slot get one, and the table is that much longer than the quota.
                let share = weight / total * (order.len() - tiny.min(order.len())) as f64;
                let upper = weight / total * order.len() as f64;
                prop_assert_eq!(count == 0, *weight == 0.0);
                prop_assert!(count as f64 <= upper + 1.0 && count as f64 >= share - 1.0, "{count} for {share}..{upper}");
            }
        }

        #[test]
        fn the_alias_table_gives_each_node_exactly_its_weight(weights in any_weights()) {
            let table = AliasTable::new(&weights);
            let total: f64 = weights.iter().sum();
            prop_assert_eq!(table.is_empty(), total == 0.0);
            let mut mass = vec![0.0; weights.len()];
            for (node, column) in table.columns.iter().enumerate() {
                mass[node] += column.keep / weights.len() as f64;
                mass[column.alias as usize] += (1.0 - column.keep) / weights.len() as f64;
            }
            for (mass, weight) in mass.iter().zip(&weights) {
                prop_assert!(total == 0.0 || (mass - weight / total).abs() < 1e-9, "{mass} for {weight}");
                prop_assert!(*weight > 0.0 || *mass == 0.0);
            }
        }
    }

    #[test]
    fn whole_weights_are_exact_and_spread_out() {
        let order = smooth_order(&[1.0, 3.0]);
        assert_eq!(counts(&order, 2), [1, 3]);
        assert_eq!(counts(&smooth_order(&[1.0; 7]), 7), [1; 7]);
        assert_eq!(counts(&smooth_order(&[0.5, 0.0, 1.25]), 3), [2, 0, 5]);
        // One node as heavy as the ninety-nine others together: two light turns in a row are rare, three never happen.
        let mut weights = vec![1.0; 100];
        weights[0] = 99.0;
        let order = smooth_order(&weights);
        assert!(order.windows(4).all(|turns| turns.contains(&0)), "{order:?}");
    }

    #[test]
    fn the_table_stays_small_for_any_skew() {
        assert_eq!(smooth_order(&[65_536.0, 1e-3]).len(), 129);
        assert!(smooth_order(&[0.0, 0.0]).is_empty());
        let many: Vec<f64> = (0..10_000).map(|node| 1.0 + f64::from(node % 7) / 3.1).collect();
        assert_eq!(smooth_order(&many).len(), 65_536);
    }

    #[test]
    fn draws_follow_the_weights() {
        let table = AliasTable::new(&[1.0, 0.0, 3.0]);
        let mut random = SeededRandom::new(3);
        let mut drawn = [0u32; 3];
        (0..40_000).for_each(|_| drawn[table.draw(&mut random)] += 1);
        assert!(drawn[0].abs_diff(10_000) < 400 && drawn[1] == 0, "{drawn:?}");
    }
}
