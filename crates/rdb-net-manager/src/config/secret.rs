//! A password or a token: the text in a file that only its owner may read, or in an environment variable.
//!
//! Nothing of it is in an error.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Longer ones are no passwords, but some other file.
const SECRET_BYTES_MAX: u64 = 4096;

/// The text in the file, without space and line ends around it; or what is wrong with the file, with its name.
pub(super) fn from_file(path: &Path) -> Result<String, String> {
    let fail = |problem: String| format!("{}: {problem}", path.display());
    let unreadable = |error: std::io::Error| fail(format!("it cannot be read: {error}"));
    // Asked before it is opened: opening a pipe would wait for somebody to write.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(fail(String::from("it is no file")));
    }
    let file = File::open(path).map_err(unreadable)?;
    #[cfg(unix)]
    {
        use rdb_net_types::SecretFile;
        use std::os::unix::fs::MetadataExt;
        let metadata = file.metadata().map_err(unreadable)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let (real, folder) =
            (fs::canonicalize(path).map_err(unreadable)?, fs::canonicalize(folder).map_err(unreadable)?);
        let user = rustix::process::geteuid().as_raw();
        let secret = SecretFile { mode: metadata.mode(), owner: metadata.uid(), user, file: &real, folder: &folder };
        secret.check().map_err(|problem| fail(problem.to_string()))?;
    }
    let mut text = String::new();
    file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    checked(&text).map_err(fail)
}

/// The text in the variable, or what is wrong with it, with its name.
pub(super) fn from_environment(variable: &str) -> Result<String, String> {
    let text = std::env::var(variable).map_err(|error| format!("the environment variable {variable}: {error}"))?;
    checked(&text).map_err(|problem| format!("the environment variable {variable}: {problem}"))
}

fn checked(text: &str) -> Result<String, String> {
    let secret = text.trim();
    if secret.is_empty() {
        return Err(String::from("there is nothing in it"));
    }
    if secret.len() as u64 > SECRET_BYTES_MAX {
        return Err(format!("it is longer than {SECRET_BYTES_MAX} bytes"));
    }
    Ok(secret.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_secret_is_read_from_a_file_that_only_its_owner_may_read() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("password");
        let write = |text: &str, mode| {
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
            from_file(&path)
        };
        assert_eq!(write("  geheim\n", 0o600), Ok(String::from("geheim")));
        let exposed = write("geheim", 0o644).expect_err("others may read it");
        assert!(exposed.contains("password: its mode is 0644") && !exposed.contains("geheim"), "{exposed}");
        assert!(write(" \n", 0o600).expect_err("empty").ends_with("password: there is nothing in it"));
        let long = "g".repeat(SECRET_BYTES_MAX as usize + 1);
        assert!(write(&long, 0o600).expect_err("long").ends_with("it is longer than 4096 bytes"));
        assert!(from_file(folder.path()).expect_err("a folder").ends_with(": it is no file"));
        assert!(from_file(&folder.path().join("none")).expect_err("missing").contains("it cannot be read"));
    }

    #[test]
    fn a_variable_that_is_not_there_is_named() {
        let error = from_environment("RDB_NO_SUCH_VARIABLE").expect_err("unset");
        assert_eq!(error, "the environment variable RDB_NO_SUCH_VARIABLE: environment variable not found");
    }
}
