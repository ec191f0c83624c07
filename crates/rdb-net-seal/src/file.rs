//! Files that are replaced as a whole, and sealed where a key is configured.

mod disk;
mod format;
mod problem;
mod sealed;

pub use disk::{DiskFiles, Files};
pub use format::{FileKind, FileOwner};
pub use problem::{FileStep, Flaw, Loaded, LoadedFrom, Problem, SaveError};
pub use sealed::{ClearFiles, FileConfig, SealedFile};

#[cfg(test)]
pub(crate) use format::HEADER_BYTES;
