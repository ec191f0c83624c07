//! A small seeded generator: the only source of chance inside a protocol, so that one seed replays one run.
//!
//! SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014). Not for secrets.

use std::time::Duration;

/// A deterministic generator of 64-bit numbers.
#[derive(Debug, Clone)]
pub struct SeededRandom {
    state: u64,
}

impl SeededRandom {
    /// The generator of this seed; every seed is legal.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// An independent generator, for a part that must not disturb the sequence of the others.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::new(self.next_u64())
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 where the bound is 0. The bias is below 2⁻³² for bounds under 2³².
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// An index into a list of this length; 0 for an empty one.
    pub fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// A number in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with this probability; never at 0 or below, always at 1 or above.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A duration from `low` up to `high`, `low` where the range is empty.
    pub fn duration(&mut self, low: Duration, high: Duration) -> Duration {
        let span_ns = high.saturating_sub(low).as_nanos() as u64;
        low + Duration::from_nanos(self.below(span_ns.saturating_add(1)))
    }

    /// Puts a list into random order (Fisher–Yates).
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.index(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_of_a_seed_never_changes() {
        // Reference values of SplitMix64 with seed 1234567 (Vigna's splitmix64.c).
        let mut random = SeededRandom::new(1_234_567);
        let drawn: Vec<u64> = (0..3).map(|_| random.next_u64()).collect();
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn bounds_hold_at_their_ends() {
        let mut random = SeededRandom::new(1);
        assert_eq!(random.below(0), 0);
        assert_eq!(random.index(1), 0);
        assert!(!random.chance(0.0));
        assert!(random.chance(1.0));
        let (low, high) = (Duration::from_millis(3), Duration::from_millis(5));
        assert!((0..1000).map(|_| random.duration(low, high)).all(|d| (low..=high).contains(&d)));
        assert_eq!(random.duration(high, low), high);
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut list: Vec<u32> = (0..100).collect();
        SeededRandom::new(9).shuffle(&mut list);
        assert_ne!(list, (0..100).collect::<Vec<_>>());
        list.sort_unstable();
        assert_eq!(list, (0..100).collect::<Vec<_>>());
    }
}
