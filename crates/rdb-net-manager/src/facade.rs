//! The standard traits over the manager.

use std::time::Duration;

use rdb_net_types::{
    BoxFuture, ClusterMembership, Component, HealthMonitor, HealthStatus, NetworkError, NodeAddress, NodeId, NodeInfo,
    NodeState,
};

use crate::manager::NetworkManager;

const COMPONENT: &str = "network manager";

impl Component for NetworkManager {
    fn initialize(&self) -> BoxFuture<'_, Result<(), NetworkError>> {
        Box::pin(async {
            let started = self.start().await;
            started.map_err(|error| NetworkError::Start { component: COMPONENT, problem: error.to_string() })
        })
    }

    fn shutdown(&self) -> BoxFuture<'_, Result<(), NetworkError>> {
        Box::pin(async {
            if self.shutdown().await {
                return Ok(());
            }
            let problem = "what was under way did not end in time and was cut off".to_owned();
            Err(NetworkError::Backend { component: COMPONENT, problem })
        })
    }

    fn health_check(&self) -> HealthStatus {
        self.control().health().status
    }
}

impl HealthMonitor for NetworkManager {
    fn check_health<'a>(&'a self, node_id: &'a NodeId) -> BoxFuture<'a, Result<HealthStatus, NetworkError>> {
        Box::pin(async move {
            let node = self.running()?;
            let known = node.gossip.look(|driven, _| driven.0.member(node_id).is_some());
            if !known {
                return Err(NetworkError::UnknownNode { node: node_id.clone() });
            }
            let asked = node.ask(node_id, CHECK_TIMEOUT).await;
            let passive = node.gossip.look(|driven, _| driven.0.health(node_id));
            Ok(match asked {
                Ok(_) if passive == HealthStatus::Unknown => HealthStatus::Healthy,
                Ok(_) => passive,
                Err(_) => passive.max(HealthStatus::Degraded),
            })
        })
    }

    fn get_unhealthy_nodes(&self) -> Vec<NodeId> {
        self.node.get().map(|node| node.gossip.look(|driven, _| driven.0.unhealthy())).unwrap_or_default()
    }
}

/// How long a health check on demand may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

impl ClusterMembership for NetworkManager {
    fn get_members(&self) -> Vec<NodeInfo> {
        self.members().iter().map(|member| NodeInfo::clone(member)).collect()
    }

    fn update_member_state(&self, node_id: &NodeId, state: NodeState) {
        if let Err(error) = self.control().request_state(node_id, state) {
            tracing::warn!(node = %node_id, %state, %error, "a member's state was not asked for");
        }
    }

    fn join_cluster(&self, seeds: Vec<NodeAddress>) -> BoxFuture<'_, Result<(), NetworkError>> {
        Box::pin(async move {
            let joined = self.control().join(seeds).await;
            joined.map_err(|error| NetworkError::Backend { component: COMPONENT, problem: error.to_string() })
        })
    }
}
