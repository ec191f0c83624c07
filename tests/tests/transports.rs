//! Every transport passes the same cases. Another one is a line at the end, and what makes its backend.

use std::sync::Arc;

use rdb_net_mem::{MemoryConfig, MemoryNetwork};
use rdb_net_tcp::{TcpBackend, TcpConfig};
use rdb_net_tests::closed_port;
use rdb_net_tests::conformance::Kind;
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
    memory: Memory::new(MemoryConfig::default());
    memory_in_order_with_small_buffers: Memory::new(MemoryConfig {
        shuffle_lanes: false,
        buffer_bytes: 1000,
        ..MemoryConfig::default()
    });
}
