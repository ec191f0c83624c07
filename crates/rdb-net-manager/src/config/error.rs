//! What can be wrong with a configuration, and where a value came from.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a value came from; later layers win over earlier ones, in this order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody set it.
    #[default]
    Default,
    /// It stands in a file.
    File {
        /// The file.
        path: Arc<Path>,
        /// The line, from 1.
        line: usize,
        /// The column, from 1, in characters.
        column: usize,
    },
    /// An environment variable, with its name.
    Environment(Arc<str>),
    /// An override `key=value`, as it was given: a command line flag, or a change at run time.
    Override(Arc<str>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Environment(name) => f.write_str(name),
            Self::Override(text) => write!(f, "override {text:?}"),
        }
    }
}

/// One thing that is wrong with a configuration. Whoever wrote it must act; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The system does not give the file's content, or the file cannot be one of ours.
    #[error("{}: {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// It is no TOML, or no `key=value`.
    #[error("{at}: {problem}")]
    Syntax {
        /// Where.
        at: Origin,
        /// What is wrong.
        problem: String,
    },
    /// A key or a table stands twice.
    #[error("{at}: {key} stands twice{}; keep one of them", first_line(first))]
    DuplicateKey {
        /// Where it stands again.
        at: Origin,
        /// The key.
        key: String,
        /// The line on which it stands first, where that is known.
        first: Option<usize>,
    },
    /// No key has this name.
    #[error("{at}: there is no key {key}{}", .hint.as_deref().unwrap_or_default())]
    UnknownKey {
        /// Where.
        at: Origin,
        /// The refused name.
        key: String,
        /// The key that was probably meant.
        nearest: Option<String>,
        /// What to do, beginning with a semicolon.
        hint: Option<String>,
    },
    /// The value is of another type than the key's.
    #[error("{at}: {key}: expected {expected}, found {found}; for example {example}")]
    WrongType {
        /// Where.
        at: Origin,
        /// The key.
        key: String,
        /// What the key takes.
        expected: &'static str,
        /// What stands there.
        found: String,
        /// How it could look.
        example: String,
    },
    /// The value is below or above what the key takes.
    #[error("{at}: {key}: {value} is out of range; it may be {range}")]
    OutOfRange {
        /// Where.
        at: Origin,
        /// The key.
        key: String,
        /// The refused value.
        value: String,
        /// What is allowed.
        range: String,
    },
    /// A text that is no address, id or name of the kind that the key takes.
    #[error("{at}: {key}: {problem}")]
    Illegal {
        /// Where.
        at: Origin,
        /// The key.
        key: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// The value asks for something that this build does not have.
    #[error("{at}: {key}: {problem}")]
    NotBuilt {
        /// Where.
        at: Origin,
        /// The key.
        key: String,
        /// What is missing, and what there is.
        problem: String,
    },
    /// Two values do not go together, or one lacks another.
    #[error("{at}: {key}: {problem}")]
    Conflict {
        /// Where.
        at: Origin,
        /// The key to change.
        key: String,
        /// What does not go together, and what to do.
        problem: String,
    },
}

fn first_line(first: &Option<usize>) -> String {
    first.map(|line| format!(", first on line {line}")).unwrap_or_default()
}

impl ConfigError {
    /// Where it is; `None` for a file as a whole.
    pub fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Unreadable { .. } => None,
            Self::Syntax { at, .. }
            | Self::DuplicateKey { at, .. }
            | Self::UnknownKey { at, .. }
            | Self::WrongType { at, .. }
            | Self::OutOfRange { at, .. }
            | Self::Illegal { at, .. }
            | Self::NotBuilt { at, .. }
            | Self::Conflict { at, .. } => Some(at),
        }
    }

    /// The key that it is about, with the element's name or index behind it; `None` where there is none.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Unreadable { .. } | Self::Syntax { .. } => None,
            Self::DuplicateKey { key, .. }
            | Self::UnknownKey { key, .. }
            | Self::WrongType { key, .. }
            | Self::OutOfRange { key, .. }
            | Self::Illegal { key, .. }
            | Self::NotBuilt { key, .. }
            | Self::Conflict { key, .. } => Some(key),
        }
    }
}

/// Everything that is wrong with a configuration, at least one thing, in the order of the layers and of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// `Ok` where there is nothing wrong.
    pub(crate) fn unless_empty(mut errors: Vec<ConfigError>) -> Result<(), Self> {
        errors.sort_by(|one, other| one.origin().cmp(&other.origin()));
        if errors.is_empty() { Ok(()) } else { Err(Self(errors)) }
    }

    /// One thing alone.
    #[cfg(any(feature = "dns", feature = "etcd", feature = "consul"))]
    pub(crate) fn one(error: ConfigError) -> Self {
        Self(vec![error])
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(index, error)| {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")
        })
    }
}

impl std::error::Error for ConfigErrors {}
