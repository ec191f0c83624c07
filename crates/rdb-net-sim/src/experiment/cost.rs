//! What a run costs the machine on which it runs: the only figures that do not follow from the seed.

use std::time::{Duration, Instant};

use crate::report::Cell;

/// From so many members on a run is judged by what it costs.
const MEMBERS_MIN: usize = 10_000;

/// The most memory that it may take.
const PEAK_BYTES_MAX: f64 = 10.0 * GIB;

const GIB: f64 = (1u64 << 30) as f64;

/// What a run has cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cost {
    wall: Duration,
    /// Of the thread that has run it, where the system tells.
    processor: Option<Duration>,
    /// Of the whole process, ever.
    peak_bytes: Option<f64>,
}

/// When a run has begun.
#[derive(Debug)]
pub(crate) struct Meter {
    begun: Instant,
    processor: Option<Duration>,
}

impl Meter {
    pub(crate) fn start() -> Self {
        Self { begun: Instant::now(), processor: processor_time() }
    }

    pub(crate) fn read(&self) -> Cost {
        let processor = processor_time().zip(self.processor).map(|(now, before)| now.saturating_sub(before));
        Cost { wall: self.begun.elapsed(), processor, peak_bytes: peak_bytes() }
    }
}

impl Cost {
    pub(crate) const COLUMNS: [&str; 4] = ["wall (s)", "of one core (s)", "memory, most (GiB)", "cost is judged"];

    pub(crate) fn cells(self, members: usize) -> [Cell; 4] {
        let number = |number: Option<f64>, digits| number.map_or(Cell::None, |number| Cell::Number(number, digits));
        let judged = if members < MEMBERS_MIN {
            "no, too few members"
        } else if cfg!(debug_assertions) {
            "no, a debug build"
        } else {
            "yes"
        };
        [
            Cell::Number(self.wall.as_secs_f64(), 1),
            number(self.processor.map(|time| time.as_secs_f64()), 1),
            number(self.peak_bytes.map(|bytes| bytes / GIB), 2),
            Cell::Text(judged.to_owned()),
        ]
    }

    /// What is too much for a run of so many members over so much simulated time: more time of one core than it simulates, which is
    /// wall time where the system does not tell, and more than 10 GiB. A debug build is not judged, and neither is a small run.
    pub(crate) fn problems(self, members: usize, simulated: Duration) -> Vec<String> {
        if members < MEMBERS_MIN || cfg!(debug_assertions) {
            return Vec::new();
        }
        self.excess(simulated)
    }

    fn excess(self, simulated: Duration) -> Vec<String> {
        let mut problems = Vec::new();
        let time = self.processor.unwrap_or(self.wall);
        if time > simulated {
            let (time, simulated) = (time.as_secs_f64(), simulated.as_secs_f64());
            problems.push(format!("{simulated:.0} simulated seconds took {time:.1} s of one core"));
        }
        if let Some(bytes) = self.peak_bytes.filter(|bytes| *bytes > PEAK_BYTES_MAX) {
            problems.push(format!("the memory was {:.2} GiB at the most, above 10", bytes / GIB));
        }
        problems
    }
}

/// The most memory that this process ever had resident, where the system tells (Linux).
pub fn peak_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok().map(|kib| kib * 1024.0)
}

/// How long this thread has had a processor, where the system tells (Linux).
fn processor_time() -> Option<Duration> {
    let schedule = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    schedule.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_too_dear_by_its_time_of_one_core_and_by_its_memory() {
        let second = Duration::from_secs(1);
        let cost = Cost { wall: 90 * second, processor: Some(59 * second), peak_bytes: Some(9.9 * GIB) };
        assert_eq!(cost.excess(60 * second), [] as [String; 0], "other programs cost it wall time");
        assert_eq!(Cost { processor: None, ..cost }.excess(60 * second).len(), 1);
        let dear = Cost { processor: Some(61 * second), peak_bytes: Some(10.1 * GIB), ..cost };
        assert_eq!(dear.excess(60 * second).len(), 2);
        assert_eq!(dear.problems(9_999, 60 * second), [] as [String; 0]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_tells_what_a_run_has_cost() {
        let meter = Meter::start();
        let spent: u64 = (0..200_000u64).map(std::hint::black_box).sum();
        let cost = meter.read();
        assert!(spent > 0 && cost.processor.is_some_and(|time| time <= cost.wall + Duration::from_millis(50)));
        assert!(cost.peak_bytes.is_some_and(|bytes| bytes > 1e6));
    }
}
