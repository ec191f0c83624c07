//! What chance explains.

/// The most events of which chance alone makes more than so many only once in a thousand times, where this many are expected: the
/// 99.9 % quantile of the Poisson distribution.
pub(crate) fn most_by_chance(expected: f64) -> usize {
    const SHARE: f64 = 0.999;
    let mut term = (-expected).exp();
    let (mut sum, mut count) = (term, 0);
    // Beyond this many the sum of the terms has long been 1, to the last bit that a number has.
    let end = (expected * 2.0 + 100.0) as usize;
    while sum < SHARE && count < end {
        count += 1;
        term *= expected / count as f64;
        sum += term;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From tables of the Poisson distribution.
    #[test]
    fn more_than_the_quantile_comes_once_in_a_thousand_times() {
        let table =
            [(0.0, 0), (0.0005, 0), (0.01, 1), (0.1, 2), (0.45, 4), (1.0, 5), (4.0, 11), (10.0, 21), (100.0, 132)];
        for (expected, most) in table {
            assert_eq!(most_by_chance(expected), most, "{expected}");
        }
    }
}
