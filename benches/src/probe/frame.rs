//! What a frame costs: encoded, sealed, checked and read, with both checksums.

use std::time::Instant;

use crate::count::{Operation, allocations_per_operation, find};
use crate::measure::Heap;
use crate::probe::Reading;
use crate::race::median;

const BATCHES: usize = 1000;
const FRAMES_PER_BATCH: u64 = 1000;

/// Nanoseconds, or allocations where this binary counts them.
pub(crate) fn measure() -> Vec<Reading> {
    let frames = [("wire-frame-64b", "frame-opaque"), ("wire-frame-typed", "frame-typed")];
    let mut readings = Vec::new();
    for (operation, figure) in frames {
        let Some(Ok(mut operation)) = find(operation).map(|entry| (entry.build)()) else { continue };
        if Heap::read().is_none() {
            readings.extend(nanoseconds(operation.as_mut()).map(|value| Reading::new(figure, value)));
        } else if let Ok(heap) = allocations_per_operation(operation.as_mut(), FRAMES_PER_BATCH) {
            readings.push(Reading::new(&format!("{figure}-allocations"), heap.count));
        }
    }
    readings
}

/// The median over the batches of the mean of a batch.
fn nanoseconds(operation: &mut dyn Operation) -> Option<f64> {
    operation.run(10 * FRAMES_PER_BATCH);
    let mut batch = || {
        let started = Instant::now();
        operation.run(FRAMES_PER_BATCH);
        started.elapsed().as_nanos() as f64 / FRAMES_PER_BATCH as f64
    };
    median(&std::iter::repeat_with(&mut batch).take(BATCHES).collect::<Vec<_>>())
}
