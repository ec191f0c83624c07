//! A save that is cut off at every step and every byte, on a disk that keeps what it must and loses what it may.
//!
//! The disk of the model keeps the content of a file once it is synced, and the names of a folder once that is synced. Of what
//! was not synced a loss of power keeps any part: of a content a beginning, nothing, or zeros; of the names any selection of
//! the changes.

use std::collections::{BTreeMap, HashSet};
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{cluster, node, store_key};
use crate::{FileConfig, FileKind, FileOwner, Files, LoadedFrom, SealedFile, StoreKey};

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Content {
    bytes: Vec<u8>,
    is_synced: bool,
}

/// A change of the folder that is not on the disk yet.
#[derive(Debug, Clone)]
enum Change {
    Put(PathBuf, usize),
    Drop(PathBuf),
    Move(PathBuf, PathBuf, usize),
}

type Names = BTreeMap<PathBuf, usize>;

fn apply(names: &mut Names, change: &Change) {
    match change {
        Change::Put(path, content) => drop(names.insert(path.clone(), *content)),
        Change::Drop(path) => drop(names.remove(path)),
        Change::Move(from, to, content) => {
            names.remove(from);
            names.insert(to.clone(), *content);
        }
    }
}

#[derive(Debug, Clone, Default)]
struct State {
    contents: Vec<Content>,
    names: Names,
    names_synced: Names,
    unsynced: Vec<Change>,
    /// Steps until one fails, and how many bytes that one still writes if it is a write.
    fuse: Option<(usize, usize)>,
    steps: usize,
}

impl State {
    /// Whether this step is the one that fails.
    fn burn(&mut self) -> Option<usize> {
        self.steps += 1;
        match &mut self.fuse {
            Some((0, bytes)) => Some(*bytes),
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        }
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.unsynced.push(change);
    }

    fn find(&self, path: &Path) -> Result<usize> {
        self.names.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<State>>);

impl Disk {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().expect("no panic under it"))
    }

    fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.with(|state| State { fuse: None, ..state.clone() }))))
    }

    fn step<T>(&self, step: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        self.with(|state| match state.burn() {
            Some(_) => Err(ErrorKind::StorageFull.into()),
            None => step(state),
        })
    }

    /// A disk on which these names lead to these contents.
    fn of(files: BTreeMap<PathBuf, Vec<u8>>) -> Self {
        let disk = Self::default();
        disk.with(|state| {
            for (path, bytes) in files {
                state.contents.push(Content { bytes, is_synced: true });
                state.names.insert(path, state.contents.len() - 1);
            }
            state.names_synced = state.names.clone();
        });
        disk
    }

    /// What the process finds that starts after this one was killed: all that was done.
    fn after_kill(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.with(|state| {
            state.names.iter().map(|(path, content)| (path.clone(), state.contents[*content].bytes.clone())).collect()
        })
    }

    /// Everything that may be on the disk after the power failed.
    fn after_power_loss(&self) -> HashSet<BTreeMap<PathBuf, Vec<u8>>> {
        let state = self.with(|state| state.clone());
        let mut found = HashSet::new();
        for selection in 0..1_u32 << state.unsynced.len() {
            let mut names = state.names_synced.clone();
            let kept = state.unsynced.iter().enumerate().filter(|(index, _)| selection >> index & 1 == 1);
            kept.for_each(|(_, change)| apply(&mut names, change));
            // Which part is kept of contents that were not synced: the same of all, there is at most one.
            for part in 0..4 {
                let survives = |content: &Content| match (content.is_synced, part) {
                    (true, _) | (false, 0) => content.bytes.clone(),
                    (false, 1) => Vec::new(),
                    (false, 2) => content.bytes[..content.bytes.len() / 2].to_vec(),
                    _ => vec![0; content.bytes.len()],
                };
                found.insert(
                    names.iter().map(|(path, content)| (path.clone(), survives(&state.contents[*content]))).collect(),
                );
            }
        }
        found
    }
}

impl Files for Disk {
    fn read(&self, path: &Path, _bytes_max: u64) -> Result<Vec<u8>> {
        self.with(|state| Ok(state.contents[state.find(path)?].bytes.clone()))
    }

    fn create(&self, path: &Path, content: &[u8]) -> Result<()> {
        self.with(|state| {
            let written = state.burn();
            // Cut off before its first byte it may not even have removed what was there.
            if written == Some(0) {
                return Err(Error::from(ErrorKind::StorageFull));
            }
            if state.names.contains_key(path) {
                state.change(Change::Drop(path.to_owned()));
            }
            // The first byte stands for the empty file.
            let bytes = content[..written.map_or(content.len(), |written| (written - 1).min(content.len()))].to_vec();
            state.contents.push(Content { bytes, is_synced: false });
            state.change(Change::Put(path.to_owned(), state.contents.len() - 1));
            if written.is_some() { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
        })
    }

    fn sync(&self, path: &Path) -> Result<()> {
        self.step(|state| {
            let content = state.find(path)?;
            state.contents[content].is_synced = true;
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.step(|state| {
            let content = state.find(from)?;
            state.change(Change::Move(from.to_owned(), to.to_owned(), content));
            Ok(())
        })
    }

    fn sync_folder(&self, _folder: &Path) -> Result<()> {
        self.step(|state| {
            state.names_synced = state.names.clone();
            state.unsynced.clear();
            Ok(())
        })
    }
}

/// Steps of a save over a good file.
const STEPS: usize = 5;

type Keys = fn() -> Vec<StoreKey>;
const KEYS: [Keys; 2] = [Vec::new, || vec![store_key(1)]];

fn file(disk: &Disk, keys: Keys) -> SealedFile<Disk> {
    let owner = FileOwner::of(&cluster("rustydb"), &node("a"));
    SealedFile::new(disk.clone(), "data/members", FileKind::MEMBERSHIP, owner, keys(), FileConfig::default())
}

/// That a disk gives one of these contents, and goes on from there.
#[track_caller]
fn check_found(files: BTreeMap<PathBuf, Vec<u8>>, keys: Keys, expected: &[Option<&[u8]>], when: &str) {
    let disk = Disk::of(files);
    let loaded = file(&disk, keys).load();
    let payload = loaded.payload.as_deref();
    assert!(expected.contains(&payload), "{when}: {payload:?} with {:?}", loaded.problems);
    let mut next = file(&disk, keys);
    next.save(b"afterwards").expect("saved");
    assert_eq!(next.load().payload.as_deref(), Some(&b"afterwards"[..]), "{when}");
}

/// Cuts a save of `new` off everywhere. Until it is done `old` may be found; once it has returned, `new` is.
#[track_caller]
fn cut_everywhere(before: &Disk, keys: Keys, old: Option<&[u8]>, new: &[u8]) -> usize {
    let whole = before.copy();
    let steps_before = whole.with(|state| state.steps);
    file(&whole, keys).save(new).expect("saved");
    let steps = whole.with(|state| state.steps) - steps_before;
    assert!(steps == STEPS || steps == STEPS - 1, "{steps}");
    let bytes = new.len() + 96;

    let mut cuts = 0;
    for step in 0..steps {
        for written in 0..if step == 0 { bytes + 2 } else { 1 } {
            let disk = before.copy();
            disk.with(|state| state.fuse = Some((step, written)));
            file(&disk, keys).save(new).expect_err("cut off");
            let when = format!("step {step} of {steps}, {written} bytes");
            check_found(disk.after_kill(), keys, &[old, Some(new)], &when);
            for files in disk.after_power_loss() {
                check_found(files, keys, &[old, Some(new)], &when);
                cuts += 1;
            }
        }
    }
    check_found(whole.after_kill(), keys, &[Some(new)], "done");
    for files in whole.after_power_loss() {
        check_found(files, keys, &[Some(new)], "done");
    }
    cuts
}

#[test]
fn s22_a_save_that_is_cut_off_anywhere_leaves_the_old_or_the_new_content() {
    for keys in KEYS {
        let disk = Disk::default();
        let mut cuts = cut_everywhere(&disk, keys, None, b"first");
        file(&disk, keys).save(b"first").expect("saved");
        cuts += cut_everywhere(&disk, keys, Some(b"first"), b"second, which is longer");
        file(&disk, keys).save(b"second, which is longer").expect("saved");
        cuts += cut_everywhere(&disk, keys, Some(b"second, which is longer"), b"third");
        assert!(cuts > 500, "{cuts}");
    }
}

#[test]
fn s22_a_save_over_a_damaged_file_that_is_cut_off_leaves_the_previous_or_the_new_content() {
    for keys in KEYS {
        let disk = Disk::default();
        let mut saving = file(&disk, keys);
        saving.save(b"first").expect("saved");
        saving.save(b"second").expect("saved");
        let mut files = disk.after_kill();
        files.insert("data/members".into(), b"damaged".to_vec());
        cut_everywhere(&Disk::of(files), keys, Some(b"first"), b"third");
    }
}

#[test]
fn s22_a_cut_after_a_cut_still_leaves_one_of_the_contents() {
    for keys in KEYS {
        for step in 0..STEPS {
            let disk = Disk::default();
            file(&disk, keys).save(b"first").expect("saved");
            file(&disk, keys).save(b"second").expect("saved");
            disk.with(|state| state.fuse = Some((step, 50)));
            file(&disk, keys).save(b"third").expect_err("cut off");
            for files in disk.after_power_loss() {
                let again = Disk::of(files);
                let old = file(&again, keys).load().payload.map(|payload| payload.to_vec());
                cut_everywhere(&again, keys, old.as_deref(), b"fourth");
            }
        }
    }
}

#[test]
fn s22_a_full_disk_at_any_step_is_an_error_after_which_a_save_succeeds() {
    for keys in KEYS {
        for step in 0..STEPS {
            let disk = Disk::default();
            let mut saving = file(&disk, keys);
            saving.save(b"first").expect("saved");
            disk.with(|state| state.fuse = Some((step, 20)));
            let error = saving.save(b"second").expect_err("a full disk").to_string();
            assert!(error.contains("data/members"), "{error}");
            disk.with(|state| state.fuse = None);
            let payload = saving.load().payload.map(|payload| payload.to_vec());
            assert!([b"first".to_vec(), b"second".to_vec()].contains(&payload.expect("one of them")), "step {step}");
            saving.save(b"third").expect("saved");
            let loaded = saving.load();
            assert_eq!((loaded.payload.as_deref(), loaded.from), (Some(&b"third"[..]), LoadedFrom::Current));
        }
    }
}

#[test]
fn the_model_finds_a_save_that_forgets_to_sync() {
    // What the tests above prove is worth something only if the model can lose what was not synced.
    let disk = Disk::of(BTreeMap::from([("data/members".into(), b"old".to_vec())]));
    disk.create(Path::new("data/members.new"), b"new").expect("written");
    disk.rename(Path::new("data/members.new"), Path::new("data/members")).expect("renamed");
    disk.sync_folder(Path::new("data")).expect("synced");
    let found: HashSet<Vec<u8>> =
        disk.after_power_loss().into_iter().map(|files| files[Path::new("data/members")].clone()).collect();
    assert!(found.contains(&Vec::new()) && !found.contains(b"old".as_slice()), "{found:?}");
}
