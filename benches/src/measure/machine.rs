//! The machine around a run: pinning to a core, processor time of this process, processor time of everybody.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// Why a process cannot be pinned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// The core is beyond what a processor set can name; the caller chose it.
    #[error("core {0} is beyond the {max} that a processor set can name", max = CpuSet::MAX_CPU)]
    BeyondSet(usize),
    /// The operating system refused; the core is likely not one of [`allowed_cores`].
    #[error("the operating system refused the processor set: {0}")]
    Refused(#[from] rustix::io::Errno),
}

/// Cores on which this process may run, ascending.
///
/// # Errors
///
/// The operating system's.
pub fn allowed_cores() -> Result<Vec<usize>, PinError> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
}

/// Pins the calling thread, and every thread that it starts later, to one core.
///
/// # Errors
///
/// [`PinError`] when the core does not exist or may not be used.
pub fn pin_to_core(core: usize) -> Result<(), PinError> {
    if core >= CpuSet::MAX_CPU {
        return Err(PinError::BeyondSet(core));
    }
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set)?;
    Ok(())
}

/// User and system time that this process has used since its start, in nanoseconds.
#[must_use]
pub fn process_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds * 1_000_000_000 + nanoseconds
}

/// Memory of this process that is in main memory, in bytes; `None` where there is no `/proc`.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    // proc(5): size and resident set, in pages.
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Processor time of the whole machine since its start, in seconds summed over the cores.
///
/// Resolution is one clock tick (10 ms on Linux).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MachineTime {
    /// Time that somebody used, including time stolen by the hypervisor.
    pub busy_s: f64,
    /// All time, busy and idle.
    pub total_s: f64,
}

impl MachineTime {
    /// Reads `/proc/stat`; `None` where there is none.
    #[must_use]
    pub fn read() -> Option<Self> {
        let text = std::fs::read_to_string("/proc/stat").ok()?;
        Self::parse(&text, rustix::param::clock_ticks_per_second())
    }

    /// Share of the machine, 0 to 1, that others used between `self` and `later` while the measured processes
    /// used `own_s` seconds.
    #[must_use]
    pub fn foreign_share(&self, later: &Self, own_s: f64) -> f64 {
        let total = later.total_s - self.total_s;
        if total <= 0.0 {
            return 0.0;
        }
        ((later.busy_s - self.busy_s - own_s) / total).clamp(0.0, 1.0)
    }

    fn parse(text: &str, ticks_per_second: u64) -> Option<Self> {
        // proc(5): user nice system idle iowait irq softirq steal; guest time is already inside user.
        let fields = text.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = fields.split_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
        let [user, nice, system, idle, io_wait, irq, soft_irq, steal] = ticks.try_into().ok()?;
        let busy = user + nice + system + irq + soft_irq + steal;
        let per_second = ticks_per_second.max(1) as f64;
        Some(Self { busy_s: busy as f64 / per_second, total_s: (busy + idle + io_wait) as f64 / per_second })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_time_is_what_is_busy_and_not_ours() {
        let before = MachineTime::parse("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3\n", 100).unwrap();
        let after = MachineTime::parse("cpu  250 0 100 950 50 0 0 0 0 0\n", 100).unwrap();
        assert_eq!(before, MachineTime { busy_s: 1.5, total_s: 10.0 });
        // 2.0 s busy of 3.5 s in total, 1.3 s of it ours.
        assert!((before.foreign_share(&after, 1.3) - 0.2).abs() < 1e-9);
        assert_eq!(before.foreign_share(&after, 9.0), 0.0);
    }

    #[test]
    fn a_short_or_foreign_text_is_no_machine_time() {
        assert_eq!(MachineTime::parse("", 100), None);
        assert_eq!(MachineTime::parse("cpu  1 2 3\n", 100), None);
        assert_eq!(MachineTime::parse("intr 1 2 3 4 5 6 7 8\n", 100), None);
    }

    #[test]
    fn processor_time_of_a_busy_process_grows() {
        let before = process_cpu_ns();
        let mut sum = 0_u64;
        for number in 0..2_000_000_u64 {
            sum = std::hint::black_box(sum.wrapping_add(number));
        }
        assert!(process_cpu_ns() > before);
    }
}
