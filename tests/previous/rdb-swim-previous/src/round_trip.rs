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
