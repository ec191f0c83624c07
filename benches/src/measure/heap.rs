//! The heap of this process, where its binary counts: `count` does, `race` does not, because counting costs those most who
//! allocate most.

use std::sync::OnceLock;

use stats_alloc::INSTRUMENTED_SYSTEM;

/// What the allocator has counted since the process began, on all threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heap {
    /// Calls that returned memory, growing an old block included.
    pub allocations: u64,
    /// Bytes that are in use.
    pub live_bytes: u64,
}

impl Heap {
    /// Reads the counters; `None` where the binary does not count.
    #[must_use]
    pub fn read() -> Option<Self> {
        static COUNTS: OnceLock<bool> = OnceLock::new();
        let counts = COUNTS.get_or_init(|| {
            let before = INSTRUMENTED_SYSTEM.stats().allocations;
            drop(std::hint::black_box(Box::new(0_u64)));
            INSTRUMENTED_SYSTEM.stats().allocations > before
        });
        counts.then(|| {
            let stats = INSTRUMENTED_SYSTEM.stats();
            Self {
                allocations: (stats.allocations + stats.reallocations) as u64,
                live_bytes: stats.bytes_allocated.saturating_sub(stats.bytes_deallocated) as u64,
            }
        })
    }
}
