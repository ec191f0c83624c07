//! The component of the specification's name.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rdb_discovery::Capabilities;
use rdb_discovery_driver::{
    Backend, Discovery, DiscoveryStatistics, DriverConfig, Registrar, Voice, delegate_discovery,
};
use rdb_net_types::BoxFuture;

use crate::agent::{Agent, check_files};
use crate::config::{ConfigError, ConsulConfig};
use crate::registrar::ConsulRegistrar;
use crate::watch::{Counters, Follower, Seen};

/// What a Consul source has seen and done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConsulStatistics {
    /// What every source counts.
    pub discovery: DiscoveryStatistics,
    /// Answers that named all instances.
    pub answers: u64,
    /// Times that a question failed and all nodes were listed anew.
    pub watches_lost: u64,
    /// Times that the index went back, and all nodes were listed anew.
    pub index_resets: u64,
    /// Times that the agent's name had lost the address in use, so that another one was taken.
    pub agent_moves: u64,
    /// Instances that stand for no node.
    pub garbage: u64,
}

/// Discovery from Consul. See the [crate](crate) for what stands there and what a node does when the agent is away.
#[derive(Debug)]
pub struct ConsulDiscovery {
    discovery: Discovery,
    shared: Arc<Shared>,
}

struct Shared {
    agent: Arc<Agent>,
    counters: Counters,
    seen: Arc<Seen>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl ConsulDiscovery {
    /// A source that has not started.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the key at fault. Files for TLS are read once, so that a wrong path is told at once; the agent is not
    /// asked.
    pub fn new(config: ConsulConfig) -> Result<Self, ConfigError> {
        config.check()?;
        check_files(&config)?;
        let identity = format!("consul {}", config.service);
        let driver: DriverConfig = config.driver.clone();
        let agent = Arc::new(Agent::new(Arc::new(config)));
        let shared = Arc::new(Shared { agent, counters: Counters::default(), seen: Arc::default() });
        let backend = Consul { shared: Arc::clone(&shared) };
        Ok(Self { discovery: Discovery::new(Arc::new(backend), identity, driver), shared })
    }

    /// What was seen and done so far.
    pub fn statistics(&self) -> ConsulStatistics {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.shared.counters;
        ConsulStatistics {
            discovery: self.discovery.statistics(),
            answers: count(&counters.answers),
            watches_lost: count(&counters.watches_lost),
            index_resets: count(&counters.index_resets),
            agent_moves: self.shared.agent.moves(),
            garbage: count(&counters.garbage),
        }
    }
}

delegate_discovery!(ConsulDiscovery, discovery);

struct Consul {
    shared: Arc<Shared>,
}

impl Backend for Consul {
    fn component(&self) -> &'static str {
        "ConsulDiscovery"
    }

    fn source_name(&self) -> &str {
        "consul"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { registers: true, watches: true, names_nodes: true }
    }

    fn follow<'a>(&'a self, voice: &'a Voice) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let Shared { agent, counters, seen } = &*self.shared;
            Follower::new(agent, voice, counters, seen).run().await;
        })
    }

    fn registrar(&self) -> Option<Box<dyn Registrar>> {
        let Shared { agent, seen, .. } = &*self.shared;
        Some(Box::new(ConsulRegistrar::new(Arc::clone(agent), Arc::clone(seen))))
    }
}
