//! A file system that forgets what was never synced, and a log's file on it: whatever the log has promised survives a loss of power.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use super::super::files::{Files, LogFile};
use super::super::{FileLog, Log};
use super::files::Folder;

/// What a disk may take for nothing, one kind at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ignored {
    Nothing,
    SyncData,
    SyncAll,
    FolderSync,
}

#[derive(Debug, Clone, Default)]
struct Content {
    written: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Debug, Default)]
struct Disk {
    /// By number; a name leads to one.
    contents: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
}

/// Files in memory, of which a loss of power leaves what was synced: of contents and of names.
#[derive(Debug, Clone)]
struct Forgetful {
    disk: Arc<Mutex<Disk>>,
    ignored: Ignored,
}

impl Forgetful {
    fn new(ignored: Ignored) -> Self {
        Self { disk: Arc::default(), ignored }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().expect("no test panics while it holds this lock")
    }

    fn lose_power(&self) {
        let mut disk = self.disk();
        disk.names = disk.durable_names.clone();
        disk.contents.iter_mut().for_each(|content| content.written = content.durable.clone());
    }

    fn sync(&self, number: usize) {
        let content = &mut self.disk().contents[number];
        content.durable = content.written.clone();
    }

    fn file(&self, number: usize) -> Box<dyn LogFile> {
        Box::new(OpenFile { files: self.clone(), number, at: 0 })
    }
}

#[derive(Debug)]
struct OpenFile {
    files: Forgetful,
    number: usize,
    at: u64,
}

impl OpenFile {
    /// Does something with what is written, from where the file stands.
    fn with<T>(&mut self, act: impl FnOnce(&mut Cursor<&mut Vec<u8>>) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.files.disk();
        let mut cursor = Cursor::new(&mut disk.contents[self.number].written);
        cursor.set_position(self.at);
        let done = act(&mut cursor)?;
        let at = cursor.position();
        drop(disk);
        self.at = at;
        Ok(done)
    }
}

impl Read for OpenFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.with(|cursor| cursor.read(buffer))
    }
}

impl Write for OpenFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.with(|cursor| cursor.write(buffer))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for OpenFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.with(|cursor| cursor.seek(to))
    }
}

impl LogFile for OpenFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.files.disk().contents[self.number].written.len() as u64)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.files.disk().contents[self.number].written.truncate(length as usize);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.files.ignored != Ignored::SyncData {
            self.files.sync(self.number);
        }
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        if self.files.ignored != Ignored::SyncAll {
            self.files.sync(self.number);
        }
        Ok(())
    }
}

impl Files for Forgetful {
    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let number = self.disk().names.get(path).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(number))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let mut disk = self.disk();
        let number = disk.contents.len();
        disk.contents.push(Content::default());
        disk.names.insert(path.to_owned(), number);
        drop(disk);
        Ok(self.file(number))
    }

    fn exists(&self, path: &Path) -> bool {
        self.disk().names.contains_key(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk().names.remove(path);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let number = disk.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        disk.names.insert(to.to_owned(), number);
        Ok(())
    }

    fn sync_folder_of(&self, _: &Path) -> io::Result<()> {
        if self.ignored != Ignored::FolderSync {
            let mut disk = self.disk();
            disk.durable_names = disk.names.clone();
        }
        Ok(())
    }
}

/// What a log on these files holds, or why it cannot be opened.
fn records(files: &Forgetful, path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let mut records = Vec::new();
    let opened =
        FileLog::open_in(Arc::new(files.clone()), path.to_owned(), &mut |record| records.push(record.to_vec()));
    opened.map(|_| records).map_err(|error| error.to_string())
}

/// What is left after a loss of power: of a new log with a synced record, and of the same log replaced and gone on with.
fn left(files: &Forgetful, path: &Path) -> [Result<Vec<Vec<u8>>, String>; 3] {
    let open =
        || FileLog::open_in(Arc::new(files.clone()), path.to_owned(), &mut |_| {}).map_err(|error| error.to_string());
    let appended = open().map(|(mut log, _)| {
        log.append(b"first").expect("there is room");
        log.sync().expect("there is room");
        log.append(b"never synced").expect("there is room");
    });
    files.lose_power();
    let first = appended.and_then(|()| records(files, path));
    let replaced = open().map(|(mut log, _)| log.replace(&mut [Bytes::from_static(b"kept")].into_iter()));
    files.lose_power();
    let second =
        replaced.and_then(|replaced| replaced.map_err(|error| error.to_string())).and_then(|()| records(files, path));
    let appended = open().map(|(mut log, _)| {
        for record in [&b"second"[..], b"third"] {
            log.append(record).expect("there is room");
            log.sync().expect("there is room");
        }
    });
    files.lose_power();
    let third = appended.and_then(|()| records(files, path));
    [first, second, third]
}

fn texts(records: &[&str]) -> Result<Vec<Vec<u8>>, String> {
    Ok(records.iter().map(|record| record.as_bytes().to_vec()).collect())
}

#[test]
fn what_a_file_has_promised_survives_a_loss_of_power() {
    let folder = Folder::new("power");
    let left = left(&Forgetful::new(Ignored::Nothing), &folder.log());
    assert_eq!(left, [texts(&["first"]), texts(&["kept"]), texts(&["kept", "second", "third"])]);
}

/// Each kind of sync is needed, and this test would see it if the log did without: a disk that takes it for nothing loses something.
#[test]
fn a_log_without_one_of_its_syncs_loses_what_it_has_promised() {
    let whole = [texts(&["first"]), texts(&["kept"]), texts(&["kept", "second", "third"])];
    for ignored in [Ignored::SyncData, Ignored::SyncAll, Ignored::FolderSync] {
        let folder = Folder::new(&format!("power-{ignored:?}"));
        let left = left(&Forgetful::new(ignored), &folder.log());
        assert_ne!(left, whole, "{ignored:?}");
    }
}
