//! Keys and signatures, by rcgen.

use std::path::Path;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber,
};
use rdb_net_types::{NodeId, Role};
use x509_parser::time::ASN1Time;
use zeroize::{Zeroize, Zeroizing};

use super::index::{Entry, Index};
use super::{PkiError, PkiOptions};
use crate::certificate::{Facts, hexadecimal};
use crate::files::{LoadError, read_public, read_secret};
use crate::identity::role_name;
use crate::time::UnixSeconds;

const DAY_SECONDS: i64 = 86_400;

/// How far a certificate's time begins in the past: clocks differ.
const BACKDATED_SECONDS: i64 = 300;

/// A CA with its key.
pub(super) struct Ca {
    issuer: Issuer<'static, WipedKey>,
    pem: String,
    not_after: UnixSeconds,
}

/// A certificate and its key, fresh.
pub(super) struct Minted {
    pub(super) entry: Entry,
    pub(super) pem: String,
    pub(super) key_pem: Zeroizing<String>,
}

/// A key that is wiped when it is dropped.
struct WipedKey(KeyPair);

impl Drop for WipedKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl rcgen::PublicKeyData for WipedKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        rcgen::PublicKeyData::algorithm(&self.0)
    }
}

impl rcgen::SigningKey for WipedKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        rcgen::SigningKey::sign(&self.0, message)
    }
}

fn sign_error(error: rcgen::Error) -> PkiError {
    PkiError::Sign { problem: error.to_string() }
}

/// rcgen's times are those of the crate `time`, which x509-parser's can become.
macro_rules! date {
    ($seconds:expr) => {
        ASN1Time::from_timestamp($seconds.0)
            .map_err(|_| PkiError::Sign { problem: format!("{} is no time", $seconds.0) })?
            .to_datetime()
    };
}

/// 128 random bits, positive and never zero (RFC 5280, section 4.1.2.2).
fn random_serial() -> Result<[u8; 16], PkiError> {
    let mut serial = [0; 16];
    let drawn = SystemRandom::new().fill(&mut serial);
    drawn.map_err(|_| PkiError::Sign { problem: "the system gives no randomness".to_owned() })?;
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(serial)
}

impl Ca {
    pub(super) fn generate(options: &PkiOptions, now: UnixSeconds) -> Result<Self, PkiError> {
        let key = WipedKey(KeyPair::generate().map_err(sign_error)?);
        let serial = random_serial()?;
        let not_after = UnixSeconds(now.0 + i64::from(options.ca_days) * DAY_SECONDS);
        let mut params = CertificateParams::default();
        params.not_before = date!(UnixSeconds(now.0 - BACKDATED_SECONDS));
        params.not_after = date!(not_after);
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // Two CAs of one cluster must differ in name, or the list of one would be taken for that of the other.
        let name = format!("rustydb {} {}", options.cluster, hexadecimal(&serial[..4]));
        params.distinguished_name = common_name(&name);
        let pem = params.self_signed(&key).map_err(sign_error)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem, not_after })
    }

    pub(super) fn load(certificate: &Path, key: &Path) -> Result<Self, PkiError> {
        let text = |path: &Path, bytes: &[u8]| {
            let text = std::str::from_utf8(bytes).map(str::to_owned);
            text.map_err(|_| LoadError::Malformed { path: path.to_owned(), problem: "it is no PEM".to_owned() })
        };
        let secret = read_secret(key)?;
        let secret = Zeroizing::new(text(key, &secret.bytes)?);
        let malformed = |path: &Path, error: rcgen::Error| LoadError::Malformed {
            path: path.to_owned(),
            problem: error.to_string(),
        };
        let pair = WipedKey(KeyPair::from_pem(&secret).map_err(|error| malformed(key, error))?);
        let pem = text(certificate, &read_public(certificate)?.bytes)?;
        let der = rustls::pki_types::pem::PemObject::from_pem_slice(pem.as_bytes());
        let der: rustls::pki_types::CertificateDer<'static> = der.map_err(|_| LoadError::Malformed {
            path: certificate.to_owned(),
            problem: "no certificate (BEGIN CERTIFICATE) is in it".to_owned(),
        })?;
        let facts =
            Facts::of(&der).map_err(|error| LoadError::Malformed { path: certificate.to_owned(), problem: error.0 })?;
        let issuer = Issuer::from_ca_cert_der(&der, pair).map_err(|error| malformed(certificate, error))?;
        Ok(Self { issuer, pem, not_after: facts.not_after })
    }

    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    pub(super) fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.issuer.key().0.serialize_pem())
    }

    pub(super) fn not_after(&self) -> UnixSeconds {
        self.not_after
    }

    /// A certificate with a key of its own. A node's serves on both ends of a connection, others' on the dialing one.
    pub(super) fn issue(
        &self,
        index: &Index,
        name: &NodeId,
        role: Role,
        addresses: &[String],
        now: UnixSeconds,
    ) -> Result<Minted, PkiError> {
        let mut params = CertificateParams::new(addresses.to_vec()).map_err(sign_error)?;
        let identity = format!("spiffe://{}/cluster/{}/{}/{name}", index.trust_domain, index.cluster, role_name(role));
        params.subject_alt_names.insert(0, SanType::URI(Ia5String::try_from(identity).map_err(sign_error)?));
        params.distinguished_name = common_name(name.as_str());
        let serial = random_serial()?;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let end = now.0 + i64::from(index.certificate_days) * DAY_SECONDS;
        let not_after = UnixSeconds(end.min(self.not_after.0));
        params.not_before = date!(UnixSeconds(now.0 - BACKDATED_SECONDS));
        params.not_after = date!(not_after);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if role == Role::Node {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let key = WipedKey(KeyPair::generate().map_err(sign_error)?);
        let certificate = params.signed_by(&key, &self.issuer).map_err(sign_error)?;
        let key_pem = Zeroizing::new(key.0.serialize_pem());
        let (serial, name, addresses) = (hexadecimal(&serial), name.clone(), addresses.to_vec());
        let entry = Entry { serial, name, role, not_after, revoked_at: None, addresses };
        Ok(Minted { entry, pem: certificate.pem(), key_pem })
    }

    /// The list of what is revoked and would be valid otherwise, PEM.
    pub(super) fn revocation_list(&self, index: &Index, now: UnixSeconds) -> Result<String, PkiError> {
        let mut revoked_certs = Vec::new();
        for entry in index.entries.iter().filter(|entry| entry.not_after >= now) {
            let Some(revoked_at) = entry.revoked_at else { continue };
            revoked_certs.push(RevokedCertParams {
                serial_number: SerialNumber::from_slice(&bytes_of(&entry.serial)),
                revocation_time: date!(revoked_at),
                reason_code: None,
                invalidity_date: None,
            });
        }
        let params = CertificateRevocationListParams {
            this_update: date!(now),
            next_update: date!(index.ca_not_after),
            crl_number: SerialNumber::from(index.list_number),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).and_then(|list| list.pem()).map_err(sign_error)
    }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// The index has checked that it is hexadecimal.
fn bytes_of(hexadecimal: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
    hexadecimal.as_bytes().chunks(2).map(|pair| pair.iter().fold(0, |byte, c| byte << 4 | digit(*c))).collect()
}
