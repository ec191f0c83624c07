//! The detector of one stream of heartbeats.

use std::f64::consts::LN_10;
use std::time::Duration;

use crate::config::{Config, Model};
use crate::normal;
use crate::window::{Window, sample_us};

/// What a detector has seen.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Statistics {
    /// Heartbeats counted since the start or the last reset.
    pub beats: u64,
    /// Heartbeats passed over, because their sequence number was not above all before it.
    pub stale: u64,
    /// Intervals longer than `max_interval`, counted as that long.
    pub clipped: u64,
    /// Intervals in the window, the two assumed ones included while they last.
    pub samples: usize,
    /// Mean of the window.
    pub mean: Duration,
    /// Deviation that phi is computed with: that of the window, or the least one where it is larger.
    pub deviation: Duration,
}

/// Phi accrual failure detector of one stream of heartbeats.
///
/// `now` is the time since an origin of the caller's choice. A clock that steps back counts as standing still.
#[derive(Debug, Clone)]
pub struct PhiDetector {
    config: Config,
    window: Window,
    /// The last heartbeat, or the start.
    last: Duration,
    highest_sequence: Option<u64>,
    beats: u64,
    stale: u64,
    clipped: u64,
}

/// What phi depends on between two heartbeats, in seconds.
struct Moments {
    mean: f64,
    deviation: f64,
}

impl PhiDetector {
    /// A detector whose stream is expected to start now: silence counts from here, against `first_interval`.
    pub fn new(config: Config, now: Duration) -> Self {
        let config = config.clamped();
        let first_us = sample_us(config.first_interval, config.max_interval);
        let mut window = Window::new();
        // Two samples with the wanted mean and a deviation of a quarter of it (Akka's choice): a single one would have none.
        window.push(first_us - first_us / 4);
        window.push(first_us.saturating_add(first_us / 4));
        Self { config, window, last: now, highest_sequence: None, beats: 0, stale: 0, clipped: 0 }
    }

    /// A heartbeat has come. True if it was counted.
    ///
    /// `sequence` is the sender's counter. One that is not above all before it changes nothing: a heartbeat that came by
    /// two ways would shrink the mean, and one that was held up on its way would keep a dead node alive. Without a
    /// sequence each heartbeat counts.
    pub fn heartbeat(&mut self, now: Duration, sequence: Option<u64>) -> bool {
        if let Some(sequence) = sequence {
            if self.highest_sequence.is_some_and(|highest| sequence <= highest) {
                self.stale += 1;
                return false;
            }
            self.highest_sequence = Some(sequence);
        }
        let interval = now.saturating_sub(self.last);
        self.clipped += u64::from(interval > self.config.max_interval);
        self.window.push(sample_us(interval, self.config.max_interval));
        self.last = self.last.max(now);
        self.beats += 1;
        true
    }

    /// How suspicious the present silence is: zero or above, finite, never falling until the next heartbeat. Which number means
    /// what is said at [`Model`].
    pub fn phi(&self, now: Duration) -> f64 {
        let elapsed = now.saturating_sub(self.last).as_secs_f64();
        let Moments { mean, deviation } = self.moments();
        match self.config.model {
            Model::Normal => normal::phi((elapsed - mean - self.config.acceptable_pause.as_secs_f64()) / deviation),
            Model::Exponential => elapsed / mean / LN_10,
        }
    }

    /// When phi reaches this threshold if no heartbeat comes before, to the nanosecond above. The time of the last heartbeat
    /// where phi starts no lower; `None` where the threshold is not finite or lies beyond the end of time.
    pub fn deadline(&self, threshold: f64) -> Option<Duration> {
        if !threshold.is_finite() {
            return None;
        }
        if self.phi(self.last) >= threshold {
            return Some(self.last);
        }
        let Moments { mean, deviation } = self.moments();
        let elapsed = match self.config.model {
            Model::Normal => {
                mean + self.config.acceptable_pause.as_secs_f64() + deviation * normal::deviation(threshold)
            }
            Model::Exponential => threshold * mean * LN_10,
        };
        let elapsed = Duration::try_from_secs_f64(elapsed.max(0.0)).ok()?;
        // The conversion rounds to the nearest nanosecond; the next one is surely not too early.
        self.last.checked_add(elapsed)?.checked_add(Duration::from_nanos(1))
    }

    /// How much the node may be trusted with: 1 without suspicion, falling to 0 at the threshold. A factor for its weight in
    /// load balancing. 0 where the threshold is not above 0.
    pub fn trust(&self, now: Duration, threshold: f64) -> f64 {
        if threshold > 0.0 { (1.0 - self.phi(now) / threshold).clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Forgets everything but the settings, for another life of the sender: its sequence starts anew, and so does its rhythm.
    pub fn reset(&mut self, now: Duration) {
        *self = Self::new(self.config, now);
    }

    /// What was seen so far.
    pub fn stats(&self) -> Statistics {
        let Moments { mean, deviation } = self.moments();
        Statistics {
            beats: self.beats,
            stale: self.stale,
            clipped: self.clipped,
            samples: self.window.length(),
            mean: Duration::from_secs_f64(mean),
            deviation: Duration::from_secs_f64(deviation),
        }
    }

    fn moments(&self) -> Moments {
        // A burst in one microsecond has the mean zero; one microsecond keeps the quotient finite.
        let mean = self.window.mean_seconds().max(1e-6);
        let deviation = self
            .window
            .deviation_seconds()
            .max(self.config.deviation_min.as_secs_f64())
            .max(mean * self.config.deviation_min_fraction);
        Moments { mean, deviation }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
