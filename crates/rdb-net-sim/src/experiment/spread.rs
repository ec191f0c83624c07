//! What a list of numbers says: mean, order statistics.

/// Numbers, sorted.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Spread(Vec<f64>);

impl Spread {
    pub(crate) fn new(mut numbers: Vec<f64>) -> Self {
        numbers.sort_by(f64::total_cmp);
        Self(numbers)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn mean(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.iter().sum::<f64>() / self.0.len() as f64)
    }

    /// The standard error of the mean.
    pub(crate) fn error_of_mean(&self) -> Option<f64> {
        let (mean, n) = (self.mean()?, self.0.len() as f64);
        let squares: f64 = self.0.iter().map(|number| (number - mean).powi(2)).sum();
        (n > 1.0).then(|| (squares / (n - 1.0) / n).sqrt())
    }

    /// The number below or at which this share of all lies.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.max(1) - 1).copied()
    }

    pub(crate) fn most(&self) -> Option<f64> {
        self.0.last().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_knows_mean_error_and_quantiles() {
        let spread = Spread::new(vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!((spread.mean(), spread.most(), spread.count()), (Some(2.5), Some(4.0), 4));
        assert_eq!(
            [0.0, 0.25, 0.5, 0.51, 1.0].map(|share| spread.quantile(share)),
            [1.0, 1.0, 2.0, 3.0, 4.0].map(Some)
        );
        let error = spread.error_of_mean().expect("four numbers");
        assert!((error - (5.0f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12);
        let none = Spread::default();
        assert_eq!((none.mean(), none.error_of_mean(), none.quantile(0.5), none.most()), (None, None, None, None));
    }
}
