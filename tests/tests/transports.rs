//! Every transport passes the same cases. Another one is a line at the end, and what makes its backend.

#[path = "transports/moved.rs"]
mod moved;

use std::sync::Arc;

use std::time::Duration;

use rdb_net_mem::{MemoryConfig, MemoryNetwork};
use rdb_net_quic::{QuicBackend, QuicConfig};
use rdb_net_tcp::{TcpBackend, TcpConfig, TlsBackend};
use rdb_net_tests::conformance::Kind;
use rdb_net_tests::{Certificates, closed_port};
use rdb_net_transport::Backend;
use rdb_net_types::{NodeAddress, NodeId};

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
