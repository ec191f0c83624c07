//! Why there is no key.

use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;

use rdb_net_types::ExposedSecret;

use super::KEY_BYTES;

/// Where a key was to come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "key file {}", path.display()),
            Self::Environment(variable) => write!(f, "key in environment variable {variable}"),
        }
    }
}

/// A key could not be read. Whoever wrote the configuration is at fault; nothing was changed. The content is not told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {fault}")]
pub struct KeyError {
    /// Where the key was to come from.
    pub origin: KeySource,
    /// What is wrong with it.
    pub fault: KeyFault,
}

/// What is wrong with a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFault {
    /// The file cannot be read.
    #[error("cannot be read ({0})")]
    Unreadable(ErrorKind),
    /// The path leads to a folder or a device.
    #[error("is not a regular file")]
    NotAFile,
    /// Others than this process's user may read the file, or put another in its place.
    #[error(transparent)]
    Exposed(#[from] ExposedSecret),
    /// The file is longer than any form of a key.
    #[error("is longer than {bytes_max} bytes, and so no key")]
    TooLong {
        /// The longest that is read, in bytes.
        bytes_max: u64,
    },
    /// The environment variable is not set.
    #[error("is not set")]
    Unset,
    /// It is neither of the forms of a key.
    #[error("{bytes} bytes that are no key; a key is {KEY_BYTES} raw bytes, 64 hexadecimal digits, or their base64")]
    Malformed {
        /// How many bytes were found, without white space around them.
        bytes: usize,
    },
    /// The text decodes to a wrong number of bytes.
    #[error("is text of {bytes} bytes instead of {KEY_BYTES}")]
    WrongLength {
        /// How many bytes the text stands for.
        bytes: usize,
    },
}
