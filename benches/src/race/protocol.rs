//! What the processes of a run tell each other: one JSON value per line on standard output, and one word on the
//! server's standard input.

use serde::{Deserialize, Serialize};

use crate::measure::Outcome;

/// The word on the server's standard input that asks for [`Line::CpuNs`].
pub(crate) const ASK_CPU: &str = "cpu";

/// One line of a child's standard output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    /// The server listens on this port of the loopback address.
    Port(u16),
    /// The peer or the workload does not exist here; there is nothing to measure.
    Absent(String),
    /// User and system time of the server since its start.
    CpuNs(u64),
    /// The driver's window opens.
    WindowOpens,
    /// The driver's window closes.
    WindowCloses,
    /// The driver's figures.
    Result(Driven),
    /// The child gave up.
    Failed(String),
}

/// What the driver measured in its own process.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Driven {
    /// Operations, time and latency.
    pub(crate) outcome: Outcome,
    /// User and system time of the driver inside the window.
    pub(crate) cpu_ns: u64,
}
