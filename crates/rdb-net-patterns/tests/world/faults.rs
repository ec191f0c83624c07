//! What goes wrong in a world, and how often.

use std::time::Duration;

use rdb_net_types::SeededRandom;

use super::{Ahead, Host, World};

/// The faults of a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Faults {
    /// How long a message is under way.
    pub(crate) delay_min: Duration,
    pub(crate) delay_max: Duration,
    /// The chance that a message is lost.
    pub(crate) loss: f64,
    /// The chance that a second copy of a request arrives later.
    pub(crate) copy: f64,
    /// The chance that a node answers that it takes no more.
    pub(crate) overload: f64,
    /// The chance that a node dies at an output of its machine.
    pub(crate) death_at_output: f64,
    /// The chance that a sync fails.
    pub(crate) failed_sync: f64,
    /// How many deaths of nodes there are beside, in the first ten seconds.
    pub(crate) deaths: usize,
    /// How long a node stays dead.
    pub(crate) dead_min: Duration,
    pub(crate) dead_max: Duration,
    /// How many cuts between two nodes there are in the first ten seconds.
    pub(crate) cuts: usize,
    /// How long a sync takes; one of fifty takes ten times the longest.
    pub(crate) sync_min: Duration,
    pub(crate) sync_max: Duration,
}

impl Faults {
    /// Faults by chance: from a calm network to one where hardly anything works.
    pub(crate) fn draw(random: &mut SeededRandom) -> Self {
        let ms = Duration::from_millis;
        let often = |random: &mut SeededRandom, most: f64| if random.chance(0.3) { 0.0 } else { random.unit() * most };
        Self {
            delay_min: Duration::from_micros(50),
            delay_max: random.duration(ms(1), ms(150)),
            loss: often(random, 0.15),
            copy: often(random, 0.2),
            overload: often(random, 0.1),
            death_at_output: often(random, 0.02),
            failed_sync: often(random, 0.01),
            deaths: random.index(6),
            dead_min: ms(1),
            dead_max: random.duration(ms(50), ms(4000)),
            cuts: random.index(12),
            sync_min: Duration::from_micros(20),
            sync_max: random.duration(ms(1), ms(30)),
        }
    }
}

impl<H: Host> World<H> {
    /// Deaths and cuts that come at a time, not at a step.
    pub(super) fn plan(&mut self) {
        for _ in 0..self.faults.deaths {
            let node = self.random.index(self.places.len());
            let at = self.random.duration(Duration::ZERO, Duration::from_secs(10));
            self.at(at, Ahead::Dies { node });
        }
        for _ in 0..self.faults.cuts {
            let a = self.random.index(self.places.len());
            let b = self.random.index(self.places.len());
            let at = self.random.duration(Duration::ZERO, Duration::from_secs(10));
            let back = self.random.duration(Duration::from_millis(20), Duration::from_secs(4));
            if a != b {
                self.at(at, Ahead::Cuts { a: a.min(b), b: a.max(b), back });
            }
        }
    }

    pub(super) fn cut(&mut self, a: usize, b: usize, back: Duration) {
        if !self.is_healed {
            self.counts.cuts += 1;
            *self.cuts.entry((a, b)).or_default() += 1;
            self.lose_calls_between(a, b);
            self.after(back, Ahead::Joins { a, b });
        }
    }

    pub(super) fn join(&mut self, a: usize, b: usize) {
        if let Some(count) = self.cuts.get_mut(&(a, b)) {
            *count -= 1;
            if *count == 0 {
                self.cuts.remove(&(a, b));
            }
        }
    }

    pub(super) fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cuts.contains_key(&(a.min(b), a.max(b)))
    }

    pub(super) fn is_lost(&mut self) -> bool {
        !self.is_healed && self.random.chance(self.faults.loss)
    }
}
