//! What differs between two configurations, and how it takes effect.

use super::key::{Key, Reload};
use super::keys::KEYS;
use super::settings::Config;

/// Whether a running node takes a change of this key.
pub(crate) fn is_of_membership(key: &Key) -> bool {
    key.reload == Reload::Hot && matches!(key.section(), "networking.gossip" | "networking.split_brain")
}

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

    /// Takes the settings of membership, and of what is decided in a partition, that another configuration has; where packets
    /// travel and how long a key seals them stay.
    pub(crate) fn take_membership(&mut self, new: &Self) {
        self.gossip.profile = new.gossip.profile;
        self.gossip.swim = new.gossip.swim.clone();
        self.split_brain = new.split_brain.clone();
        for key in KEYS.iter().filter(|key| is_of_membership(key)) {
            match new.origins.0.get(key.path) {
                Some(origin) => self.origins.0.insert(key.path, origin.clone()),
                None => self.origins.0.remove(key.path),
            };
        }
    }

    /// Keys that were changed from their defaults and have no effect in this version: an operator should be told.
    pub fn without_effect(&self) -> Vec<&'static Key> {
        let default = Self::default();
        let is_idle = |key: &&Key| !key.pending.is_empty() && key.value(self) != key.value(&default);
        KEYS.iter().filter(is_idle).collect()
    }
}
