//! What a log needs of a file system, so that a test may put one in its place that forgets what was never synced.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// A file of a log.
pub(super) trait LogFile: Read + Write + Seek + Send + Sync + Debug {
    /// How many bytes it has.
    fn length(&self) -> io::Result<u64>;
    /// Makes it so long.
    fn set_length(&self, length: u64) -> io::Result<()>;
    /// Returns when what was written survives a loss of power.
    fn sync_data(&self) -> io::Result<()>;
    /// The same, its length and its other attributes included.
    fn sync_all(&self) -> io::Result<()>;
}

/// Where a log's files lie.
pub(super) trait Files: Send + Sync + Debug {
    /// Opens a file that is there.
    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>>;
    /// Makes one that is not there, for its owner alone.
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>>;
    /// Whether there is one.
    fn exists(&self, path: &Path) -> bool;
    /// Removes one; where there is none that is no error.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another one's name, in one step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Returns when the name of a file survives a loss of power.
    fn sync_folder_of(&self, path: &Path) -> io::Result<()>;
}

/// The machine's own.
#[derive(Debug)]
pub(super) struct OfTheMachine;

impl LogFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        Self::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        Self::sync_all(self)
    }
}

impl Files for OfTheMachine {
    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(owned().create_new(true).open(path)?))
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_folder_of(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Elsewhere a folder cannot be opened, and the file system keeps its names by itself.
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    }
}

/// How a file is opened that its owner alone may read and write.
pub(super) fn owned() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}
