//! The certificate as the proof of what a hello claims.

use rdb_net_types::{Authenticator, Credentials, Principal, Refusal, RefusalReason};

use crate::certificate::{CertificateName, Facts};
use crate::identity::Policy;
use crate::trust::identify;

/// Lets in whoever claims to be what its certificate says: the node id of the hello must be that of the certificate, its
/// cluster this node's, and its role one that is accepted.
///
/// The certificate that it is given has been verified in the handshake; this reads it and verifies nothing.
#[derive(Debug, Clone)]
pub struct CertificateAuthenticator {
    policy: Policy,
}

impl CertificateAuthenticator {
    /// By this policy.
    pub fn new(policy: Policy) -> Self {
        Self { policy }
    }
}

impl Authenticator for CertificateAuthenticator {
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Principal, Refusal> {
        let refuse = |reason, detail: String| Err(Refusal { reason, detail });
        let Some(der) = credentials.certificate else {
            return refuse(RefusalReason::Identity, "there is no certificate".to_owned());
        };
        let facts = match Facts::of(der) {
            Ok(facts) => facts,
            Err(error) => {
                return refuse(RefusalReason::Identity, format!("its certificate cannot be read: {}", error.0));
            }
        };
        let name = || Box::new(CertificateName::of(&der.into()));
        let identity = match identify(&self.policy.identity, &facts, name) {
            Ok(identity) => identity,
            Err(refusal) => return refuse(refusal.reason(), refusal.to_string()),
        };
        if identity.node != *credentials.claimed {
            let detail = format!("it claims to be {} with the certificate of {}", credentials.claimed, identity.node);
            return refuse(RefusalReason::Identity, detail);
        }
        let clusters = [Some(credentials.cluster), identity.cluster.as_ref()];
        if let Some(other) = clusters.into_iter().flatten().find(|cluster| **cluster != self.policy.cluster) {
            return refuse(RefusalReason::Cluster, format!("it is of the cluster {other}"));
        }
        if !self.policy.accepted.contains(&identity.role) {
            return refuse(RefusalReason::Identity, format!("the role {:?} is not let in", identity.role));
        }
        Ok(Principal { node: identity.node, roles: vec![identity.role] })
    }
}
