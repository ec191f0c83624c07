//! What came of loading and saving.

use std::io;
use std::path::PathBuf;

use super::FileKind;
use crate::cipher::CipherError;
use crate::key::KeyId;
use crate::secret::SecretBytes;

/// Where what was loaded comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LoadedFrom {
    /// The file itself.
    Current,
    /// The one that it replaced.
    Previous,
    /// Nowhere: there is no file, or none that can be used. The node starts clean.
    Nothing,
}

/// What was loaded, and what was wrong on the way. A first start finds nothing, and that is no problem.
#[derive(Debug)]
pub struct Loaded {
    /// The content; `None` where it comes from nowhere.
    pub payload: Option<SecretBytes>,
    /// Where it comes from.
    pub from: LoadedFrom,
    /// Its generation: how many writes there were. 0 where it comes from nowhere.
    pub generation: u64,
    /// Files that were passed over. Each is worth a warning.
    pub problems: Vec<Problem>,
}

/// A file that was passed over. It stays where it is until the next save.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {flaw}", path.display())]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub flaw: Flaw,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// It is absent although a previous one is there: a save was cut off between two steps.
    #[error("it is missing, a save was cut off; the previous one is used")]
    Missing,
    /// It cannot be read.
    #[error("it cannot be read ({0}); check its owner and rights")]
    Unreadable(io::ErrorKind),
    /// It is longer than it may be.
    #[error("it has more than {bytes_max} bytes, which is the limit")]
    TooLong {
        /// The limit, in bytes.
        bytes_max: u64,
    },
    /// It is cut off, or damaged.
    #[error("it is cut off or damaged")]
    Torn,
    /// It was not written by this software.
    #[error("it is no file of this software")]
    Foreign,
    /// It is of another version.
    #[error("it is written in version {version}, which this build does not read")]
    Version {
        /// The version.
        version: u8,
    },
    /// It holds something else.
    #[error("it holds content of kind {}, which does not belong here", kind.0)]
    OtherKind {
        /// What it holds.
        kind: FileKind,
    },
    /// It is of another node or cluster.
    #[error("it is of another node or another cluster")]
    OtherOwner,
    /// It is sealed with a key that is not configured.
    #[error("it is sealed with key {id}, which is not configured; add that key behind the present one")]
    UnknownKey {
        /// The name of the key.
        id: KeyId,
    },
    /// It is not sealed although a key is configured: anybody who may write the folder could have put it there.
    #[error("it is not sealed although a key is configured; accept clear files for one start if it is yours")]
    NotSealed,
    /// It was damaged or changed after it was sealed.
    #[error("it was damaged or changed after it was sealed")]
    Forged,
    /// The cryptographic provider failed.
    #[error(transparent)]
    Cipher(#[from] CipherError),
}

/// A step of a save.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileStep {
    /// To write the new file beside the present one.
    Write,
    /// To have it on the disk.
    Sync,
    /// To keep the present one under another name.
    KeepPrevious,
    /// To put the new one into its place.
    Replace,
    /// To have the names on the disk.
    SyncFolder,
}

impl FileStep {
    /// What the step does, for messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Sync => "sync",
            Self::KeepPrevious => "keep the previous content of",
            Self::Replace => "replace",
            Self::SyncFolder => "sync the folder of",
        }
    }
}

/// A save that failed. What was there before, or the new content, is what a load finds; a later save may succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// The content is longer than it may be. The caller is at fault; nothing was touched.
    #[error("{}: {bytes} bytes are too many, {bytes_max} is the limit", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The length of the content, in bytes.
        bytes: u64,
        /// The limit, in bytes.
        bytes_max: u64,
    },
    /// The file system refused a step: the disk may be full, the folder missing or not writable.
    #[error("cannot {} {}: {source}", step.name(), path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The step.
        step: FileStep,
        /// What the file system says.
        source: io::Error,
    },
    /// The cryptographic provider failed. Nothing was touched.
    #[error(transparent)]
    Cipher(#[from] CipherError),
}
