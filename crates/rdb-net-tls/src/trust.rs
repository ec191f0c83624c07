//! The judgement on a chain of certificates: is it signed by a CA that counts, is it in its time, not revoked, meant for this
//! use, and whose is it? (RFC 5280, section 6; X509-SVID, section 5.)
//!
//! webpki builds and checks the path. It leaves out what a web browser leaves out, so that is checked here: the validity and
//! the path length of the CA that is trusted, the key usages, that the extended key usage is there at all, and the length of
//! RSA keys. A judgement is a function of the files, the chain and the time: a connection that is open can be judged again
//! after every reload.

use std::sync::Arc;

use rdb_net_types::{ClusterId, NodeId, Role};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, Error as Webpki, ExpirationPolicy, KeyUsage, RevocationCheckDepth,
    RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};

use crate::certificate::{CertificateName, Facts, Fingerprint};
use crate::identity::{Identity, IdentityPattern, NoIdentity, Policy};
use crate::refusal::{Purpose, TlsRefusal};
use crate::time::UnixSeconds;

/// How many certificates of a peer are looked at: its own, six intermediates (webpki's limit), and one root that some send
/// although nobody needs it.
pub(crate) const CHAIN_MAX: usize = 8;

/// The shortest RSA key, in bits (NIST SP 800-131A).
pub(crate) const RSA_BITS_MIN: usize = 2048;

/// Which end of a connection the peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerSide {
    /// This node dialed it.
    Dialed,
    /// It connected to this node.
    Connected,
}

/// Who must answer at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// This node and no other.
    Node(NodeId),
    /// Any node of the cluster: a seed, whose name nobody knows yet.
    Anybody,
}

/// Who a peer is, proved by its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The node; of a client or an admin, its name.
    pub node: NodeId,
    /// The cluster that its certificate names, which is this node's; `None` where it names none.
    pub cluster: Option<ClusterId>,
    /// What it is.
    pub role: Role,
    /// The serial number of its certificate, in hexadecimal.
    pub serial: String,
    /// The SHA-256 of its certificate.
    pub fingerprint: Fingerprint,
    /// When its certificate ends.
    pub not_after: UnixSeconds,
    /// Which end of the connection it is.
    pub side: PeerSide,
    /// What it sent, its own certificate first; never empty.
    pub(crate) chain: Arc<[CertificateDer<'static>]>,
}

impl PeerIdentity {
    /// What it sent, its own certificate first; never empty.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Its own certificate (DER).
    pub fn certificate(&self) -> &[u8] {
        self.chain.first().map_or(&[], |leaf| leaf.as_ref())
    }
}

/// A CA that is trusted.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) facts: Facts,
}

/// Whom a set of files makes a node believe.
pub(crate) struct Trust {
    /// One by one those of `anchors`.
    pub(crate) roots: Vec<Root>,
    pub(crate) anchors: Vec<TrustAnchor<'static>>,
    /// The newest first: of two lists of one issuer the first counts.
    pub(crate) lists: Vec<CertRevocationList<'static>>,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
    pub(crate) policy: Policy,
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let roots: Vec<&str> = self.roots.iter().map(|root| root.facts.subject.as_str()).collect();
        f.debug_struct("Trust").field("roots", &roots).field("lists", &self.lists.len()).finish_non_exhaustive()
    }
}

impl Trust {
    /// Who this is, and that it may be on that side of a connection.
    pub(crate) fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        side: PeerSide,
        now: UnixTime,
    ) -> Result<PeerIdentity, TlsRefusal> {
        let peer = self.verify(chain, side, now)?;
        let permitted = match side {
            PeerSide::Dialed => &self.policy.dialed,
            PeerSide::Connected => &self.policy.accepted,
        };
        if !permitted.contains(&peer.role) {
            let certificate = name_of(chain);
            return Err(TlsRefusal::RoleNotPermitted { certificate, role: peer.role });
        }
        Ok(peer)
    }

    /// Who this is, whatever its role.
    pub(crate) fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        side: PeerSide,
        now: UnixTime,
    ) -> Result<PeerIdentity, TlsRefusal> {
        let (leaf, intermediates) = chain.split_first().ok_or(TlsRefusal::NoCertificate)?;
        if chain.len() > CHAIN_MAX {
            return Err(TlsRefusal::ChainTooLong { count: chain.len(), max: CHAIN_MAX });
        }
        self.verify_path(leaf, intermediates, side, now).map_err(|error| refusal_of(error, leaf))?;

        let certificate = || Box::new(CertificateName::of(leaf));
        let facts = Facts::of(leaf).map_err(|malformed| TlsRefusal::MalformedCertificate {
            certificate: certificate(),
            problem: malformed.0,
        })?;
        if let Some(bits) = facts.rsa_bits.filter(|bits| *bits < RSA_BITS_MIN) {
            let problem = format!("its RSA key has {bits} bits");
            return Err(TlsRefusal::WeakKey { certificate: certificate(), problem });
        }
        if let Some(missing) = missing_purpose(&facts, side) {
            return Err(TlsRefusal::WrongKeyUsage { certificate: certificate(), missing });
        }
        let Identity { node, cluster, role } = identify(&self.policy.identity, &facts, certificate)?;
        if let Some(found) = cluster.as_ref().filter(|found| **found != self.policy.cluster) {
            let ours = self.policy.cluster.clone();
            return Err(TlsRefusal::OtherCluster { certificate: certificate(), ours, found: found.clone() });
        }
        Ok(PeerIdentity {
            node,
            cluster,
            role,
            serial: facts.serial,
            fingerprint: Fingerprint::of(leaf),
            not_after: facts.not_after,
            side,
            chain: chain.iter().map(|certificate| certificate.clone().into_owned()).collect(),
        })
    }

    fn verify_path(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        side: PeerSide,
        now: UnixTime,
    ) -> Result<(), Webpki> {
        let usage = match side {
            PeerSide::Dialed => KeyUsage::server_auth(),
            PeerSide::Connected => KeyUsage::client_auth(),
        };
        let lists: Vec<&CertRevocationList<'_>> = self.lists.iter().collect();
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|builder| {
            let builder = builder.with_depth(RevocationCheckDepth::Chain);
            // Of a CA without a list nobody knows more than that it has revoked nothing that was told.
            let builder = builder.with_status_policy(UnknownStatusPolicy::Allow);
            builder.with_expiration_policy(ExpirationPolicy::Enforce).build()
        });
        EndEntityCert::try_from(leaf)?.verify_for_usage(
            self.algorithms.all,
            &self.anchors,
            intermediates,
            now,
            usage,
            revocation,
            Some(&|path| self.check_path(path, now)),
        )?;
        Ok(())
    }

    /// What webpki leaves to others: the CA itself, and what the intermediates may do with their keys.
    fn check_path(&self, path: &VerifiedPath<'_>, now: UnixTime) -> Result<(), Webpki> {
        let mut depth = 0;
        for intermediate in path.intermediate_certificates() {
            depth += 1;
            let facts = Facts::of(&intermediate.der()).map_err(|_| Webpki::BadDer)?;
            if facts.usage.is_some_and(|usage| !usage.certificate_signing) {
                return Err(Webpki::EndEntityUsedAsCa);
            }
        }
        // A CA that was renewed with the same key is there twice; one that is valid is enough.
        let mut verdict = Err(Webpki::UnknownIssuer);
        for (root, anchor) in self.roots.iter().zip(&self.anchors) {
            let (ours, theirs) = (anchor, path.anchor());
            if ours.subject == theirs.subject && ours.subject_public_key_info == theirs.subject_public_key_info {
                verdict = check_root(&root.facts, depth, now);
                if verdict.is_ok() {
                    break;
                }
            }
        }
        verdict
    }
}

fn check_root(root: &Facts, depth: u32, now: UnixTime) -> Result<(), Webpki> {
    let seconds = |time: UnixSeconds| {
        let seconds = u64::try_from(time.0).unwrap_or(0);
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
    };
    let (not_before, not_after) = (seconds(root.not_before), seconds(root.not_after));
    if now < not_before {
        Err(Webpki::CertNotValidYet { time: now, not_before })
    } else if now > not_after {
        Err(Webpki::CertExpired { time: now, not_after })
    } else if root.path_length.is_some_and(|longest| depth > longest) {
        Err(Webpki::PathLenConstraintViolated)
    } else {
        Ok(())
    }
}

/// webpki takes a certificate without an extended key usage for one that may do everything; here each says what it may do.
fn missing_purpose(facts: &Facts, side: PeerSide) -> Option<Purpose> {
    match side {
        PeerSide::Dialed if !facts.server_auth => Some(Purpose::ServerAuth),
        PeerSide::Connected if !facts.client_auth => Some(Purpose::ClientAuth),
        _ => facts.usage.is_some_and(|usage| !usage.digital_signature).then_some(Purpose::DigitalSignature),
    }
}

/// The identity in a certificate.
pub(crate) fn identify(
    pattern: &IdentityPattern,
    facts: &Facts,
    certificate: impl Fn() -> Box<CertificateName>,
) -> Result<Identity, TlsRefusal> {
    let uris: Vec<&str> = facts.uris.iter().map(String::as_str).collect();
    let dns: Vec<&str> = facts.dns.iter().map(String::as_str).collect();
    pattern.identify(&uris, &dns).map_err(|error| match error {
        NoIdentity::None => TlsRefusal::NoIdentity { certificate: certificate(), pattern: pattern.clone() },
        NoIdentity::Several => TlsRefusal::SeveralIdentities { certificate: certificate() },
        NoIdentity::TrustDomain(found) => {
            TlsRefusal::OtherTrustDomain { certificate: certificate(), pattern: pattern.clone(), found }
        }
    })
}

/// That the node that answered is the one that was dialed.
pub(crate) fn check_expected(peer: &PeerIdentity, expected: &Expected) -> Result<(), TlsRefusal> {
    match expected {
        Expected::Node(node) if *node != peer.node => {
            Err(TlsRefusal::OtherNode { expected: node.clone(), found: peer.node.clone() })
        }
        Expected::Node(_) | Expected::Anybody => Ok(()),
    }
}

fn name_of(chain: &[CertificateDer<'_>]) -> Box<CertificateName> {
    Box::new(CertificateName::of(chain.first().unwrap_or(&CertificateDer::from_slice(&[]))))
}

fn refusal_of(error: Webpki, leaf: &CertificateDer<'_>) -> TlsRefusal {
    let certificate = Box::new(CertificateName::of(leaf));
    match error {
        Webpki::UnknownIssuer => {
            let own = EndEntityCert::try_from(leaf).is_ok_and(|leaf| leaf.issuer() == leaf.subject());
            TlsRefusal::UnknownIssuer { certificate, self_signed: own }
        }
        Webpki::InvalidSignatureForPublicKey => TlsRefusal::BadSignature { certificate },
        Webpki::CertExpired { not_after, .. } => TlsRefusal::Expired { certificate, not_after: not_after.into() },
        Webpki::CertNotValidYet { not_before, .. } => {
            TlsRefusal::NotYetValid { certificate, not_before: not_before.into() }
        }
        Webpki::CertRevoked => TlsRefusal::Revoked { certificate },
        Webpki::CrlExpired { next_update, .. } => {
            TlsRefusal::RevocationListExpired { certificate, next_update: next_update.into() }
        }
        Webpki::InvalidCrlSignatureForPublicKey
        | Webpki::UnsupportedCrlSignatureAlgorithmContext(_)
        | Webpki::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_)
        | Webpki::UnknownRevocationStatus => {
            let problem = "it is not signed by the key of the CA that it names".to_owned();
            TlsRefusal::RevocationListUnusable { certificate, problem }
        }
        Webpki::IssuerNotCrlSigner => {
            let problem = "its CA may not sign such lists (cRLSign)".to_owned();
            TlsRefusal::RevocationListUnusable { certificate, problem }
        }
        Webpki::RequiredEkuNotFoundContext(context) => {
            let is_server = context.required == KeyUsage::server_auth();
            let missing = if is_server { Purpose::ServerAuth } else { Purpose::ClientAuth };
            TlsRefusal::WrongKeyUsage { certificate, missing }
        }
        Webpki::CaUsedAsEndEntity => TlsRefusal::CaAsLeaf { certificate },
        Webpki::EndEntityUsedAsCa => TlsRefusal::IssuerNotCa { certificate },
        Webpki::PathLenConstraintViolated => TlsRefusal::PathLength { certificate },
        Webpki::NameConstraintViolation => TlsRefusal::NameConstraints { certificate },
        Webpki::UnsupportedSignatureAlgorithmContext(_)
        | Webpki::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            let problem = "a signature in its chain is of a kind that is not taken".to_owned();
            TlsRefusal::WeakKey { certificate, problem }
        }
        Webpki::MaximumPathDepthExceeded
        | Webpki::MaximumSignatureChecksExceeded
        | Webpki::MaximumPathBuildCallsExceeded
        | Webpki::MaximumNameConstraintComparisonsExceeded => {
            TlsRefusal::MalformedCertificate { certificate, problem: "its chain is a maze".to_owned() }
        }
        other => TlsRefusal::MalformedCertificate { certificate, problem: format!("{other:?}") },
    }
}
