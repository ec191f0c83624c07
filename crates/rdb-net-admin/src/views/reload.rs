//! What became of a configuration that was read again.

use rdb_net_manager::Reloaded;
use rdb_net_manager::config::Change;
use serde::{Deserialize, Serialize};

/// What became of the differences between the configuration that ran and the one that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadedView {
    /// In force.
    pub taken: Vec<ChangeView>,
    /// These wait for the next start of the process.
    pub waiting: Vec<ChangeView>,
}

/// A key whose value differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeView {
    /// Its name.
    pub key: String,
    /// The value before, as TOML; `null` where it was not set.
    pub old: Option<String>,
    /// The new one, as TOML; `null` where it is not set.
    pub new: Option<String>,
}

impl From<Change> for ChangeView {
    fn from(change: Change) -> Self {
        Self { key: change.key.to_owned(), old: change.old, new: change.new }
    }
}

impl From<Reloaded> for ReloadedView {
    fn from(reloaded: Reloaded) -> Self {
        let views = |changes: Vec<Change>| changes.into_iter().map(ChangeView::from).collect();
        Self { taken: views(reloaded.taken), waiting: views(reloaded.waiting) }
    }
}
