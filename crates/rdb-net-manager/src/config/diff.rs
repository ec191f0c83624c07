//! What differs between two configurations, and how it takes effect.

use super::key::{Key, Reload};
use super::keys::KEYS;
use super::settings::Config;

/// A key whose value differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub key: &'static str,
    /// How the new value takes effect.
    pub class: Reload,
    /// The old value as TOML; `None` where it was not set.
    pub old: Option<String>,
    /// The new value as TOML; `None` where it is not set.
    pub new: Option<String>,
}

impl Config {
    /// Every key whose value differs, in the order of the table. Where values came from is no difference.
    pub fn diff(old: &Self, new: &Self) -> Vec<Change> {
        let changed = KEYS.iter().filter_map(|key| {
            let (old, new) = (key.value(old), key.value(new));
            (old != new).then_some(Change { key: key.path, class: key.reload, old, new })
        });
        changed.collect()
    }

    /// Keys that were changed from their defaults and have no effect in this version: an operator should be told.
    pub fn without_effect(&self) -> Vec<&'static Key> {
        let default = Self::default();
        let is_idle = |key: &&Key| !key.pending.is_empty() && key.value(self) != key.value(&default);
        KEYS.iter().filter(is_idle).collect()
    }
}
