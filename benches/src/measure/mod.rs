//! Measuring one run: the window, the latencies in it, and the machine around it.

mod driver;
mod heap;
mod machine;
mod open_loop;
mod window;

pub use driver::{Caller, drive};
pub use heap::Heap;
pub use machine::{MachineTime, PinError, allowed_cores, pin_to_core, process_cpu_ns, resident_bytes};
pub use open_loop::{Offer, Offered, offer};
pub use window::{Latency, Marks, Outcome, Recorder, Run, Window, histogram, payload, quantiles};
