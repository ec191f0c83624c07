//! What can go wrong with a log, and whose fault it is.

use std::io;
use std::path::PathBuf;

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStep {
    /// Opening the file or its lock.
    Open,
    /// Reading what is there.
    Read,
    /// Cutting off a torn end.
    Cut,
    /// Writing records.
    Write,
    /// Making them durable.
    Sync,
    /// Putting a new file in the place of the old one.
    Replace,
}

impl std::fmt::Display for LogStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Cut => "cut the torn end of",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Replace => "replace",
        })
    }
}

/// Why a log was not opened, or takes no more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The file system refused. Its message says why; look at the disk's room and the file's rights.
    #[error("cannot {step} the log {}: {source}", path.display())]
    Io {
        /// What was being done.
        step: LogStep,
        /// The file.
        path: PathBuf,
        /// The file system's own words.
        source: io::Error,
    },
    /// Another process has the log open, or this one has it open twice. End the other; never remove the lock's file.
    #[error("the log {} is open elsewhere: two processes would destroy it", path.display())]
    Locked {
        /// The log's file.
        path: PathBuf,
    },
    /// The file is not a log, or one of another version. The configuration names the wrong file, or the program is too old.
    #[error("{} is no log of a version that this program reads", path.display())]
    NotALog {
        /// The file.
        path: PathBuf,
    },
    /// A record that was once durable cannot be read: the disk is at fault. Nothing was changed. Restore the file, or treat the
    /// node as lost.
    #[error("the log {} is damaged at byte {offset}, before what was synced up to byte {synced_bytes}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where the damaged record begins.
        offset: u64,
        /// Up to where the log had been synced when a later record was written.
        synced_bytes: u64,
    },
    /// The caller's record is too large. Nothing was changed.
    #[error("a record has at most {bytes_max} bytes, this one has {bytes}")]
    TooLarge {
        /// The record's length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// An earlier write or sync failed, and nobody knows what the disk holds. Open the log again.
    #[error("the log {} has failed before and takes no more; open it again", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
    },
}

impl LogError {
    /// Whether the log takes nothing more.
    pub const fn is_final(&self) -> bool {
        !matches!(self, Self::TooLarge { .. } | Self::Io { step: LogStep::Replace, .. })
    }
}
