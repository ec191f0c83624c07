//! Reading the files of a node: how large they may be, whose a key may be, and whether anything has changed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use rdb_net_types::ExposedSecret;
#[cfg(unix)]
use rdb_net_types::SecretFile;
use zeroize::Zeroizing;

use crate::config::{ConfigError, TlsConfig};
use crate::refusal::TlsRefusal;
use crate::time::UnixSeconds;

/// The largest file with certificates or a key, in bytes: some 500 certificates.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// The largest revocation list, in bytes: some 400,000 revoked certificates.
const LIST_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A set of files that is not taken. Whoever writes the files must act; what was in force before stays so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The settings are at fault.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no such file.
    #[error("{}: the file does not exist", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The system does not give its content.
    #[error("{}: {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        problem: String,
    },
    /// It is larger than is read.
    #[error("{}: the file has more than {limit_bytes} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit_bytes: u64,
    },
    /// Others than this process's user may read a secret, or put another in its place.
    #[error("{}: {problem}", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// How.
        problem: ExposedSecret,
    },
    /// It does not hold what it should.
    #[error("{}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The certificate is of another key.
    #[error("{}: the key is not that of the certificate in {}: they are of two issues, or one is still being written", key.display(), certificate.display())]
    KeyMismatch {
        /// The file with the key.
        key: PathBuf,
        /// The file with the certificate.
        certificate: PathBuf,
    },
    /// A certificate among the CAs is none.
    #[error("{}: the certificate {subject:?} is no CA: only those that sign others belong here", path.display())]
    NotCa {
        /// The file.
        path: PathBuf,
        /// Its subject.
        subject: String,
    },
    /// No CA in the file is valid.
    #[error("{}: every CA in it is expired, the last one since {not_after}", path.display())]
    CasExpired {
        /// The file.
        path: PathBuf,
        /// When the last one ended.
        not_after: UnixSeconds,
    },
    /// Other nodes with the same files would refuse this node.
    #[error("{}: other nodes would refuse it: {refusal}", path.display())]
    OwnCertificate {
        /// The file with the certificate.
        path: PathBuf,
        /// Why.
        refusal: TlsRefusal,
    },
    /// A revocation list is too old to count.
    #[error("{}: the list was to be replaced by {next_update}", path.display())]
    ListExpired {
        /// The file.
        path: PathBuf,
        /// By when.
        next_update: UnixSeconds,
    },
    /// rustls does not take the set.
    #[error("TLS cannot be set up: {problem}")]
    Provider {
        /// What it says.
        problem: String,
    },
}

impl LoadError {
    /// The file that is at fault, where it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Missing { path }
            | Self::Unreadable { path, .. }
            | Self::TooLarge { path, .. }
            | Self::Exposed { path, .. }
            | Self::Malformed { path, .. }
            | Self::NotCa { path, .. }
            | Self::CasExpired { path, .. }
            | Self::OwnCertificate { path, .. }
            | Self::ListExpired { path, .. }
            | Self::KeyMismatch { key: path, .. } => Some(path),
            Self::Config(_) | Self::Provider { .. } => None,
        }
    }
}

/// A file and what is in it.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Zeroizing<Vec<u8>>,
}

/// The files of a node as they are at one time, each read or not.
pub(crate) struct Snapshot {
    pub(crate) certificate: Result<Content, LoadError>,
    pub(crate) key: Result<Content, LoadError>,
    pub(crate) cas: Result<Content, LoadError>,
    pub(crate) lists: Vec<Result<Content, LoadError>>,
}

impl Snapshot {
    pub(crate) fn take(config: &TlsConfig) -> Self {
        let cas = config.ca_cert_path.clone().unwrap_or_default();
        Self {
            certificate: read(&config.cert_path, PEM_BYTES_MAX, false),
            key: read(&config.key_path, PEM_BYTES_MAX, true),
            cas: read(&cas, PEM_BYTES_MAX, false),
            lists: config.crl_paths.iter().map(|path| read(path, LIST_BYTES_MAX, false)).collect(),
        }
    }

    /// What tells one state of the files from another: their content, or why there is none.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        let mut note = |tag: u8, bytes: &[u8]| {
            context.update(&[tag]);
            context.update(&bytes.len().to_be_bytes());
            context.update(bytes);
        };
        for content in [&self.certificate, &self.key, &self.cas].into_iter().chain(&self.lists) {
            match content {
                Ok(content) => note(0, &content.bytes),
                Err(error) => note(1, error.to_string().as_bytes()),
            }
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        digest
    }
}

/// Reads a secret that its owner alone may read.
pub(crate) fn read_secret(path: &Path) -> Result<Content, LoadError> {
    read(path, PEM_BYTES_MAX, true)
}

/// Reads what everybody may read.
#[cfg(any(test, feature = "pki"))]
pub(crate) fn read_public(path: &Path) -> Result<Content, LoadError> {
    read(path, PEM_BYTES_MAX, false)
}

fn read(path: &Path, limit_bytes: u64, is_secret: bool) -> Result<Content, LoadError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => LoadError::Missing { path: path.to_owned() },
        _ => LoadError::Unreadable { path: path.to_owned(), problem: error.to_string() },
    };
    // Asked before it is opened: opening a pipe would wait for somebody to write.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(LoadError::Unreadable { path: path.to_owned(), problem: "it is no file".to_owned() });
    }
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if is_secret {
        check_exposure(path, &metadata)?;
    }
    if metadata.len() > limit_bytes {
        return Err(LoadError::TooLarge { path: path.to_owned(), limit_bytes });
    }
    // Allocated once: a vector that grows leaves copies of a secret behind. One byte more tells a file that grew meanwhile.
    let capacity = usize::try_from(metadata.len()).unwrap_or(0).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(metadata.len() + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 != metadata.len() {
        let problem = "it changed while it was read".to_owned();
        return Err(LoadError::Unreadable { path: path.to_owned(), problem });
    }
    Ok(Content { path: path.to_owned(), bytes })
}

#[cfg(unix)]
fn check_exposure(path: &Path, metadata: &fs::Metadata) -> Result<(), LoadError> {
    use std::os::unix::fs::MetadataExt;

    let real = |path: &Path| {
        let failed = |error: io::Error| LoadError::Unreadable { path: path.to_owned(), problem: error.to_string() };
        fs::canonicalize(path).map_err(failed)
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (file, folder) = (real(path)?, real(folder)?);
    let user = rustix::process::geteuid().as_raw();
    let secret = SecretFile { mode: metadata.mode(), owner: metadata.uid(), user, file: &file, folder: &folder };
    secret.check().map_err(|problem| LoadError::Exposed { path: path.to_owned(), problem })
}

#[cfg(not(unix))]
fn check_exposure(_path: &Path, _metadata: &fs::Metadata) -> Result<(), LoadError> {
    Ok(())
}
