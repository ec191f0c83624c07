//! The last 128 intervals, with their sums kept exactly.
//!
//! A running sum of squares in floating point drifts, and after large samples have left the window its variance can come out
//! below zero: the deviation is then NaN, every comparison with it is false, and a healthy node is convicted. Whole
//! microseconds have none of this: the numerator of the variance is an integer, and Cauchy–Schwarz keeps it at zero or above.

use std::time::Duration;

/// How many intervals are kept.
pub(crate) const CAPACITY: usize = 128;

#[derive(Debug, Clone)]
pub(crate) struct Window {
    samples_us: [u32; CAPACITY],
    length: usize,
    next: usize,
    sum: u64,
    sum_of_squares: u128,
}

impl Window {
    pub(crate) const fn new() -> Self {
        Self { samples_us: [0; CAPACITY], length: 0, next: 0, sum: 0, sum_of_squares: 0 }
    }

    /// Adds a sample; the oldest one leaves a full window.
    pub(crate) fn push(&mut self, sample_us: u32) {
        if self.length == CAPACITY {
            let oldest = u64::from(self.samples_us[self.next]);
            self.sum -= oldest;
            self.sum_of_squares -= u128::from(oldest * oldest);
        } else {
            self.length += 1;
        }
        let sample = u64::from(sample_us);
        self.sum += sample;
        self.sum_of_squares += u128::from(sample * sample);
        self.samples_us[self.next] = sample_us;
        self.next = (self.next + 1) % CAPACITY;
    }

    pub(crate) const fn length(&self) -> usize {
        self.length
    }

    /// Arithmetic mean, in seconds. The window may not be empty.
    pub(crate) fn mean_seconds(&self) -> f64 {
        self.sum as f64 / self.length as f64 / MICROSECONDS_PER_SECOND
    }

    /// Standard deviation of the samples (not the estimate for a population), in seconds. The window may not be empty.
    pub(crate) fn deviation_seconds(&self) -> f64 {
        (self.variance_numerator() as f64).sqrt() / self.length as f64 / MICROSECONDS_PER_SECOND
    }

    /// `n·Σx² − (Σx)²`: n² times the variance, in µs². At most 2⁷⁸.
    fn variance_numerator(&self) -> u128 {
        let sum = u128::from(self.sum);
        self.length as u128 * self.sum_of_squares - sum * sum
    }
}

const MICROSECONDS_PER_SECOND: f64 = 1e6;

/// An interval as a sample; what is longer than `max` counts as `max`.
pub(crate) fn sample_us(interval: Duration, max: Duration) -> u32 {
    u32::try_from(interval.min(max).as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batch_numerator(samples: &[u32]) -> u128 {
        let n = samples.len() as i128;
        let sum: i128 = samples.iter().map(|&x| i128::from(x)).sum();
        // n·Σ(x − mean)²·n, computed from the differences so that it shares no formula with the window.
        let squares: i128 = samples.iter().map(|&x| (n * i128::from(x) - sum).pow(2)).sum();
        u128::try_from(squares / n).expect("a sum of squares is not negative")
    }

    proptest! {
        /// P4: the sliding sums are those of the samples that are in the window, exactly, and so is the variance.
        #[test]
        fn sliding_equals_computing_anew(
            samples in prop::collection::vec(prop_oneof![Just(0u32), Just(u32::MAX), any::<u32>(), 0u32..2000], 1..600),
        ) {
            let mut window = Window::new();
            for (i, &sample) in samples.iter().enumerate() {
                window.push(sample);
                let kept = &samples[(i + 1).saturating_sub(CAPACITY)..=i];
                prop_assert_eq!(window.length(), kept.len());
                prop_assert_eq!(window.sum, kept.iter().map(|&x| u64::from(x)).sum::<u64>());
                prop_assert_eq!(window.variance_numerator(), batch_numerator(kept));
            }
        }
    }

    #[test]
    fn after_huge_samples_have_left_equal_samples_deviate_by_exactly_nothing() {
        let mut window = Window::new();
        (0..CAPACITY).for_each(|_| window.push(u32::MAX));
        (0..CAPACITY).for_each(|_| window.push(1_000_003));
        assert_eq!(window.variance_numerator(), 0);
        assert_eq!(window.deviation_seconds(), 0.0);
        assert_eq!(window.mean_seconds(), 1.000_003);
    }

    #[test]
    fn long_intervals_are_clipped() {
        let max = Duration::from_secs(10);
        assert_eq!(sample_us(Duration::from_secs(11), max), 10_000_000);
        assert_eq!(sample_us(Duration::from_nanos(1_999), max), 1);
        assert_eq!(sample_us(Duration::MAX, Duration::MAX), u32::MAX);
    }
}
