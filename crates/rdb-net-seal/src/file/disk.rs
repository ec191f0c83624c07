//! The few things that are done with files.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::path::Path;

/// What a [`SealedFile`](super::SealedFile) does with files: each call is one step after which a crash may come.
pub trait Files: fmt::Debug {
    /// Reads a file, of a longer one `bytes_max + 1` bytes. An absent file is [`ErrorKind::NotFound`].
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>>;

    /// Writes a new file that its owner alone may read and write. What has this name is removed before, not written to: it may
    /// be a link to somewhere else.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn create(&self, path: &Path, content: &[u8]) -> Result<()>;

    /// Returns when the file's content will survive a loss of power.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn sync(&self, path: &Path) -> Result<()>;

    /// Gives a file another name, in one step. What had that name is gone.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;

    /// Returns when the names in a folder will survive a loss of power.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn sync_folder(&self, folder: &Path) -> Result<()>;
}

/// The file system of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskFiles;

impl Files for DiskFiles {
    fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(Error::new(ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut content = Vec::new();
        file.take(bytes_max.saturating_add(1)).read_to_end(&mut content)?;
        Ok(content)
    }

    fn create(&self, path: &Path, content: &[u8]) -> Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path)?.write_all(content)
    }

    fn sync(&self, path: &Path) -> Result<()> {
        OpenOptions::new().write(true).open(path)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> Result<()> {
        // Elsewhere a folder cannot be opened, and the file system keeps its names by itself.
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    }
}
