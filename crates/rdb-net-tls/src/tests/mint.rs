//! Certificates of every kind, good and bad.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose as Eku, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose as Usage, PublicKeyData,
    RevokedCertParams, SanType, SerialNumber, SignatureAlgorithm,
};
use rustls::pki_types::CertificateDer;
use x509_parser::time::ASN1Time;

pub(super) const DAY: i64 = 86_400;

/// Seconds since 1970, by the system's clock.
pub(super) fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs() as i64
}

/// Valid from and until so many seconds from now.
pub(super) fn valid(params: &mut CertificateParams, from: i64, until: i64) {
    params.not_before = ASN1Time::from_timestamp(now() + from).expect("a time").to_datetime();
    params.not_after = ASN1Time::from_timestamp(now() + until).expect("a time").to_datetime();
}

pub(super) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("ASCII"))
}

pub(super) fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().expect("ASCII"))
}

/// The usual name of a node.
pub(super) fn node_uri(node: &str) -> SanType {
    uri(&format!("spiffe://prod/cluster/orders/node/{node}"))
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    valid(&mut params, -3_600, 365 * DAY);
    params
}

/// A CA, and the certificates between it and its root.
pub(super) struct Ca {
    params: CertificateParams,
    key: KeyPair,
    pub(super) certificate: Certificate,
    /// What belongs behind a certificate that it issues; nothing for a root.
    above: Vec<CertificateDer<'static>>,
}

/// A certificate with its chain and key.
pub(super) struct Leaf {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key_pem: String,
    pub(super) serial: Vec<u8>,
}

impl Leaf {
    pub(super) fn chain_pem(&self) -> String {
        self.chain.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect()
    }
}

pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let text = openssl_base64(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn openssl_base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let digit = DIGITS[(group >> (18 - 6 * position) & 63) as usize];
            text.push(if position <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

pub(super) fn ca_params(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![Usage::KeyCertSign, Usage::CrlSign];
    params
}

impl Ca {
    pub(super) fn root(name: &str) -> Self {
        Self::root_with(name, &rcgen::PKCS_ECDSA_P256_SHA256, |_| {})
    }

    pub(super) fn root_with(
        name: &str,
        algorithm: &'static SignatureAlgorithm,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let mut params = ca_params(name);
        change(&mut params);
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let certificate = params.self_signed(&key).expect("signed");
        Self { params, key, certificate, above: Vec::new() }
    }

    /// Another CA, signed by this one.
    pub(super) fn sub(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = ca_params(name);
        change(&mut params);
        params.serial_number = Some(SerialNumber::from(7777));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer()).expect("signed");
        let mut above = vec![certificate.der().clone()];
        above.extend(self.above.iter().cloned());
        Self { params, key, certificate, above }
    }

    /// The same CA with the same key, renewed.
    pub(super) fn renewed(&self, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let mut params = self.params.clone();
        change(&mut params);
        params.self_signed(&self.key).expect("signed")
    }

    pub(super) fn pem(&self) -> String {
        self.certificate.pem()
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    /// A node's certificate.
    pub(super) fn node(&self, node: &str) -> Leaf {
        self.leaf(node, |_| {})
    }

    /// A node's certificate, changed.
    pub(super) fn leaf(&self, node: &str, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        self.leaf_of(node, &KeyPair::generate().expect("a key"), change)
    }

    pub(super) fn leaf_of(&self, node: &str, key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        Leaf { key_pem: key.serialize_pem(), ..self.leaf_for(node, key, change) }
    }

    /// A certificate of a public key; its private key is anybody's guess.
    pub(super) fn leaf_for(
        &self,
        node: &str,
        key: &impl PublicKeyData,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Leaf {
        let mut params = named(node);
        params.subject_alt_names = vec![node_uri(node)];
        params.key_usages = vec![Usage::DigitalSignature];
        params.extended_key_usages = vec![Eku::ServerAuth, Eku::ClientAuth];
        let serial = vec![1, node.len() as u8, node.bytes().fold(0, u8::wrapping_add)];
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        change(&mut params);
        let certificate = params.signed_by(key, &self.issuer()).expect("signed");
        let mut chain = vec![certificate.der().clone()];
        chain.extend(self.above.iter().cloned());
        Leaf { chain, key_pem: String::new(), serial }
    }

    /// A certificate that nobody but itself has signed.
    pub(super) fn self_signed(node: &str) -> Leaf {
        let key = KeyPair::generate().expect("a key");
        let mut params = named(node);
        params.subject_alt_names = vec![node_uri(node)];
        params.extended_key_usages = vec![Eku::ServerAuth, Eku::ClientAuth];
        let certificate = params.self_signed(&key).expect("signed");
        Leaf { chain: vec![certificate.der().clone()], key_pem: key.serialize_pem(), serial: Vec::new() }
    }

    /// This CA's own certificate, shown as that of a node.
    pub(super) fn as_leaf(node: &str, root: &Ca) -> Leaf {
        root.leaf(node, |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        })
    }

    /// A list that revokes these serial numbers, PEM, valid from and until so many seconds from now.
    pub(super) fn list(&self, serials: &[&[u8]], from: i64, until: i64) -> String {
        self.signed_list(&self.issuer(), serials, from, until)
    }

    /// A list in this CA's name that another one has signed.
    pub(super) fn forged_list(&self, forger: &Ca) -> String {
        let issuer = Issuer::from_params(&self.params, &forger.key);
        self.signed_list(&issuer, &[], -60, DAY)
    }

    fn signed_list(&self, issuer: &Issuer<'_, &KeyPair>, serials: &[&[u8]], from: i64, until: i64) -> String {
        let time = |seconds| ASN1Time::from_timestamp(now() + seconds).expect("a time").to_datetime();
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: time(from),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: time(from),
            next_update: time(until),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(issuer).expect("signed").pem().expect("PEM")
    }
}
