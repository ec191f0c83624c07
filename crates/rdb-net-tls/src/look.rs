//! Whether files may have changed since they were read, without reading them.
//!
//! A node looks every few seconds, and a read of everything each time is most of what an idle one does. The times and the number of
//! a file say that it is another one, or was written to: its time of change (`ctime`) is set by the system and by nobody else, and a
//! link that was put elsewhere shows another number. What they cannot say is a second change within one tick of the system's
//! clock, so files that have just changed are read again.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::config::TlsConfig;

/// A change this long ago is told from any later one, whatever the file system's clock.
const SETTLED_AFTER: Duration = Duration::from_secs(3);

/// How a node's files looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Look(Vec<Option<Stamp>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    number: u64,
    bytes: u64,
    changed: SystemTime,
}

impl Look {
    pub(crate) fn take(config: &TlsConfig) -> Self {
        let files =
            [&config.cert_path, &config.key_path].into_iter().chain(&config.ca_cert_path).chain(&config.crl_paths);
        Self(files.map(|path| Stamp::of(path)).collect())
    }

    /// Whether files that look like this later are the same. Those that are not there, or cannot be looked at, are asked for again.
    pub(crate) fn is_settled(&self, now: SystemTime) -> bool {
        let is_old = |stamp: &Stamp| now.duration_since(stamp.changed).is_ok_and(|age| age >= SETTLED_AFTER);
        self.0.iter().all(|stamp| stamp.as_ref().is_some_and(is_old))
    }
}

impl Stamp {
    #[cfg(unix)]
    fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;

        let metadata = fs::metadata(path).ok()?;
        let since = Duration::new(metadata.ctime().try_into().ok()?, metadata.ctime_nsec().try_into().ok()?);
        Some(Self {
            device: metadata.dev(),
            number: metadata.ino(),
            bytes: metadata.len(),
            changed: SystemTime::UNIX_EPOCH.checked_add(since)?,
        })
    }

    #[cfg(not(unix))]
    fn of(_: &Path) -> Option<Self> {
        None
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;

    use super::*;

    fn files(folder: &Path) -> TlsConfig {
        let path = |name: &str| folder.join(name);
        for name in ["cert", "key", "ca", "crl"] {
            fs::write(path(name), name).expect("written");
        }
        TlsConfig {
            cert_path: path("cert"),
            key_path: path("key"),
            ca_cert_path: Some(path("ca")),
            crl_paths: vec![path("crl")],
            ..TlsConfig::default()
        }
    }

    /// Whether this makes the files look otherwise.
    #[track_caller]
    fn check(change: impl FnOnce(&Path), is_seen: bool) {
        let folder = TempDir::new().expect("a folder");
        let config = files(folder.path());
        let before = Look::take(&config);
        change(folder.path());
        assert_eq!(Look::take(&config) != before, is_seen);
    }

    #[test]
    fn whatever_happens_to_a_file_is_seen() {
        check(|_| {}, false);
        check(|folder| drop(fs::read(folder.join("key")).expect("there")), false);
        check(|folder| fs::write(folder.join("crl"), "longer").expect("written"), true);
        check(|folder| fs::remove_file(folder.join("ca")).expect("there"), true);
        let mode = fs::Permissions::from_mode(0o640);
        check(|folder| fs::set_permissions(folder.join("key"), mode).expect("ours"), true);
        check(
            |folder| {
                fs::write(folder.join("new"), "cert").expect("written");
                fs::rename(folder.join("new"), folder.join("cert")).expect("ours");
            },
            true,
        );
        check(
            |folder| {
                fs::write(folder.join("new"), "cert").expect("written");
                fs::remove_file(folder.join("cert")).expect("there");
                symlink(folder.join("new"), folder.join("cert")).expect("ours");
            },
            true,
        );
    }

    #[test]
    fn what_has_just_changed_or_is_missing_is_read_again() {
        let folder = TempDir::new().expect("a folder");
        let config = files(folder.path());
        let (look, now) = (Look::take(&config), SystemTime::now());
        assert!(!look.is_settled(now) && look.is_settled(now + SETTLED_AFTER));
        fs::remove_file(folder.path().join("key")).expect("there");
        assert!(!Look::take(&config).is_settled(now + SETTLED_AFTER));
    }
}
