//! Certificates and gossip keys.

use rdb_net_manager::ControlPlane;
use serde::{Deserialize, Serialize};

/// How the node protects what it says, secrets left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SecurityView {
    /// Whether connections are encrypted and nodes prove who they are.
    pub tls: bool,
    /// Whether nodes prove to each other that they know a secret, without encryption of what follows.
    pub shared_secret: bool,
    /// The number of the set of certificates in force, from 1.
    pub epoch: u64,
    /// What ends some day.
    pub certificates: Vec<CertificateView>,
    /// The keys that seal gossip, the one that seals first.
    pub gossip_keys: Vec<GossipKeyView>,
    /// Whether gossip travels inside connections because nothing comes by UDP.
    pub gossip_udp_silent: bool,
}

/// A certificate, an authority or a revocation list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CertificateView {
    /// What it is.
    pub kind: String,
    /// Whose.
    pub name: String,
    /// Its SHA-256, in hexadecimal.
    pub fingerprint: String,
    /// When it ends.
    pub not_after: String,
    /// How long it is until then; negative after it.
    pub seconds_left: i64,
}

/// A key that seals gossip, by its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GossipKeyView {
    /// Its name.
    pub id: String,
    /// `primary` seals and opens, `installed` opens.
    pub state: String,
    /// How long this node has had it.
    pub age_seconds: f64,
}

impl SecurityView {
    pub(crate) fn of(control: &dyn ControlPlane) -> Self {
        let security = control.security();
        let certificates = security.certificates.into_iter().map(|one| CertificateView {
            kind: one.kind.to_owned(),
            name: one.name,
            fingerprint: one.fingerprint,
            not_after: one.not_after,
            seconds_left: one.seconds_left,
        });
        let gossip_keys = security.gossip_keys.into_iter().map(|key| GossipKeyView {
            id: key.id,
            state: key.state.to_owned(),
            age_seconds: key.age.as_secs_f64(),
        });
        Self {
            tls: security.tls,
            shared_secret: security.shared_secret,
            epoch: security.epoch,
            certificates: certificates.collect(),
            gossip_keys: gossip_keys.collect(),
            gossip_udp_silent: security.udp_is_silent,
        }
    }
}
