//! The lines of a configuration that give a node its certificate.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::exit::Failure;

#[derive(Serialize)]
struct File<'a> {
    networking: Networking<'a>,
}

#[derive(Serialize)]
struct Networking<'a> {
    tls: Tls<'a>,
}

/// What `[networking.tls]` needs. Paths are text here: TOML has no others.
#[derive(Serialize)]
struct Tls<'a> {
    enabled: bool,
    cert_path: &'a str,
    key_path: &'a str,
    ca_cert_path: &'a str,
    crl_paths: [&'a str; 1],
}

/// The files of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) ca: PathBuf,
    pub(crate) list: PathBuf,
}

/// `[networking.tls]` with these files.
///
/// # Errors
///
/// [`Failure::Other`] for a path that is no text.
pub(crate) fn lines(files: &Files) -> Result<String, Failure> {
    let tls = Tls {
        enabled: true,
        cert_path: text(&files.certificate)?,
        key_path: text(&files.key)?,
        ca_cert_path: text(&files.ca)?,
        crl_paths: [text(&files.list)?],
    };
    toml::to_string(&File { networking: Networking { tls } }).map_err(Failure::other)
}

fn text(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| {
        Failure::Other(format!("{}: a configuration cannot name it: its path is not UTF-8", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn files(dir: &str) -> Files {
        let file = |name: &str| Path::new(dir).join(name);
        Files { certificate: file("cert.pem"), key: file("key.pem"), ca: file("ca.pem"), list: file("crl.pem") }
    }

    #[test]
    fn the_lines_are_a_table_of_the_configuration() {
        expect![[r#"
            [networking.tls]
            enabled = true
            cert_path = "/pki/cert.pem"
            key_path = "/pki/key.pem"
            ca_cert_path = "/pki/ca.pem"
            crl_paths = ["/pki/crl.pem"]
        "#]]
        .assert_eq(&lines(&files("/pki")).expect("text"));
    }

    #[test]
    fn a_path_that_tries_to_break_out_is_quoted() {
        let dir = "/a\"b\\c\n[networking]\nnode_id = 'x";
        let read: toml::Table = toml::from_str(&lines(&files(dir)).expect("text")).expect("TOML");
        let tls = &read["networking"]["tls"];
        assert_eq!(tls["key_path"].as_str(), files(dir).key.to_str());
        assert_eq!(read["networking"].as_table().map(toml::Table::len), Some(1));
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_no_text_is_told() {
        use std::os::unix::ffi::OsStrExt;

        let odd = Path::new(std::ffi::OsStr::from_bytes(b"/\xff"));
        let refused = lines(&Files { key: odd.to_owned(), ..files("/pki") }).expect_err("no text");
        assert!(refused.to_string().contains("not UTF-8"), "{refused}");
    }
}
