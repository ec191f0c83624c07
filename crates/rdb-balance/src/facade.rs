//! The specification's traits over the balancer. There is nothing to start or stop: a balancer is whole when it is made.

use std::collections::HashMap;

use rdb_net_types::{BoxFuture, Component, HealthStatus, LoadBalancer, NetworkError, NodeId, SelectionCriteria};

use crate::balancer::Balancer;

impl Component for Balancer {
    fn initialize(&self) -> BoxFuture<'_, Result<(), NetworkError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn shutdown(&self) -> BoxFuture<'_, Result<(), NetworkError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn health_check(&self) -> HealthStatus {
        self.status()
    }
}

impl LoadBalancer for Balancer {
    fn select_node(&self, criteria: &SelectionCriteria) -> Option<NodeId> {
        Self::select_node(self, criteria)
    }

    fn update_weights(&self, weights: HashMap<NodeId, f64>) {
        // The refused entries are in the statistics.
        Self::update_weights(self, weights);
    }
}
