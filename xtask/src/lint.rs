//! `cargo xtask lint`: format, clippy, documentation, and the rules of the house that the compiler does not know.

mod mask;
mod rules;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::failure::{Failure, no_arguments};
use crate::house::{House, Member};
use crate::process;
use rules::Origin;

/// Runs every part, whatever happened to the one before, and fails when one of them did.
pub(crate) fn run(house: &House, arguments: &[String]) -> Result<(), Failure> {
    no_arguments("lint", arguments)?;
    let mut clippy = process::cargo(house, &["clippy", "--workspace", "--all-targets", "--all-features"]);
    let mut documentation = process::cargo(house, &["doc", "--workspace", "--no-deps"]);
    let parts = [
        ("format", process::run(&mut process::cargo(house, &["fmt", "--all", "--check"]))),
        ("clippy", process::run(clippy.args(["--", "-D", "warnings"]))),
        ("documentation", process::run(documentation.env("RUSTDOCFLAGS", "-D warnings"))),
        ("source files", sources(house)),
    ];
    let mut failed = Vec::new();
    for (name, result) in parts {
        if let Err(failure) = result {
            eprintln!("error: {failure}");
            failed.push(name);
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::Check(format!("failed: {}", failed.join(", ")))) }
}

/// Applies the rules to every manifest and source file of the workspace.
fn sources(house: &House) -> Result<(), Failure> {
    let mut findings = Vec::new();
    let mut files_count = 0;
    for member in &house.members {
        let manifest = member.folder.join("Cargo.toml");
        findings.extend(rules::of_manifest(&relative(house, &manifest), &read(&manifest)?));
        for path in rust_files(&member.folder)? {
            files_count += 1;
            let origin = Origin { path: relative(house, &path), place: member.place, kind: kind_of(member) };
            findings.extend(rules::of_source(&origin, &read(&path)?));
        }
    }
    findings.extend(rules::unused_exceptions(house));
    println!("{files_count} source files");
    Failure::unless_empty("source files", &findings)
}

/// Which rules apply to the files of a package.
fn kind_of(member: &Member) -> rules::Kind {
    if member.is_pure() {
        rules::Kind::Pure
    } else if member.is_driver() {
        rules::Kind::Driver
    } else {
        rules::Kind::Free
    }
}

/// The `.rs` files below a folder, sorted; build products and hidden folders left out.
fn rust_files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failure = |source| Failure::File { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failure)? {
        let path = entry.map_err(failure)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|source| Failure::File { path: path.to_owned(), source })
}

/// The path from the root of the workspace, with `/` everywhere.
fn relative(house: &House, path: &Path) -> String {
    let path = path.strip_prefix(&house.root).unwrap_or(path);
    let parts = path.components().map(|part| part.as_os_str().to_string_lossy());
    parts.collect::<Vec<_>>().join("/")
}
