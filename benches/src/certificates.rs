//! What peers with TLS prove who they are with: minted when a race begins, handed to its processes as a folder, and gone when
//! it ends.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rdb_net_tls::pki::{Pki, PkiError, PkiOptions};
use rdb_net_tls::{Clock, LoadError, Policy, Tls, TlsConfig, TlsOptions};
use rdb_net_types::{ClusterId, NodeId, Role};

/// The cluster of every node here.
pub(crate) const CLUSTER: &str = "race";

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The race was not told to mint any: a bug of its plan.
    #[error("no folder with certificates was handed over")]
    NoFolder,
    /// The operating system's, for the folder.
    #[error("the folder of certificates: {0}")]
    Folder(#[from] io::Error),
    /// They could not be minted.
    #[error("minting certificates: {0}")]
    Mint(#[from] PkiError),
    /// They could not be read.
    #[error("reading certificates: {0}")]
    Load(#[from] LoadError),
}

/// A folder with a CA and the certificates of nodes. It goes when this is dropped.
#[derive(Debug)]
pub struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    /// Mints them in a folder of this process.
    ///
    /// # Errors
    ///
    /// [`CertificateError`]; no folder is left.
    pub fn mint(names: impl IntoIterator<Item = String>) -> Result<Self, CertificateError> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("rdb-net-race-{}-{number}", std::process::id()));
        fs::create_dir(&dir)?;
        let minted = Self { dir };
        let options = PkiOptions::new(ClusterId::new(CLUSTER).expect("the name is legal"));
        let pki = Pki::init(&minted.dir, &options, Clock::default())?;
        for name in names {
            pki.issue(&node(&name), Role::Node, &[])?;
        }
        Ok(minted)
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        // What the system does not let go of is a few kilobytes in the folder for such things.
        let _gone = fs::remove_dir_all(&self.dir);
    }
}

/// The TLS of a node whose certificate is in this folder: mutual, with the defaults of this workspace.
///
/// # Errors
///
/// [`CertificateError`].
pub(crate) fn load(dir: Option<&Path>, name: &str) -> Result<Tls, CertificateError> {
    let dir = dir.ok_or(CertificateError::NoFolder)?;
    let own = dir.join("issued").join(format!("node-{name}"));
    let config = TlsConfig {
        enabled: true,
        cert_path: own.join("cert.pem"),
        key_path: own.join("key.pem"),
        ca_cert_path: Some(own.join("ca.pem")),
        ..TlsConfig::default()
    };
    let policy = Policy::new(ClusterId::new(CLUSTER).expect("the name is legal"));
    Ok(Tls::load(config, TlsOptions::new(policy))?)
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("the name is legal")
}
