//! The standard transport trait: all of it is the transport's.

use std::time::Duration;

use rdb_net_types::{BoxFuture, ClusterMessage, Component, HealthStatus, NetworkError, NetworkTransport, NodeAddress};

use crate::TcpTransport;

impl Component for TcpTransport {
    fn initialize(&self) -> BoxFuture<'_, Result<(), NetworkError>> {
        Component::initialize(&self.0)
    }

    fn shutdown(&self) -> BoxFuture<'_, Result<(), NetworkError>> {
        Component::shutdown(&self.0)
    }

    fn health_check(&self) -> HealthStatus {
        Component::health_check(&self.0)
    }
}

impl NetworkTransport for TcpTransport {
    fn send<'a>(
        &'a self,
        address: &'a NodeAddress,
        message: &'a ClusterMessage,
    ) -> BoxFuture<'a, Result<(), NetworkError>> {
        self.0.send(address, message)
    }

    fn receive(&self) -> BoxFuture<'_, Result<(NodeAddress, ClusterMessage), NetworkError>> {
        self.0.receive()
    }

    fn ping<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Duration, NetworkError>> {
        self.0.ping(address)
    }
}
