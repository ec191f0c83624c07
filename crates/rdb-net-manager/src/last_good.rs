//! The last good list of a source of discovery as a file of the node's folder, sealed like what it remembers of its members.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdb_discovery::{LastGoodError, LastGoodStore};
use rdb_net_seal::{DiskFiles, FileKind, FileOwner, SealedFile};
use rdb_net_types::{ClusterId, NodeId};

use crate::config::{DiscoveryKind, State};
use crate::error::StartError;

/// One list in one file.
pub(crate) struct SavedList {
    file: Mutex<SealedFile<DiskFiles>>,
}

impl SavedList {
    /// The file of this kind of source. Nothing of it is read yet.
    ///
    /// # Errors
    ///
    /// The folder cannot be made, or its key not be read: what was sealed would be lost with the next save.
    pub(crate) fn open(
        state: &State,
        folder: &Path,
        kind: DiscoveryKind,
        cluster: &ClusterId,
        node: &NodeId,
    ) -> Result<Self, StartError> {
        let name = format!("discovery-{}.state", kind.name());
        let file = crate::memory::open(state, folder, &name, FileKind::DISCOVERY, FileOwner::of(cluster, node))?;
        Ok(Self { file: Mutex::new(file) })
    }

    // A panic leaves the file as it was on disk, which is read again before the next save.
    fn file(&self) -> MutexGuard<'_, SealedFile<DiskFiles>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LastGoodStore for SavedList {
    fn load(&self) -> Result<Option<Vec<u8>>, LastGoodError> {
        let loaded = self.file().load();
        let problem =
            loaded.problems.into_iter().map(|problem| problem.to_string()).reduce(|all, one| all + "; " + &one);
        // Names and addresses, which the source tells everybody who asks.
        let text = loaded.payload.map(|payload| payload.to_vec());
        match (text, problem) {
            (None, Some(problem)) => Err(LastGoodError::Store { problem }),
            (text, Some(problem)) => {
                tracing::warn!(problem, "an older list of discovery is used (networking.state.path)");
                Ok(text)
            }
            (text, None) => Ok(text),
        }
    }

    fn save(&self, text: &[u8]) -> Result<(), LastGoodError> {
        self.file().save(text).map_err(|error| LastGoodError::Store { problem: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(folder: &Path, key: Option<&str>, cluster: &str) -> SavedList {
        let key_path = key.map(|key| {
            use std::os::unix::fs::PermissionsExt;
            let path = folder.join("key");
            std::fs::write(&path, key.repeat(32)).expect("written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("set");
            path
        });
        let state = State { path: Some(folder.to_owned()), key_path, key_variable: None };
        let (cluster, node) = (ClusterId::new(cluster).expect("legal"), NodeId::new("n1").expect("legal"));
        SavedList::open(&state, folder, DiscoveryKind::Static, &cluster, &node).expect("it can be opened")
    }

    #[track_caller]
    fn refused(list: &SavedList) {
        let told = list.load().expect_err("it is not taken").to_string();
        assert!(told.starts_with("the saved list: ") && told.contains("discovery-static.state"), "{told}");
    }

    #[test]
    fn what_was_saved_is_there_in_the_next_life_and_sealed_where_there_is_a_key() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(list(folder.path(), Some("7a"), "a").load(), Ok(None), "nothing is no error");
        list(folder.path(), Some("7a"), "a").save(b"node1:7000").expect("saved");
        assert_eq!(list(folder.path(), Some("7a"), "a").load(), Ok(Some(b"node1:7000".to_vec())));
        let on_disk = std::fs::read(folder.path().join("discovery-static.state")).expect("there");
        assert!(!on_disk.windows(5).any(|part| part == b"node1"), "it is sealed");
    }

    #[test]
    fn another_key_another_cluster_and_a_changed_byte_are_told_and_nothing_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        list(folder.path(), Some("7a"), "a").save(b"node1:7000").expect("saved");
        refused(&list(folder.path(), Some("7b"), "a"));
        refused(&list(folder.path(), Some("7a"), "b"));
        let path = folder.path().join("discovery-static.state");
        let mut bytes = std::fs::read(&path).expect("there");
        *bytes.last_mut().expect("not empty") ^= 1;
        std::fs::write(&path, bytes).expect("written");
        refused(&list(folder.path(), Some("7a"), "a"));
    }
}
