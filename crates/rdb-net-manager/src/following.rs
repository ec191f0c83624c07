//! Discovery in a running node: when it acts on what its sources say, its registration, and what of both is told.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use rdb_discovery::{DiscoverySource, Freshness, RegistrationState};
use rdb_discovery_driver::GatherError;
use rdb_net_types::HealthStatus;

use crate::config::ServiceDiscovery;
use crate::control::{DiscoveryView, RegistrationView, SourceState, SourceView};
use crate::node::Node;

/// What has to be there before a node joins anybody.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gate {
    nodes: usize,
    stable_margin: Duration,
    wait_max: Duration,
}

impl Gate {
    pub(crate) fn of(settings: &ServiceDiscovery) -> Self {
        let ServiceDiscovery { wait_for_nodes: nodes, stable_margin, wait_max, .. } = *settings;
        Self { nodes, stable_margin, wait_max }
    }

    /// Waits until it opens. It opens in any case: a cluster that has lost a node for good must not be kept from its start.
    async fn wait(self, source: &dyn DiscoverySource) {
        let Self { nodes, stable_margin, wait_max } = self;
        if nodes == 0 {
            return;
        }
        match rdb_discovery_driver::wait_for(source, nodes, stable_margin, wait_max).await {
            Ok(found) => tracing::info!(nodes = found.len(), "the nodes that were waited for are there"),
            Err(error @ GatherError::Incomplete { .. }) => {
                tracing::warn!(%error, "this node joins without those that it waited for (networking.service_discovery)");
            }
            // Told by what follows.
            Err(_) => {}
        }
    }
}

/// Hands on what the source says, from when the gate opens until the node stops.
pub(crate) async fn follow(node: Arc<Node>, source: Arc<dyn DiscoverySource>, gate: Gate) {
    let carry = async {
        gate.wait(&*source).await;
        let mut events = match source.watch_events() {
            Ok(events) => events,
            Err(error) => {
                return tracing::error!(%error, "nothing is heard of discovery (networking.service_discovery)");
            }
        };
        while let Some(event) = poll_fn(|context| Pin::new(&mut events).poll_next(context)).await {
            node.gossip.with(|driven, now| driven.0.handle_discovery(now, &event));
        }
    };
    node.cancel.run_until_cancelled(carry).await;
}

/// Registers this node at its source, which from then on keeps it registered. A source that does not take it at once is tried on,
/// and says itself when it does.
pub(crate) async fn register(node: Arc<Node>, source: Arc<dyn DiscoverySource>) {
    let local = node.gossip.look(|driven, _| driven.0.local().clone());
    let registering = source.register_node(&local);
    if let Some(Err(error)) = node.cancel.run_until_cancelled(registering).await {
        tracing::warn!(%error, "this node is not registered where others look for it (networking.service_discovery)");
    }
}

/// What each source says, and how this node stands there.
pub(crate) fn view(sources: &[Arc<dyn DiscoverySource>]) -> DiscoveryView {
    DiscoveryView { sources: sources.iter().map(|source| SourceView::of(&**source)).collect() }
}

/// The registrations that do not stand, as parts of the node's health. That lists are old is the engine's to say.
pub(crate) fn health(sources: &[Arc<dyn DiscoverySource>]) -> Vec<(String, HealthStatus, String)> {
    let parts = sources.iter().filter_map(|source| {
        let registration = RegistrationView::of(&source.registration()?);
        let words = match registration.detail {
            detail if detail.is_empty() => registration.state.to_owned(),
            detail => format!("{}: {detail}", registration.state),
        };
        let status = if registration.stands { HealthStatus::Healthy } else { HealthStatus::Degraded };
        Some((format!("registration {}", source.source_name()), status, words))
    });
    parts.collect()
}

impl SourceView {
    /// What a source says at this moment.
    pub fn of(source: &dyn DiscoverySource) -> Self {
        let (snapshot, capabilities) = (source.snapshot(), source.capabilities());
        let (state, cause) = match &snapshot.freshness {
            Freshness::Never { cause } => (SourceState::Never, cause.as_ref().map(ToString::to_string)),
            Freshness::Stale { cause, .. } => (SourceState::Stale, Some(cause.to_string())),
            _ => (SourceState::Live, None),
        };
        Self {
            name: source.source_name().to_owned(),
            state,
            cause: cause.unwrap_or_default(),
            age: source.answered_ago(),
            nodes: snapshot.nodes.to_vec(),
            registers: capabilities.registers,
            names_nodes: capabilities.names_nodes,
            registration: source.registration().as_ref().map(RegistrationView::of),
        }
    }
}

impl RegistrationView {
    fn of(state: &RegistrationState) -> Self {
        let (stands, detail) = match state {
            RegistrationState::Active { epoch: 0 | 1, .. } | RegistrationState::Draining { .. } => {
                (true, String::new())
            }
            RegistrationState::Active { epoch, .. } => (true, format!("{epoch} times, having been lost in between")),
            RegistrationState::Registering { cause } => {
                (false, cause.as_ref().map(ToString::to_string).unwrap_or_default())
            }
            RegistrationState::Lost { cause, .. } => (false, cause.to_string()),
            RegistrationState::Conflict { other, .. } => {
                (false, format!("another process is registered by this node's name: {other}"))
            }
            _ => (true, String::new()),
        };
        Self { state: state.name(), stands, detail }
    }
}

#[cfg(all(test, feature = "tcp"))]
mod tests;
