//! What the processes of a run tell each other: one JSON value per line on standard output, and one word on the
//! server's standard input.

use serde::{Deserialize, Serialize};

use crate::measure::{Heap, Offered, Outcome, process_cpu_ns};
use crate::probe::Reading;

/// The word on the server's standard input that asks for [`Line::Used`].
pub(crate) const ASK_USED: &str = "used";

/// One line of a child's standard output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    /// The servers listen on these ports of the loopback address.
    Ports(Vec<u16>),
    /// The peer or the workload does not exist here; there is nothing to measure.
    Absent(String),
    /// What the server has used since its start.
    Used(Used),
    /// The driver's window opens.
    WindowOpens,
    /// The driver's window closes.
    WindowCloses,
    /// The driver's figures.
    Result(Driven),
    /// What came of calls at fixed times.
    Offered(Offered),
    /// What a probe has measured.
    Readings(Vec<Reading>),
    /// The child gave up.
    Failed(String),
}

/// What a process has used since its start, or between two moments.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Used {
    /// User and system time.
    pub(crate) cpu_ns: u64,
    /// Allocations, where the binary counts them.
    pub(crate) allocations: Option<u64>,
}

impl Used {
    /// Since the start.
    pub(crate) fn read() -> Self {
        Self { cpu_ns: process_cpu_ns(), allocations: Heap::read().map(|heap| heap.allocations) }
    }

    /// From an earlier moment to this one.
    pub(crate) fn since(self, earlier: Self) -> Self {
        let allocations = self.allocations.zip(earlier.allocations);
        Self {
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            allocations: allocations.map(|(later, earlier)| later.saturating_sub(earlier)),
        }
    }
}

/// What the driver measured in its own process.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Driven {
    /// Operations, time and latency.
    pub(crate) outcome: Outcome,
    /// What the driver used inside the window.
    pub(crate) used: Used,
}
