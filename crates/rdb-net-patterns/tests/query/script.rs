//! What a seed draws of a run before it begins.

use std::time::Duration;

use rdb_net_patterns::query::{Mutation, Options, Part, Repeat, Wanted};
use rdb_net_types::{NodeId, SeededRandom};

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A node's manner.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// How long a message is on its way; none to the node that asks itself.
    pub(crate) latency: Duration,
    /// The longest pause before its next rows.
    pub(crate) pause_max: Duration,
    /// Whether its socket takes nothing.
    pub(crate) is_stuck: bool,
}

/// A run's drawn circumstances.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) options: Options,
    pub(crate) parts: Vec<Part>,
    /// Of each node; the first one asks.
    pub(crate) nodes: Vec<Manner>,
    /// How likely a connection is lost at each message.
    pub(crate) loss: f64,
    /// How likely a loss is never seen here.
    pub(crate) unseen: f64,
    /// How likely a handler refuses to begin, and how likely it fails at each step.
    pub(crate) refuses: f64,
    pub(crate) fails: f64,
    /// How many pieces of rows a node has at most.
    pub(crate) pieces_max: u64,
    /// How long the reader takes for each thing that comes; now and then it takes far longer.
    pub(crate) reader: Duration,
    pub(crate) naps: f64,
    /// When nodes are killed or cut off.
    pub(crate) faults: Vec<(Duration, usize, bool)>,
    /// More rows than that are too many.
    pub(crate) rows_max: usize,
    pub(crate) mutation: Option<Mutation>,
}

pub(crate) fn id(node: usize) -> NodeId {
    NodeId::new(&format!("n{node}")).expect("legal")
}

impl Script {
    pub(crate) fn draw(random: &mut SeededRandom) -> Self {
        let count = 3 + random.index(5);
        let mut of = |choices: &[u64]| choices[random.index(choices.len())];
        let timeout = of(&[60, 200, 600]);
        let nodes = (0..count).map(|node| Manner {
            latency: if node == 0 { Duration::ZERO } else { ms(of(&[0, 1, 3, 10])) },
            pause_max: ms(of(&[0, 0, 2, 10, 100])),
            is_stuck: of(&[0, 0, 0, 0, 0, 0, 0, 1]) == 1 && node > 0,
        });
        let nodes: Vec<Manner> = nodes.collect();
        let parts: Vec<Part> = (0..1 + of(&[0, 1, 2, 3, 5]) as u32)
            .map(|fragment| {
                let replicas = 1 + of(&[0, 1, 2]) as usize;
                let first = of(&[0, 1, 2, 3, 4, 5, 6]) as usize;
                let nodes = (0..replicas.min(count)).map(|step| id((first + step) % count)).collect();
                Part { fragment, nodes, query: "select".to_owned(), parameters: Default::default() }
            })
            .collect();
        let wanted = match of(&[0, 0, 1, 2]) as usize {
            0 => Wanted::All,
            first => Wanted::First(first.min(parts.len())),
        };
        let options = Options {
            wanted,
            timeout: ms(timeout),
            reserve: ms(of(&[0, 0, timeout / 10])),
            repeat: [Repeat::Never, Repeat::NotStarted, Repeat::NotStarted, Repeat::Always][of(&[0, 1, 2, 3]) as usize],
            window_bytes: of(&[1, 200, 2000]) as u32,
            ..Options::default()
        };
        let faults = (0..of(&[0, 1, 2, 4]))
            .map(|_| (ms(of(&[0, 5, 20, 50, 100, 300])), of(&[1, 2, 3, 4, 5, 6]) as usize, of(&[0, 1]) == 1));
        let faults = faults.filter(|(_, node, _)| *node < count).collect();
        Self {
            options,
            parts,
            nodes,
            loss: of(&[0, 1, 5, 15]) as f64 / 100.0,
            unseen: of(&[0, 30]) as f64 / 100.0,
            refuses: of(&[0, 10, 40]) as f64 / 100.0,
            fails: of(&[0, 0, 3]) as f64 / 100.0,
            pieces_max: of(&[1, 5, 20, 1000]),
            reader: Duration::from_micros(of(&[200, 1000, 5000])),
            naps: of(&[0, 2, 10]) as f64 / 100.0,
            faults,
            rows_max: of(&[50, 100_000, 100_000]) as usize,
            mutation: None,
        }
    }
}
