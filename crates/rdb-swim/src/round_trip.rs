//! How long a member's answers take, in 24 bits for each member.
//!
//! RFC 6298, section 2: a smoothed round trip and its mean deviation; an answer is late after the one plus four times the other.

use std::time::Duration;

/// Bits of one time: a mantissa below, an exponent above, of microseconds.
const BITS: u32 = 12;
const MANTISSA_BITS: u32 = 7;
const TIME_MASK: u32 = (1 << BITS) - 1;

/// The round trips of one member so far. Times are held with an error below one in a hundred, up to an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RoundTrips(u32);

impl RoundTrips {
    pub(crate) const BITS: u32 = BITS * 2;

    pub(crate) fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    /// The smoothed round trip, once there was one.
    pub(crate) fn smoothed(self) -> Option<Duration> {
        (self.0 != 0).then(|| unpacked(self.0 & TIME_MASK))
    }

    /// After so long an answer is late.
    pub(crate) fn late(self) -> Option<Duration> {
        self.smoothed().map(|smoothed| smoothed + unpacked(self.0 >> BITS) * 4)
    }

    /// Takes another one.
    #[must_use]
    pub(crate) fn with(self, sample: Duration) -> Self {
        let (smoothed, deviation) = match self.smoothed() {
            None => (sample, sample / 2),
            Some(smoothed) => {
                let deviation = (unpacked(self.0 >> BITS) * 3 + smoothed.abs_diff(sample)) / 4;
                ((smoothed * 7 + sample) / 8, deviation)
            }
        };
        // Of a time that is no time at all it is known as well that it was measured.
        Self(packed(smoothed).max(1) | packed(deviation) << BITS)
    }
}

/// The nearest time that is held. Below 2^7 µs the mantissa is all; above, its highest bit is understood.
fn packed(time: Duration) -> u32 {
    let micros = time.as_micros().min(1 << 31) as u64;
    if micros < 1 << MANTISSA_BITS {
        return micros as u32;
    }
    let exponent = micros.ilog2() - MANTISSA_BITS;
    let rounded = (micros + (1 << exponent >> 1)) >> exponent;
    let (exponent, rounded) =
        if rounded >> (MANTISSA_BITS + 1) == 0 { (exponent, rounded) } else { (exponent + 1, rounded >> 1) };
    (exponent + 1) << MANTISSA_BITS | (rounded as u32 - (1 << MANTISSA_BITS))
}

fn unpacked(bits: u32) -> Duration {
    let mantissa = u64::from(bits & ((1 << MANTISSA_BITS) - 1));
    Duration::from_micros(match bits >> MANTISSA_BITS {
        0 => mantissa,
        exponent => (mantissa + (1 << MANTISSA_BITS)) << (exponent - 1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    #[test]
    fn times_are_held_within_one_percent() {
        for micros in (0..60).map(|step| (1.5_f64.powi(step) as u64).min(2_000_000_000)) {
            let held = unpacked(packed(us(micros)));
            assert!(held.abs_diff(us(micros)) <= us(micros) / 100, "{micros} us: {held:?}");
            assert!(packed(us(micros)) <= TIME_MASK);
        }
        assert_eq!(packed(Duration::MAX), packed(us(1 << 31)));
        assert_eq!([0, 1, 127, 128, 255, 256, 257].map(|time| packed(us(time))), [0, 1, 127, 128, 255, 256, 257]);
    }

    #[test]
    fn an_answer_is_late_after_the_smoothed_time_and_four_deviations() {
        let none = RoundTrips::default();
        assert_eq!((none.smoothed(), none.late()), (None, None));
        let first = none.with(us(80));
        assert_eq!((first.smoothed(), first.late()), (Some(us(80)), Some(us(80 + 4 * 40))));
        let second = first.with(us(120));
        assert_eq!((second.smoothed(), second.late()), (Some(us(85)), Some(us(85 + 4 * 40))));
        let steady = (0..100).fold(second, |held, _| held.with(us(100)));
        let smoothed = steady.smoothed().expect("measured");
        assert!(smoothed.abs_diff(us(100)) <= us(8), "{smoothed:?}");
        assert!(steady.late().expect("measured") <= us(140), "regular answers leave little doubt");
    }

    #[test]
    fn an_answer_within_no_time_counts_as_measured() {
        assert_eq!(RoundTrips::default().with(Duration::ZERO).smoothed(), Some(us(1)));
    }
}
