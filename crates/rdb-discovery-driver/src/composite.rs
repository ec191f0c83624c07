//! Several sources as one, in their order of precedence.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_core::Stream;
use rdb_discovery::{Capabilities, Cause, DiscoverySource, EventStream, Merge, RegistrationState, Snapshot};
use rdb_net_types::{
    BoxFuture, BoxStream, Component, HealthStatus, MembershipEvent, NetworkError, NodeInfo, ServiceDiscovery,
};
use tokio::task::JoinSet;

use crate::{Backend, Discovery, DriverConfig, Voice};

const NAME: &str = "CompositeDiscovery";

/// Events of one source that are taken before the others have their turn.
const TURN: usize = 1_024;

/// Several sources as one: a node is as the first source tells it that names it, and stays while one does.
///
/// It starts and stops its sources. This process's node is registered at each of them that takes registrations.
#[derive(Debug)]
pub struct CompositeDiscovery {
    sources: Arc<Sources>,
    discovery: Discovery,
}

struct Sources(Vec<Arc<dyn DiscoverySource>>);

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|source| source.source_name())).finish()
    }
}

impl CompositeDiscovery {
    /// A composite of these, the one that counts most first. None of them is started yet. Of the settings, those of the policy
    /// are not used: guards are the sources' own.
    pub fn new(sources: Vec<Arc<dyn DiscoverySource>>, config: DriverConfig) -> Self {
        let sources = Arc::new(Sources(sources));
        let config = DriverConfig { policy: Merge::policy(), last_good: None, ..config };
        let backend = Arc::new(Following { sources: Arc::clone(&sources) });
        Self { discovery: Discovery::new(backend, "composite", config), sources }
    }

    /// The sources, the one that counts most first.
    pub fn sources(&self) -> &[Arc<dyn DiscoverySource>] {
        &self.sources.0
    }

    async fn start(&self) -> Result<(), NetworkError> {
        let mut starts = JoinSet::new();
        for source in &self.sources.0 {
            let source = Arc::clone(source);
            starts.spawn(async move { source.initialize().await });
        }
        let mut outcome = Ok(());
        while let Some(started) = starts.join_next().await {
            outcome = outcome.and(started.unwrap_or_else(|error| Err(panicked(&error))));
        }
        match outcome {
            Ok(()) => self.discovery.initialize().await,
            Err(error) => self.stop().await.and(Err(error)),
        }
    }

    async fn stop(&self) -> Result<(), NetworkError> {
        let mut outcome = self.discovery.shutdown().await;
        let mut stops = JoinSet::new();
        for source in &self.sources.0 {
            let source = Arc::clone(source);
            stops.spawn(async move { source.shutdown().await });
        }
        while let Some(stopped) = stops.join_next().await {
            outcome = outcome.and(stopped.unwrap_or_else(|error| Err(panicked(&error))));
        }
        outcome
    }

    fn registering(&self) -> impl Iterator<Item = &Arc<dyn DiscoverySource>> {
        self.sources.0.iter().filter(|source| source.capabilities().registers)
    }

    async fn register(&self, node: &NodeInfo) -> Result<(), NetworkError> {
        let (mut outcome, mut count) = (Ok(()), 0);
        for source in self.registering() {
            outcome = outcome.and(source.register_node(node).await);
            count += 1;
        }
        match count {
            0 => Err(NetworkError::Unsupported { component: NAME, operation: "register_node" }),
            _ => outcome,
        }
    }

    async fn withdraw(&self, grace: Duration) -> Result<(), NetworkError> {
        let mut withdrawals = JoinSet::new();
        for source in self.registering() {
            let source = Arc::clone(source);
            withdrawals.spawn(async move { source.withdraw_node(grace).await });
        }
        let mut outcome = Ok(());
        while let Some(withdrawn) = withdrawals.join_next().await {
            outcome = outcome.and(withdrawn.unwrap_or_else(|error| Err(panicked(&error))));
        }
        outcome
    }
}

fn panicked(error: &tokio::task::JoinError) -> NetworkError {
    NetworkError::Backend { component: NAME, problem: format!("a source panicked: {error}") }
}

/// Follows the sources' streams.
struct Following {
    sources: Arc<Sources>,
}

impl Backend for Following {
    fn component(&self) -> &'static str {
        NAME
    }

    fn source_name(&self) -> &str {
        "composite"
    }

    fn capabilities(&self) -> Capabilities {
        let all = || self.sources.0.iter().map(|source| source.capabilities());
        Capabilities {
            registers: all().any(|can| can.registers),
            watches: all().all(|can| can.watches),
            names_nodes: all().any(|can| can.names_nodes),
        }
    }

    fn follow<'a>(&'a self, voice: &'a Voice) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut merge = Merge::new(self.sources.0.iter().map(|source| source.source_name()));
            let mut streams: Vec<Option<EventStream>> = Vec::new();
            for source in &self.sources.0 {
                streams.push(source.watch_events().ok());
            }
            loop {
                let ended = poll_fn(|context| {
                    let (mut heard, mut ended) = (false, None);
                    for (place, slot) in streams.iter_mut().enumerate() {
                        for _ in 0..TURN {
                            let Some(stream) = slot else { break };
                            match Pin::new(stream).poll_next(context) {
                                Poll::Ready(Some(event)) => {
                                    merge.handle_event(place, &event);
                                    heard = true;
                                }
                                Poll::Ready(None) => {
                                    *slot = None;
                                    ended = Some(place);
                                    heard = true;
                                }
                                Poll::Pending => break,
                            }
                        }
                    }
                    if heard { Poll::Ready(ended) } else { Poll::Pending }
                })
                .await;
                if let Some(source) = ended.and_then(|place| self.sources.0.get(place)) {
                    let cause = Cause::unavailable(format!("{} has ended", source.source_name()));
                    voice.failure(cause);
                }
                voice.tell(|reconciler, now| {
                    merge.tell(now, reconciler);
                });
            }
        })
    }
}

impl Component for CompositeDiscovery {
    /// Starts the sources, all at the same time.
    ///
    /// # Errors
    ///
    /// The first that a source gives; all of them are stopped again.
    fn initialize(&self) -> BoxFuture<'_, Result<(), NetworkError>> {
        Box::pin(self.start())
    }

    fn shutdown(&self) -> BoxFuture<'_, Result<(), NetworkError>> {
        Box::pin(self.stop())
    }

    fn health_check(&self) -> HealthStatus {
        match self.discovery.health_check() {
            HealthStatus::Healthy
                if self.sources.0.iter().any(|source| source.health_check() != HealthStatus::Healthy) =>
            {
                HealthStatus::Degraded
            }
            status => status,
        }
    }
}

impl ServiceDiscovery for CompositeDiscovery {
    /// Registers this node at each source that takes registrations.
    ///
    /// # Errors
    ///
    /// The first that a source gives; the others are registered at all the same. [`NetworkError::Unsupported`] where none
    /// takes registrations.
    fn register_node<'a>(&'a self, node: &'a NodeInfo) -> BoxFuture<'a, Result<(), NetworkError>> {
        Box::pin(self.register(node))
    }

    fn discover_nodes(&self) -> BoxFuture<'_, Result<Vec<NodeInfo>, NetworkError>> {
        self.discovery.discover_nodes()
    }

    fn watch_changes(&self) -> BoxFuture<'_, Result<BoxStream<MembershipEvent>, NetworkError>> {
        self.discovery.watch_changes()
    }
}

impl DiscoverySource for CompositeDiscovery {
    fn source_name(&self) -> &str {
        self.discovery.source_name()
    }

    fn capabilities(&self) -> Capabilities {
        self.discovery.capabilities()
    }

    fn snapshot(&self) -> Snapshot {
        self.discovery.snapshot()
    }

    fn answered_ago(&self) -> Option<Duration> {
        self.discovery.answered_ago()
    }

    fn watch_events(&self) -> Result<EventStream, NetworkError> {
        self.discovery.watch_events()
    }

    /// The first that is not active, else the first of all.
    fn registration(&self) -> Option<RegistrationState> {
        let states: Vec<_> = self.registering().filter_map(|source| source.registration()).collect();
        let troubled = states.iter().find(|state| !matches!(state, RegistrationState::Active { .. }));
        troubled.or(states.first()).cloned()
    }

    fn withdraw_node(&self, grace: Duration) -> BoxFuture<'_, Result<(), NetworkError>> {
        Box::pin(self.withdraw(grace))
    }
}
