//! Every transport passes the same cases. Another one is a line at the end, and what makes its backend.

use std::sync::Arc;

use std::time::Duration;

use rdb_net_mem::{MemoryConfig, MemoryNetwork};
use rdb_net_quic::{QuicBackend, QuicConfig};
use rdb_net_tcp::{TcpBackend, TcpConfig, TlsBackend};
use rdb_net_tests::closed_port;
use rdb_net_tests::conformance::Kind;
use rdb_net_tls::pki::{Pki, PkiOptions};
use rdb_net_tls::{Clock, Policy, Tls, TlsConfig, TlsOptions};
use rdb_net_transport::Backend;
use rdb_net_types::{ClusterId, NodeAddress, NodeId, Role};
use tempfile::TempDir;

/// Sockets on loopback.
struct Tcp;

impl Kind for Tcp {
    fn address(&self, _: &str) -> NodeAddress {
        closed_port().into()
    }

    fn backend(&self, _: &NodeId, _: &NodeAddress) -> Arc<dyn Backend> {
        Arc::new(TcpBackend::new(TcpConfig::default()))
    }
}

/// A CA and the certificates of the nodes of a case.
struct Certificates {
    pki: Pki,
    _folder: TempDir,
}

impl Certificates {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        // The cases have nodes of several clusters, told apart by their hellos: the certificates name none of them.
        let cluster = ClusterId::new("any").expect("legal");
        let pki = Pki::init(&folder.path().join("ca"), &PkiOptions::new(cluster), Clock::default()).expect("a CA");
        Self { pki, _folder: folder }
    }

    fn of(&self, node: &NodeId) -> Tls {
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

/// TLS over sockets on loopback.
struct TlsOverTcp(Certificates);

impl Kind for TlsOverTcp {
    fn address(&self, _: &str) -> NodeAddress {
        closed_port().into()
    }

    fn backend(&self, node: &NodeId, _: &NodeAddress) -> Arc<dyn Backend> {
        let tcp = TcpBackend::new(TcpConfig::default());
        Arc::new(TlsBackend::new(tcp, self.0.of(node), Duration::from_secs(5)))
    }
}

/// QUIC on loopback.
struct Quic(Certificates);

impl Kind for Quic {
    fn address(&self, _: &str) -> NodeAddress {
        closed_port().into()
    }

    fn backend(&self, node: &NodeId, _: &NodeAddress) -> Arc<dyn Backend> {
        Arc::new(QuicBackend::new(QuicConfig::default(), self.0.of(node)))
    }
}

/// A network in memory of its own for each case.
struct Memory(MemoryNetwork);

impl Memory {
    fn new(config: MemoryConfig) -> Self {
        Self(MemoryNetwork::new(config))
    }
}

impl Kind for Memory {
    fn address(&self, node: &str) -> NodeAddress {
        NodeAddress::new(node, 7000).expect("legal")
    }

    fn backend(&self, _: &NodeId, address: &NodeAddress) -> Arc<dyn Backend> {
        Arc::new(self.0.backend(address))
    }
}

rdb_net_tests::transport_conformance! {
    tcp: Tcp;
    tls: TlsOverTcp(Certificates::new());
    quic: Quic(Certificates::new());
    memory: Memory::new(MemoryConfig::default());
    memory_in_order_with_small_buffers: Memory::new(MemoryConfig {
        shuffle_lanes: false,
        buffer_bytes: 1000,
        ..MemoryConfig::default()
    });
}
