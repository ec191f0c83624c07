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

use aws_lc_rs::hmac::{HMAC_SHA256, Key};
use rdb_net_types::{ClusterId, NodeId};

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
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(…)")
    }
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
        Ok(Self { key: Key::new(HMAC_SHA256, secret) })
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
