//! The component of the specification's name.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rdb_discovery::Capabilities;
use rdb_discovery_driver::{
    Backend, Discovery, DiscoveryStatistics, DriverConfig, Registrar, Voice, delegate_discovery,
};
use rdb_net_types::BoxFuture;

use crate::config::{ConfigError, EtcdConfig};
use crate::link::read_tls;
use crate::registrar::EtcdRegistrar;
use crate::watch::{Counters, Follower};

/// What an etcd source has seen and done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EtcdStatistics {
    /// What every source counts.
    pub discovery: DiscoveryStatistics,
    /// Times that all nodes were listed.
    pub lists: u64,
    /// Times that a connection or a watch ended.
    pub watches_lost: u64,
    /// Of them, those that ended because etcd had compacted what was to be watched.
    pub compacted: u64,
    /// Times that another cluster, or one without its data, stood at the endpoints.
    pub cluster_changes: u64,
    /// Times that the cluster went on from an older state.
    pub revision_regressions: u64,
    /// Values that stand for no node.
    pub garbage: u64,
}

/// Discovery from etcd. See the [crate](crate) for the keys and what a node does when etcd is away.
#[derive(Debug)]
pub struct EtcdDiscovery {
    discovery: Discovery,
    counters: Arc<Counters>,
}

impl EtcdDiscovery {
    /// A source that has not started.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the key at fault. Files for TLS are read once, so that a wrong path is told at once; etcd is not
    /// asked.
    pub fn new(config: EtcdConfig) -> Result<Self, ConfigError> {
        config.check()?;
        if let Some(tls) = &config.tls {
            read_tls(tls)?;
        }
        let identity = format!("etcd {}", config.nodes_prefix());
        let driver: DriverConfig = config.driver.clone();
        let counters = Arc::new(Counters::default());
        let backend = Etcd { config: Arc::new(config), counters: Arc::clone(&counters) };
        Ok(Self { discovery: Discovery::new(Arc::new(backend), identity, driver), counters })
    }

    /// What was seen and done so far.
    pub fn statistics(&self) -> EtcdStatistics {
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        EtcdStatistics {
            discovery: self.discovery.statistics(),
            lists: count(&self.counters.lists),
            watches_lost: count(&self.counters.watches_lost),
            compacted: count(&self.counters.compacted),
            cluster_changes: count(&self.counters.cluster_changes),
            revision_regressions: count(&self.counters.revision_regressions),
            garbage: count(&self.counters.garbage),
        }
    }
}

delegate_discovery!(EtcdDiscovery, discovery);

struct Etcd {
    config: Arc<EtcdConfig>,
    counters: Arc<Counters>,
}

impl Backend for Etcd {
    fn component(&self) -> &'static str {
        "EtcdDiscovery"
    }

    fn source_name(&self) -> &str {
        "etcd"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { registers: true, watches: true, names_nodes: true }
    }

    fn follow<'a>(&'a self, voice: &'a Voice) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            Follower::new(&self.config, voice, &self.counters).run().await;
        })
    }

    fn registrar(&self) -> Option<Box<dyn Registrar>> {
        Some(Box::new(EtcdRegistrar::new(Arc::clone(&self.config))))
    }
}
