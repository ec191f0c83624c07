//! What a log has promised survives a loss of power after any call: what is left is what was before or what was to be, and whole.

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

#[derive(Debug, Clone, Default)]
struct Disk {
    /// By number; a name leads to one.
    contents: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
}

/// How much of what was written and never synced a loss of power leaves.
#[derive(Debug, Clone, Copy)]
enum Unsynced {
    Lost,
    Torn,
    Kept,
}

/// What a life ends with.
#[derive(Debug, Clone, Copy)]
enum End {
    /// The process alone dies.
    Death,
    /// The power is lost, and with it names that were not made durable, or not; and contents.
    Power { names: Unsynced, contents: Unsynced },
}

const ENDS: [End; 7] = [
    End::Death,
    End::Power { names: Unsynced::Lost, contents: Unsynced::Lost },
    End::Power { names: Unsynced::Lost, contents: Unsynced::Torn },
    End::Power { names: Unsynced::Lost, contents: Unsynced::Kept },
    End::Power { names: Unsynced::Kept, contents: Unsynced::Lost },
    End::Power { names: Unsynced::Kept, contents: Unsynced::Torn },
    End::Power { names: Unsynced::Kept, contents: Unsynced::Kept },
];

impl Disk {
    /// What is there after this end.
    fn after(mut self, end: End) -> Self {
        let End::Power { names, contents } = end else { return self };
        if matches!(names, Unsynced::Lost) {
            self.names.clone_from(&self.durable_names);
        }
        for Content { written, durable } in &mut self.contents {
            match contents {
                Unsynced::Lost => written.clone_from(durable),
                Unsynced::Torn => written.truncate(written.len().midpoint(durable.len())),
                Unsynced::Kept => {}
            }
            durable.clone_from(written);
        }
        self.durable_names.clone_from(&self.names);
        self
    }
}

/// Files in memory, of which a loss of power leaves what was synced, of contents and of names, and of the rest what chance leaves.
#[derive(Debug, Clone)]
struct Forgetful {
    disk: Arc<Mutex<Disk>>,
    /// As it was after each call that changed something.
    moments: Arc<Mutex<Vec<Disk>>>,
    ignored: Ignored,
}

impl Forgetful {
    fn new(disk: Disk, ignored: Ignored) -> Self {
        Self { disk: Arc::new(Mutex::new(disk)), moments: Arc::default(), ignored }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().expect("no test panics while it holds this lock")
    }

    /// Changes something.
    fn change<T>(&self, act: impl FnOnce(&mut Disk) -> T) -> T {
        let mut disk = self.disk();
        let done = act(&mut disk);
        self.moments.lock().expect("no test panics while it holds this lock").push(disk.clone());
        done
    }

    /// Every moment since this was asked last.
    fn take_moments(&self) -> Vec<Disk> {
        std::mem::take(&mut *self.moments.lock().expect("no test panics while it holds this lock"))
    }

    fn sync(&self, number: usize, kind: Ignored) {
        if self.ignored != kind {
            self.change(|disk| {
                let content = &mut disk.contents[number];
                content.durable.clone_from(&content.written);
            });
        }
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
    fn at<T>(
        at: &mut u64,
        written: &mut Vec<u8>,
        act: impl FnOnce(&mut Cursor<&mut Vec<u8>>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut cursor = Cursor::new(written);
        cursor.set_position(*at);
        let done = act(&mut cursor);
        *at = cursor.position();
        done
    }
}

impl Read for OpenFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Self::at(&mut self.at, &mut self.files.disk().contents[self.number].written, |cursor| cursor.read(buffer))
    }
}

impl Write for OpenFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let Self { files, number, at } = self;
        files.change(|disk| Self::at(at, &mut disk.contents[*number].written, |cursor| cursor.write(buffer)))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for OpenFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        Self::at(&mut self.at, &mut self.files.disk().contents[self.number].written, |cursor| cursor.seek(to))
    }
}

impl LogFile for OpenFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.files.disk().contents[self.number].written.len() as u64)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.files.change(|disk| disk.contents[self.number].written.truncate(length as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.files.sync(self.number, Ignored::SyncData);
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.files.sync(self.number, Ignored::SyncAll);
        Ok(())
    }
}

impl Files for Forgetful {
    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let number = self.disk().names.get(path).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(number))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let number = self.change(|disk| {
            disk.contents.push(Content::default());
            disk.names.insert(path.to_owned(), disk.contents.len() - 1);
            disk.contents.len() - 1
        });
        Ok(self.file(number))
    }

    fn exists(&self, path: &Path) -> bool {
        self.disk().names.contains_key(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(|disk| disk.names.remove(path));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|disk| {
            let number = disk.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            disk.names.insert(to.to_owned(), number);
            Ok(())
        })
    }

    fn sync_folder_of(&self, _: &Path) -> io::Result<()> {
        if self.ignored != Ignored::FolderSync {
            self.change(|disk| disk.durable_names.clone_from(&disk.names));
        }
        Ok(())
    }
}

type Records = Vec<Vec<u8>>;

/// What a log on these files holds, or why it cannot be opened.
fn open(files: &Forgetful, path: &Path) -> Result<(FileLog, Records), String> {
    let mut records = Vec::new();
    let opened =
        FileLog::open_in(Arc::new(files.clone()), path.to_owned(), &mut |record| records.push(record.to_vec()));
    opened.map(|(log, _)| (log, records)).map_err(|error| error.to_string())
}

fn append(log: &mut FileLog, record: &[u8]) {
    log.append(record).expect("there is room");
    log.sync().expect("there is room");
}

type Step = (fn(&mut FileLog), &'static [&'static str]);

/// What a life of a log does, and what the log holds when it has done it.
const STEPS: [Step; 5] = [
    (|log| append(log, b"first"), &["first"]),
    (|log| append(log, b"second"), &["first", "second"]),
    (|log| log.replace(&mut [Bytes::from_static(b"kept")].into_iter()).expect("there is room"), &["kept"]),
    (|log| append(log, b"third"), &["kept", "third"]),
    (|log| log.append(b"never synced").expect("there is room"), &["kept", "third"]),
];

/// Everything that can be left of a life that ends after any of its calls, with what the log held before and after what it was about. The last
/// one of each step is that in which both are the same: what was promised.
fn all_ends(ignored: Ignored, path: &Path) -> Vec<(String, Disk, [Records; 2])> {
    let files = Forgetful::new(Disk::default(), ignored);
    let (mut log, none) = open(&files, path).expect("it is new");
    let (mut moments, mut held) = (vec![("open".to_owned(), files.take_moments(), [none.clone(), none.clone()])], none);
    moments.push(("open, done".to_owned(), vec![files.disk().clone()], [held.clone(), held.clone()]));
    for (number, (act, holds)) in STEPS.iter().enumerate() {
        let new: Records = holds.iter().map(|record| record.as_bytes().to_vec()).collect();
        act(&mut log);
        moments.push((format!("step {number}"), files.take_moments(), [held, new.clone()]));
        moments.push((format!("step {number}, done"), vec![files.disk().clone()], [new.clone(), new.clone()]));
        held = new;
    }
    let of_moment = |(name, disks, held): (String, Vec<Disk>, [Records; 2])| {
        let of_call = move |(call, disk): (usize, Disk)| {
            let (name, held) = (name.clone(), held.clone());
            ENDS.map(move |end| (format!("{name}, call {call}, {end:?}"), disk.clone().after(end), held.clone()))
        };
        disks.into_iter().enumerate().flat_map(of_call)
    };
    moments.into_iter().flat_map(of_moment).collect()
}

/// Ends a life of a log after each of its calls in each way, and the next life, which only opens it, as well. What is found broken.
fn broken(ignored: Ignored, path: &Path) -> Vec<String> {
    let mut broken = Vec::new();
    for (name, disk, allowed) in all_ends(ignored, path) {
        let files = Forgetful::new(disk, ignored);
        let opened = open(&files, path).map(|(_, records)| records);
        let Some(records) = opened.as_ref().ok().filter(|records| allowed.contains(records)) else {
            broken.push(format!("{name}: {opened:?}, and not one of {allowed:?}"));
            continue;
        };
        // Whoever has read them has acted on them.
        let promised = [records.clone(), records.clone()];
        let mut moments = files.take_moments();
        let done = std::mem::take(&mut *files.disk());
        let ends = moments.drain(..).map(|disk| (disk, &allowed)).chain([(done, &promised)]);
        for (call, (disk, allowed)) in ends.enumerate() {
            for end in ENDS {
                let opened = open(&Forgetful::new(disk.clone().after(end), ignored), path).map(|(_, records)| records);
                if !opened.as_ref().is_ok_and(|records| allowed.contains(records)) {
                    broken
                        .push(format!("{name}; opened, call {call}, {end:?}: {opened:?}, and not one of {allowed:?}"));
                }
            }
        }
    }
    broken
}

#[test]
fn what_a_file_has_promised_survives_a_loss_of_power() {
    let folder = Folder::new("power");
    let calls = all_ends(Ignored::Nothing, &folder.log()).len() / ENDS.len();
    assert!(calls > 25, "{calls} calls are too few for what was done");
    let broken = broken(Ignored::Nothing, &folder.log());
    assert!(broken.is_empty(), "{} of them:\n{}", broken.len(), broken[..broken.len().min(5)].join("\n"));
}

/// Each kind of sync is needed, and this test would see it if the log did without: a disk that takes it for nothing loses something.
#[test]
fn a_log_without_one_of_its_syncs_loses_what_it_has_promised() {
    for ignored in [Ignored::SyncData, Ignored::SyncAll, Ignored::FolderSync] {
        let folder = Folder::new(&format!("power-{ignored:?}"));
        assert!(!broken(ignored, &folder.log()).is_empty(), "{ignored:?}");
    }
}
