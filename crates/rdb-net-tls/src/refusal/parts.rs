//! What refusals name.

use std::fmt;

/// The purpose that a certificate lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// Extended key usage `serverAuth`.
    ServerAuth,
    /// Extended key usage `clientAuth`.
    ClientAuth,
    /// Key usage `digitalSignature`.
    DigitalSignature,
    /// Key usage `keyCertSign`, of a CA on the way.
    CertificateSigning,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ServerAuth => "serverAuth",
            Self::ClientAuth => "clientAuth",
            Self::DigitalSignature => "digitalSignature",
            Self::CertificateSigning => "keyCertSign",
        })
    }
}

/// The first bytes of something that is no TLS, for people: text as text, other bytes in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning(pub(crate) Vec<u8>);

impl fmt::Display for Beginning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = [(&b"RDBN"[..], "a node's plaintext"), (b"HTTP", "HTTP"), (b"SSH-", "SSH"), (b"GET ", "HTTP")]
            .into_iter()
            .find(|(magic, _)| self.0.starts_with(magic));
        match name {
            Some((_, name)) => f.write_str(name),
            None if !self.0.is_empty() && self.0.iter().all(|byte| (b' '..=b'~').contains(byte)) => {
                write!(f, "{:?}", String::from_utf8_lossy(&self.0))
            }
            None => {
                f.write_str("bytes")?;
                self.0.iter().try_for_each(|byte| write!(f, " {byte:02x}"))
            }
        }
    }
}
