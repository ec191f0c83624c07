//! What the tests of the program share: running it, and a node to ask that is nothing but what a test says of it.

#![allow(dead_code, reason = "each test program uses its own part")]

use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdb_net_manager::{
    ControlError, ControlPlane, EventSubscription, NetworkStatistics, PeerView, Reloaded, SecurityView, Topology,
};
use rdb_net_types::{BoxFuture, HealthReport, HealthStatus, NodeAddress, NodeId, NodeInfo, NodeState};

/// The program with these arguments, without the caller's environment of it.
pub(crate) fn rdbnet(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rdbnet"));
    let ours = std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("RUSTYDB_"));
    ours.for_each(|name| {
        command.env_remove(name);
    });
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    rdbnet(arguments).output().expect("the program starts")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// A node `n1` alone in its cluster.
pub(crate) struct Fake {
    pub(crate) health: Mutex<HealthReport>,
}

impl Fake {
    pub(crate) fn with_health(status: HealthStatus) -> Arc<Self> {
        let parts = vec![("transport".to_owned(), status, String::new())];
        Arc::new(Self { health: Mutex::new(HealthReport::of(parts)) })
    }
}

impl ControlPlane for Fake {
    fn local(&self) -> Arc<NodeInfo> {
        let id = NodeId::new("n1").expect("legal");
        let address = NodeAddress::new("127.0.0.1", 7000).expect("legal");
        Arc::new(NodeInfo { version: "1.2.3".to_owned(), ..NodeInfo::new(id, address) })
    }

    fn is_joined(&self) -> bool {
        false
    }

    fn health(&self) -> HealthReport {
        self.health.lock().expect("not poisoned").clone()
    }

    fn peers(&self) -> Vec<PeerView> {
        Vec::new()
    }

    fn topology(&self) -> Topology {
        let local = self.local();
        let (cluster, links) = ("test".to_owned(), Vec::new());
        Topology {
            local: local.id.clone(),
            cluster,
            members: vec![local],
            links,
            view_digest: 1,
            partition: None,
            split_brain: None,
        }
    }

    fn statistics(&self) -> NetworkStatistics {
        NetworkStatistics::default()
    }

    fn discovery(&self) -> rdb_net_manager::DiscoveryView {
        rdb_net_manager::DiscoveryView::default()
    }

    fn security(&self) -> SecurityView {
        SecurityView::default()
    }

    fn reload_certificates(&self) -> BoxFuture<'_, Result<(), ControlError>> {
        Box::pin(async { Err(ControlError::Conflict("TLS is off".to_owned())) })
    }

    fn rotate_gossip_key(&self) -> Result<(), ControlError> {
        Err(ControlError::Conflict("TLS is off".to_owned()))
    }

    fn uptime(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn configuration(&self) -> String {
        String::new()
    }

    fn reload_configuration(&self) -> BoxFuture<'_, Result<Reloaded, ControlError>> {
        unreachable!("nothing here reads a configuration again")
    }

    fn events(&self) -> EventSubscription {
        unreachable!("nothing here follows events")
    }

    fn join(&self, _seeds: Vec<NodeAddress>) -> BoxFuture<'_, Result<(), ControlError>> {
        Box::pin(async { Ok(()) })
    }

    fn leave(&self) -> BoxFuture<'_, Result<(), ControlError>> {
        Box::pin(async { Ok(()) })
    }

    fn request_state(&self, _node: &NodeId, _state: NodeState) -> Result<(), ControlError> {
        Ok(())
    }

    fn forget(&self, _node: &NodeId) -> Result<(), ControlError> {
        Ok(())
    }
}
