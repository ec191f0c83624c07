//! A list for the next life of the process: what a source said last, for a start at which the source is away.
//!
//! The text is kept through the small trait [`LastGoodStore`]; who implements it decides where, and whether it is sealed.

use std::time::Duration;

use rdb_net_types::{NodeAddress, NodeInfo};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::NodeDocument;

/// Where a list is kept. Both block on a disk.
pub trait LastGoodStore: Send + Sync {
    /// What was saved last; `None` where nothing was.
    ///
    /// # Errors
    ///
    /// When it cannot be read. The process starts without it.
    fn load(&self) -> Result<Option<Vec<u8>>, LastGoodError>;

    /// Replaces what was saved.
    ///
    /// # Errors
    ///
    /// When it cannot be written. What was saved before stays.
    fn save(&self, text: &[u8]) -> Result<(), LastGoodError>;
}

/// A saved list that is not taken, or could not be read or written. Nothing but the list is lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LastGoodError {
    /// The store failed.
    #[error("the saved list: {problem}")]
    Store {
        /// What it says.
        problem: String,
    },
    /// It is no saved list.
    #[error("the saved list is damaged: {problem}")]
    Damaged {
        /// What is wrong.
        problem: String,
    },
    /// It is of another source: the configuration has changed.
    #[error("the saved list is of {found}, not of {expected}")]
    OtherSource {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// It is older than is believed.
    #[error("the saved list is {age:?} old, more than {limit:?}")]
    TooOld {
        /// Its age.
        age: Duration,
        /// The limit.
        limit: Duration,
    },
}

/// What a source said last.
#[derive(Debug, Clone, PartialEq)]
pub struct LastGood {
    /// Which source, with what it was asked for: `etcd /rustydb/prod`.
    pub source: String,
    /// When it was saved, in seconds since 1970.
    pub saved_at_unix_s: u64,
    /// The nodes.
    pub nodes: Vec<NodeInfo>,
}

#[derive(Serialize, Deserialize)]
struct Text {
    source: String,
    saved_at: u64,
    seeds: Vec<NodeAddress>,
    nodes: Vec<Box<RawValue>>,
}

impl LastGood {
    /// As text, which [`read`](Self::read) takes.
    pub fn to_text(&self) -> Vec<u8> {
        let named = self.nodes.iter().filter(|node| !node.provisional);
        let text = Text {
            source: self.source.clone(),
            saved_at: self.saved_at_unix_s,
            seeds: self.nodes.iter().filter(|node| node.provisional).map(|node| node.address.clone()).collect(),
            nodes: named.filter_map(|node| RawValue::from_string(NodeDocument::new(node).to_json()).ok()).collect(),
        };
        // Texts, numbers and documents that are JSON already cannot fail.
        serde_json::to_vec(&text).unwrap_or_default()
    }

    /// Reads what was saved for this source, at this time, and says how old it is. A time stamp in the future counts as now.
    ///
    /// # Errors
    ///
    /// [`LastGoodError`] when it is damaged, of another source, or too old.
    pub fn read(text: &[u8], source: &str, unix_s: u64, age_max: Duration) -> Result<(Self, Duration), LastGoodError> {
        let damaged = |problem: String| LastGoodError::Damaged { problem };
        let text: Text = serde_json::from_slice(text).map_err(|error| damaged(error.to_string()))?;
        if text.source != source {
            return Err(LastGoodError::OtherSource { found: text.source, expected: source.to_owned() });
        }
        let age = Duration::from_secs(unix_s.saturating_sub(text.saved_at));
        if age > age_max {
            return Err(LastGoodError::TooOld { age, limit: age_max });
        }
        let seeds = text.seeds.into_iter().map(|address| Ok(NodeInfo::seed(address)));
        let named = text.nodes.iter().map(|document| {
            let document =
                NodeDocument::parse(document.get().as_bytes()).map_err(|error| damaged(error.to_string()))?;
            Ok(document.into_node())
        });
        let nodes = named.chain(seeds).collect::<Result<_, LastGoodError>>()?;
        Ok((Self { source: text.source, saved_at_unix_s: text.saved_at, nodes }, age))
    }
}

#[cfg(test)]
mod tests {
    use rdb_net_types::NodeId;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn saved() -> LastGood {
        let address = |text: &str| text.parse().expect("legal");
        let named = NodeInfo::new(NodeId::new("n1").expect("legal"), address("a:1"));
        let nodes = vec![named, NodeInfo::seed(address("[::1]:2"))];
        LastGood { source: "etcd /rustydb".to_owned(), saved_at_unix_s: 1_000, nodes }
    }

    #[track_caller]
    fn refused(text: &[u8], source: &str, unix_s: u64, expected: &str) {
        let error = LastGood::read(text, source, unix_s, DAY).expect_err("refused");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn what_was_saved_is_read_with_its_age() {
        let text = saved().to_text();
        assert_eq!(LastGood::read(&text, "etcd /rustydb", 1_060, DAY), Ok((saved(), Duration::from_secs(60))));
        let back = LastGood::read(&text, "etcd /rustydb", 0, DAY).expect("a clock that was set back harms nothing");
        assert_eq!(back.1, Duration::ZERO);
    }

    #[test]
    fn what_is_of_another_source_too_old_or_damaged_is_not_taken() {
        let text = saved().to_text();
        refused(&text, "dns nodes.example.", 1_000, "the saved list is of etcd /rustydb, not of dns nodes.example.");
        refused(&text, "etcd /rustydb", 90_000, "the saved list is 89000s old, more than 86400s");
        let cut = LastGood::read(&text[..text.len() - 5], "etcd /rustydb", 1_000, DAY).expect_err("refused");
        assert!(matches!(cut, LastGoodError::Damaged { .. }), "{cut}");
    }
}
