//! A log in a file.

use std::fs::{File, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::files::{self, Files, LogFile, OfTheMachine};
use super::format::{self, FILE_HEADER_BYTES, Scanned, Writer};
use super::{Log, LogError, LogStep, PENDING_BYTES_MAX, Recovered};

/// How much of a replacement is written at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// A log in a file, which its owner alone may read and write.
///
/// Beside `name` there is `name.lock`, held for as long as the log is open, and for a moment `name.new` while it is replaced.
/// The records are not sealed: they hold what the database put into them.
#[derive(Debug)]
pub struct FileLog {
    path: PathBuf,
    files: Arc<dyn Files>,
    file: Box<dyn LogFile>,
    writer: Writer,
    /// Records that are not written yet: one write and one sync for all of them.
    pending: Vec<u8>,
    is_broken: bool,
    _lock: File,
}

impl FileLog {
    /// Opens the log of this name, makes it where there is none, and passes on its records in order.
    ///
    /// A torn end is cut off; how much that was is told, and a warning. On an error, records before the damage may have been passed on.
    ///
    /// # Errors
    ///
    /// [`LogError`]: the file is locked, damaged, of another kind, or the file system refused. Nothing was changed.
    pub fn open(path: impl Into<PathBuf>, visit: &mut dyn FnMut(&[u8])) -> Result<(Self, Recovered), LogError> {
        Self::open_in(Arc::new(OfTheMachine), path.into(), visit)
    }

    /// As [`open`](Self::open), in these files; the lock alone is the machine's.
    pub(super) fn open_in(
        files: Arc<dyn Files>,
        path: PathBuf,
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<(Self, Recovered), LogError> {
        let failed = |step: LogStep| {
            let path = path.clone();
            move |source: io::Error| LogError::Io { step, path, source }
        };
        let lock = lock(&path)?;
        let mut file = match files.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (file, _) = create(&*files, &path, &mut std::iter::empty()).map_err(|(_, error)| error)?;
                file
            }
            Err(error) => return Err(failed(LogStep::Open)(error)),
        };
        let length = file.length().map_err(failed(LogStep::Open))?;
        file.seek(SeekFrom::Start(0)).map_err(failed(LogStep::Read))?;
        let mut reader = BufReader::new(&mut file);
        let mut header = [0; FILE_HEADER_BYTES];
        let is_long_enough = length >= FILE_HEADER_BYTES as u64;
        if is_long_enough {
            reader.read_exact(&mut header).map_err(failed(LogStep::Read))?;
        }
        let salt = format::salt_of(&header).ok_or_else(|| LogError::NotALog { path: path.clone() })?;
        let scanned = format::scan(&mut reader, salt, length, visit).map_err(failed(LogStep::Read))?;
        let (end, recovered) = match scanned {
            Scanned::Whole { end, recovered } => (end, recovered),
            Scanned::Corrupt { offset, synced } => {
                return Err(LogError::Corrupt { path, offset, synced_bytes: synced });
            }
        };
        if recovered.cut_bytes > 0 {
            let (path, Recovered { records, cut_bytes }) = (path.display(), recovered);
            tracing::warn!(%path, records, cut_bytes, "the log ends with a record that is not whole; its end is cut off. After a crash \
                nothing of it was promised; otherwise look at the disk");
            file.set_length(end).map_err(failed(LogStep::Cut))?;
        }
        // What is read here may never have been synced; whoever acts on it relies on it from now on.
        file.sync_all().map_err(failed(LogStep::Sync))?;
        // Nor its name: a process may have died between giving the file its name and making that durable.
        files.sync_folder_of(&path).map_err(failed(LogStep::Sync))?;
        file.seek(SeekFrom::Start(end)).map_err(failed(LogStep::Read))?;
        let writer = Writer::new(salt, end);
        let log = Self { writer, path, files, file, pending: Vec::new(), is_broken: false, _lock: lock };
        Ok((log, recovered))
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn check(&self) -> Result<(), LogError> {
        if self.is_broken { Err(LogError::Broken { path: self.path.clone() }) } else { Ok(()) }
    }

    fn broken(&mut self, step: LogStep, source: io::Error) -> LogError {
        self.is_broken = true;
        LogError::Io { step, path: self.path.clone(), source }
    }
}

impl Log for FileLog {
    fn append(&mut self, record: &[u8]) -> Result<(), LogError> {
        self.check()?;
        self.writer.write(record, &mut self.pending)?;
        if self.pending.len() > PENDING_BYTES_MAX { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), LogError> {
        self.check()?;
        if self.pending.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.write_all(&self.pending) {
            return Err(self.broken(LogStep::Write, error));
        }
        if let Err(error) = self.file.sync_data() {
            return Err(self.broken(LogStep::Sync, error));
        }
        self.pending.clear();
        // One large burst does not hold its memory for good.
        self.pending.shrink_to(CHUNK_BYTES);
        self.writer.synced();
        Ok(())
    }

    fn replace(&mut self, records: &mut dyn Iterator<Item = Bytes>) -> Result<(), LogError> {
        self.check()?;
        let (file, writer) = create(&*self.files, &self.path, records).map_err(|(is_replaced, error)| {
            self.is_broken = is_replaced;
            error
        })?;
        (self.file, self.writer) = (file, writer);
        self.pending.clear();
        Ok(())
    }

    fn size_bytes(&self) -> u64 {
        self.writer.end()
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// The lock is a file of its own: the log's file is replaced by another one, whose lock would be another.
fn lock(path: &Path) -> Result<File, LogError> {
    let lock = files::owned().create(true).truncate(false).open(beside(path, ".lock"));
    let failed = |source| LogError::Io { step: LogStep::Open, path: path.to_owned(), source };
    let lock = lock.map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(LogError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Writes a whole log beside the old one and gives it its name. With an error comes whether the old one may be gone already.
fn create(
    files: &dyn Files,
    path: &Path,
    records: &mut dyn Iterator<Item = Bytes>,
) -> Result<(Box<dyn LogFile>, Writer), (bool, LogError)> {
    let step = if files.exists(path) { LogStep::Replace } else { LogStep::Open };
    let failed = |source: io::Error| (false, LogError::Io { step, path: path.to_owned(), source });
    let new = beside(path, ".new");
    files.remove(&new).map_err(failed)?;
    let salt = format::new_salt();
    let mut file = files.create(&new).map_err(failed)?;
    let mut chunk = format::file_header(salt).to_vec();
    let mut writer = Writer::new(salt, FILE_HEADER_BYTES as u64);
    for record in records {
        writer.write(&record, &mut chunk).map_err(|error| (false, error))?;
        if chunk.len() >= CHUNK_BYTES {
            file.write_all(&chunk).map_err(failed)?;
            chunk.clear();
        }
    }
    writer.seal(&mut chunk);
    file.write_all(&chunk).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    files.rename(&new, path).map_err(failed)?;
    let failed = |source| (true, LogError::Io { step: LogStep::Sync, path: path.to_owned(), source });
    files.sync_folder_of(path).map_err(failed)?;
    writer.synced();
    Ok((file, writer))
}
