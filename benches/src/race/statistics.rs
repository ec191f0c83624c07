//! Medians, and an interval for a median that assumes nothing about the distribution.
//!
//! The interval is made of order statistics: between the k-th smallest and the k-th largest of n values the median
//! lies with probability `1 - 2 P(Binomial(n, 1/2) < k)` (H. A. David, H. N. Nagaraja, "Order Statistics", 3rd ed.,
//! section 7.1). Five values give their smallest and largest at 93.75 %, eleven the third of each side at 93.46 %.

use serde::Serialize;

/// The smallest coverage that is accepted before the outermost values are used.
const COVERAGE_MIN: f64 = 0.93;

/// A median and an interval around it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// The middle value.
    pub median: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// How many values it was made of.
    pub values: usize,
    /// Probability, 0 to 1, that the interval holds the true median; below 0.93 for fewer than five values.
    pub coverage: f64,
}

/// The median; the mean of the two middle values of an even number; `None` of nothing.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// The median and its interval of at least 93 % coverage where the number of values allows one; `None` of nothing.
#[must_use]
pub fn median_interval(values: &[f64]) -> Option<Interval> {
    let median = median(values)?;
    let sorted = sorted(values);
    let mut rank = 1;
    while 2 * (rank + 1) <= sorted.len() && coverage(sorted.len(), rank + 1) >= COVERAGE_MIN {
        rank += 1;
    }
    Some(Interval {
        median,
        low: sorted[rank - 1],
        high: sorted[sorted.len() - rank],
        values: sorted.len(),
        coverage: coverage(sorted.len(), rank),
    })
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// `1 - 2 P(Binomial(count, 1/2) < rank)`.
fn coverage(count: usize, rank: usize) -> f64 {
    let mut term = 0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX));
    let mut below = 0.0;
    for successes in 0..rank {
        below += term;
        term *= (count - successes) as f64 / (successes + 1) as f64;
    }
    (1.0 - 2.0 * below).max(0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(count: usize, low: f64, high: f64, coverage: f64) {
        let values: Vec<f64> = (1..=count).rev().map(|value| value as f64).collect();
        let interval = median_interval(&values).unwrap();
        assert_eq!((interval.low, interval.high), (low, high));
        assert!((interval.coverage - coverage).abs() < 1e-4, "{interval:?}");
    }

    #[test]
    fn the_interval_uses_the_rank_that_keeps_its_coverage() {
        check(1, 1.0, 1.0, 0.0);
        check(2, 1.0, 2.0, 0.5);
        check(5, 1.0, 5.0, 0.9375);
        check(7, 1.0, 7.0, 0.9844);
        check(9, 2.0, 8.0, 0.9609);
        check(11, 3.0, 9.0, 0.9346);
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[]), None);
        assert_eq!(median_interval(&[]), None);
    }

    proptest! {
        #[test]
        fn the_median_is_inside_its_interval(values in proptest::collection::vec(-1e9..1e9_f64, 1..40)) {
            let interval = median_interval(&values).unwrap();
            prop_assert!(interval.low <= interval.median && interval.median <= interval.high);
        }
    }
}
