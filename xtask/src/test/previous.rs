//! The previous release's `rdbnet`, for the tests of mixed versions: its source from the history of the repository, built once
//! in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;
use crate::house::House;
use crate::process;

use super::{NODE_PACKAGE, NODE_TARGET, executable};

/// The commit that today's nodes have to get along with. The copies in `tests/previous` are of the same one.
const COMMIT: &str = "fdaafbee901f97af1b523f6d93452caddb5700a5";

/// Builds it, or finds that it is built, and returns where it is; `None`, with the reason printed, where the repository has no
/// such commit: a source archive, or a clone without history.
pub(super) fn build(house: &House) -> Result<Option<PathBuf>, Failure> {
    if !process::succeeds(&mut git(house, &["cat-file", "-e", &format!("{COMMIT}^{{commit}}")])) {
        println!("the previous release is not built: there is no git history with commit {COMMIT}");
        return Ok(None);
    }
    let folder = house.target.join("previous");
    let source = folder.join("source");
    check_out(house, &folder, &source)?;
    let arguments =
        ["build", "--locked", "-p", NODE_PACKAGE, "--message-format=json-render-diagnostics", "--target-dir"];
    let mut command = process::cargo(house, &arguments);
    let messages = process::capture(command.arg(folder.join("target")).current_dir(&source))?;
    let built = executable(&messages, NODE_TARGET);
    built.map(Some).ok_or_else(|| Failure::Check(format!("the previous {NODE_PACKAGE} has no binary `{NODE_TARGET}`")))
}

/// Writes the files of the commit, once. An index of its own keeps the repository's as it is.
fn check_out(house: &House, folder: &Path, source: &Path) -> Result<(), Failure> {
    let done = folder.join("commit");
    if std::fs::read_to_string(&done).is_ok_and(|commit| commit == COMMIT) {
        return Ok(());
    }
    let failure = |source| Failure::File { path: folder.to_owned(), source };
    if source.exists() {
        std::fs::remove_dir_all(source).map_err(failure)?;
    }
    std::fs::create_dir_all(source).map_err(failure)?;
    let index = folder.join("index");
    process::run(git(house, &["read-tree", COMMIT]).env("GIT_INDEX_FILE", &index))?;
    // It takes the slash at the end as a sign that this is a folder.
    let prefix = format!("--prefix={}/", source.display());
    process::run(git(house, &["checkout-index", "--all", "--force", &prefix]).env("GIT_INDEX_FILE", &index))?;
    std::fs::write(&done, COMMIT).map_err(failure)
}

fn git(house: &House, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.current_dir(&house.root).args(arguments);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_commit_are_written_once_and_the_repositorys_index_stays_as_it_is() {
        let house = House::load().unwrap();
        if !process::succeeds(&mut git(&house, &["cat-file", "-e", COMMIT])) {
            println!("SKIPPED: there is no git history with commit {COMMIT}");
            return;
        }
        let folder = std::env::temp_dir().join(format!("rdbnet-previous-{}", std::process::id()));
        let source = folder.join("source");
        let staged = || git(&house, &["diff", "--cached", "--stat"]).output().unwrap().stdout;
        let before = staged();
        check_out(&house, &folder, &source).unwrap();
        let manifest = source.join("crates/rdb-net-node/Cargo.toml");
        assert!(manifest.is_file(), "{}", manifest.display());
        std::fs::remove_file(&manifest).unwrap();
        check_out(&house, &folder, &source).unwrap();
        assert!(!manifest.exists(), "it was there already");
        assert_eq!(staged(), before);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
