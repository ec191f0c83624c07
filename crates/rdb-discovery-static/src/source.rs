//! Reading the file: bounded, whole, and compared by content, because time stamps lie on mounted volumes.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rdb_net_types::NodeInfo;

use crate::file::{FileError, Position, parse_nodes};
use crate::syntax::Syntax;

/// The largest file that is read: more than 20,000 fully described nodes.
pub(crate) const FILE_BYTES_MAX: u64 = 4 << 20;

/// What a look at the file has shown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reading {
    /// It names these nodes.
    Nodes(Vec<NodeInfo>),
    /// It is good, and its content is what it was at the last look that could read it.
    Unchanged,
    /// It cannot be taken.
    Bad(FileError),
}

/// The file, and what it last held.
#[derive(Debug)]
pub(crate) struct FileSource {
    path: PathBuf,
    last: Option<(Vec<u8>, Result<(), FileError>)>,
}

impl FileSource {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, last: None }
    }

    /// Looks at the file. Blocks on the disk.
    pub(crate) fn read(&mut self) -> Reading {
        let content = match read_bounded(&self.path) {
            Ok(content) => content,
            Err(error) => return Reading::Bad(error),
        };
        match &self.last {
            Some((last, outcome)) if *last == content => match outcome {
                Ok(()) => Reading::Unchanged,
                Err(error) => Reading::Bad(error.clone()),
            },
            _ => self.parse(content),
        }
    }

    fn parse(&mut self, content: Vec<u8>) -> Reading {
        let parsed = match std::str::from_utf8(&content) {
            Ok(text) => parse_nodes(&self.path, text),
            Err(error) => Err(not_text(&self.path, &content[..error.valid_up_to()])),
        };
        let outcome = parsed.as_ref().map(|_| ()).map_err(FileError::clone);
        self.last = Some((content, outcome));
        parsed.map_or_else(Reading::Bad, Reading::Nodes)
    }
}

fn not_text(path: &Path, good: &[u8]) -> FileError {
    let line_start = good.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = String::from_utf8_lossy(&good[line_start..]).chars().count() + 1;
    let problem = format!("a {} file is UTF-8 text", Syntax::of(path).name());
    FileError::Malformed { path: path.to_owned(), at: Position { line, column }, key: String::new(), problem }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, FileError> {
    let refuse = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => FileError::Missing { path: path.to_owned() },
        _ => FileError::Unreadable { path: path.to_owned(), problem: error.to_string() },
    };
    // Opening a pipe would wait for its other end.
    if !std::fs::metadata(path).map_err(refuse)?.is_file() {
        return Err(FileError::Unreadable { path: path.to_owned(), problem: "this is no file".to_owned() });
    }
    let mut content = Vec::new();
    File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)).map_err(refuse)?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(FileError::TooLarge { path: path.to_owned(), limit_bytes: FILE_BYTES_MAX });
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place {
        directory: tempfile::TempDir,
        path: PathBuf,
        source: FileSource,
    }

    fn place() -> Place {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("nodes.toml");
        Place { source: FileSource::new(path.clone()), path, directory }
    }

    fn seed(text: &str) -> Reading {
        Reading::Nodes(vec![NodeInfo::seed(text.parse().expect("legal"))])
    }

    #[test]
    fn the_content_decides_and_not_the_time() {
        let Place { path, mut source, directory: _directory } = place();
        std::fs::write(&path, "seeds = ['a:1']").expect("written");
        assert_eq!(source.read(), seed("a:1"));
        std::fs::write(&path, "seeds = ['a:1']").expect("written");
        assert_eq!(source.read(), Reading::Unchanged);
        let modified = std::fs::metadata(&path).and_then(|data| data.modified()).expect("a time");
        std::fs::write(&path, "seeds = ['b:1']").expect("written");
        File::options().write(true).open(&path).and_then(|file| file.set_modified(modified)).expect("set back");
        assert_eq!(source.read(), seed("b:1"));
    }

    #[test]
    fn a_file_that_comes_back_as_it_was_is_unchanged() {
        let Place { path, mut source, directory: _directory } = place();
        std::fs::write(&path, "seeds = ['a:1']").expect("written");
        source.read();
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(source.read(), Reading::Bad(FileError::Missing { path: path.clone() }));
        std::fs::write(&path, "seeds = ['a:1']").expect("written");
        assert_eq!(source.read(), Reading::Unchanged);
    }

    #[test]
    fn a_bad_file_stays_bad_until_its_content_changes() {
        let Place { path, mut source, directory: _directory } = place();
        std::fs::write(&path, "seeds = [").expect("written");
        let first = source.read();
        assert!(matches!(first, Reading::Bad(FileError::Malformed { .. })));
        assert_eq!(source.read(), first);
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_place() {
        let Place { path, mut source, directory: _directory } = place();
        std::fs::write(&path, b"seeds = [\n\"\xff:1\"]").expect("written");
        let Reading::Bad(error) = source.read() else { panic!("refused") };
        assert!(error.to_string().ends_with("nodes.toml:2:2: a TOML file is UTF-8 text"), "{error}");
    }

    #[test]
    fn neither_a_directory_nor_a_huge_file_is_read() {
        let Place { path, mut source, directory: _directory } = place();
        std::fs::create_dir(&path).expect("made");
        assert!(matches!(source.read(), Reading::Bad(FileError::Unreadable { .. })));
        std::fs::remove_dir(&path).expect("removed");
        File::create(&path).and_then(|file| file.set_len(FILE_BYTES_MAX + 1)).expect("a sparse file");
        assert!(matches!(source.read(), Reading::Bad(FileError::TooLarge { .. })));
    }
}
