//! `members` and `status`: questions to a running node.

use rdb_net_admin::views::{StatusView, TopologyView};
use rdb_net_types::HealthStatus;

use crate::cli::Asked;
use crate::client;
use crate::exit::Failure;
use crate::output::{Output, note};
use crate::render;

/// Lists the members of the cluster in the view of a node.
pub(crate) async fn members(asked: Asked, output: Output) -> Result<(), Failure> {
    let topology: TopologyView = client::get(&asked.admin, "/api/v1/network/topology").await?;
    output.result(&topology, render::members)
}

/// Shows how a node is.
pub(crate) async fn status(asked: Asked, output: Output) -> Result<(), Failure> {
    let status: StatusView = client::get(&asked.admin, "/api/v1/network/status").await?;
    output.result(&status, render::status)?;
    if !status.health.joined {
        note(&format!("{} has not joined its cluster", status.node_id));
    }
    match status.health.status {
        HealthStatus::Unhealthy => Err(Failure::Unhealthy(format!("{} is unhealthy", status.node_id))),
        HealthStatus::Healthy | HealthStatus::Unknown | HealthStatus::Degraded => Ok(()),
    }
}
