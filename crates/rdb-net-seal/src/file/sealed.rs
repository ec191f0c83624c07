//! Loading and saving.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::disk::Files;
use super::format::{self, Content, FILE_OVERHEAD_BYTES, FileKind, FileOwner, Place};
use super::problem::{FileStep, Flaw, Loaded, LoadedFrom, Problem, SaveError};
use crate::key::StoreKey;
use crate::secret::SecretBytes;

/// What becomes of clear files where a key is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClearFiles {
    /// They are passed over: whoever may write the folder could have put them there.
    #[default]
    Refuse,
    /// They are loaded, and the next save seals. For the one start after which a key is in use.
    Accept,
}

/// Limits of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileConfig {
    /// The longest content, in bytes. Default 64 MiB; a file is read into memory as a whole.
    pub payload_bytes_max: u64,
    /// What becomes of clear files where a key is configured. Default [`ClearFiles::Refuse`].
    pub clear_files: ClearFiles,
}

impl Default for FileConfig {
    fn default() -> Self {
        Self { payload_bytes_max: 64 << 20, clear_files: ClearFiles::Refuse }
    }
}

/// What is known of the file in its place.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// The highest generation seen.
    generation: u64,
    /// Whether what is there can be loaded, and so is worth to be kept as the previous one.
    current_is_good: bool,
}

/// A file that is replaced as a whole, and that keeps what it replaced as `<name>.previous`.
///
/// A save writes `<name>.new` and has it on the disk, renames the present file to `<name>.previous` if it is good, then the new
/// one to its place, and has the names on the disk. Whenever the process or the machine stops, the old or the new content is
/// there whole, on a file system that renames within a folder in one step, in whichever order the two reach the disk.
///
/// The first of the keys seals; all of them open, so that a key is replaced by putting another before it, and dropped after the
/// second save. Without a key files are clear: damage is found, an attacker is not.
///
/// # What is not protected
///
/// Whoever may write the folder can put back files that this node wrote earlier, or remove them. Both are whole and sealed, so
/// nothing in them tells; a load gives their generation, and what depends on it not going back has to be compared with somebody
/// else's memory, as a node's incarnation is with its peers'. Two processes that save to one place overwrite each other.
#[derive(Debug)]
pub struct SealedFile<F> {
    files: F,
    path: PathBuf,
    place: Place,
    keys: Vec<StoreKey>,
    config: FileConfig,
    known: Option<Known>,
}

impl<F: Files> SealedFile<F> {
    /// A file at this place. The folder must exist. Nothing is read or written yet.
    pub fn new(
        files: F,
        path: impl Into<PathBuf>,
        kind: FileKind,
        owner: FileOwner,
        keys: Vec<StoreKey>,
        config: FileConfig,
    ) -> Self {
        Self { files, path: path.into(), place: Place { kind, owner }, keys, config, known: None }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the one is that it replaced.
    pub fn previous_path(&self) -> PathBuf {
        self.with_suffix(".previous")
    }

    /// Loads the file, or the one that it replaced, or nothing. It never fails: what was wrong is told beside it.
    pub fn load(&mut self) -> Loaded {
        let mut problems = Vec::new();
        let current = self.read(&self.path);
        let current_is_good = matches!(current, Ok(Some(_)));
        let is_missing = matches!(current, Ok(None));
        let current = self.note(&mut problems, self.path.clone(), current);
        let previous_path = self.previous_path();
        let previous = match current {
            Some(_) => None,
            None => self.note(&mut problems, previous_path.clone(), self.read(&previous_path)),
        };
        if is_missing && previous.is_some() {
            problems.push(Problem { path: self.path.clone(), flaw: Flaw::Missing });
        }
        let (from, content) = match (current, previous) {
            (Some(content), _) => (LoadedFrom::Current, Some(content)),
            (None, Some(content)) => (LoadedFrom::Previous, Some(content)),
            (None, None) => (LoadedFrom::Nothing, None),
        };
        let generation = content.as_ref().map_or(0, |content| content.generation);
        let highest = self.known.map_or(generation, |known| known.generation.max(generation));
        self.known = Some(Known { generation: highest, current_is_good });
        Loaded { payload: content.map(|content| content.payload), from, generation, problems }
    }

    /// Replaces the content. Returns when it will survive a loss of power.
    ///
    /// # Errors
    ///
    /// [`SaveError`].
    pub fn save(&mut self, payload: &[u8]) -> Result<(), SaveError> {
        if payload.len() as u64 > self.config.payload_bytes_max {
            return Err(SaveError::TooLong {
                path: self.path.clone(),
                bytes: payload.len() as u64,
                bytes_max: self.config.payload_bytes_max,
            });
        }
        // What is in its place has to be known: a good file is kept, a damaged one must not push a good previous one out.
        if self.known.is_none() {
            self.load();
        }
        // Until the end it is unknown again: a step that fails leaves one or the other.
        let known = self.known.take().unwrap_or(Known { generation: 0, current_is_good: false });
        let generation = known.generation.saturating_add(1);
        let file = format::encode(self.place, generation, self.keys.first(), payload)?;
        self.replace(&file, known.current_is_good)?;
        self.known = Some(Known { generation, current_is_good: true });
        Ok(())
    }

    fn replace(&self, content: &[u8], keep_current: bool) -> Result<(), SaveError> {
        let new = self.with_suffix(".new");
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let step = |step: FileStep, result: io::Result<()>| {
            result.map_err(|source| SaveError::Io { path: self.path.clone(), step, source })
        };
        step(FileStep::Write, self.files.create(&new, content))?;
        step(FileStep::Sync, self.files.sync(&new))?;
        if keep_current {
            match self.files.rename(&self.path, &self.previous_path()) {
                // Somebody removed it: there is nothing to keep.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                result => step(FileStep::KeepPrevious, result)?,
            }
        }
        step(FileStep::Replace, self.files.rename(&new, &self.path))?;
        step(FileStep::SyncFolder, self.files.sync_folder(folder))
    }

    /// A file that is whole; `None` where there is none.
    fn read(&self, path: &Path) -> Result<Option<Content>, Flaw> {
        let bytes_max = self.config.payload_bytes_max.saturating_add(FILE_OVERHEAD_BYTES as u64);
        let file = match self.files.read(path, bytes_max) {
            Ok(file) => SecretBytes::new(file),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Flaw::Unreadable(error.kind())),
        };
        if file.len() as u64 > bytes_max {
            return Err(Flaw::TooLong { bytes_max });
        }
        let content = format::decode(self.place, &self.keys, file)?;
        let is_refused = self.config.clear_files == ClearFiles::Refuse && !self.keys.is_empty();
        if is_refused && !content.is_sealed { Err(Flaw::NotSealed) } else { Ok(Some(content)) }
    }

    fn note(
        &self,
        problems: &mut Vec<Problem>,
        path: PathBuf,
        result: Result<Option<Content>, Flaw>,
    ) -> Option<Content> {
        result.unwrap_or_else(|flaw| {
            problems.push(Problem { path, flaw });
            None
        })
    }

    fn with_suffix(&self, suffix: &str) -> PathBuf {
        let mut path = OsString::from(&self.path);
        path.push(suffix);
        path.into()
    }
}
