//! The hash of a run: two runs with one trace have done the same things at the same times.

use std::time::Duration;

/// A running hash over everything that was delivered or told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trace(u64);

impl Trace {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn value(self) -> u64 {
        self.0
    }

    /// Adds bytes that arrived at a host.
    pub(crate) fn bytes(&mut self, now: Duration, host: usize, kind: u64, bytes: &[u8]) {
        self.mix(now.as_nanos() as u64);
        self.mix((host as u64) << 8 | kind);
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        self.mix(rest.iter().fold(rest.len() as u64, |word, byte| word << 8 | u64::from(*byte)));
    }

    fn mix(&mut self, word: u64) {
        // The step of SplitMix64 over the sum so far.
        let mut z = (self.0 ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.0 = z ^ (z >> 31);
    }
}
