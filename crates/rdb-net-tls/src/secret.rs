//! A shared secret that both sides prove to know, for clusters without certificates: challenge and response by HMAC-SHA-256
//! (RFC 2104; the exchange is the three passes of ISO/IEC 9798-4, mechanism 4).
//!
//! ```text
//! dialer    → acceptor   Begin      cluster, dialer, whom it means if it knows, nonce of the dialer
//! acceptor  → dialer     Challenge  acceptor, nonce of the acceptor, proof of the acceptor
//! dialer    → acceptor   Answer     proof of the dialer
//! ```
//!
//! A proof is a MAC over who proves, the cluster, both nodes, both nonces, and the channel binding where the stream is inside
//! TLS. So it is worth nothing on another connection, in the other direction, in another cluster or under another name. The
//! acceptor proves first: whoever merely listens at a node's address learns nothing that the dialer's proof would tell.
//!
//! What it does not do: without TLS the bytes that follow are neither secret nor protected, and everybody who knows the secret
//! may be any node. It keeps strangers and strays out; certificates do more.
//!
//! [`Dialing`] and [`Accepting`] are machines without I/O; [`dial`] and [`accept`] run them over a stream before anything else
//! is said on it.

mod exchange;
mod stream;

use std::fmt;
use std::path::Path;

use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use aws_lc_rs::hmac::{HMAC_SHA256, Key};
use rdb_net_types::{ClusterId, NodeId};
use zeroize::Zeroizing;

use crate::binding::ChannelBinding;
use crate::files::{LoadError, read_secret};

pub use exchange::{Accepting, Awaiting, Dialing, NONCE_BYTES};
pub use stream::{SecretError, accept, dial, fresh_nonce};

/// The shortest secret, in bytes: what HMAC-SHA-256 can use, and far beyond what can be guessed from a recorded exchange.
pub const SECRET_BYTES_MIN: usize = 32;

/// A cluster's secret. It is wiped when it is dropped, and is in no text.
#[derive(Clone)]
pub struct SharedSecret {
    key: Key,
    /// What other keys follow from.
    root: Prk,
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(…)")
    }
}

/// An environment variable without a secret. Whoever wrote the configuration is at fault; the content is not told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("environment variable {variable}: {fault}")]
pub struct VariableError {
    /// Its name.
    pub variable: String,
    /// What is wrong with it.
    pub fault: VariableFault,
}

/// What is wrong with an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VariableFault {
    /// There is none of this name.
    #[error("is not set")]
    Unset,
    /// Its content is too short.
    #[error(transparent)]
    TooShort(#[from] TooShort),
}

/// A secret that is too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a shared secret has at least {SECRET_BYTES_MIN} bytes, this one has {bytes}: make one with `openssl rand -base64 48`"
)]
pub struct TooShort {
    /// How long it is.
    pub bytes: usize,
}

impl SharedSecret {
    /// From its bytes. The caller wipes its own copy.
    ///
    /// # Errors
    ///
    /// [`TooShort`] below 32 bytes.
    pub fn new(secret: &[u8]) -> Result<Self, TooShort> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(TooShort { bytes: secret.len() });
        }
        let root = Salt::new(HKDF_SHA256, b"rustydb shared secret").extract(secret);
        Ok(Self { key: Key::new(HMAC_SHA256, secret), root })
    }

    /// From a file that its owner alone may read. Space and line ends around the secret do not count.
    ///
    /// # Errors
    ///
    /// [`LoadError`] with what is wrong with the file; never with what is in it.
    pub fn from_file(path: &Path) -> Result<Self, LoadError> {
        let content = read_secret(path)?;
        Self::new(content.bytes.trim_ascii())
            .map_err(|error| LoadError::Malformed { path: path.to_owned(), problem: error.to_string() })
    }

    /// From an environment variable. Space and line ends around the secret do not count. A file is better: the environment of a
    /// process can be read by its user for as long as it runs, and is inherited by its children.
    ///
    /// # Errors
    ///
    /// [`VariableError`] with what is wrong with it; never with what is in it.
    pub fn from_environment(variable: &str) -> Result<Self, VariableError> {
        let fail = |fault| VariableError { variable: variable.to_owned(), fault };
        let Some(value) = std::env::var_os(variable) else { return Err(fail(VariableFault::Unset)) };
        let value = Zeroizing::new(value.into_encoded_bytes());
        Self::new(value.trim_ascii()).map_err(|error| fail(error.into()))
    }

    /// The key that all who know the secret seal the gossip of this cluster with: HKDF with SHA-256 (RFC 5869). It tells nothing of
    /// the secret, and nothing of the key of another cluster with the same secret.
    pub fn gossip_key(&self, cluster: &ClusterId) -> Zeroizing<[u8; 32]> {
        let info = [b"rustydb gossip key 1".as_slice(), b"\0", cluster.as_str().as_bytes()];
        let mut key = Zeroizing::new([0; 32]);
        let expanded = self.root.expand(&info, HKDF_SHA256);
        expanded.and_then(|expanded| expanded.fill(key.as_mut_slice())).expect("one block of SHA-256 can be derived");
        key
    }
}

/// What this side of an exchange is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The cluster.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// Of the connection, where it is inside TLS.
    pub binding: Option<ChannelBinding>,
}
