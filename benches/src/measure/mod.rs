//! Measuring one run: the window, the latencies in it, and the machine around it.

mod driver;
mod machine;
mod window;

pub use driver::{Caller, drive};
pub use machine::{MachineTime, PinError, allowed_cores, pin_to_core, process_cpu_ns};
pub use window::{Latency, Marks, Outcome, Recorder, Run, Window, payload};
