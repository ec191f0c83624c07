//! A cluster of nodes that find each other through etcd alone.

use std::sync::Arc;
use std::time::Duration;

use rdb_discovery::DiscoverySource;
use rdb_discovery::RegistrationState;
use rdb_discovery_driver::conformance::{Proxy, until};
use rdb_discovery_etcd::EtcdDiscovery;
use rdb_net_manager::NetworkManager;
use rdb_net_manager::config::Loader;
use rdb_net_types::NodeState;

use crate::server::{Server, config};

struct Node {
    manager: NetworkManager,
    source: Arc<EtcdDiscovery>,
}

/// A node with no seed, whose only way to others is etcd.
async fn start(name: &str, url: &str) -> Node {
    let overrides = [
        format!("networking.node_id={name}"),
        "networking.bind_address=127.0.0.1:0".to_owned(),
        "networking.gossip_address=127.0.0.1:0".to_owned(),
        "networking.admin.enabled=false".to_owned(),
        "networking.gossip.profile=local".to_owned(),
    ];
    let loaded = Loader::new().overrides(overrides).load().expect("legal");
    let mut config = config(vec![url.to_owned()]);
    config.lease_time_to_live = Duration::from_secs(4);
    let source = Arc::new(EtcdDiscovery::new(config).expect("legal"));
    let manager = NetworkManager::new(loaded).expect("can run").with_discovery(Arc::clone(&source) as Arc<_>);
    manager.start().await.expect("starts");
    Node { manager, source }
}

/// The live members that a node sees.
fn alive(node: &Node) -> usize {
    node.manager.members().iter().filter(|member| member.state == NodeState::Alive).count()
}

async fn all_see(nodes: &[Node], count: usize) {
    for node in nodes {
        until(&format!("{count} members"), || alive(node) == count).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_without_a_seed_meet_survive_that_etcd_is_away_and_meet_a_fourth_when_it_is_back() {
    let Some(server) = Server::start(&[]) else { return };
    let proxy = Proxy::to(&server.client);
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(start(name, &proxy.url()).await);
    }
    all_see(&nodes, 3).await;
    for node in &nodes {
        until("it is registered", || matches!(node.source.registration(), Some(RegistrationState::Active { .. })))
            .await;
    }

    // Away for longer than the registrations last: nobody is lost.
    proxy.cut();
    for node in &nodes {
        until("it is lost", || matches!(node.source.registration(), Some(RegistrationState::Lost { .. }))).await;
        assert_eq!(alive(node), 3);
    }
    // A node that starts meanwhile is up, and alone.
    nodes.push(start("d", &proxy.url()).await);
    assert_eq!(alive(&nodes[3]), 1);

    proxy.heal();
    all_see(&nodes, 4).await;
    for node in &nodes {
        until("it is registered", || matches!(node.source.registration(), Some(RegistrationState::Active { .. })))
            .await;
    }
    // A farewell takes its name out of etcd too.
    let last = nodes.pop().expect("four");
    assert!(last.manager.shutdown().await, "everything ended in time");
    all_see(&nodes, 3).await;
    let keys = server.told(&["get", "--prefix", "--keys-only", "/rustydb/"]);
    assert!(!keys.contains("/nodes/d") && keys.contains("/nodes/a"), "{keys}");
    for node in nodes {
        assert!(node.manager.shutdown().await, "everything ended in time");
    }
}
