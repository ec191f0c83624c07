//! How far a long run has come, on one line of a terminal. Where the standard error is none, nothing is written.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

const WIDTH: usize = 40;
const REDRAW: Duration = Duration::from_millis(100);

/// A bar that is drawn again now and then.
#[derive(Debug)]
pub(crate) struct Bar {
    name: &'static str,
    is_shown: bool,
    started: Instant,
    drawn: Option<Instant>,
}

impl Bar {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, is_shown: std::io::stderr().is_terminal(), started: Instant::now(), drawn: None }
    }

    pub(crate) fn show(&mut self, done: u64, total: u64) {
        let is_fresh = self.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW);
        if !self.is_shown || is_fresh && done < total {
            return;
        }
        self.drawn = Some(Instant::now());
        let _ = write!(std::io::stderr(), "\r{}", line(self.name, done, total, self.started.elapsed()));
    }
}

impl Drop for Bar {
    /// Leaves the line to what comes next.
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(name: &str, done: u64, total: u64, elapsed: Duration) -> String {
    let share = if total == 0 { 0.0 } else { (done as f64 / total as f64).clamp(0.0, 1.0) };
    let filled = (share * WIDTH as f64) as usize;
    let left =
        if share > 0.0 { format!("{:.0} s left", elapsed.as_secs_f64() * (1.0 / share - 1.0)) } else { String::new() };
    format!("{name} [{}{}] {:3.0} % {left:<12}", "#".repeat(filled), ".".repeat(WIDTH - filled), share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_the_share_and_the_time_that_is_left() {
        let line = |done, total| line("detect", done, total, Duration::from_secs(10));
        assert!(line(1, 4).contains("##########..............................]  25 % 30 s left"));
        assert!(line(0, 4).contains("[........................................]   0 %"));
        assert!(line(9, 4).contains("100 % 0 s left"));
        assert!(line(0, 0).contains("  0 %"));
    }
}
