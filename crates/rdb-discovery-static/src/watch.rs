//! The watch on the file's directories: a hint to look, never more. What changed is decided by content.
//!
//! The file itself is not watched: editors and ConfigMaps replace it, and a watch would stay with the old one. Watched are
//! the directory that holds the path, where a rename or a symlink swap shows, and the directory that the path leads to
//! through symlinks, where writes show.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// The watch. While it lives, its thread holds the sending half of the hints; dropping it ends both.
#[derive(Debug)]
pub(crate) struct DirectoryWatch {
    watcher: RecommendedWatcher,
    file: PathBuf,
    directories: BTreeSet<PathBuf>,
}

impl DirectoryWatch {
    /// A watch of nothing yet, and its hints. One waiting hint stands for any number of changes.
    pub(crate) fn new(file: &Path) -> notify::Result<(Self, mpsc::Receiver<()>)> {
        let (hint, hints) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if is_change(&event) {
                // Full means that a hint waits already, closed that nobody looks any more.
                let _ = hint.try_send(());
            }
        })?;
        Ok((Self { watcher, file: file.to_owned(), directories: BTreeSet::new() }, hints))
    }

    /// Watches the directories as they are at this time. A directory that was deleted and made anew has lost its watch
    /// without a word, so this is called again and again.
    pub(crate) fn rearm(&mut self) -> notify::Result<()> {
        for directory in std::mem::take(&mut self.directories) {
            // It may be gone, and its watch with it.
            let _ = self.watcher.unwatch(&directory);
        }
        let holder = parent(&self.file);
        let target = self.file.canonicalize().ok().map(|target| parent(&target));
        self.watcher.watch(&holder, RecursiveMode::NonRecursive)?;
        self.directories.insert(holder);
        if let Some(target) = target
            && !self.directories.iter().any(|watched| watched.canonicalize().is_ok_and(|path| path == target))
            && self.watcher.watch(&target, RecursiveMode::NonRecursive).is_ok()
        {
            self.directories.insert(target);
        }
        Ok(())
    }
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Whether a look is due. Reading the file is an event too, which must not lead to the next read.
fn is_change(event: &notify::Result<Event>) -> bool {
    match event {
        Ok(event) => match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
            EventKind::Access(_) => false,
            _ => true,
        },
        // Something was lost: look.
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_no_change_and_a_lost_event_is_one() {
        let kind = |kind| is_change(&Ok(Event::new(kind)));
        assert!(!kind(EventKind::Access(AccessKind::Open(AccessMode::Any))));
        assert!(!kind(EventKind::Access(AccessKind::Close(AccessMode::Read))));
        assert!(kind(EventKind::Access(AccessKind::Close(AccessMode::Write))));
        assert!(kind(EventKind::Other), "an overflow of the kernel's queue");
        assert!(is_change(&Err(notify::Error::generic("lost"))));
    }

    #[test]
    fn a_bare_name_is_in_the_working_directory() {
        assert_eq!(parent(Path::new("nodes.toml")), Path::new("."));
        assert_eq!(parent(Path::new("/etc/rdb/nodes.toml")), Path::new("/etc/rdb"));
    }
}
