//! A durable log: records that are appended, synced together, and read back at the next start.
//!
//! A protocol that promises something over a crash writes it down first. What it needs of a disk is little, and is [`Log`]:
//! append, sync, replace. The log knows nothing of what its records mean, so that a transaction's decisions and a replicated
//! log's entries can be kept by the same code.
//!
//! | implementation | for |
//! |---|---|
//! | `FileLog` (feature `files`) | a file of this machine, with checksums, a lock, and an end that a crash may tear |
//! | [`MemoryLog`] | tests: a disk that can lose what was not synced |
//!
//! # What a crash may do
//!
//! A record is durable when the [`sync`](Log::sync) after it has returned. Of what was appended since, any part may be there at the next
//! start, or none. Such an end is cut off at the first record that is not whole; [`Recovered::cut_bytes`] tells how much that was, and a
//! `FileLog` warns of it.
//!
//! A disk may also lose what it had promised to keep. That is found where a witness is left: each record says up to where the log was synced
//! when it was written, so a whole record behind a damaged one that had been synced by then proves the damage, and opening is refused
//! with [`LogError::Corrupt`]. A log that [`replace`](Log::replace) has written ends with a witness of its own. **Without a witness it is not found.** Damage in what the very last sync covered looks like a torn end,
//! because nothing was written after it. So does the loss of the last several syncs, where all of their records are gone; and a log that is cut
//! short between two records looks whole. The log cannot tell; who keeps a second copy can: a replica is sent again what it lost.
//! A participant of transactions refuses the next telling of a commit that it would have marked as over. Where a transaction is over by presumption alone
//! (of an older life of its coordinator, 4,096 numbers back, or from before the coordinator's window was closed) it cannot tell what was lost from what was done: it
//! acknowledges, counts it and warns of it by name.
//!
//! A sync that failed may have lost anything that it should have written (Rebello et al.: "Can Applications Recover from fsync
//! Failures?", USENIX ATC 2020), so the log takes nothing more: open it again, which reads what is there.

mod error;
#[cfg(feature = "files")]
mod file;
#[cfg(feature = "files")]
mod files;
mod format;
mod memory;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use error::{LogError, LogStep};
#[cfg(feature = "files")]
pub use file::FileLog;
pub use format::RECORD_BYTES_MAX;
#[cfg(test)]
pub(crate) const FIRST_RECORD_BYTE: usize = format::FILE_HEADER_BYTES;
pub use memory::{MemoryDisk, MemoryLog};

/// How many bytes may wait for a sync; an append beyond it syncs by itself. 4 MiB.
pub const PENDING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Records in order, some of them durable. One owner writes it; whoever shares it between tasks gives it a thread of its own, and
/// syncs once for all that waits.
pub trait Log: std::fmt::Debug + Send {
    /// Puts a record at the end. It is durable when the next [`sync`](Self::sync) has returned, and until then may be lost. It waits in
    /// memory; when more than [`PENDING_BYTES_MAX`] wait, they are synced here.
    ///
    /// # Errors
    ///
    /// [`LogError::TooLarge`] changes nothing. After any other error the log takes nothing more.
    fn append(&mut self, record: &[u8]) -> Result<(), LogError>;

    /// Returns when everything appended survives a loss of power. Costs nothing where nothing waits.
    ///
    /// # Errors
    ///
    /// [`LogError`]: nothing is known of what was appended since the last sync, and the log takes nothing more.
    fn sync(&mut self) -> Result<(), LogError>;

    /// Makes these records the whole log, in one step: a crash leaves the old log or the new one. What was appended and not
    /// synced is gone with the old one. So a log is kept short: with what is still needed of it.
    ///
    /// # Errors
    ///
    /// [`LogError`]; the old log goes on where [`LogError::is_final`] is false.
    fn replace(&mut self, records: &mut dyn Iterator<Item = Bytes>) -> Result<(), LogError>;

    /// How many bytes it has, with what waits.
    fn size_bytes(&self) -> u64;
}

/// What was found when a log was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// How many records were read.
    pub records: u64,
    /// How many bytes of a torn end were cut off. After a loss of power nothing of them was ever promised. A disk that has lost the end of what it
    /// had made durable looks the same: where nothing has crashed, or time after time, look at the disk.
    pub cut_bytes: u64,
}
