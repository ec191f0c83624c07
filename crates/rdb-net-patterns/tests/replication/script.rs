//! What a seed draws of a run before it begins.

use std::time::Duration;

use rdb_net_patterns::replication::{Config, Mutation};
use rdb_net_types::{NodeId, SeededRandom};

/// How long things go wrong.
pub(crate) const CHAOS: Duration = Duration::from_millis(1500);
/// How long what was begun before may have its consequences: leaders that were named, and messages on their way.
pub(crate) const SETTLING: Duration = Duration::from_millis(600);
/// How long after the last fault everything may take.
pub(crate) const CALM: Duration = Duration::from_secs(5);

/// A run's drawn circumstances.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) config: Config,
    /// Which share of messages gets lost.
    pub(crate) loss: f64,
    /// Which share comes twice.
    pub(crate) twice: f64,
    /// Which share takes far longer than others, and is overtaken.
    pub(crate) late: f64,
    /// How likely a node dies at each of its steps.
    pub(crate) crash: f64,
    /// How likely a sync fails.
    pub(crate) failed_sync: f64,
    /// Whether a sync that failed is taken for one that did not: a bug, to be found.
    pub(crate) lies: bool,
    /// How often a link is cut, on average.
    pub(crate) cut_every: Duration,
    /// How often another leader is named, on average.
    pub(crate) lead_every: Duration,
    /// How often entries are proposed, on average.
    pub(crate) propose_every: Duration,
    /// How often a log is compacted somewhere, on average.
    pub(crate) compact_every: Option<Duration>,
    /// The longest sync.
    pub(crate) sync_max: Duration,
    pub(crate) mutation: Option<Mutation>,
}

impl Script {
    pub(crate) fn draw(random: &mut SeededRandom) -> Self {
        let members = (1..=3 + random.index(5)).map(|number| NodeId::new(&format!("n{number}")).expect("legal"));
        let mut of = |choices: &[u64]| choices[random.index(choices.len())];
        let ms = Duration::from_millis;
        let config = Config {
            batch_bytes_max: of(&[20, 100, 1000]) as usize,
            batch_entries_max: of(&[1, 3, 100]) as usize,
            window_bytes: of(&[20, 300, 10_000]) as usize,
            tail_bytes: of(&[0, 1000, 100_000]) as usize,
            pending_bytes_max: of(&[200, 10_000]) as usize,
            replies_max: of(&[2, 100]) as usize,
            retry_min: ms(of(&[1, 5])),
            retry_max: ms(of(&[20, 50])),
            ..Config::new(7, members)
        };
        Self {
            config,
            loss: of(&[0, 1, 5, 20]) as f64 / 100.0,
            twice: of(&[0, 0, 10]) as f64 / 100.0,
            late: of(&[0, 2, 10]) as f64 / 100.0,
            crash: of(&[0, 1, 3]) as f64 / 1000.0,
            failed_sync: of(&[0, 1, 5]) as f64 / 1000.0,
            lies: false,
            cut_every: ms(of(&[20, 100, 1000])),
            lead_every: ms(of(&[50, 150, 400])),
            propose_every: ms(of(&[3, 10, 30])),
            sync_max: Duration::from_micros(of(&[0, 300, 5000, 20_000])),
            compact_every: Some(of(&[0, 10, 50, 200])).filter(|every| *every > 0).map(ms),
            mutation: None,
        }
    }
}
