//! Allocations and instructions per operation.
//!
//! Both are taken as the difference between a run of 2 n operations and one of n, divided by n: what a run costs
//! once, from the start of the process to buffers that grow, cancels out.

mod allocations;
mod instructions;
mod operations;

pub use allocations::{Allocations, AllocatorNotInstalled, allocations_per_operation};
pub use instructions::{Skipped, instructions_per_operation};
pub use operations::{Absent, Entry, OPERATIONS, Operation, find};
