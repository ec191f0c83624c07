//! Certificates for nodes within a test.

use rdb_net_tls::pki::{Pki, PkiOptions};
use rdb_net_tls::{Clock, Policy, Tls, TlsConfig, TlsOptions};
use rdb_net_types::{ClusterId, NodeId, Role};
use tempfile::TempDir;

/// A CA and the certificates of nodes, whichever clusters they say that they are of.
#[derive(Debug)]
pub struct Certificates {
    pki: Pki,
    _folder: TempDir,
}

impl Certificates {
    /// A CA of its own.
    #[expect(clippy::new_without_default, reason = "it makes files")]
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        // The cases have nodes of several clusters, told apart by their hellos: the certificates name none of them.
        let cluster = ClusterId::new("any").expect("legal");
        let pki = Pki::init(&folder.path().join("ca"), &PkiOptions::new(cluster), Clock::default()).expect("a CA");
        Self { pki, _folder: folder }
    }

    /// What this node shows.
    pub fn of(&self, node: &NodeId) -> Tls {
        // A node that comes back shows another certificate of the same name.
        let issued = self.pki.issue(node, Role::Node, &[]).or_else(|_| self.pki.renew(node, Role::Node));
        let issued = issued.expect("issued");
        let config = TlsConfig {
            enabled: true,
            cert_path: issued.certificate,
            key_path: issued.key,
            ca_cert_path: Some(issued.ca),
            ..TlsConfig::default()
        };
        Tls::load(config, TlsOptions::new(Policy::new(ClusterId::new("any").expect("legal")))).expect("good files")
    }
}
