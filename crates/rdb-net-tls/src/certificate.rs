//! What is read out of certificates.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use webpki::{Cert, EndEntityCert};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::time::UnixSeconds;

/// How many characters of a name from a certificate are shown.
const NAME_CHARS_MAX: usize = 128;

/// SHA-256 of something in DER: a certificate's name in logs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Of a certificate in DER.
    pub fn of(der: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, der).as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hexadecimal(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A certificate in words: the name that it gives, its serial number and its fingerprint. The name may be a lie; it is cut at
/// 128 characters, and what is no visible ASCII is shown as `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateName {
    /// Its first URI, else its first DNS name, else nothing.
    pub name: String,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// Its SHA-256.
    pub fingerprint: Fingerprint,
}

impl CertificateName {
    /// Of a certificate that nobody has verified. Only webpki reads it, which is made for such.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Self {
        let fingerprint = Fingerprint::of(certificate);
        match EndEntityCert::try_from(certificate) {
            Ok(parsed) => {
                let name = parsed.valid_uri_names().next().or_else(|| parsed.valid_dns_names().next());
                Self { name: name.map(visible).unwrap_or_default(), serial: serial_of(&parsed), fingerprint }
            }
            Err(_) => Self { name: String::new(), serial: String::new(), fingerprint },
        }
    }
}

/// A serial number has at most 20 bytes (RFC 5280, section 4.1.2.2); longer ones are cut.
fn serial_of(certificate: &Cert<'_>) -> String {
    let serial = certificate.serial();
    hexadecimal(serial.get(..20).unwrap_or(serial))
}

/// Text from a stranger, fit for a log.
pub(crate) fn visible(text: &str) -> String {
    text.chars().take(NAME_CHARS_MAX).map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect()
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() { "somebody without a name" } else { &self.name };
        write!(f, "{name} (serial {}, sha256 {})", self.serial, self.fingerprint)
    }
}

/// A certificate that x509-parser cannot read, or that says a thing twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) String);

/// What is read out of a certificate that is trusted: one of this node's own files, or one whose chain is verified.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) subject: String,
    pub(crate) serial: String,
    pub(crate) not_before: UnixSeconds,
    pub(crate) not_after: UnixSeconds,
    pub(crate) uris: Vec<String>,
    pub(crate) dns: Vec<String>,
    pub(crate) is_ca: bool,
    pub(crate) path_length: Option<u32>,
    /// Absent where the certificate does not limit the use of its key.
    pub(crate) usage: Option<KeyBits>,
    pub(crate) server_auth: bool,
    pub(crate) client_auth: bool,
    /// Of an RSA key, how long its modulus is.
    pub(crate) rsa_bits: Option<usize>,
}

/// The bits of the key usage that matter here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyBits {
    pub(crate) digital_signature: bool,
    pub(crate) certificate_signing: bool,
}

impl Facts {
    pub(crate) fn of(der: &[u8]) -> Result<Self, Malformed> {
        let unreadable = |error: &dyn fmt::Display| Malformed(visible(&error.to_string()));
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|error| unreadable(&error))?;
        if !rest.is_empty() {
            return Err(Malformed("there are bytes behind it".to_owned()));
        }
        let basic = certificate.basic_constraints().map_err(|error| unreadable(&error))?;
        let usage = certificate.key_usage().map_err(|error| unreadable(&error))?;
        let extended = certificate.extended_key_usage().map_err(|error| unreadable(&error))?;
        let names = certificate.subject_alternative_name().map_err(|error| unreadable(&error))?;
        let (mut uris, mut dns) = (Vec::new(), Vec::new());
        for name in names.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::URI(uri) => uris.push((*uri).to_owned()),
                GeneralName::DNSName(name) => dns.push((*name).to_owned()),
                GeneralName::Invalid(..) => return Err(Malformed("one of its names is no text".to_owned())),
                _ => {}
            }
        }
        if certificate.extensions().iter().any(|e| matches!(e.parsed_extension(), ParsedExtension::ParseError { .. })) {
            return Err(Malformed("one of its extensions cannot be read".to_owned()));
        }
        let rsa_bits = match certificate.public_key().parsed() {
            Ok(PublicKey::RSA(key)) => Some(bits(key.modulus)),
            Ok(_) => None,
            Err(error) => return Err(unreadable(&error)),
        };
        Ok(Self {
            subject: visible(&certificate.subject().to_string()),
            serial: hexadecimal(certificate.raw_serial()),
            not_before: UnixSeconds(certificate.validity().not_before.timestamp()),
            not_after: UnixSeconds(certificate.validity().not_after.timestamp()),
            uris,
            dns,
            is_ca: basic.as_ref().is_some_and(|extension| extension.value.ca),
            path_length: basic.as_ref().and_then(|extension| extension.value.path_len_constraint),
            usage: usage.map(|extension| KeyBits {
                digital_signature: extension.value.digital_signature(),
                certificate_signing: extension.value.key_cert_sign(),
            }),
            server_auth: extended.as_ref().is_some_and(|extension| extension.value.server_auth),
            client_auth: extended.as_ref().is_some_and(|extension| extension.value.client_auth),
            rsa_bits,
        })
    }
}

/// The length of a number in big-endian bytes.
fn bits(number: &[u8]) -> usize {
    match number.iter().position(|byte| *byte != 0) {
        Some(first) => (number.len() - first) * 8 - number[first].leading_zeros() as usize,
        None => 0,
    }
}
