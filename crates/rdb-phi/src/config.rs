//! What a detector expects of a stream of heartbeats.

use std::time::Duration;

/// The distribution that intervals between heartbeats are taken to follow. It gives the scale of phi: a threshold of one
/// model, or of one product, means something else in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Model {
    /// Normal distribution, with its exact tail: `phi = -log10(½·erfc(y/√2))`,
    /// `y = (elapsed - mean - acceptable_pause) / deviation`.
    ///
    /// Akka and Pekko use a logistic approximation in its place, which runs away from the tail that it stands for. Their
    /// phi 8 is reached at y = 5.23, where this model says 7.06; their phi at y = 6 is 10.78, and this one's 9.01.
    #[default]
    Normal,
    /// Exponential distribution: `phi = elapsed / mean / ln 10`. Only the mean counts: neither `acceptable_pause` nor the
    /// least deviation has a part in it.
    ///
    /// This is Cassandra's scale: 8 is reached after 18.42 mean intervals. ScyllaDB's and Quickwit's chitchat leave out the
    /// `ln 10`: their threshold `t` is `t / ln 10` here, and their 8 is 3.474.
    Exponential,
}

/// Settings of one detector. A value outside its range is taken as the nearest end of the range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// The distribution, and with it the scale of phi. Default: [`Model::Normal`].
    pub model: Model,
    /// The interval expected before any was seen; the window starts with two samples, one quarter below and one quarter above
    /// it. Too short brings false alarms at the start, too long a slow first detection. 1 µs to `max_interval`; default 1 s.
    pub first_interval: Duration,
    /// Silence on top of the mean interval that costs nothing, for garbage collection and lost heartbeats. Each second here is
    /// a second on every detection. 0 to 1 h; default 3 s.
    pub acceptable_pause: Duration,
    /// The least deviation: a stream as regular as a clock must not raise an alarm at the first hiccup. 1 µs to 1 h;
    /// default 100 ms.
    pub deviation_min: Duration,
    /// The least deviation as a part of the mean; the larger of the two counts. 0 to 1; default 0.1.
    pub deviation_min_fraction: f64,
    /// A longer interval is counted as this long. Leaving it out instead would freeze the mean of a stream that has become
    /// slower for good; counting it in full would make the detector blind for a window's length. 1 µs to 4,294 s;
    /// default 10 s.
    pub max_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model: Model::Normal,
            first_interval: Duration::from_secs(1),
            acceptable_pause: Duration::from_secs(3),
            deviation_min: Duration::from_millis(100),
            deviation_min_fraction: 0.1,
            max_interval: Duration::from_secs(10),
        }
    }
}

impl Config {
    const HOUR: Duration = Duration::from_secs(3600);
    const MICROSECOND: Duration = Duration::from_micros(1);

    /// The same settings with every value inside its range.
    pub(crate) fn clamped(self) -> Self {
        let max_interval = self.max_interval.clamp(Self::MICROSECOND, Duration::from_secs(4294));
        let fraction = self.deviation_min_fraction;
        Self {
            model: self.model,
            first_interval: self.first_interval.clamp(Self::MICROSECOND, max_interval),
            acceptable_pause: self.acceptable_pause.min(Self::HOUR),
            deviation_min: self.deviation_min.clamp(Self::MICROSECOND, Self::HOUR),
            deviation_min_fraction: if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) },
            max_interval,
        }
    }
}
