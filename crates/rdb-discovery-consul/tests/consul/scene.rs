//! Consul as a scene of the suite that every backend passes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rdb_discovery::DiscoverySource;
use rdb_discovery_consul::ConsulDiscovery;
use rdb_discovery_consul::test_agent::TestAgent;
use rdb_discovery_driver::conformance::{Kind, Proxy, Scene, Traits};
use rdb_net_types::{BoxFuture, ClusterId, NodeId, NodeInfo};

use crate::agents::{RealAgent, cluster, config};
use crate::raw;

/// The agent of this crate.
pub(crate) struct TestAgents;

/// A real one.
pub(crate) struct RealAgents;

impl Kind for TestAgents {
    fn scene(&self) -> BoxFuture<'_, Option<Box<dyn Scene>>> {
        let agent = TestAgent::start();
        let address = agent.address();
        Box::pin(std::future::ready(Some(Consul::at(address, agent))))
    }
}

impl Kind for RealAgents {
    fn scene(&self) -> BoxFuture<'_, Option<Box<dyn Scene>>> {
        let scene = RealAgent::start().map(|agent| Consul::at(agent.address, agent));
        Box::pin(std::future::ready(scene))
    }
}

struct Consul {
    agent: SocketAddr,
    _owner: Box<dyn Send + Sync>,
    proxy: Proxy,
    cluster: ClusterId,
    written: Mutex<BTreeMap<NodeId, NodeInfo>>,
}

impl Consul {
    fn at(agent: SocketAddr, owner: impl Send + Sync + 'static) -> Box<dyn Scene> {
        let proxy = Proxy::to(&format!("http://{agent}"));
        Box::new(Self { agent, _owner: Box::new(owner), proxy, cluster: cluster(), written: Mutex::default() })
    }

    /// As other nodes would: each with a check that passes, or has ended.
    fn write(&self, nodes: &[NodeInfo]) {
        let mut written = self.written.lock().expect("no panic");
        let gone = |node: &&NodeInfo| !nodes.iter().any(|other| other.id == node.id);
        for node in written.values().filter(gone) {
            raw::expire(self.agent, self.cluster.as_str(), node);
        }
        for node in nodes.iter().filter(|node| written.get(&node.id) != Some(*node)) {
            raw::register(self.agent, self.cluster.as_str(), node);
        }
        *written = nodes.iter().map(|node| (node.id.clone(), node.clone())).collect();
    }
}

impl Scene for Consul {
    fn source(&self) -> Arc<dyn DiscoverySource> {
        Arc::new(ConsulDiscovery::new(config(&self.cluster, &self.proxy.url())).expect("a legal configuration"))
    }

    fn traits(&self) -> Traits {
        Traits::registry()
    }

    fn write<'a>(&'a self, nodes: &'a [NodeInfo]) -> BoxFuture<'a, ()> {
        tokio::task::block_in_place(|| Consul::write(self, nodes));
        Box::pin(std::future::ready(()))
    }

    fn way(&self) -> Option<&Proxy> {
        Some(&self.proxy)
    }
}

impl Drop for Consul {
    /// A real agent may be asked by the next test.
    fn drop(&mut self) {
        for instance in raw::health(self.agent, self.cluster.as_str()) {
            raw::deregister(self.agent, instance["Service"]["ID"].as_str().unwrap_or_default());
        }
    }
}
