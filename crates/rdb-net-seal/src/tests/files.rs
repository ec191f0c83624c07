//! Files as they are on a disk.

use std::path::Path;

use super::{cluster, node, store_key};
use crate::file::HEADER_BYTES;
use crate::{
    ClearFiles, DiskFiles, FileConfig, FileKind, FileOwner, FileStep, Flaw, LoadedFrom, SaveError, SealedFile, StoreKey,
};

fn owner(name: &str) -> FileOwner {
    FileOwner::of(&cluster("rustydb"), &node(name))
}

fn file(folder: &Path, keys: Vec<StoreKey>) -> SealedFile<DiskFiles> {
    file_with(folder, keys, FileConfig::default())
}

fn file_with(folder: &Path, keys: Vec<StoreKey>, config: FileConfig) -> SealedFile<DiskFiles> {
    SealedFile::new(DiskFiles, folder.join("members"), FileKind::MEMBERSHIP, owner("a"), keys, config)
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A folder with this content in the file, and that in the previous one.
fn saved_twice(keys: impl Fn() -> Vec<StoreKey>) -> tempfile::TempDir {
    let folder = folder();
    let mut file = file(folder.path(), keys());
    file.save(b"older").expect("saved");
    file.save(b"newer").expect("saved");
    folder
}

#[track_caller]
fn check_load(file: &mut SealedFile<DiskFiles>, payload: Option<&[u8]>, from: LoadedFrom, flaws: &[Flaw]) {
    let loaded = file.load();
    assert_eq!(loaded.payload.as_deref(), payload);
    assert_eq!(loaded.from, from);
    assert_eq!(loaded.problems.iter().map(|problem| problem.flaw.clone()).collect::<Vec<_>>(), flaws);
    let text: Vec<_> = loaded.problems.iter().map(ToString::to_string).collect();
    assert!(text.iter().all(|text| text.contains(&file.path().display().to_string())), "{text:?}");
}

#[test]
fn s22_what_was_saved_is_loaded() {
    for keys in [Vec::new, || vec![store_key(1)]] {
        let folder = folder();
        let mut first = file(folder.path(), keys());
        check_load(&mut first, None, LoadedFrom::Nothing, &[]);
        first.save(b"older").expect("saved");
        first.save(b"newer").expect("saved");
        check_load(&mut first, Some(b"newer"), LoadedFrom::Current, &[]);
        let mut second = file(folder.path(), keys());
        check_load(&mut second, Some(b"newer"), LoadedFrom::Current, &[]);
        assert_eq!(second.load().generation, 2);
        second.save(b"").expect("saved");
        check_load(&mut second, Some(b""), LoadedFrom::Current, &[]);
        assert_eq!(second.load().generation, 3);
        std::fs::rename(second.previous_path(), second.path()).expect("renamed");
        check_load(&mut second, Some(b"newer"), LoadedFrom::Current, &[]);
        assert!(!folder.path().join("members.new").exists());
    }
}

#[test]
fn a_sealed_file_shows_nothing_of_its_content_and_no_two_writes_are_alike() {
    let folder = folder();
    let mut file = file(folder.path(), vec![store_key(1)]);
    file.save(b"a secret content").expect("saved");
    file.save(b"a secret content").expect("saved");
    let (one, other) =
        (std::fs::read(file.path()).expect("there"), std::fs::read(file.previous_path()).expect("there"));
    for bytes in [&one, &other] {
        assert!(!bytes.windows(8).any(|window| window == b"a secret"));
    }
    assert_ne!(one[HEADER_BYTES..], other[HEADER_BYTES..]);
    assert_ne!(one[36..80], other[36..80], "salt and nonce are drawn for each write");
}

#[cfg(unix)]
#[test]
fn s22_its_owner_alone_may_read_it_whatever_stood_there() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let folder = folder();
    let leftover = folder.path().join("members.new");
    std::fs::write(&leftover, "of a save that was cut off").expect("written");
    std::fs::set_permissions(&leftover, std::fs::Permissions::from_mode(0o666)).expect("ours");
    let mut file = file(folder.path(), Vec::new());
    file.save(b"x").expect("saved");
    assert_eq!(std::fs::metadata(file.path()).expect("there").mode() & 0o777, 0o600);
}

#[cfg(unix)]
#[test]
fn a_link_in_its_way_is_replaced_and_not_written_through() {
    let folder = folder();
    let target = folder.path().join("target");
    std::fs::write(&target, "of somebody else").expect("written");
    std::os::unix::fs::symlink(&target, folder.path().join("members.new")).expect("linked");
    file(folder.path(), Vec::new()).save(b"x").expect("saved");
    assert_eq!(std::fs::read(&target).expect("there"), b"of somebody else");
}

#[test]
fn s22_every_truncation_and_bit_flip_falls_back_to_the_previous_file() {
    for keys in [Vec::new, || vec![store_key(1)]] {
        let folder = saved_twice(keys);
        let mut file = file(folder.path(), keys());
        let whole = std::fs::read(file.path()).expect("there");
        let flips = (0..whole.len() * 8).map(|bit| {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            flipped
        });
        let cuts = (0..whole.len()).map(|length| whole[..length].to_vec());
        for damaged in flips.chain(cuts).chain([[&whole[..], &[0]].concat()]) {
            std::fs::write(file.path(), &damaged).expect("written");
            let loaded = file.load();
            assert_eq!((loaded.payload.as_deref(), loaded.from), (Some(&b"older"[..]), LoadedFrom::Previous));
            assert_eq!(loaded.problems.len(), 1);
            assert_eq!(loaded.problems[0].path, file.path());
        }
    }
}

#[test]
fn a_damaged_file_does_not_push_the_good_previous_one_out() {
    let folder = saved_twice(|| vec![store_key(1)]);
    std::fs::write(folder.path().join("members"), "torn").expect("written");
    let mut file = file(folder.path(), vec![store_key(1)]);
    // Without a load before.
    file.save(b"newest").expect("saved");
    check_load(&mut file, Some(b"newest"), LoadedFrom::Current, &[]);
    std::fs::remove_file(file.path()).expect("there");
    check_load(&mut file, Some(b"older"), LoadedFrom::Previous, &[Flaw::Missing]);
}

#[test]
fn a_generation_is_never_given_twice_to_what_is_seen() {
    let folder = saved_twice(Vec::new);
    std::fs::remove_file(folder.path().join("members")).expect("there");
    let mut file = file(folder.path(), Vec::new());
    assert_eq!(file.load().generation, 1);
    file.save(b"newest").expect("saved");
    assert_eq!(file.load().generation, 2);
}

#[test]
fn two_bad_files_are_a_clean_start_with_two_problems() {
    let folder = saved_twice(|| vec![store_key(1)]);
    std::fs::write(
        folder.path().join("members"),
        "this is a file of other software, and a long one, longer than a header",
    )
    .expect("written");
    std::fs::write(folder.path().join("members.previous"), "").expect("written");
    let mut file = file(folder.path(), vec![store_key(1)]);
    check_load(&mut file, None, LoadedFrom::Nothing, &[Flaw::Torn, Flaw::Torn]);
    std::fs::write(file.path(), [b'x'; 200]).expect("written");
    check_load(&mut file, None, LoadedFrom::Nothing, &[Flaw::Foreign, Flaw::Torn]);
    file.save(b"clean").expect("saved");
    check_load(&mut file, Some(b"clean"), LoadedFrom::Current, &[]);
}

#[test]
fn a_file_of_another_version_kind_node_or_cluster_is_told_as_such() {
    let folder = folder();
    let path = folder.path().join("members");
    let load = |kind, owner| {
        SealedFile::new(DiskFiles, &path, kind, owner, vec![store_key(1)], FileConfig::default()).load().problems
    };
    file(folder.path(), vec![store_key(1)]).save(b"x").expect("saved");
    assert!(load(FileKind::MEMBERSHIP, owner("a")).is_empty());
    assert_eq!(load(FileKind::DISCOVERY, owner("a"))[0].flaw, Flaw::OtherKind { kind: FileKind::MEMBERSHIP });
    assert_eq!(load(FileKind::MEMBERSHIP, owner("b"))[0].flaw, Flaw::OtherOwner);
    let elsewhere = FileOwner::of(&cluster("staging"), &node("a"));
    assert_eq!(load(FileKind::MEMBERSHIP, elsewhere)[0].flaw, Flaw::OtherOwner);
    let mut bytes = std::fs::read(&path).expect("there");
    bytes[4] = 9;
    std::fs::write(&path, bytes).expect("written");
    assert_eq!(load(FileKind::MEMBERSHIP, owner("a"))[0].flaw, Flaw::Version { version: 9 });
}

#[test]
fn a_file_of_another_key_falls_back_and_names_the_key() {
    let folder = folder();
    file(folder.path(), vec![store_key(1)]).save(b"of key 1").expect("saved");
    file(folder.path(), vec![store_key(2), store_key(1)]).save(b"of key 2").expect("saved");
    let unknown = Flaw::UnknownKey { id: store_key(2).id() };
    check_load(&mut file(folder.path(), vec![store_key(1)]), Some(b"of key 1"), LoadedFrom::Previous, &[unknown]);
}

#[test]
fn a_key_is_replaced_by_another_before_it() {
    let folder = folder();
    file(folder.path(), vec![store_key(1)]).save(b"x").expect("saved");
    let mut both = file(folder.path(), vec![store_key(2), store_key(1)]);
    check_load(&mut both, Some(b"x"), LoadedFrom::Current, &[]);
    both.save(b"y").expect("saved");
    both.save(b"z").expect("saved");
    let mut new = file(folder.path(), vec![store_key(2)]);
    check_load(&mut new, Some(b"z"), LoadedFrom::Current, &[]);
    std::fs::remove_file(new.path()).expect("there");
    check_load(&mut new, Some(b"y"), LoadedFrom::Previous, &[Flaw::Missing]);
}

#[test]
fn a_clear_file_is_refused_where_a_key_is_configured_unless_it_is_accepted() {
    let folder = folder();
    file(folder.path(), Vec::new()).save(b"clear").expect("saved");
    check_load(&mut file(folder.path(), vec![store_key(1)]), None, LoadedFrom::Nothing, &[Flaw::NotSealed]);
    let config = FileConfig { clear_files: ClearFiles::Accept, ..FileConfig::default() };
    let mut accepting = file_with(folder.path(), vec![store_key(1)], config);
    check_load(&mut accepting, Some(b"clear"), LoadedFrom::Current, &[]);
    accepting.save(b"sealed").expect("saved");
    check_load(&mut file(folder.path(), vec![store_key(1)]), Some(b"sealed"), LoadedFrom::Current, &[]);
}

#[test]
fn a_content_that_is_too_long_is_neither_saved_nor_loaded() {
    let folder = folder();
    let config = FileConfig { payload_bytes_max: 10, ..FileConfig::default() };
    let mut small = file_with(folder.path(), Vec::new(), config);
    small.save(&[1; 10]).expect("saved");
    let error = small.save(&[1; 11]).expect_err("too long");
    assert!(matches!(error, SaveError::TooLong { bytes: 11, bytes_max: 10, .. }), "{error}");
    check_load(&mut small, Some(&[1; 10]), LoadedFrom::Current, &[]);
    file(folder.path(), Vec::new()).save(&[1; 11]).expect("saved");
    check_load(&mut small, Some(&[1; 10]), LoadedFrom::Previous, &[Flaw::TooLong { bytes_max: 106 }]);
}

#[test]
fn a_failed_save_names_file_and_step() {
    let folder = folder();
    let mut file = file(&folder.path().join("absent"), Vec::new());
    let error = file.save(b"x").expect_err("no folder");
    assert!(matches!(error, SaveError::Io { step: FileStep::Write, .. }));
    let text = error.to_string();
    assert!(text.starts_with("cannot write ") && text.contains("absent/members"), "{text}");
}

#[test]
fn a_folder_in_its_place_is_a_problem_and_no_panic() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("members")).expect("made");
    let mut file = file(folder.path(), Vec::new());
    let loaded = file.load();
    assert!(matches!(loaded.problems[0].flaw, Flaw::Unreadable(_)), "{:?}", loaded.problems);
    assert!(matches!(file.save(b"x"), Err(SaveError::Io { step: FileStep::Replace, .. })));
}

#[test]
fn a_file_that_was_removed_meanwhile_is_written_again() {
    let folder = saved_twice(Vec::new);
    let mut file = file(folder.path(), Vec::new());
    check_load(&mut file, Some(b"newer"), LoadedFrom::Current, &[]);
    std::fs::remove_file(file.path()).expect("there");
    file.save(b"newest").expect("saved");
    check_load(&mut file, Some(b"newest"), LoadedFrom::Current, &[]);
}
