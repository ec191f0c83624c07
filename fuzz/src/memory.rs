//! The memory oracle: what is held at once while something runs, by the counting allocator of this program.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs this, and tells the most bytes that it held at once, its result included.
pub(crate) fn peak<T>(run: impl FnOnce() -> T) -> (T, u64) {
    let mut ended = None;
    let measured = allocation_counter::measure(|| ended = Some(catch_unwind(AssertUnwindSafe(run))));
    // The counter does not survive a panic that passes through it.
    match ended.expect("it has run") {
        Ok(result) => (result, measured.bytes_max),
        Err(panic) => resume_unwind(panic),
    }
}

/// Runs this, which must not hold more than so many bytes at once.
#[track_caller]
pub(crate) fn within<T>(bytes_max: u64, what: &str, run: impl FnOnce() -> T) -> T {
    let (result, held) = peak(run);
    assert!(held <= bytes_max, "{what}: {held} bytes were held, {bytes_max} are permitted");
    result
}

/// What decoding a body of so many bytes may hold: 36 bytes for each, the cost of the densest body (a row of no bytes in a
/// query's result), and a few strings.
pub(crate) fn decoding(body_bytes: usize) -> u64 {
    36 * body_bytes as u64 + 128
}
