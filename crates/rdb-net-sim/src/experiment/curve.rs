//! Curves of what a run has shown over its time, with no more points than a picture has room for.

use crate::report::{Series, Stroke};

/// So many dots beside each other can still be told apart.
const POINTS_MAX: usize = 120;

/// What one point says for its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// Their greatest value: what lasts for a moment only is seen too.
    Greatest,
    /// Their mean.
    Mean,
}

/// The curve through these points, from left to right.
pub(crate) fn curve(name: &str, points: &[(f64, f64)], of: Of) -> Series {
    let each = points.len().div_ceil(POINTS_MAX).max(1);
    let one = |neighbours: &[(f64, f64)]| {
        let (at, _) = *neighbours.last()?;
        let values = neighbours.iter().map(|(_, value)| *value);
        let value = match of {
            Of::Greatest => values.fold(f64::NEG_INFINITY, f64::max),
            Of::Mean => values.sum::<f64>() / neighbours.len() as f64,
        };
        Some((at, value))
    };
    let points = points.chunks(each).filter_map(one).collect();
    Series { name: name.to_owned(), stroke: Stroke::Measured, points }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_points_stay_and_of_many_none_is_forgotten() {
        let few = [(0.5, 3.0), (1.0, 1.0)];
        assert_eq!(curve("a", &few, Of::Mean).points, few);
        assert_eq!(curve("a", &[], Of::Mean).points, []);
        let many: Vec<(f64, f64)> = (0..360).map(|n| (f64::from(n), if n == 100 { 7.0 } else { 1.0 })).collect();
        let (greatest, mean) = (curve("a", &many, Of::Greatest).points, curve("a", &many, Of::Mean).points);
        assert_eq!((greatest.len(), greatest[33], greatest[34]), (120, (101.0, 7.0), (104.0, 1.0)));
        assert_eq!((mean.len(), mean[33], mean[119]), (120, (101.0, 3.0), (359.0, 1.0)));
    }
}
