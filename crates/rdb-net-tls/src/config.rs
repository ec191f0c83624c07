//! What a node is told of TLS: files, versions, suites, limits.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::provider;

/// A version of the protocol. Only 1.3 is spoken; the older ones have names so that they can be refused by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.0, RFC 2246.
    Tls10,
    /// TLS 1.1, RFC 4346.
    Tls11,
    /// TLS 1.2, RFC 5246.
    Tls12,
    /// TLS 1.3, RFC 8446.
    #[default]
    Tls13,
}

impl TlsVersion {
    const ALL: [Self; 4] = [Self::Tls10, Self::Tls11, Self::Tls12, Self::Tls13];

    /// Its number, as a configuration writes it: `"1.3"`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tls10 => "1.0",
            Self::Tls11 => "1.1",
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No version has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no version of TLS; \"1.3\" is")]
pub struct UnknownVersion {
    /// The name.
    pub name: String,
}

impl FromStr for TlsVersion {
    type Err = UnknownVersion;

    /// Reads `1.3`, `TLSv1.3`, `TLS1.3` and `Tls13` alike.
    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        let bare = text.trim().to_ascii_lowercase();
        let bare = bare.strip_prefix("tls").unwrap_or(&bare).trim_start_matches(['v', ' ']);
        let found = Self::ALL.into_iter().find(|version| bare.replace('.', "") == version.name().replace('.', ""));
        found.ok_or_else(|| UnknownVersion { name: text.to_owned() })
    }
}

/// `[networking.tls]`: where a node's certificate is and whom it believes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// Whether connections are encrypted and nodes prove who they are. Default false.
    pub enabled: bool,
    /// The node's certificate, then the intermediates up to the CA, PEM.
    pub cert_path: PathBuf,
    /// The private key of the certificate, PEM (PKCS #8, SEC 1 or PKCS #1), readable by its owner alone.
    pub key_path: PathBuf,
    /// The CAs that sign the certificates of other nodes, PEM, as many as overlap in a rotation. Needed where TLS is on: the
    /// CAs of the operating system would let anybody in who owns a web site.
    pub ca_cert_path: Option<PathBuf>,
    /// Whether who connects must show a certificate. Default true. Without, a node still proves itself to those who connect,
    /// and they prove themselves in another way or not at all.
    pub verify_client: bool,
    /// The oldest version that is spoken. Default 1.3, and nothing older is taken.
    pub min_protocol_version: TlsVersion,
    /// Cipher suites, the preferred first. Default none, which stands for all of TLS 1.3: AES-256-GCM, AES-128-GCM,
    /// ChaCha20-Poly1305. A QUIC transport needs AES-128-GCM among them.
    pub cipher_suites: Vec<String>,
    /// Key exchange groups, the preferred first. Default none, which stands for X25519MLKEM768, X25519, secp256r1, secp384r1.
    pub key_exchange_groups: Vec<String>,
    /// Revocation lists, PEM or DER. A CA without a list here has revoked nothing.
    pub crl_paths: Vec<PathBuf>,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            cert_path: PathBuf::new(),
            key_path: PathBuf::new(),
            ca_cert_path: None,
            verify_client: true,
            min_protocol_version: TlsVersion::Tls13,
            cipher_suites: Vec::new(),
            key_exchange_groups: Vec::new(),
            crl_paths: Vec::new(),
        }
    }
}

impl TlsConfig {
    /// Whether TLS could be set up with it, as far as that shows without reading a file. What is off is not judged.
    ///
    /// # Errors
    ///
    /// The first key that is at fault.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !self.enabled {
            return Ok(());
        }
        let empty = |path: &PathBuf| path.as_os_str().is_empty();
        if empty(&self.cert_path) {
            return Err(ConfigError::Missing { key: "networking.tls.cert_path", what: "the node's certificate chain" });
        }
        if empty(&self.key_path) {
            return Err(ConfigError::Missing { key: "networking.tls.key_path", what: "the certificate's private key" });
        }
        if self.ca_cert_path.as_ref().is_none_or(empty) {
            let what = "the CAs that sign the certificates of other nodes";
            return Err(ConfigError::Missing { key: "networking.tls.ca_cert_path", what });
        }
        if self.crl_paths.iter().any(empty) {
            return Err(ConfigError::Missing { key: "networking.tls.crl_paths", what: "a revocation list" });
        }
        if self.min_protocol_version != TlsVersion::Tls13 {
            return Err(ConfigError::Version { version: self.min_protocol_version });
        }
        provider::suites(&self.cipher_suites)?;
        provider::groups(&self.key_exchange_groups)?;
        Ok(())
    }
}

/// Settings with which TLS cannot be set up. Whoever wrote them must change them; nothing was started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// TLS is on and a file is not named.
    #[error("{key} is not set, and TLS needs it: name the PEM file with {what}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What the file would hold.
        what: &'static str,
    },
    /// A version below 1.3 was asked for.
    #[error(
        "networking.tls.min_protocol_version = \"{version}\" is refused: below 1.3 certificates travel in the clear, old ciphers \
         can be negotiated, and this library does not contain them; set \"1.3\" or leave it out"
    )]
    Version {
        /// The version.
        version: TlsVersion,
    },
    /// A name that stands for nothing, or for nothing that TLS 1.3 has.
    #[error("{key}: {name:?} is not known; known are {known}")]
    Unknown {
        /// The key.
        key: &'static str,
        /// The name.
        name: String,
        /// The names that are known, with commas.
        known: String,
    },
    /// A name stands twice.
    #[error("{key}: {name:?} stands twice")]
    Twice {
        /// The key.
        key: &'static str,
        /// The name.
        name: String,
    },
}

impl ConfigError {
    /// The key that is at fault.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Missing { key, .. } | Self::Unknown { key, .. } | Self::Twice { key, .. } => key,
            Self::Version { .. } => "networking.tls.min_protocol_version",
        }
    }
}
