//! The committed inputs of each target.

use std::io;
use std::path::{Path, PathBuf};

/// The inputs of one target.
#[derive(Debug)]
pub struct Corpus {
    /// The target's name.
    pub name: String,
    /// Each input's file and its bytes, sorted by name.
    pub inputs: Vec<(PathBuf, Vec<u8>)>,
}

/// Reads every corpus, sorted by name.
///
/// # Errors
///
/// Where the folder or a file in it cannot be read.
pub fn corpora() -> io::Result<Vec<Corpus>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut corpora = Vec::new();
    for path in entries(&folder)? {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let read = |path: PathBuf| std::fs::read(&path).map(|bytes| (path, bytes));
        let inputs = entries(&path)?.into_iter().map(read).collect::<io::Result<_>>()?;
        corpora.push(Corpus { name, inputs });
    }
    Ok(corpora)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    paths.sort();
    Ok(paths)
}
