//! Files that are replaced whole.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

use super::PkiError;
use crate::certificate::hexadecimal;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Owner,
    Everybody,
}

pub(super) fn failed(path: &Path, error: &io::Error) -> PkiError {
    PkiError::Io { path: path.to_owned(), problem: error.to_string() }
}

/// A folder for its owner alone. One that is there stays as it is.
pub(super) fn make_dir(path: &Path) -> Result<(), PkiError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| failed(path, &error))
}

/// Puts these bytes in place of a file: after a crash there is the old one or the new one.
pub(super) fn replace(path: &Path, bytes: &[u8], access: Access) -> Result<(), PkiError> {
    let mut random = [0; 8];
    let drawn = SystemRandom::new().fill(&mut random);
    drawn.map_err(|_| failed(path, &io::Error::other("the system gives no randomness")))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}", hexadecimal(&random)));
    let written =
        write(&temporary, bytes, access).and_then(|()| fs::rename(&temporary, path)).and_then(|()| sync_dir(path));
    written.map_err(|error| {
        // It may be there or not; what counts is the error before.
        let _ = fs::remove_file(&temporary);
        failed(path, &error)
    })
}

fn write(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(
        &mut options,
        match access {
            Access::Owner => 0o600,
            Access::Everybody => 0o644,
        },
    );
    let _ = access;
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A rename is on the disk once the folder is.
fn sync_dir(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if cfg!(unix) => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}
