//! The same promises, of a file.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::super::{FileLog, Log, LogError, Recovered};

/// A folder of this test's own, gone with it.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rdb-log-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary folder can be written");
        Self(path)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.join("log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that is left over disturbs no later run.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Applications keep it behind a lock, or share it, as they like.
const _: () = {
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<FileLog>();
};

fn open(path: &Path) -> Result<(FileLog, Vec<Vec<u8>>, Recovered), LogError> {
    let mut records = Vec::new();
    let (log, recovered) = FileLog::open(path, &mut |record| records.push(record.to_vec()))?;
    Ok((log, records, recovered))
}

#[test]
fn a_file_keeps_its_records() {
    let folder = Folder::new("keeps");
    let (mut log, records, _) = open(&folder.log()).expect("new");
    assert!(records.is_empty());
    log.append(b"one").expect("there is room");
    log.append(b"two").expect("there is room");
    log.sync().expect("there is room");
    log.append(b"never synced").expect("there is room");
    drop(log);
    let (mut log, records, recovered) = open(&folder.log()).expect("whole");
    assert_eq!((records, recovered), (vec![b"one".to_vec(), b"two".to_vec()], Recovered { records: 2, cut_bytes: 0 }));
    log.replace(&mut [Bytes::from_static(b"two")].into_iter()).expect("there is room");
    log.append(b"three").expect("there is room");
    log.sync().expect("there is room");
    let size_bytes = log.size_bytes();
    drop(log);
    assert_eq!(std::fs::metadata(folder.log()).expect("there").len(), size_bytes);
    assert_eq!(open(&folder.log()).expect("whole").1, [b"two".to_vec(), b"three".to_vec()]);
}

#[test]
fn a_torn_end_is_cut_off_at_every_length() {
    let folder = Folder::new("torn");
    let (mut log, ..) = open(&folder.log()).expect("new");
    log.append(b"whole").expect("there is room");
    log.sync().expect("there is room");
    let whole_bytes = log.size_bytes();
    log.append(b"torn off").expect("there is room");
    log.sync().expect("there is room");
    let length = log.size_bytes();
    drop(log);
    for cut_at in (whole_bytes..length).rev() {
        let file = OpenOptions::new().write(true).open(folder.log()).expect("there");
        file.set_len(cut_at).expect("there is room");
        drop(file);
        let (log, records, recovered) = open(&folder.log()).expect("a torn end is no error");
        assert_eq!((records.as_slice(), recovered.cut_bytes), (&[b"whole".to_vec()][..], cut_at - whole_bytes));
        assert_eq!(log.size_bytes(), whole_bytes);
        drop(log);
        // The next round tears a longer rest of garbage.
        let mut file = OpenOptions::new().append(true).open(folder.log()).expect("there");
        file.write_all(&vec![0x5a; (length - whole_bytes) as usize]).expect("there is room");
    }
}

#[test]
fn two_owners_are_refused() {
    let folder = Folder::new("locked");
    let (mut log, ..) = open(&folder.log()).expect("new");
    assert!(matches!(open(&folder.log()), Err(LogError::Locked { .. })));
    log.replace(&mut std::iter::empty()).expect("there is room");
    assert!(matches!(open(&folder.log()), Err(LogError::Locked { .. })), "a replaced log is locked as well");
    drop(log);
    open(&folder.log()).expect("free again");
}

#[test]
fn what_is_no_log_is_left_alone() {
    let folder = Folder::new("alien");
    for content in [&b""[..], b"short", b"a text that is longer than a header, and no log"] {
        std::fs::write(folder.log(), content).expect("there is room");
        assert!(matches!(open(&folder.log()), Err(LogError::NotALog { .. })));
        assert_eq!(std::fs::read(folder.log()).expect("there"), content);
    }
}

#[test]
fn a_damaged_file_is_refused_and_left_as_it_is() {
    let folder = Folder::new("damaged");
    let (mut log, ..) = open(&folder.log()).expect("new");
    let first = log.size_bytes();
    for record in [&b"first"[..], b"second"] {
        log.append(record).expect("there is room");
        log.sync().expect("there is room");
    }
    drop(log);
    let mut bytes = std::fs::read(folder.log()).expect("there");
    bytes[first as usize + 22] ^= 1;
    std::fs::write(folder.log(), &bytes).expect("there is room");
    let error = open(&folder.log()).expect_err("damaged");
    assert!(matches!(error, LogError::Corrupt { offset, .. } if offset == first), "{error}");
    assert_eq!(std::fs::read(folder.log()).expect("there"), bytes);
}

#[test]
fn a_replaced_file_that_is_damaged_is_refused_before_anything_is_appended() {
    let folder = Folder::new("damaged-replacement");
    let (mut log, ..) = open(&folder.log()).expect("new");
    let first = log.size_bytes();
    log.replace(&mut [Bytes::from_static(b"kept")].into_iter()).expect("there is room");
    drop(log);
    assert_eq!(open(&folder.log()).expect("whole").1, [b"kept"]);
    let mut bytes = std::fs::read(folder.log()).expect("there");
    bytes[first as usize + 22] ^= 1;
    std::fs::write(folder.log(), &bytes).expect("there is room");
    let error = open(&folder.log()).expect_err("damaged");
    assert!(matches!(error, LogError::Corrupt { offset, .. } if offset == first), "{error}");
    assert_eq!(std::fs::read(folder.log()).expect("there"), bytes);
}

#[test]
fn a_replacement_that_was_cut_off_is_no_log() {
    let folder = Folder::new("replacement");
    let (mut log, ..) = open(&folder.log()).expect("new");
    log.append(b"kept").expect("there is room");
    log.sync().expect("there is room");
    drop(log);
    std::fs::write(folder.0.join("log.new"), b"half of a header").expect("there is room");
    let (mut log, records, _) = open(&folder.log()).expect("whole");
    assert_eq!(records, [b"kept"]);
    log.replace(&mut [Bytes::from_static(b"new")].into_iter()).expect("what was left over is removed");
    assert!(!folder.0.join("log.new").exists());
}
