//! Consul's agent of the tests, and a composite of it and etcd.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rdb_discovery::{DiscoverySource, NodeDocument};
use rdb_discovery_consul::test_agent::{Stream, TestAgent};
use rdb_discovery_consul::{ConsulConfig, ConsulDiscovery};
use rdb_discovery_driver::conformance::Traits;
use rdb_discovery_driver::{CompositeDiscovery, DriverConfig};
use rdb_net_tests::ask;
use rdb_net_types::NodeInfo;

use crate::{Keys, Server, cluster};

/// The agent of the tests.
struct Agent {
    agent: TestAgent,
    names: Vec<String>,
}

/// Starts it at this host.
pub(crate) fn start(host: SocketAddr) -> Option<Box<dyn Server>> {
    let plain = Box::new(|socket: TcpStream| Ok(Box::new(socket) as Box<dyn Stream>));
    let agent = TestAgent::start_with(&SocketAddr::new(host.ip(), 8500).to_string(), plain);
    Some(Box::new(Agent { agent, names: Vec::new() }))
}

impl Agent {
    fn put(&self, path: &str, body: &str) {
        let (status, told) = ask(self.agent.address(), "PUT", path, body).expect("the agent answers");
        assert_eq!(status, 200, "{path}: {told}");
    }
}

impl Server for Agent {
    fn source(&self) -> Arc<dyn DiscoverySource> {
        let config = ConsulConfig::new(cluster(), self.agent.url());
        Arc::new(ConsulDiscovery::new(config).expect("a legal configuration"))
    }

    fn write(&mut self, nodes: &[NodeInfo]) {
        let name = |node: &NodeInfo| format!("test-{}", node.id);
        for gone in self.names.iter().filter(|known| !nodes.iter().any(|node| name(node) == **known)) {
            self.put(&format!("/v1/agent/service/deregister/{gone}"), "");
        }
        for node in nodes {
            let (host, port) = (node.address.host(), node.address.port());
            let document = NodeDocument::new(node).to_json();
            let service = serde_json::json!({
                "ID": name(node), "Name": "rdb-test", "Address": host, "Port": port, "Meta": {"rdb_json_0": document},
                "Check": {"TTL": "600s", "Status": "passing"},
            });
            self.put("/v1/agent/service/register", &service.to_string());
        }
        self.names = nodes.iter().map(name).collect();
    }
}

/// etcd and the agent at one host, as one source: both know every node.
struct Both {
    keys: Box<dyn Server>,
    agent: Box<dyn Server>,
}

/// Starts both at this host.
pub(crate) fn start_both(host: SocketAddr) -> Option<Box<dyn Server>> {
    Some(Box::new(Both { keys: Keys::start(host)?, agent: start(host)? }))
}

impl Server for Both {
    fn source(&self) -> Arc<dyn DiscoverySource> {
        Arc::new(CompositeDiscovery::new(vec![self.keys.source(), self.agent.source()], DriverConfig::default()))
    }

    fn traits(&self) -> Traits {
        Traits { whole: false, ..self.keys.traits() }
    }

    fn write(&mut self, nodes: &[NodeInfo]) {
        self.keys.write(nodes);
        self.agent.write(nodes);
    }
}
