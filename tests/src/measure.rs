//! Figures: how often a scenario is run, and what it took.

use std::fmt;
use std::time::Duration;

/// How often a scenario is run: `RDB_RUNS`, else this often.
///
/// # Panics
///
/// When the variable is no number from 1 on.
pub fn runs(default: usize) -> usize {
    match std::env::var("RDB_RUNS") {
        Ok(text) => match text.parse() {
            Ok(runs) if runs > 0 => runs,
            _ => panic!("RDB_RUNS is {text:?}, no number from 1 on"),
        },
        Err(_) => default,
    }
}

/// How long something took, each time. The slowest is what a bound is held against.
#[derive(Debug)]
pub struct Samples {
    what: &'static str,
    bound: Duration,
    taken: Vec<(Duration, String)>,
}

impl Samples {
    /// None yet, of this, which must not take longer than that.
    pub fn new(what: &'static str, bound: Duration) -> Self {
        Self { what, bound, taken: Vec::new() }
    }

    /// One more; `who` tells which when it was too slow.
    pub fn add(&mut self, taken: Duration, who: String) {
        self.taken.push((taken, who));
    }

    /// Tells the figures.
    ///
    /// # Panics
    ///
    /// When there are none, or one is above the bound.
    #[expect(clippy::print_stdout, reason = "figures are read in the test's output")]
    pub fn judge(mut self) {
        self.taken.sort();
        println!("{self}");
        let too_slow: Vec<&(Duration, String)> = self.taken.iter().filter(|(taken, _)| *taken > self.bound).collect();
        assert!(!self.taken.is_empty(), "{}: nothing was measured", self.what);
        assert!(too_slow.is_empty(), "{self}; too slow: {too_slow:?}");
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |index: usize| self.taken.get(index).map_or(Duration::ZERO, |(taken, _)| *taken).as_millis();
        let count = self.taken.len();
        let (median, max) = (at(count / 2), at(count.saturating_sub(1)));
        let bound = self.bound.as_millis();
        write!(f, "MEASURED {}: n={count} min={} median={median} max={max} bound={bound} ms", self.what, at(0))
    }
}
