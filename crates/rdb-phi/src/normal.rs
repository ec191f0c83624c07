//! Phi of the normal distribution and its inverse, exact over the whole line.
//!
//! `-log10(1 - CDF(y))` is infinite from y = 8.3 on, where the difference is no longer representable. The complementary error
//! function carries on to y = 37; beyond y = 30 its asymptotic series takes over (Abramowitz and Stegun, 7.1.23), whose error
//! there is below 2·10⁻¹². A switch as early as y = 5, as short series are often used, would leave a step of 10⁻⁴.

use std::f64::consts::{FRAC_1_SQRT_2, LN_10, PI};

const SERIES_FROM: f64 = 30.0;

/// The probability that a standard normal variable is above `y`.
fn tail(y: f64) -> f64 {
    0.5 * libm::erfc(y * FRAC_1_SQRT_2)
}

/// `-log10` of the probability that a standard normal variable is above `y`. Zero or above, and finite for every finite `y`.
pub(crate) fn phi(y: f64) -> f64 {
    let natural = if y < 0.0 {
        // The tail is nearly one here: its logarithm comes from the small rest.
        -libm::log1p(-tail(-y))
    } else if y < SERIES_FROM {
        -tail(y).ln()
    } else {
        let inverse_square = 1.0 / (y * y);
        let series =
            inverse_square * (-1.0 + inverse_square * (3.0 + inverse_square * (-15.0 + inverse_square * 105.0)));
        0.5 * y * y + (y * (2.0 * PI).sqrt()).ln() - libm::log1p(series)
    };
    (natural / LN_10).clamp(0.0, f64::MAX)
}

/// The slope of phi, times `ln 10`: the hazard rate, density over tail.
fn hazard(y: f64) -> f64 {
    if y < SERIES_FROM { (-0.5 * y * y).exp() / (2.0 * PI).sqrt() / tail(y) } else { y + 1.0 / y }
}

/// The `y` at which [`phi`] has this value, which must be finite and above zero.
///
/// Phi is convex (the normal tail is log-concave) and `phi(y) ≥ y² / (2·ln 10)` for y ≥ 0, so Newton's method starts right of
/// the solution and walks down to it. Four to six steps do for phi from 0.5 on; the bound is for the far left.
pub(crate) fn deviation(phi_wanted: f64) -> f64 {
    const STEPS_MAX: u32 = 64;
    const LEFT_END: f64 = -38.0;
    let mut y = (2.0 * LN_10 * phi_wanted).sqrt();
    for _ in 0..STEPS_MAX {
        let step = (phi(y) - phi_wanted) * LN_10 / hazard(y);
        if !step.is_finite() || y - step < LEFT_END {
            return LEFT_END;
        }
        y -= step;
        if step.abs() <= 1e-15 * y.abs() {
            break;
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Golden values: `-log10` of the normal tail, computed with mpmath at 60 digits.
    #[test]
    fn phi_is_the_exact_normal_tail() {
        let golden = [
            (0.0, std::f64::consts::LOG10_2),
            (1.0, 0.799_545_541_491_971),
            (4.0, 4.499_334_907_556_48),
            (5.0, 6.542_645_672_390_65),
            (6.0, 9.005_864_327_476_7),
            (8.0, 15.206_142_551_017_2),
            (10.0, 23.118_053_405_486_1),
            (20.0, 88.560_095_343_075_6),
            (30.0, 197.309_209_261_661),
            (40.0, 349.437_006_459_346),
        ];
        for (y, expected) in golden {
            assert!((phi(y) - expected).abs() < 1e-10 * (1.0 + expected), "phi({y}) = {}, not {expected}", phi(y));
        }
        // Where Akka's approximation says 8.
        assert!((phi(5.23) - 7.06).abs() < 0.02);
    }

    #[test]
    fn the_series_meets_the_error_function() {
        let below = SERIES_FROM - f64::EPSILON * 64.0;
        assert!((phi(SERIES_FROM) - phi(below)).abs() < 1e-10);
        assert!((hazard(SERIES_FROM) / hazard(below) - 1.0).abs() < 1e-5);
    }

    #[test]
    fn phi_is_finite_for_every_finite_deviation() {
        for y in [-f64::MAX, -1e200, -38.6, -9.0, -0.0, 8.3, 21.3, 25.0, 37.5, 38.6, 1e10, 1e160, f64::MAX] {
            assert!(phi(y).is_finite() && phi(y) >= 0.0, "phi({y}) = {}", phi(y));
        }
    }

    proptest! {
        /// P2 for the formula itself; a detector adds the rounding to whole nanoseconds.
        #[test]
        fn the_inverse_is_exact(wanted in prop_oneof![1e-9f64..1.0, 1.0f64..20.0, 20.0f64..1000.0]) {
            let found = phi(deviation(wanted));
            prop_assert!((found - wanted).abs() <= 1e-9, "{found} for {wanted}");
        }

        #[test]
        fn phi_never_falls_as_the_deviation_grows(y in -60.0f64..60.0, step in 1e-6f64..10.0) {
            prop_assert!(phi(y + step) >= phi(y));
        }
    }
}
