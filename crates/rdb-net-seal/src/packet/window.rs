//! Which counters of a sender were seen: a sliding window.
//!
//! RFC 6479: the bits lie in a ring of blocks, one more than the window needs, so that sliding clears whole blocks and shifts
//! nothing.

/// Width of the window: a counter this far below the newest one or farther is too old to be told from a replay.
pub const WINDOW_COUNTERS: u64 = 1024;

const BLOCK_BITS: u64 = u64::BITS as u64;
const BLOCKS: u64 = WINDOW_COUNTERS / BLOCK_BITS + 1;

/// What a window says of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is new, and is seen from here on.
    New,
    /// It was seen.
    Before,
    /// It is too far below the newest.
    Unknown,
}

/// The counters of one sender's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    newest: u64,
    blocks: [u64; BLOCKS as usize],
}

impl Window {
    pub(crate) const fn new() -> Self {
        Self { newest: 0, blocks: [0; BLOCKS as usize] }
    }

    /// Marks a counter as seen, unless it was seen or is too old.
    pub(crate) fn mark(&mut self, counter: u64) -> Seen {
        if self.newest.saturating_sub(counter) >= WINDOW_COUNTERS {
            return Seen::Unknown;
        }
        self.slide(counter);
        let bit = 1 << (counter % BLOCK_BITS);
        let block = &mut self.blocks[place(counter / BLOCK_BITS)];
        if *block & bit != 0 {
            return Seen::Before;
        }
        *block |= bit;
        Seen::New
    }

    /// Clears the blocks between the newest counter and this one.
    fn slide(&mut self, counter: u64) {
        if counter <= self.newest {
            return;
        }
        let (from, to) = (self.newest / BLOCK_BITS, counter / BLOCK_BITS);
        for block in 1..=(to - from).min(BLOCKS) {
            self.blocks[place(from + block)] = 0;
        }
        self.newest = counter;
    }
}

fn place(block: u64) -> usize {
    (block % BLOCKS) as usize
}
