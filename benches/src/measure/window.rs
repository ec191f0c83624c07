//! The measured window and what is recorded in it.
//!
//! An operation counts when it ends inside the window. The clock is read once per operation (the end of one call is
//! the start of the next), because at three million operations a second a second reading would be seen.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::workload::Workload;

static PAYLOAD: [u8; 1 << 20] = [0x5a; 1 << 20];

/// The payload of a workload: static bytes, so that cloning it costs no peer anything.
#[must_use]
pub fn payload(workload: Workload) -> Bytes {
    Bytes::from_static(&PAYLOAD[..workload.payload_bytes()])
}

/// Told when the window opens and closes, to read clocks of processor time there.
pub trait Marks: Send + Sync + std::fmt::Debug {
    /// The window opens at this moment.
    fn started(&self);
    /// The window closes at this moment.
    fn ended(&self);
}

/// What a peer's client is asked to do.
#[derive(Debug, Clone)]
pub struct Run {
    /// The traffic.
    pub workload: Workload,
    /// Traffic before the window opens.
    pub warm_up: Duration,
    /// Length of the window.
    pub length: Duration,
    /// Told when the window opens and closes.
    pub marks: Arc<dyn Marks>,
}

impl Run {
    /// Fixes the window from this moment on. A thread of its own tells the marks, so that neither a busy runtime nor
    /// its timers touch the figures; [`Window::close`] joins it.
    ///
    /// # Errors
    ///
    /// The operating system's, when the thread cannot be started.
    pub fn open_window(&self) -> std::io::Result<(Window, Closing)> {
        let start = Instant::now() + self.warm_up;
        let window = Window { start, end: start + self.length };
        let marks = Arc::clone(&self.marks);
        let thread = std::thread::Builder::new().name("marks".into()).spawn(move || {
            std::thread::sleep(window.start.saturating_duration_since(Instant::now()));
            marks.started();
            std::thread::sleep(window.end.saturating_duration_since(Instant::now()));
            marks.ended();
        })?;
        Ok((window, Closing(thread)))
    }
}

/// The thread that tells the marks of one window.
#[derive(Debug)]
pub struct Closing(JoinHandle<()>);

/// The moments between which operations count.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// The first moment that counts.
    pub start: Instant,
    /// The first moment that no longer counts.
    pub end: Instant,
}

impl Window {
    /// Waits until both marks are told and turns what was recorded into the outcome.
    #[must_use]
    pub fn close(self, closing: Closing, recorder: &Recorder) -> Outcome {
        // A panic of the marks is theirs to report; what was recorded stands.
        let _told = closing.0.join();
        Outcome {
            operations: recorder.operations,
            seconds: (self.end - self.start).as_secs_f64(),
            latency: Some(recorder.latency()),
        }
    }
}

/// Operations and latencies of one caller.
#[derive(Debug)]
pub struct Recorder {
    window: Window,
    operations: u64,
    latencies: Histogram<u32>,
}

impl Recorder {
    /// A recorder for one of `callers` callers.
    ///
    /// One caller gets three significant digits. Many get two: with three, the touched counters of 64 callers would
    /// push the peer's own data out of the second-level cache.
    #[must_use]
    pub fn new(window: Window, callers: usize) -> Self {
        let digits = if callers == 1 { 3 } else { 2 };
        Self { window, operations: 0, latencies: histogram(digits) }
    }

    /// Records an operation, if it ended inside the window.
    #[inline]
    pub fn record(&mut self, started: Instant, ended: Instant) {
        if ended >= self.window.start && ended < self.window.end {
            self.operations += 1;
            let nanoseconds = u64::try_from((ended - started).as_nanos()).unwrap_or(u64::MAX);
            self.latencies.saturating_record(nanoseconds);
        }
    }

    /// Adds what another caller recorded.
    pub fn merge(&mut self, other: &Self) {
        self.operations += other.operations;
        self.latencies.add(&other.latencies).expect("invariant: every recorder has the same range");
    }

    fn latency(&self) -> Latency {
        quantiles(&self.latencies)
    }
}

/// A histogram of nanoseconds, up to one minute, with this many significant digits: 2 or 3.
#[must_use]
pub fn histogram(digits: u8) -> Histogram<u32> {
    const LONGEST_NS: u64 = 60_000_000_000;
    Histogram::new_with_max(LONGEST_NS, digits).expect("invariant: 60 s and 2 or 3 digits are valid")
}

/// The quantiles of a histogram of nanoseconds.
#[must_use]
pub fn quantiles(latencies: &Histogram<u32>) -> Latency {
    let at = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e3;
    Latency { p50_us: at(0.5), p99_us: at(0.99), p999_us: at(0.999) }
}

/// Quantiles of the latency, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half of the calls took at most this.
    pub p50_us: f64,
    /// 99 of 100 calls took at most this.
    pub p99_us: f64,
    /// 999 of 1000 calls took at most this.
    pub p999_us: f64,
}

/// What a peer's client achieved in the window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Calls answered, or one-way messages delivered.
    pub operations: u64,
    /// The time in which they were.
    pub seconds: f64,
    /// Latency of a call; `None` for one-way messages, which have none that the sender could see.
    pub latency: Option<Latency>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window() -> Window {
        let start = Instant::now();
        Window { start, end: start + Duration::from_secs(1) }
    }

    #[test]
    fn only_what_ends_inside_the_window_counts() {
        let window = window();
        let mut recorder = Recorder::new(window, 1);
        let ms = Duration::from_millis;
        recorder.record(window.start - ms(2), window.start - ms(1));
        recorder.record(window.start - ms(1), window.start + ms(1));
        recorder.record(window.end - ms(4), window.end - ms(2));
        recorder.record(window.end - ms(4), window.end);
        assert_eq!(recorder.operations, 2);
        let latency = recorder.latency();
        assert!((latency.p50_us - 2_000.0).abs() < 5.0, "{latency:?}");
    }

    #[test]
    fn merged_callers_add_up() {
        let window = window();
        let (mut first, mut second) = (Recorder::new(window, 64), Recorder::new(window, 64));
        for _ in 0..90 {
            first.record(window.start, window.start + Duration::from_micros(10));
        }
        for _ in 0..10 {
            second.record(window.start, window.start + Duration::from_micros(100));
        }
        first.merge(&second);
        assert_eq!(first.operations, 100);
        let latency = first.latency();
        assert!((latency.p50_us - 10.0).abs() < 0.3 && (latency.p99_us - 100.0).abs() < 3.0, "{latency:?}");
    }

    #[test]
    fn a_latency_beyond_the_range_is_kept_at_its_end() {
        let window = Window { start: Instant::now(), end: Instant::now() + Duration::from_secs(400) };
        let mut recorder = Recorder::new(window, 1);
        recorder.record(window.start, window.start + Duration::from_secs(300));
        assert!(recorder.latency().p50_us >= 60e6);
    }
}
