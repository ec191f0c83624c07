//! One set of files in force: chain, key, CAs and revocation lists, and the two configurations of rustls made of them.
//!
//! A set never changes. Another takes its place whole, so that no handshake sees the certificate of one and the CAs of
//! another.

use std::fmt;
use std::sync::Arc;

use rdb_net_types::Role;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, InconsistentKeys, ServerConfig};
use webpki::{CertRevocationList, OwnedCertRevocationList, anchor_from_trusted_cert};
use x509_parser::prelude::{CertificateRevocationList as ParsedList, FromDer};

use crate::certificate::{Facts, Fingerprint, visible};
use crate::config::TlsConfig;
use crate::expiry::{Expiring, ExpiringKind};
use crate::failure::Offers;
use crate::files::{Content, LoadError, Snapshot};
use crate::identity::Policy;
use crate::parts::Parts;
use crate::provider::{group_name, provider, suite_name};
use crate::refusal::TlsRefusal;
use crate::time::{Clock, UnixSeconds};
use crate::trust::{Expected, PeerIdentity, PeerSide, RSA_BITS_MIN, Root, Trust};
use crate::verifier::DialedVerifier;

/// The protocol inside TLS (ALPN, RFC 7301).
pub const ALPN: &[u8] = b"rustydb/1";

/// A set of files in force.
pub struct TlsEpoch {
    number: u64,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    pub(crate) parts: Parts,
    own: PeerIdentity,
    expiring: Vec<Expiring>,
    clock: Clock,
    pub(crate) trust: Arc<Trust>,
    pub(crate) offers: Offers,
}

impl fmt::Debug for TlsEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsEpoch").field("number", &self.number).field("own", &self.own).finish_non_exhaustive()
    }
}

impl TlsEpoch {
    /// Which set it is: 1 at the start, one more with each set that took the place of another.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Who this node is by its own certificate.
    pub fn own(&self) -> &PeerIdentity {
        &self.own
    }

    /// What ends some day: this node's certificate, its intermediates, the CAs, the revocation lists.
    pub fn expiring(&self) -> &[Expiring] {
        &self.expiring
    }

    /// For those who take connections by themselves. It refuses whoever this node would refuse, with two exceptions that are
    /// theirs: a client without ALPN, and deadlines and sizes. Why somebody was refused is lost;
    /// [`Tls::accepting`](crate::Tls::accepting) keeps it.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// For those who dial by themselves: only whom is expected is taken. The server name is not sent and not looked at; any will
    /// do. Why somebody was refused is lost; [`Tls::dialing`](crate::Tls::dialing) keeps it.
    pub fn client_config(&self, expected: Expected) -> Arc<ClientConfig> {
        let mut config = (*self.client).clone();
        let verifier = DialedVerifier { trust: Arc::clone(&self.trust), expected, slot: None };
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
        Arc::new(config)
    }

    /// Who a peer is by the chain it sent, its own certificate first.
    ///
    /// # Errors
    ///
    /// Why it is not to be let in.
    pub fn judge(&self, chain: &[CertificateDer<'_>], side: PeerSide) -> Result<PeerIdentity, TlsRefusal> {
        self.trust.judge(chain, side, self.clock.now())
    }

    /// Whether a peer of an open connection would be let in again: its certificate may have ended or been revoked since, or
    /// its CA removed. Whoever owns the connections asks after every reload and closes those that are not, and bounds the age
    /// of the others, so that what no list tells takes effect too.
    ///
    /// # Errors
    ///
    /// Why it would not.
    pub fn is_still_trusted(&self, peer: &PeerIdentity) -> Result<(), TlsRefusal> {
        self.judge(&peer.chain, peer.side).map(drop)
    }

    /// Makes a set of what was read.
    pub(crate) fn build(
        number: u64,
        config: &TlsConfig,
        policy: &Policy,
        clock: &Clock,
        snapshot: Snapshot,
    ) -> Result<Self, LoadError> {
        let provider = provider(config)?;
        let cas = snapshot.cas?;
        let now = clock.now();
        let lists = lists_of(snapshot.lists, now.into())?;
        let roots = roots_of(&cas, now.into())?;
        let trust = trust_of(&cas, roots, &lists, &provider, policy)?;
        let (certificate, key) = (snapshot.certificate?, snapshot.key?);
        let certified = certified_key(&certificate, &key, &provider)?;
        let own = own_identity(&trust, &certified.cert, now)
            .map_err(|refusal| LoadError::OwnCertificate { path: certificate.path.clone(), refusal })?;
        let expiring = expiring_of(&certificate, &certified.cert, &trust.roots, &lists)?;
        let trust = Arc::new(trust);
        let parts = Parts {
            provider: Arc::clone(&provider),
            time: clock.provider(),
            trust: Arc::clone(&trust),
            resolver: Arc::new(SingleCertAndKey::from(certified)),
            is_certificate_mandatory: config.verify_client,
        };
        let problem = |error: rustls::Error| LoadError::Provider { problem: error.to_string() };
        let client = parts.client(Expected::Anybody, None).map_err(problem)?;
        let server = parts.server(None).map_err(problem)?;
        let offers = Offers {
            our_suites: join(provider.cipher_suites.iter().map(|suite| suite_name(suite.suite()))),
            our_groups: join(provider.kx_groups.iter().map(|group| group_name(group.name()))),
            ..Offers::default()
        };
        let (client, server) = (Arc::new(client), Arc::new(server));
        Ok(Self { number, client, server, parts, own, expiring, clock: clock.clone(), trust, offers })
    }
}

pub(crate) fn join(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// What other nodes with the same CAs and lists would say of this one. A node is dialed and dials; others only dial.
fn own_identity(
    trust: &Trust,
    chain: &[CertificateDer<'static>],
    now: rustls::pki_types::UnixTime,
) -> Result<PeerIdentity, TlsRefusal> {
    let own = trust.verify(chain, PeerSide::Connected, now)?;
    match own.role {
        Role::Node => trust.verify(chain, PeerSide::Dialed, now),
        _ => Ok(own),
    }
}

fn malformed(content: &Content, problem: impl Into<String>) -> LoadError {
    LoadError::Malformed { path: content.path.clone(), problem: problem.into() }
}

fn pem_problem(error: &pem::Error) -> String {
    match error {
        // The library would print the lines at fault, and a line of a key is a secret.
        pem::Error::MissingSectionEnd { .. } => "it ends in the middle of a PEM section".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a line that should begin a PEM section does not".to_owned(),
        pem::Error::Base64Decode(_) => "a PEM section is not Base64".to_owned(),
        pem::Error::NoItemsFound => "nothing of the kind that belongs here is in it".to_owned(),
        _ => "it is no PEM".to_owned(),
    }
}

fn certificates(content: &Content) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let found = CertificateDer::pem_slice_iter(&content.bytes).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| malformed(content, pem_problem(&error)))?;
    if found.is_empty() {
        return Err(malformed(content, "no certificate (BEGIN CERTIFICATE) is in it"));
    }
    Ok(found)
}

fn certified_key(certificate: &Content, key: &Content, provider: &CryptoProvider) -> Result<CertifiedKey, LoadError> {
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_slice(&key.bytes).map_err(|error| {
        let is_encrypted = key.bytes.windows(9).any(|window| window == b"ENCRYPTED");
        match error {
            pem::Error::NoItemsFound if is_encrypted => {
                malformed(key, "the key in it is encrypted: store it in the clear, mode 0600")
            }
            pem::Error::NoItemsFound => malformed(key, "no private key (BEGIN PRIVATE KEY) is in it"),
            error => malformed(key, pem_problem(&error)),
        }
    })?;
    // The provider wipes the key once it has read it.
    CertifiedKey::from_der(chain, private, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            LoadError::KeyMismatch { key: key.path.clone(), certificate: certificate.path.clone() }
        }
        rustls::Error::InvalidCertificate(error) => malformed(certificate, format!("{error:?}")),
        _ => malformed(
            key,
            "the key in it is of a kind or size that is not taken: ECDSA P-256 or P-384, Ed25519, RSA from 2048 bits",
        ),
    })
}

fn facts_of(content: &Content, der: &[u8]) -> Result<Facts, LoadError> {
    Facts::of(der).map_err(|error| malformed(content, format!("a certificate in it cannot be read: {}", error.0)))
}

fn roots_of(content: &Content, now: UnixSeconds) -> Result<Vec<Root>, LoadError> {
    let mut roots: Vec<Root> = Vec::new();
    for certificate in certificates(content)? {
        let facts = facts_of(content, &certificate)?;
        if !facts.is_ca || facts.usage.is_some_and(|usage| !usage.certificate_signing) {
            return Err(LoadError::NotCa { path: content.path.clone(), subject: facts.subject });
        }
        if let Some(bits) = facts.rsa_bits.filter(|bits| *bits < RSA_BITS_MIN) {
            return Err(malformed(content, format!("the key of the CA {:?} has only {bits} bits", facts.subject)));
        }
        roots.push(Root { certificate, facts });
    }
    let last = roots.iter().map(|root| root.facts.not_after).max();
    match last.filter(|last| *last < now) {
        Some(not_after) => Err(LoadError::CasExpired { path: content.path.clone(), not_after }),
        None => Ok(roots),
    }
}

/// A revocation list and what is known of it.
struct List {
    der: Vec<u8>,
    path: std::path::PathBuf,
    issuer: String,
    this_update: i64,
    next_update: UnixSeconds,
}

fn lists_of(contents: Vec<Result<Content, LoadError>>, now: UnixSeconds) -> Result<Vec<List>, LoadError> {
    let mut lists = Vec::new();
    for content in contents {
        let content = content?;
        let ders: Vec<Vec<u8>> = if content.bytes.first() == Some(&0x30) {
            vec![content.bytes.to_vec()]
        } else {
            let found = CertificateRevocationListDer::pem_slice_iter(&content.bytes);
            let found = found.map(|list| list.map(|list| list.as_ref().to_vec())).collect::<Result<_, _>>();
            found.map_err(|error| malformed(&content, pem_problem(&error)))?
        };
        if ders.is_empty() {
            return Err(malformed(&content, "no revocation list (BEGIN X509 CRL) is in it"));
        }
        for der in ders {
            let (_, parsed) = ParsedList::from_der(&der).map_err(|error| {
                malformed(&content, format!("the list cannot be read: {}", visible(&error.to_string())))
            })?;
            let next_update = parsed.next_update().map_or(UnixSeconds(0), |time| UnixSeconds(time.timestamp()));
            let (issuer, this_update) = (visible(&parsed.issuer().to_string()), parsed.last_update().timestamp());
            if next_update < now {
                return Err(LoadError::ListExpired { path: content.path, next_update });
            }
            lists.push(List { der, path: content.path.clone(), issuer, this_update, next_update });
        }
    }
    lists.sort_by_key(|list| std::cmp::Reverse(list.this_update));
    Ok(lists)
}

fn trust_of(
    cas: &Content,
    roots: Vec<Root>,
    lists: &[List],
    provider: &CryptoProvider,
    policy: &Policy,
) -> Result<Trust, LoadError> {
    let mut anchors = Vec::new();
    for root in &roots {
        let anchor = anchor_from_trusted_cert(&root.certificate);
        anchors.push(anchor.map_err(|error| malformed(cas, format!("{error:?}")))?.to_owned());
    }
    let mut parsed = Vec::new();
    for list in lists {
        let owned = OwnedCertRevocationList::from_der(&list.der);
        parsed.push(CertRevocationList::Owned(owned.map_err(|error| LoadError::Malformed {
            path: list.path.clone(),
            problem: format!("the list cannot be used: {error:?}"),
        })?));
    }
    let algorithms = provider.signature_verification_algorithms;
    Ok(Trust { roots, anchors, lists: parsed, algorithms, policy: policy.clone() })
}

fn expiring_of(
    certificate: &Content,
    chain: &[CertificateDer<'static>],
    roots: &[Root],
    lists: &[List],
) -> Result<Vec<Expiring>, LoadError> {
    let mut expiring = Vec::new();
    for (position, der) in chain.iter().enumerate() {
        let facts = facts_of(certificate, der)?;
        let kind = if position == 0 { ExpiringKind::Certificate } else { ExpiringKind::Intermediate };
        let name = facts.uris.into_iter().next().map_or(facts.subject, |uri| visible(&uri));
        expiring.push(Expiring { kind, name, fingerprint: Fingerprint::of(der), not_after: facts.not_after });
    }
    expiring.extend(roots.iter().map(|root| Expiring {
        kind: ExpiringKind::Ca,
        name: root.facts.subject.clone(),
        fingerprint: Fingerprint::of(&root.certificate),
        not_after: root.facts.not_after,
    }));
    expiring.extend(lists.iter().map(|list| Expiring {
        kind: ExpiringKind::RevocationList,
        name: list.issuer.clone(),
        fingerprint: Fingerprint::of(&list.der),
        not_after: list.next_update,
    }));
    Ok(expiring)
}
