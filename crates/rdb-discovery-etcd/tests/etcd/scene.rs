//! etcd as a scene of the suite that every backend passes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, PutOptions};
use rdb_discovery::{DiscoverySource, NodeDocument};
use rdb_discovery_driver::conformance::{Kind, Proxy, Scene, Traits};
use rdb_discovery_etcd::EtcdDiscovery;
use rdb_net_types::{BoxFuture, NodeId, NodeInfo};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

use crate::server::{Server, config, key};

/// Of more nodes at once, all share one lease.
const LEASES_MAX: usize = 20;

pub(crate) struct Servers;

impl Kind for Servers {
    fn scene(&self) -> BoxFuture<'_, Option<Box<dyn Scene>>> {
        let scene = Server::start(&[]).map(|server| {
            let proxy = Proxy::to(&server.client);
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            let runtime = Some(runtime.expect("a runtime"));
            Box::new(Etcd { server, proxy, runtime, written: Arc::default() }) as Box<dyn Scene>
        });
        Box::pin(std::future::ready(scene))
    }
}

struct Etcd {
    server: Server,
    proxy: Proxy,
    /// The writer's own, so that the tasks of the case can be counted.
    runtime: Option<Runtime>,
    written: Arc<Mutex<Written>>,
}

#[derive(Default)]
struct Written {
    client: Option<Client>,
    nodes: BTreeMap<NodeId, (NodeInfo, i64)>,
}

impl Written {
    /// As other nodes would: each under a lease that lives, or has ended.
    async fn write(&mut self, url: String, nodes: Vec<NodeInfo>) {
        if self.client.is_none() {
            self.client = Some(Client::connect([url], None).await.expect("etcd is there"));
        }
        let client = self.client.as_mut().expect("just made");
        let gone: Vec<_> = self.nodes.keys().filter(|id| !nodes.iter().any(|node| node.id == **id)).cloned().collect();
        for (_, lease) in gone.iter().filter_map(|id| self.nodes.remove(id)) {
            client.lease_revoke(lease).await.expect("revoked");
        }
        let mut shared = None;
        for node in &nodes {
            let lease = match (self.nodes.get(&node.id), shared) {
                (Some((known, _)), _) if known == node => continue,
                (Some((_, lease)), _) => *lease,
                (None, Some(lease)) => lease,
                (None, None) => client.lease_grant(600, None).await.expect("granted").id(),
            };
            if nodes.len() > LEASES_MAX {
                shared = Some(lease);
            }
            let document = NodeDocument::new(node).to_json();
            client.put(key(node), document, Some(PutOptions::new().with_lease(lease))).await.expect("written");
            self.nodes.insert(node.id.clone(), (node.clone(), lease));
        }
    }
}

impl Scene for Etcd {
    fn source(&self) -> Arc<dyn DiscoverySource> {
        let mut config = config(vec![self.proxy.url()]);
        // Longer than a change is held back, else who comes and goes is told to nobody: etcd grants 2 s at least, and counts them
        // from before the key is written.
        config.lease_time_to_live = config.driver.policy.debounce_max + Duration::from_secs(1);
        Arc::new(EtcdDiscovery::new(config).expect("a legal configuration"))
    }

    fn traits(&self) -> Traits {
        Traits::registry()
    }

    fn write<'a>(&'a self, nodes: &'a [NodeInfo]) -> BoxFuture<'a, ()> {
        let (written, url, nodes) = (Arc::clone(&self.written), self.server.client.clone(), nodes.to_vec());
        let writing = async move { written.lock().await.write(url, nodes).await };
        let handle = self.runtime.as_ref().expect("it lives").spawn(writing);
        Box::pin(async move { handle.await.expect("written") })
    }

    fn way(&self) -> Option<&Proxy> {
        Some(&self.proxy)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
