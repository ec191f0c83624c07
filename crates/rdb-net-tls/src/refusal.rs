//! Why a handshake came to nothing: one reason, one short name for metrics, one sentence with what to do.

mod parts;

use std::io;

use rdb_net_types::{ClusterId, NodeId, RefusalReason, Role};
use rustls::{AlertDescription, CertificateError};

use crate::certificate::CertificateName;
use crate::identity::{IdentityPattern, role_name};
use crate::time::UnixSeconds;

pub use parts::{Beginning, Purpose};

/// Why a peer was not let in, or did not let this node in. The connection is over; unless [`is_transient`](Self::is_transient)
/// says otherwise, a retry needs somebody to change a certificate or a configuration first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsRefusal {
    /// No CA that this node knows has signed it.
    #[error(
        "no CA in ca_cert_path has signed the certificate of {certificate}{}: add the CA that did, or have the peer's certificate \
         issued by one of them; a missing intermediate belongs behind the certificate in the peer's cert_path",
        if *.self_signed { " (it is signed by itself)" } else { "" }
    )]
    UnknownIssuer {
        /// The certificate.
        certificate: Box<CertificateName>,
        /// Whether it names itself as its issuer.
        self_signed: bool,
    },
    /// A CA of the right name is known, and the signature is not by its key.
    #[error(
        "a signature in the chain of {certificate} is not by the key of the CA that it names: another CA has the same name, or the \
         certificate was tampered with"
    )]
    BadSignature {
        /// The certificate.
        certificate: Box<CertificateName>,
    },
    /// Its time, or that of a CA above it, is over.
    #[error(
        "the certificate of {certificate}, or a CA above it, expired at {not_after}: renew it; check the clock if it should be valid"
    )]
    Expired {
        /// The certificate.
        certificate: Box<CertificateName>,
        /// When.
        not_after: UnixSeconds,
    },
    /// Its time has not come.
    #[error(
        "the certificate of {certificate}, or a CA above it, is not valid before {not_before}: compare the clocks of both nodes"
    )]
    NotYetValid {
        /// The certificate.
        certificate: Box<CertificateName>,
        /// When it begins.
        not_before: UnixSeconds,
    },
    /// A revocation list names it, or a CA above it.
    #[error(
        "the certificate of {certificate}, or a CA above it, is revoked: issue a new one if the node is still to be trusted"
    )]
    Revoked {
        /// The certificate.
        certificate: Box<CertificateName>,
    },
    /// The revocation list of its issuer is too old to say anything.
    #[error("the revocation list for {certificate} expired at {next_update}: put the CA's newest list into crl_paths")]
    RevocationListExpired {
        /// The certificate.
        certificate: Box<CertificateName>,
        /// Until when it was to be replaced.
        next_update: UnixSeconds,
    },
    /// The revocation list of its issuer is not signed by that issuer.
    #[error("the revocation list for {certificate} does not count: {problem}; put the CA's own list into crl_paths")]
    RevocationListUnusable {
        /// The certificate.
        certificate: Box<CertificateName>,
        /// What is wrong.
        problem: String,
    },
    /// No subject alternative name fits the pattern.
    #[error("the certificate of {certificate} names no node by the pattern {pattern}: issue it with such a name")]
    NoIdentity {
        /// The certificate.
        certificate: Box<CertificateName>,
        /// The pattern.
        pattern: IdentityPattern,
    },
    /// More than one subject alternative name might be meant.
    #[error("the certificate of {certificate} has more than one identity: issue one with exactly one")]
    SeveralIdentities {
        /// The certificate.
        certificate: Box<CertificateName>,
    },
    /// Another node answered than was dialed.
    #[error("node {found} answered where node {expected} was dialed: the address belongs to another node")]
    OtherNode {
        /// Who was dialed.
        expected: NodeId,
        /// Who answered.
        found: NodeId,
    },
    /// It belongs to another cluster.
    #[error(
        "{certificate} belongs to the cluster {found}, this node to {ours}: a seed or an address points to the wrong cluster"
    )]
    OtherCluster {
        /// The certificate.
        certificate: Box<CertificateName>,
        /// This node's.
        ours: ClusterId,
        /// The peer's.
        found: ClusterId,
    },
    /// It is of another trust domain than the pattern names.
    #[error("{certificate} is of the trust domain {found:?}, and the pattern {pattern} wants another")]
    OtherTrustDomain {
        /// The certificate.
        certificate: Box<CertificateName>,
        /// The pattern.
        pattern: IdentityPattern,
        /// The peer's.
        found: String,
    },
    /// It showed none.
    #[error("the peer showed no certificate: configure cert_path and key_path there, or verify_client = false here")]
    NoCertificate,
    /// Its role is not let in on this side.
    #[error("{certificate} has the role {}, which is not let in here: connect with a certificate of another role", role_name(*.role))]
    RoleNotPermitted {
        /// The certificate.
        certificate: Box<CertificateName>,
        /// Its role.
        role: Role,
    },
    /// It is not meant for this use.
    #[error(
        "the certificate of {certificate} lacks {missing}: a node's certificate has clientAuth, serverAuth and digitalSignature"
    )]
    WrongKeyUsage {
        /// The certificate.
        certificate: Box<CertificateName>,
        /// What is missing.
        missing: Purpose,
    },
    /// A CA's certificate came as a node's.
    #[error("the certificate of {certificate} is that of a CA: a node needs one of its own, issued by the CA")]
    CaAsLeaf {
        /// The certificate.
        certificate: Box<CertificateName>,
    },
    /// A certificate on the way is no CA.
    #[error("the chain of {certificate} leads over a certificate that is no CA: whoever issued it may not")]
    IssuerNotCa {
        /// The certificate.
        certificate: Box<CertificateName>,
    },
    /// More CAs on the way than one of them allows.
    #[error("the chain of {certificate} is longer than a CA in it allows (pathLenConstraint)")]
    PathLength {
        /// The certificate.
        certificate: Box<CertificateName>,
    },
    /// A CA on the way may not give such names. Constraints on URIs fit no name here: they cannot be checked.
    #[error("a CA above {certificate} may not issue such names (nameConstraints)")]
    NameConstraints {
        /// The certificate.
        certificate: Box<CertificateName>,
    },
    /// A key or signature that is too weak or of an unknown kind.
    #[error("{certificate}: {problem}; use ECDSA P-256 or P-384, Ed25519, or RSA from 2048 bits with SHA-256")]
    WeakKey {
        /// The certificate.
        certificate: Box<CertificateName>,
        /// What is weak.
        problem: String,
    },
    /// It is no legal certificate.
    #[error("the certificate of {certificate} cannot be read: {problem}")]
    MalformedCertificate {
        /// The certificate.
        certificate: Box<CertificateName>,
        /// What is wrong.
        problem: String,
    },
    /// More certificates than are looked at.
    #[error("the peer sent {count} certificates, more than {max}: leave those out that do not lead to the CA")]
    ChainTooLong {
        /// How many came.
        count: usize,
        /// How many are looked at.
        max: usize,
    },
    /// It does not speak TLS 1.3.
    #[error("the peer does not speak TLS 1.3 ({problem}): upgrade it")]
    ProtocolVersion {
        /// What shows it.
        problem: String,
    },
    /// Something other than TLS came to this node's TLS port.
    #[error("the peer speaks plaintext ({began}) to a TLS port: set networking.tls.enabled = true there")]
    PlaintextPeer {
        /// How it began.
        began: Beginning,
    },
    /// The dialed port does not speak TLS.
    #[error(
        "{began} came from the dialed port instead of TLS: set networking.tls.enabled = true there, or correct the address"
    )]
    NotTls {
        /// How it began.
        began: Beginning,
    },
    /// It does not speak this protocol inside TLS.
    #[error("the peer does not offer the protocol rustydb/1 (ALPN){}: it is no node, or something in between terminates TLS", .offered)]
    NoAlpn {
        /// What it offered instead; empty, or with its own punctuation.
        offered: String,
    },
    /// There is no cipher suite that both have.
    #[error("no cipher suite in common: the peer has {theirs}, this node {ours}; compare cipher_suites of both")]
    NoCommonSuite {
        /// This node's.
        ours: String,
        /// The peer's, where it told.
        theirs: String,
    },
    /// There is no key exchange group that both have.
    #[error(
        "no key exchange group in common: the peer has {theirs}, this node {ours}; compare key_exchange_groups of both"
    )]
    NoCommonGroup {
        /// This node's.
        ours: String,
        /// The peer's, where it told.
        theirs: String,
    },
    /// The peer sent more than is read of somebody unknown.
    #[error(
        "the peer sent more than {max} bytes before it was known: shorten its certificate chain, or raise handshake_bytes_max"
    )]
    TooLarge {
        /// The limit.
        max: usize,
    },
    /// The deadline passed.
    #[error("the handshake was not complete in time")]
    Timeout,
    /// It hung up in the middle.
    #[error("the peer hung up in the middle of the handshake: its log may say why; perhaps its port speaks no TLS")]
    Closed,
    /// It refused this node, by this alert.
    #[error("the peer refused this node: {}", alert_sentence(*.alert))]
    ByPeer {
        /// The alert.
        alert: AlertDescription,
    },
    /// It breaks the rules of TLS.
    #[error("the peer breaks the rules of TLS: {problem}")]
    Protocol {
        /// How.
        problem: String,
    },
    /// The connection below failed.
    #[error("the connection failed in the handshake: {problem}")]
    Io {
        /// Its kind.
        kind: io::ErrorKind,
        /// What the system said.
        problem: String,
    },
    /// This side could not go on.
    #[error("this node cannot do its part of the handshake: {problem}")]
    Internal {
        /// Why.
        problem: String,
    },
}

impl TlsRefusal {
    /// Its name, as metrics have it. Names stay.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::UnknownIssuer { .. } => "unknown_issuer",
            Self::BadSignature { .. } => "bad_signature",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::Revoked { .. } => "revoked",
            Self::RevocationListExpired { .. } => "crl_expired",
            Self::RevocationListUnusable { .. } => "crl_unusable",
            Self::NoIdentity { .. } => "no_identity",
            Self::SeveralIdentities { .. } => "several_identities",
            Self::OtherNode { .. } => "other_node",
            Self::OtherCluster { .. } => "other_cluster",
            Self::OtherTrustDomain { .. } => "other_trust_domain",
            Self::NoCertificate => "no_certificate",
            Self::RoleNotPermitted { .. } => "role_not_permitted",
            Self::WrongKeyUsage { .. } => "wrong_key_usage",
            Self::CaAsLeaf { .. } => "ca_as_leaf",
            Self::IssuerNotCa { .. } => "issuer_not_ca",
            Self::PathLength { .. } => "path_length",
            Self::NameConstraints { .. } => "name_constraints",
            Self::WeakKey { .. } => "weak_key",
            Self::MalformedCertificate { .. } => "malformed_certificate",
            Self::ChainTooLong { .. } => "chain_too_long",
            Self::ProtocolVersion { .. } => "protocol_version",
            Self::PlaintextPeer { .. } => "plaintext_peer",
            Self::NotTls { .. } => "not_tls",
            Self::NoAlpn { .. } => "no_alpn",
            Self::NoCommonSuite { .. } => "no_common_suite",
            Self::NoCommonGroup { .. } => "no_common_group",
            Self::TooLarge { .. } => "too_large",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::ByPeer { .. } => "by_peer",
            Self::Protocol { .. } => "protocol",
            Self::Io { .. } => "io",
            Self::Internal { .. } => "internal",
        }
    }

    /// Whether trying again may succeed without anybody changing a certificate or a configuration.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Timeout | Self::Closed | Self::Io { .. } | Self::NotYetValid { .. })
    }

    /// What a session would call it.
    pub const fn reason(&self) -> RefusalReason {
        match self {
            Self::OtherCluster { .. } | Self::OtherTrustDomain { .. } => RefusalReason::Cluster,
            Self::OtherNode { .. } => RefusalReason::TargetNode,
            Self::ProtocolVersion { .. } | Self::NoAlpn { .. } => RefusalReason::Version,
            Self::PlaintextPeer { .. } | Self::NotTls { .. } | Self::Protocol { .. } | Self::TooLarge { .. } => {
                RefusalReason::Malformed
            }
            _ => RefusalReason::Identity,
        }
    }

    /// The error for rustls, which makes an alert of it. Who is in the wrong cluster or role is told no more than that
    /// (`access_denied`, RFC 8446, section 6.2).
    pub(crate) fn to_rustls(&self) -> rustls::Error {
        rustls::Error::InvalidCertificate(match self {
            Self::UnknownIssuer { .. }
            | Self::BadSignature { .. }
            | Self::RevocationListExpired { .. }
            | Self::RevocationListUnusable { .. } => CertificateError::UnknownIssuer,
            Self::Expired { .. } => CertificateError::Expired,
            Self::NotYetValid { .. } => CertificateError::NotValidYet,
            Self::Revoked { .. } => CertificateError::Revoked,
            Self::WrongKeyUsage { .. } => CertificateError::InvalidPurpose,
            Self::NoIdentity { .. } | Self::SeveralIdentities { .. } => CertificateError::NotValidForName,
            Self::OtherNode { .. }
            | Self::OtherCluster { .. }
            | Self::OtherTrustDomain { .. }
            | Self::RoleNotPermitted { .. } => CertificateError::ApplicationVerificationFailure,
            _ => CertificateError::BadEncoding,
        })
    }
}

fn alert_sentence(alert: AlertDescription) -> String {
    let sentence = match alert {
        AlertDescription::CertificateExpired => "it takes this node's certificate for expired or not yet valid",
        AlertDescription::CertificateRevoked => "it says that this node's certificate is revoked",
        AlertDescription::UnknownCA => "it does not know the CA of this node's certificate; compare ca_cert_path there",
        AlertDescription::CertificateRequired => "it wants a certificate of this node",
        AlertDescription::UnsupportedCertificate => "it takes this node's certificate for one of another purpose",
        AlertDescription::BadCertificate => "it finds no identity in this node's certificate, or cannot read it",
        AlertDescription::AccessDenied => {
            "this node's certificate is good, and of the wrong node, cluster or role for this connection"
        }
        AlertDescription::NoApplicationProtocol => "it does not speak rustydb/1",
        AlertDescription::ProtocolVersion => "it does not speak TLS 1.3",
        AlertDescription::HandshakeFailure => {
            "it has no cipher suite, group or signature scheme in common with this node"
        }
        _ => return format!("alert {alert:?}"),
    };
    sentence.to_owned()
}
