//! The log of a replica: entries in order, each with a digest of everything up to it, behind a small trait.
//!
//! A digest that rolls makes two logs comparable by one number: equal digests at an index mean equal logs up to it. It finds
//! accidents (a bug, a bad disk, two leaders of one epoch), not forgeries: peers are proved by their certificates.

use std::io;

use rdb_net_types::NodeId;

use super::entries::Entries;
use super::pieces::checksum;

/// A place in a log, and what the log says up to there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// The index of the entry; entries count from 1, and 0 is the place before them all.
    pub index: u64,
    /// The epoch of the leader that wrote it.
    pub epoch: u64,
    /// The digest of all entries up to it.
    pub digest: u64,
}

impl Position {
    /// The place before the first entry.
    pub const START: Self = Self { index: 0, epoch: 0, digest: 0 };

    /// The place of the entry behind this one.
    #[must_use]
    pub fn next(self, epoch: u64, data: &[u8]) -> Self {
        self.next_with(epoch, data.len(), checksum(data))
    }

    /// The place of an entry with so many bytes, of which this is the checksum.
    pub(super) fn next_with(self, epoch: u64, length: usize, checksum: u64) -> Self {
        let index = self.index + 1;
        // What an entry says is mixed by itself, which waits for no entry before it: only one step of the digest does.
        let entry = [epoch, length as u64, checksum].into_iter().fold(index, mixed);
        Self { index, epoch, digest: mixed(self.digest, entry) }
    }

    /// Whether a log that ends here knows everything that one ending there may have acknowledged: the comparison of Raft, section
    /// 5.4.1, by the epoch of the last entry and then by length.
    #[must_use]
    pub fn is_as_current_as(&self, other: &Self) -> bool {
        (self.epoch, self.index) >= (other.epoch, other.index)
    }
}

/// One step of the digest: the finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), which no bit passes unmixed.
fn mixed(digest: u64, word: u64) -> u64 {
    let mut z = digest.rotate_left(23).wrapping_add(word).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What a replica has bound itself to: it takes entries of this leader alone, and of no older epoch ever again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Promise {
    /// The newest epoch that it knows.
    pub epoch: u64,
    /// Who leads in it; `None` before the first one.
    pub leader: Option<NodeId>,
}

/// The storage of a log failed. The replica stops for good: after a failed sync nobody knows what is on the disk.
#[derive(Debug, thiserror::Error)]
#[error("the log's storage cannot {operation}: {source}")]
pub struct LogError {
    /// What was tried.
    pub operation: &'static str,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

/// Where a replica keeps its log and its promise.
///
/// What is written may be lost in a crash until the next [`sync`](Self::sync) has returned, but only from its end: what is found
/// after a restart is what was written up to some moment.
pub trait LogStorage: Send {
    /// The promise that was kept last.
    fn promise(&self) -> Promise;

    /// Writes a promise.
    ///
    /// # Errors
    ///
    /// [`LogError`]; the replica stops.
    fn keep_promise(&mut self, promise: &Promise) -> Result<(), LogError>;

    /// The place before the first entry that is there: [`Position::START`] until the log is compacted.
    fn base(&self) -> Position;

    /// The place of the last entry; of the base, where there is none.
    fn last(&self) -> Position;

    /// The place of an entry, or of the base; `None` before the base and behind the last entry.
    fn position(&self, index: u64) -> Option<Position>;

    /// Writes entries behind the last one. Their indexes follow it. [`Entries::positions`] says the place of each without reading its
    /// data again. Who keeps a clone keeps all of the memory that they came in.
    ///
    /// # Errors
    ///
    /// [`LogError`]; the replica stops.
    fn append(&mut self, entries: &Entries) -> Result<(), LogError>;

    /// Removes every entry behind this index.
    ///
    /// # Errors
    ///
    /// [`LogError`]; the replica stops.
    fn cut(&mut self, keep: u64) -> Result<(), LogError>;

    /// Drops the entries up to this index, which becomes the base.
    ///
    /// # Errors
    ///
    /// [`LogError`]; the replica stops.
    fn compact(&mut self, up_to: u64) -> Result<(), LogError>;

    /// Drops all entries: the log goes on behind this place. The promise stays.
    ///
    /// # Errors
    ///
    /// [`LogError`]; the replica stops.
    fn restore(&mut self, base: Position) -> Result<(), LogError>;

    /// Entries from this index on, or from the first that is there: as many as fit into so many bytes of data and into this count, and at least one where there
    /// is one.
    ///
    /// # Errors
    ///
    /// [`LogError`]; the replica stops.
    fn read(&self, from: u64, bytes_max: usize, entries_max: usize) -> Result<Entries, LogError>;

    /// Makes everything durable that has been written.
    ///
    /// # Errors
    ///
    /// [`LogError`]; the replica stops.
    fn sync(&mut self) -> Result<(), LogError>;

    /// Whether a sync waits for nothing. One that waits is given a thread of its own.
    fn syncs_at_once(&self) -> bool {
        false
    }
}
