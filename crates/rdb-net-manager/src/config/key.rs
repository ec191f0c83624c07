//! What a key of the configuration is: its name, type, range, default, meaning, and how it takes effect.

use std::fmt;

use super::entry::Reader;
use super::error::ConfigError;
use super::input::Input;
use super::keys::KEYS;
use super::settings::Config;

/// How a change of a key takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reload {
    /// At once.
    Hot,
    /// For connections made from then on.
    Reconnect,
    /// At the next start of the process.
    Restart,
}

impl Reload {
    /// The class in lower case, as documents and JSON show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Reconnect => "reconnect",
            Self::Restart => "restart",
        }
    }
}

impl fmt::Display for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which values of its type a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Range {
    /// All of them.
    Any,
    /// Whole numbers, both ends included.
    Whole {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
        /// What is counted; empty for a bare number.
        unit: &'static str,
    },
    /// Numbers, both ends included.
    Number {
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
    },
    /// One of these names.
    OneOf(&'static [&'static str]),
    /// Texts of at most this many bytes.
    Length(usize),
    /// At most this many entries.
    Entries(usize),
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::Whole { min, max: i64::MAX, unit: "" } => write!(f, "{min} or more"),
            Self::Whole { min, max: i64::MAX, unit } => write!(f, "{min} or more {unit}"),
            Self::Whole { min, max, unit: "" } => write!(f, "{min} to {max}"),
            Self::Whole { min, max, unit } => write!(f, "{min} to {max} {unit}"),
            Self::Number { min, max } => write!(f, "{min} to {max}"),
            Self::OneOf(names) => f.write_str(&names.join(", ")),
            Self::Length(bytes) => write!(f, "at most {bytes} bytes"),
            Self::Entries(count) => write!(f, "at most {count} entries"),
        }
    }
}

pub(super) type Get = fn(&Config) -> Option<String>;
pub(super) type Set = fn(&mut Config, &Input, &mut Reader<'_>);

/// A key of the configuration.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Key {
    /// Its whole name: `networking.tls.enabled`.
    pub path: &'static str,
    /// Its type, with an article, for people.
    pub kind: &'static str,
    /// Which values it takes.
    pub range: Range,
    /// How a change takes effect.
    pub reload: Reload,
    /// What it means; whole sentences.
    pub doc: &'static str,
    /// A value other than the default, as TOML.
    pub example: &'static str,
    /// What holds while it is not set; empty where the default is a value.
    pub unset: &'static str,
    /// What is missing in this build for the key to have an effect; empty where nothing is.
    pub pending: &'static str,
    pub(super) get: Get,
    pub(super) set: Set,
}

impl Key {
    /// The key with this name.
    pub fn find(path: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.path == path)
    }

    /// The table in which it stands: `networking.tls`.
    pub fn section(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// Its name within the table: `enabled`.
    pub fn name(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, name)| name)
    }

    /// The environment variable that sets it: `RUSTYDB_NETWORKING__TLS__ENABLED`.
    pub fn environment_name(&self) -> String {
        format!("RUSTYDB_{}", self.path.replace('.', "__").to_ascii_uppercase())
    }

    /// Its value as TOML; `None` where it is not set.
    pub fn value(&self, config: &Config) -> Option<String> {
        (self.get)(config)
    }

    /// Writes a value into a configuration. What is wrong with it is added to the errors, and then nothing is written.
    pub(super) fn apply(&'static self, config: &mut Config, input: &Input, errors: &mut Vec<ConfigError>) {
        (self.set)(config, input, &mut Reader::new(self, errors));
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("path", &self.path).field("range", &self.range).finish_non_exhaustive()
    }
}
