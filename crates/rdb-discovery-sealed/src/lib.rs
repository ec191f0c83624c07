//! The last good list of a discovery source, in a sealed file.
//!
//! A source that is away when a process starts leaves it without a list. The one of the process's former life stands in for it then,
//! if [`SealedLastGood`] has kept it: it goes into the driver configuration of any backend as its
//! [`LastGoodStore`]. Names and addresses of a cluster are worth sealing, and a list that somebody else has written would lead a node
//! to whom he wants: with a [`StoreKey`], the file is sealed by [`rdb_net_seal`] and what does not open is refused.
//!
//! A file that is of another key, another node or cluster, damaged, or not sealed although a key is given, is a
//! [`LastGoodError::Store`] that says which it is and what to do. The start goes on without it, and the next good list replaces it.
//! How old a list may be, and whether it is of the source that is configured, [`LastGood::read`](rdb_discovery::LastGood::read) judges.
//!
//! ```
//! use rdb_discovery::LastGoodStore;
//! use rdb_discovery_sealed::SealedLastGood;
//! use rdb_net_types::{ClusterId, NodeId};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let (cluster, node) = (ClusterId::new("prod")?, NodeId::new("n1")?);
//! let store = SealedLastGood::new(folder.path().join("discovery.state"), &cluster, &node, Vec::new());
//! assert_eq!(store.load()?, None);
//! store.save(b"a list")?;
//! assert_eq!(store.load()?, Some(b"a list".to_vec()));
//! # Ok(())
//! # }
//! ```

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdb_discovery::{LastGoodError, LastGoodStore};
use rdb_net_seal::{DiskFiles, FileConfig, FileKind, FileOwner, SealedFile, StoreKey};
use rdb_net_types::{ClusterId, NodeId};

/// The longest list that is kept, in bytes: twenty thousand nodes with long labels.
pub const LIST_BYTES_MAX: u64 = 64 << 20;

/// A file with the last good list of one source. Two sources need two files.
#[derive(Debug)]
pub struct SealedLastGood {
    file: Mutex<SealedFile<DiskFiles>>,
}

impl SealedLastGood {
    /// A store at this place, whose folder must exist, for this node of this cluster. The first key seals, all open; without one
    /// the file is in the clear. Nothing is read or written yet.
    pub fn new(path: impl Into<PathBuf>, cluster: &ClusterId, node: &NodeId, keys: Vec<StoreKey>) -> Self {
        let config = FileConfig { payload_bytes_max: LIST_BYTES_MAX, ..FileConfig::default() };
        let owner = FileOwner::of(cluster, node);
        Self { file: Mutex::new(SealedFile::new(DiskFiles, path, FileKind::DISCOVERY, owner, keys, config)) }
    }

    // A panic leaves files that are either the old or the new ones.
    fn file(&self) -> MutexGuard<'_, SealedFile<DiskFiles>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LastGoodStore for SealedLastGood {
    fn load(&self) -> Result<Option<Vec<u8>>, LastGoodError> {
        let loaded = self.file().load();
        let problems: Vec<_> = loaded.problems.iter().map(ToString::to_string).collect();
        match loaded.payload {
            Some(payload) => {
                for problem in problems {
                    tracing::warn!(problem, "a saved list is passed over, the one before it is used");
                }
                Ok(Some(payload.to_vec()))
            }
            None if problems.is_empty() => Ok(None),
            None => Err(LastGoodError::Store { problem: problems.join("; ") }),
        }
    }

    fn save(&self, text: &[u8]) -> Result<(), LastGoodError> {
        self.file().save(text).map_err(|error| LastGoodError::Store { problem: error.to_string() })
    }
}
