//! What happens to what is sent: time, loss, duplication, cuts.

use std::collections::BTreeSet;
use std::time::Duration;

use rdb_net_types::SeededRandom;

use crate::config::NetworkConfig;

/// A lost piece of a stream is sent again after this time, which doubles with each further loss (RFC 6298, section 5.5).
const RETRANSMISSION: Duration = Duration::from_millis(200);

/// How often a lost piece is sent again before the loss is taken for a long delay.
const RETRANSMISSIONS_MAX: u32 = 6;

/// The network between the hosts.
#[derive(Debug)]
pub(crate) struct Network {
    config: NetworkConfig,
    random: SeededRandom,
    /// Pairs (from, to) between which nothing passes.
    cuts: BTreeSet<(usize, usize)>,
}

impl Network {
    pub(crate) fn new(config: NetworkConfig, random: SeededRandom) -> Self {
        Self { config, random, cuts: BTreeSet::new() }
    }

    pub(crate) fn set_loss(&mut self, loss: f64) {
        self.config.loss = loss;
    }

    pub(crate) fn passes(&self, from: usize, to: usize) -> bool {
        !self.cuts.contains(&(from, to))
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.cuts.insert((from, to));
    }

    pub(crate) fn mend(&mut self, from: usize, to: usize) {
        self.cuts.remove(&(from, to));
    }

    /// How long something takes that is not lost.
    pub(crate) fn delay(&mut self) -> Duration {
        self.config.latency + self.random.duration(Duration::ZERO, self.config.jitter)
    }

    /// When the copies of a datagram arrive: none, one or two.
    pub(crate) fn datagram(&mut self, from: usize, to: usize) -> Vec<Duration> {
        // What is drawn does not depend on the cuts, so that a cut changes nothing but what it cuts.
        let (is_lost, is_doubled) = (self.random.chance(self.config.loss), self.random.chance(self.config.duplication));
        let first = self.delay();
        if is_lost || !self.passes(from, to) {
            return Vec::new();
        }
        if is_doubled { vec![first, self.delay()] } else { vec![first] }
    }

    /// How long a piece of a stream takes.
    pub(crate) fn segment(&mut self) -> Duration {
        let mut delay = self.delay();
        let mut losses = 0;
        while losses < RETRANSMISSIONS_MAX && self.random.chance(self.config.loss) {
            delay += RETRANSMISSION * (1 << losses);
            losses += 1;
        }
        delay
    }

    /// A coin.
    pub(crate) fn flip(&mut self) -> bool {
        self.random.chance(0.5)
    }
}
