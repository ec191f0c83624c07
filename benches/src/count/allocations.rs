//! Heap allocations per operation, counted by the global allocator.

use serde::Serialize;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region};

use crate::count::Operation;

/// The binary does not use the counting allocator: a bug of the binary.
#[derive(Debug, thiserror::Error)]
#[error("this binary does not use the counting allocator")]
pub struct AllocatorNotInstalled;

/// Heap traffic of one operation, on all threads.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Allocations {
    /// Calls of the allocator that return memory, growing an old block included.
    pub count: f64,
    /// Bytes asked for, without what growing adds.
    pub bytes: f64,
}

/// Counts the allocations of one operation over `count` of them.
///
/// # Errors
///
/// [`AllocatorNotInstalled`] when `stats_alloc::INSTRUMENTED_SYSTEM` is not the global allocator.
pub fn allocations_per_operation(
    operation: &mut dyn Operation,
    count: u64,
) -> Result<Allocations, AllocatorNotInstalled> {
    let probe = Region::new(&INSTRUMENTED_SYSTEM);
    drop(std::hint::black_box(Box::new(0_u64)));
    if probe.change().allocations == 0 {
        return Err(AllocatorNotInstalled);
    }
    operation.run(count);
    let once = heap_of(operation, count);
    let twice = heap_of(operation, 2 * count);
    let per_operation = |twice: u64, once: u64| (twice as f64 - once as f64) / count as f64;
    Ok(Allocations { count: per_operation(twice.0, once.0), bytes: per_operation(twice.1, once.1) })
}

fn heap_of(operation: &mut dyn Operation, count: u64) -> (u64, u64) {
    let region = Region::new(&INSTRUMENTED_SYSTEM);
    operation.run(count);
    let change = region.change();
    ((change.allocations + change.reallocations) as u64, change.bytes_allocated as u64)
}
