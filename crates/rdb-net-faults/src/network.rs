//! What happens to what is sent: time, loss, reordering, duplication, cuts.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::time::Duration;

use rdb_net_types::SeededRandom;

use crate::link::LinkFaults;

/// A lost piece of a stream is sent again after this time, which doubles with each further loss (RFC 6298, section 5.5).
const RETRANSMISSION: Duration = Duration::from_millis(200);

/// How often a lost piece is sent again before the loss is taken for a long delay.
const RETRANSMISSIONS_MAX: u32 = 6;

/// The links between places that are named by `N`.
#[derive(Debug, Clone)]
pub struct Network<N> {
    default_link: LinkFaults,
    links: BTreeMap<(N, N), LinkFaults>,
    /// Pairs (from, to) between which nothing passes.
    cuts: BTreeSet<(N, N)>,
    /// When what was sent over a link of limited bandwidth has passed.
    busy_until: BTreeMap<(N, N), Duration>,
    random: SeededRandom,
}

impl<N: Ord + Clone> Network<N> {
    /// Links that are all like this one, until told otherwise. Equal seeds and calls give equal answers.
    pub fn new(default_link: LinkFaults, seed: u64) -> Self {
        Self {
            default_link,
            links: BTreeMap::new(),
            cuts: BTreeSet::new(),
            busy_until: BTreeMap::new(),
            random: SeededRandom::new(seed),
        }
    }

    /// How the links are that were not set by themselves.
    pub fn default_link(&mut self) -> &mut LinkFaults {
        &mut self.default_link
    }

    /// How the link from one place to another is.
    pub fn link(&self, from: &N, to: &N) -> LinkFaults {
        // Most networks have no link of their own, and then no key has to be made.
        let own = if self.links.is_empty() { None } else { self.links.get(&(from.clone(), to.clone())) };
        own.copied().unwrap_or(self.default_link)
    }

    /// Sets one direction of a link by itself.
    pub fn set_link(&mut self, from: N, to: N, faults: LinkFaults) {
        self.links.insert((from, to), faults);
    }

    /// All links are as the default one, and none is cut.
    pub fn reset_links(&mut self) {
        self.links.clear();
        self.cuts.clear();
    }

    /// Whether everything that is sent arrives, on every link.
    pub fn loses_nothing(&self) -> bool {
        self.cuts.is_empty() && self.default_link.loss <= 0.0 && self.links.values().all(|link| link.loss <= 0.0)
    }

    /// Cuts one direction: nothing that is sent from here on passes. What is under way arrives.
    pub fn cut(&mut self, from: N, to: N) {
        self.cuts.insert((from, to));
    }

    /// Mends one direction.
    pub fn mend(&mut self, from: N, to: N) {
        self.cuts.remove(&(from, to));
    }

    /// Whether what is sent in this direction passes at all.
    pub fn passes(&self, from: &N, to: &N) -> bool {
        self.cuts.is_empty() || !self.cuts.contains(&(from.clone(), to.clone()))
    }

    /// How long the copies of a datagram take that is sent now: of none, one or two.
    pub fn datagram(&mut self, now: Duration, from: &N, to: &N, bytes: usize) -> Vec<Duration> {
        let link = self.link(from, to);
        let queued = self.queue(now, from, to, bytes, link.bytes_per_second);
        // What is drawn does not depend on the cuts, so that a cut changes nothing but what it cuts.
        let (is_lost, is_doubled) = (self.random.chance(link.loss), self.random.chance(link.duplication));
        let copies = (0..if is_doubled { 2 } else { 1 }).map(|_| queued + self.datagram_delay(&link)).collect();
        if is_lost || !self.passes(from, to) { Vec::new() } else { copies }
    }

    /// How long a piece of a stream takes that is sent now, where the link is not cut. A loss shows as the time until the piece
    /// is sent again. The order of a stream is its [`Pipe`](crate::Pipe)'s.
    pub fn segment(&mut self, now: Duration, from: &N, to: &N, bytes: usize) -> Duration {
        let link = self.link(from, to);
        let mut delay = self.queue(now, from, to, bytes, link.bytes_per_second) + self.delay(&link);
        let mut losses = 0;
        while losses < RETRANSMISSIONS_MAX && self.random.chance(link.loss) {
            delay += RETRANSMISSION * (1 << losses);
            losses += 1;
        }
        delay
    }

    /// A coin, for what a network leaves to chance besides: whether a connection ends or is reset.
    pub fn flip(&mut self) -> bool {
        self.random.chance(0.5)
    }

    fn delay(&mut self, link: &LinkFaults) -> Duration {
        link.latency + self.random.duration(Duration::ZERO, link.jitter)
    }

    fn datagram_delay(&mut self, link: &LinkFaults) -> Duration {
        let delay = self.delay(link);
        // A link that reorders nothing draws nothing.
        if link.reordering > 0.0 && self.random.chance(link.reordering) {
            return delay + self.random.duration(Duration::ZERO, link.reordering_delay);
        }
        delay
    }

    /// How long it takes until a packet has left, behind those that wait at the same link.
    fn queue(&mut self, now: Duration, from: &N, to: &N, bytes: usize, limit: Option<NonZeroU64>) -> Duration {
        let Some(limit) = limit else { return Duration::ZERO };
        let busy_until = self.busy_until.entry((from.clone(), to.clone())).or_default();
        let passing = Duration::from_secs_f64(bytes as f64 / limit.get() as f64);
        *busy_until = now.max(*busy_until).saturating_add(passing);
        *busy_until - now
    }
}
